//! `pangea demo` as a process: it ends well, and however it ends, nothing of it is left.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
};

fn demo(dir: &Path, file: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pangea"));
    // A setting of the user's own node must not reach the demo's nodes.
    command.args(["demo", "--nodes", "4"]).arg(file).env("TMPDIR", dir).env("PANGEA_NETWORK_LISTEN", "no address");
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Process ids of the nodes that run below `dir`.
fn nodes(dir: &Path) -> Vec<Pid> {
    let demos = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let homes = demos.flat_map(|demo| fs::read_dir(demo).unwrap()).map(|entry| entry.unwrap().path());
    let locks = homes.filter_map(|home| fs::read_to_string(home.join("lock")).ok());
    locks.filter_map(|lock| Pid::from_raw(lock.trim().parse().ok()?)).collect()
}

#[test]
fn what_comes_back_is_what_was_stored() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, vec![7; 3_000_000]).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pangea"));
    let output =
        command.args(["demo", "--nodes", "7", "--json"]).arg(&file).env("TMPDIR", dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let story = &report["stories"][0];
    assert_eq!((&story["intact"], &story["bytes"]), (&true.into(), &3_000_000.into()), "{report}");
    assert!(!story["killed"].as_array().unwrap().is_empty(), "no node was killed: {report}");
    fs::remove_file(&file).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "the demo left files behind");
}

#[test]
fn a_signal_ends_the_demo_its_nodes_and_its_files() {
    // Large enough that the demo is busy with it when the signal comes.
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("file");
    fs::write(&file, vec![7; 32 << 20]).unwrap();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = demo(dir.path(), &file);
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("found each other") {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "the demo ended by itself");
        }
        let nodes = nodes(dir.path());
        assert_eq!(nodes.len(), 4);
        kill_process(Pid::from_child(&child), signal).unwrap();
        output.read_to_string(&mut line).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal:?}");
        assert!(nodes.iter().all(|node| test_kill_process(*node).is_err()), "{signal:?} left nodes running");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{signal:?} left files behind");
    }
}
