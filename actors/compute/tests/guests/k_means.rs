//! k-means: every round against the definition, and rounds until nothing moves.

use crate::sandbox::{Module, folder};
use pangea_protocols::{
    receipt_job::Stage,
    task::{Capabilities, Trap},
};

type Point = Vec<f64>;

fn squared(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

/// The middles of the points that are nearest to each middle.
fn round(points: &[Point], middles: &[Point]) -> Vec<Point> {
    let nearest: Vec<usize> = points
        .iter()
        .map(|point| {
            let distances = middles.iter().map(|middle| squared(point, middle));
            distances.enumerate().min_by(|(_, a), (_, b)| a.total_cmp(b)).unwrap().0
        })
        .collect();
    (0..middles.len())
        .map(|cluster| {
            let own: Vec<&Point> =
                points.iter().zip(&nearest).filter(|(_, at)| **at == cluster).map(|(point, _)| point).collect();
            let mean = |axis: usize| own.iter().map(|point| point[axis]).sum::<f64>() / own.len() as f64;
            if own.is_empty() { middles[cluster].clone() } else { (0..middles[0].len()).map(mean).collect() }
        })
        .collect()
}

fn middles(result: &str) -> Vec<Point> {
    let lines = result.lines().filter_map(|line| line.strip_prefix("middle "));
    lines.map(|line| line.split(' ').map(|number| number.parse().unwrap()).collect()).collect()
}

/// Points around so many places, as text and as numbers.
fn points(places: &[(f64, f64)], each: usize) -> (String, Vec<Point>) {
    let mut seed = 7u64;
    let mut draw = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as f64 / f64::from(1u32 << 31) - 0.5
    };
    let points: Vec<Point> = (0..each * places.len())
        .map(|n| {
            let (x, y) = places[n % places.len()];
            vec![x + draw(), y + draw()]
        })
        .collect();
    let text = points.iter().map(|point| format!("{}, {}\n", point[0], point[1])).collect();
    (text, points)
}

const PLACES: [(f64, f64); 4] = [(0.0, 0.0), (10.0, 0.5), (-3.0, 12.0), (7.0, 7.0)];

#[test]
fn rounds_end_in_the_middles_of_the_clusters() {
    let module = Module::built("k-means");
    assert_eq!(module.imports, Capabilities::NONE);
    // Enough for several pieces.
    let (text, points) = points(&PLACES, 2_500);
    assert!(module.split(format!("clusters 4\n{text}").as_bytes()).len() > 1);
    let mut head = "clusters 4\n".to_owned();
    for rounds in 0.. {
        assert!(rounds < 20, "they should have come to rest: {head}");
        let result = String::from_utf8(module.job(format!("{head}{text}").as_bytes()).to_vec()).unwrap();
        assert!(result.starts_with("# 10000 points, squared distances "), "{result}");
        let new = middles(&result);
        if rounds > 0 {
            // Sums of floats in another order: equal but for rounding.
            let expected = round(&points, &middles(&head));
            let apart = new.iter().zip(&expected).map(|(a, b)| squared(a, b)).sum::<f64>();
            assert!(new.len() == 4 && apart < 1e-18, "{new:?} {expected:?}");
        }
        head = result;
        if head.lines().next().unwrap().ends_with(" moved by up to 0") {
            assert!(rounds > 0);
            break;
        }
    }
    for (x, y) in PLACES {
        let near = middles(&head).iter().filter(|middle| squared(middle, &[x, y]) < 0.01).count();
        assert_eq!(near, 1, "({x}, {y}) in {head}");
    }
}

#[test]
fn points_of_any_size_and_fewer_points_than_clusters_are_fine() {
    let module = Module::built("k-means");
    let result = module.job(b"# a comment\nclusters 5\n1 2 3\n1\t2,3.0\n\n4 5 6");
    let result = String::from_utf8(result.to_vec()).unwrap();
    assert_eq!(result, "# 3 points, squared distances 0, a middle moved by up to 0\nmiddle 1 2 3\nmiddle 4 5 6\n");
    // 3-4-5: the distance is a root.
    let moved = module.job(b"middle 0 0\n3 4");
    assert_eq!(&moved[..], b"# 1 points, squared distances 25, a middle moved by up to 5\nmiddle 3 4\n");
}

#[test]
fn what_is_no_input_traps() {
    let module = Module::built("k-means");
    for wrong in [
        "1 2",
        "clusters x\n1",
        "clusters 2\n1 2\n3\n",
        "clusters 1\n1 nan",
        "clusters 1\nmiddle 1\n2",
        "middle 1\nmiddle 1 2\n",
    ] {
        assert_eq!(module.entry(Stage::Split, (0, 1), wrong.as_bytes()).trap(), Trap::Unreachable, "{wrong}");
    }
    assert_eq!(module.entry(Stage::Execute, (0, 1), b"middle 1\n2 3\n").trap(), Trap::Unreachable);
    assert_eq!(module.entry(Stage::Merge, (0, 1), b"\x80").trap(), Trap::Unreachable);
    assert_eq!(module.entry(Stage::Merge, (0, 1), b"\x81\x41a").trap(), Trap::Unreachable);
}

#[test]
fn the_script_runs_rounds_until_nothing_moves() {
    let dir = std::env::temp_dir().join(format!("pangea-k-means-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("points"), "1 1\n2 2\n").unwrap();
    // In place of a job: notes its input, and moves a middle twice.
    let job = r##"cat "$1" >> "$0.seen"; n=$(grep -c '^1 1' "$0.seen")
        echo "# 2 points, squared distances 1, a middle moved by up to $((3 - n))"; echo "middle $n $n""##;
    std::fs::write(dir.join("job"), job).unwrap();
    let ran = std::process::Command::new("sh")
        .arg(folder().join("examples/k-means/k-means.sh"))
        .args(["7".as_ref(), dir.join("points").as_os_str(), "sh".as_ref(), dir.join("job").as_os_str()])
        .output()
        .unwrap();
    let seen = std::fs::read_to_string(dir.join("job.seen")).unwrap();
    std::fs::remove_dir_all(dir).unwrap();
    let last = "# 2 points, squared distances 1, a middle moved by up to 0\nmiddle 3 3\n";
    assert_eq!(String::from_utf8_lossy(&ran.stdout), last, "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(seen.starts_with("clusters 7\n1 1\n2 2\n# 2 points"), "{seen}");
    assert!(seen.ends_with("middle 2 2\n1 1\n2 2\n"), "{seen}");
}
