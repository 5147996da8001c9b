//! The way things should go; then holders die, one more than the code can bear.

use super::swarm::{Swarm, assert_nothing_left_of, eventually, noise};
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt};

const MIB: usize = 1 << 20;

#[test]
fn whatever_is_put_comes_back_byte_for_byte_and_goes_when_it_is_removed() {
    let swarm = Swarm::of(5);
    files_of_every_size(&swarm);
    standard_input_and_ranges(&swarm);
    a_directory_with_all_its_oddities(&swarm);
    the_catalog_and_removal(&swarm);
}

fn files_of_every_size(swarm: &Swarm) {
    for (name, bytes) in [("empty", 0), ("one", 1), ("large.bin", 3 * MIB + 17)] {
        let stored = swarm.put(0, &swarm.file(name, bytes), &[]);
        assert_eq!((&stored["name"], &stored["raw_bytes"]), (&name.into(), &bytes.into()));
        assert_eq!(stored["missing_shards"], 0);
        // Another node reads it by its ticket, the owner by its name.
        let ticket = stored["ticket"].as_str().unwrap();
        let to = swarm.dir.path().join(format!("{name}.back"));
        let got = swarm.cli(4, &["get", ticket, to.to_str().unwrap(), "--json"]).ok().json();
        assert_eq!((&got["bytes"], got["path"].as_str()), (&bytes.into(), to.to_str()));
        assert!(fs::read(&to).unwrap() == noise(name, bytes), "{name}");
        assert!(swarm.read(0, name) == noise(name, bytes), "{name}");
    }
}

fn standard_input_and_ranges(swarm: &Swarm) {
    let bytes = noise("piped", 2 * MIB + 5);
    let mut put = swarm.begin_fed(0, &["put", "-", "--name", "piped", "--json"]);
    put.feed(bytes.clone());
    let stored = put.end().ok().json();
    assert_eq!((&stored["name"], &stored["raw_bytes"]), (&"piped".into(), &bytes.len().into()));
    for (range, want) in [
        ("0..1", 0..1),
        ("1048570..1048590", 1_048_570..1_048_590),
        ("2MiB..", 2 * MIB..bytes.len()),
        ("..7", 0..7),
        ("5..5", 5..5),
    ] {
        let got = swarm.cli(3, &["cat", stored["ticket"].as_str().unwrap(), "--range", range]).ok().out;
        assert!(got == bytes[want], "{range}: {} bytes", got.len());
    }
}

/// Names that scripts get wrong; a name that is not text cannot be stored and is not tried here.
const ODD: [&str; 6] = ["with space", "-dash", "línea ünïcode 名前", "new\nline", "quote'\"$(x)", ".hidden"];

fn a_directory_with_all_its_oddities(swarm: &Swarm) {
    let tree = swarm.dir.path().join("tree");
    fs::create_dir_all(tree.join("sub/empty dir")).unwrap();
    for name in ODD {
        fs::write(tree.join(name), noise(name, 1000)).unwrap();
    }
    fs::write(tree.join("sub/big"), noise("sub/big", MIB + 1)).unwrap();
    fs::write(tree.join("sub/run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(tree.join("sub/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    let stored = swarm.put(0, &tree, &[]);
    assert_eq!(stored["directory"], true);
    let ticket = stored["ticket"].as_str().unwrap();

    let to = swarm.dir.path().join("tree.back");
    swarm.cli(2, &["get", ticket, to.to_str().unwrap()]).ok();
    for name in ODD {
        assert!(fs::read(to.join(name)).unwrap() == noise(name, 1000), "{name}");
    }
    assert!(to.join("sub/empty dir").is_dir());
    assert!(fs::read(to.join("sub/big")).unwrap() == noise("sub/big", MIB + 1));
    let executable = |path: &str| fs::metadata(to.join(path)).unwrap().permissions().mode() & 0o111 != 0;
    assert!(executable("sub/run.sh") && !executable("sub/big"));

    // One entry, to a file and to standard output; entries of a part.
    let one = swarm.dir.path().join("one entry");
    swarm.cli(2, &["get", ticket, one.to_str().unwrap(), "--path", ODD[2]]).ok();
    assert!(fs::read(&one).unwrap() == noise(ODD[2], 1000));
    assert!(swarm.read(2, &format!("{ticket}/sub/big")) == noise("sub/big", MIB + 1));
    let entries = swarm.cli(2, &["ls", &format!("{ticket}/sub"), "--json"]).ok().json_lines();
    let mut paths: Vec<&str> = entries.iter().filter_map(|entry| entry["path"].as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["sub/big", "sub/empty dir", "sub/run.sh"]);
    swarm.cli(2, &["cat", &format!("{ticket}/sub/none")]).fails(3, &["sub/none"]);
}

fn the_catalog_and_removal(swarm: &Swarm) {
    let listed = swarm.cli(0, &["ls", "--json"]).ok().json_lines();
    let names: Vec<&str> = listed.iter().filter_map(|stored| stored["name"].as_str()).collect();
    for name in ["empty", "one", "large.bin", "piped", "tree"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let info = swarm.cli(0, &["info", "large.bin", "--json"]).ok().json();
    assert!(info["holders"].as_array().unwrap().iter().all(|holder| holder["connected"] == true));
    let shared = swarm.cli(0, &["share", "large.bin", "--json"]).ok().json();
    let ticket = shared["ticket"].as_str().unwrap().to_owned();
    assert_eq!(swarm.cli(1, &["info", &ticket, "--json"]).ok().json()["raw_bytes"], 3 * MIB + 17);

    let before = swarm.shards();
    swarm.cli(0, &["rm", "large.bin"]).fails(2, &["--yes"]);
    assert_eq!(swarm.shards(), before);
    let removed = swarm.cli(0, &["rm", "large.bin", "--yes", "--json"]).ok().json();
    let gone = removed["shards"].as_u64().unwrap();
    assert!(gone > 0 && removed["unreachable"] == Value::Array(vec![]), "{removed}");
    eventually("holders have forgotten the shards", || swarm.shards() == before - gone);
    swarm.cli(0, &["cat", "large.bin"]).fails(3, &["large.bin"]);
    swarm.cli(1, &["cat", &ticket, "--timeout", "5s"]).fails(3, &["was not found"]);
    assert!(swarm.read(3, swarm.cli(0, &["share", "piped"]).ok().text()) == noise("piped", 2 * MIB + 5));
}

#[test]
fn as_many_holders_may_die_as_there_is_parity_and_the_next_one_is_named() {
    let mut swarm = Swarm::of(7);
    let path = swarm.file("precious", 4 * MIB);
    let stored = swarm.put(0, &path, &["--data", "3", "--parity", "3"]);
    let holders = swarm.holders(&stored);
    assert_eq!(holders, [1, 2, 3, 4, 5, 6]);
    for victim in &holders[..3] {
        swarm.cluster.kill(*victim);
    }
    assert!(swarm.read(0, "precious") == noise("precious", 4 * MIB));
    let other = swarm.cli(6, &["cat", stored["ticket"].as_str().unwrap(), "--timeout", "20s"]).ok();
    assert!(other.out == noise("precious", 4 * MIB));

    swarm.cluster.kill(holders[3]);
    let to = swarm.dir.path().join("lost");
    let get = swarm.cli(0, &["get", "precious", to.to_str().unwrap(), "--timeout", "4s"]);
    let told = get.fails(4, &["stripe", "of the 3 shards it needs", "…"]);
    let dead = swarm.peer(holders[3]);
    let short = &dead[dead.len() - 6..];
    assert!(told.err.contains(short), "{} is not named: {}", dead, told.err);
    assert_nothing_left_of(&to);

    // They come back, and with them the object.
    swarm.cluster.restart(holders[3]).unwrap();
    swarm.settle();
    assert!(swarm.read(0, "precious") == noise("precious", 4 * MIB));
}
