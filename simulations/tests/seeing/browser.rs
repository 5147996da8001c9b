//! The pages in a headless Chromium: they render, and no script fails. Skipped where there is no Chromium.

use crate::{
    pages::{HOSTILE, hostile},
    plausible::{Recipe, run},
    small,
};
use pangea_simulations::{
    record::Record,
    seeing::{animation, perfetto, spacetime, summary, trace},
};
use std::{env, fs, path::Path, process::Command};

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

fn chromium() -> Option<&'static str> {
    let found = |name: &&str| env::split_paths(&env::var_os("PATH")?).any(|dir| dir.join(name).is_file()).then_some(());
    let browser = NAMES.into_iter().find(|name| found(name).is_some());
    if browser.is_none() {
        println!("skipped: no chromium on PATH");
    }
    browser
}

/// The page's document after its scripts ran. Panics if they failed.
fn opened(browser: &str, dir: &Path, page: &str) -> String {
    let file = dir.join("page.html");
    fs::write(&file, page).unwrap();
    let profile = format!("--user-data-dir={}", dir.join("profile").display());
    let out = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"])
        .args([
            "--enable-logging=stderr",
            "--virtual-time-budget=2500",
            "--window-size=1400,900",
            "--dump-dom",
            &profile,
        ])
        .arg(&file)
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&out.stderr);
    let console: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(console.is_empty(), "{console:?}");
    let document = String::from_utf8_lossy(&out.stdout).into_owned();
    let root = document.lines().find(|line| line.contains("<html")).unwrap_or_default();
    assert!(root.contains(r#"data-ready="true""#) && root.contains(r#"data-errors="0""#), "{root}\n{log}");
    document
}

/// The number that a page's script left on the root element.
fn left(document: &str, name: &str) -> u64 {
    let (_, rest) = document.split_once(&format!("data-{name}=\"")).unwrap_or_else(|| panic!("no {name}"));
    rest.split('"').next().unwrap().parse().unwrap()
}

/// Writes all pages to the directory that `PANGEA_SEEING` names: for eyes, after a change to styles and scripts.
#[test]
#[ignore = "writes files to look at"]
fn pages_to_look_at() {
    let dir = env::var_os("PANGEA_SEEING").expect("PANGEA_SEEING names a directory");
    let mut runs = runs();
    runs.push(("5 nodes", run(Recipe { nodes: 5, seconds: 20, operations: 6, chatter: 60, violated: true })));
    runs.push((
        "10,000 nodes",
        run(Recipe { nodes: 10_000, seconds: 60, operations: 300, chatter: 50, violated: false }),
    ));
    runs.push(("hostile", hostile()));
    for (title, records) in runs {
        let file = |kind: &str| Path::new(&dir).join(format!("{}-{kind}", title.replace([' ', ','], "-")));
        let full = format!("{title}, seed 42");
        fs::write(file("spacetime.html"), spacetime::html(&records, &full)).unwrap();
        fs::write(file("animation.html"), animation::html(&records, &full)).unwrap();
        fs::write(file("perfetto.json"), perfetto::json(&records, &full)).unwrap();
        fs::write(file("summary.txt"), summary::text(&records, &full)).unwrap();
        fs::write(file("trace.txt"), trace::text(&records, &trace::Options::default())).unwrap();
    }
}

fn runs() -> Vec<(&'static str, Vec<Record>)> {
    vec![
        ("nothing", Vec::new()),
        ("three nodes", small::story()),
        ("50 nodes", run(Recipe { nodes: 50, seconds: 120, operations: 80, chatter: 100, violated: true })),
        ("1,000 nodes", run(Recipe { nodes: 1_000, seconds: 60, operations: 200, chatter: 50, violated: false })),
    ]
}

#[test]
fn the_spacetime_diagram_opens_where_there_is_something_to_see() {
    let Some(browser) = chromium() else { return };
    let dir = tempfile::tempdir().unwrap();
    for (title, records) in runs() {
        let document = opened(browser, dir.path(), &spacetime::html(&records, title));
        let nodes = records.iter().filter_map(|record| record.node).max().map_or(0, |node| u64::from(node) + 1);
        assert_eq!(left(&document, "nodes"), nodes, "{title}");
        assert_eq!(left(&document, "lanes"), if nodes > 120 { 121 } else { nodes }, "{title}");
        assert!(left(&document, "arrows") > 0 || records.is_empty(), "{title}");
        assert!(document.contains(&format!("<h1 id=\"title\">{title}</h1>")));
    }
}

#[test]
fn the_animation_plays() {
    let Some(browser) = chromium() else { return };
    let dir = tempfile::tempdir().unwrap();
    for (title, records) in runs() {
        let document = opened(browser, dir.path(), &animation::html(&records, title));
        let nodes = records.iter().filter_map(|record| record.node).max().map_or(0, |node| u64::from(node) + 1);
        assert_eq!(left(&document, "nodes"), nodes, "{title}");
        assert!(document.contains(" running · "), "{title}");
    }
}

#[test]
fn every_control_works() {
    let Some(browser) = chromium() else { return };
    let dir = tempfile::tempdir().unwrap();
    let hands = format!("<script>{}</script></body>", include_str!("hands.js"));
    for (title, records) in runs() {
        for page in [spacetime::html(&records, title), animation::html(&records, title)] {
            let document = opened(browser, dir.path(), &page.replace("</body>", &hands));
            assert_eq!(left(&document, "handled"), 1, "{title}");
            if document.contains("data-found=") && !records.is_empty() {
                assert!(left(&document, "found") > 0, "{title}");
            }
        }
    }
}

#[test]
fn a_hostile_record_runs_no_script() {
    let Some(browser) = chromium() else { return };
    let dir = tempfile::tempdir().unwrap();
    for page in [spacetime::html(&hostile(), HOSTILE), animation::html(&hostile(), HOSTILE)] {
        let document = opened(browser, dir.path(), &page);
        assert!(!document.contains("data-owned=") && !document.contains("<img"));
    }
}
