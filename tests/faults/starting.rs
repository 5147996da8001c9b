//! What keeps a node from starting, and how it stops.

use super::{
    swarm::{PANGEA, Swarm},
    told::Told,
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

fn pangea(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PANGEA);
    command.arg("--home").arg(home).args(arguments);
    command.env("PANGEA_NETWORK_LISTEN", "127.0.0.1:0").env("PANGEA_NETWORK_MDNS", "false");
    command
}

fn run(home: &Path, arguments: &[&str]) -> Told {
    Told::by(pangea(home, arguments))
}

fn initialised(dir: &tempfile::TempDir) -> PathBuf {
    let home = dir.path().join("home");
    run(&home, &["init"]).ok();
    home
}

#[test]
fn a_wrong_settings_file_is_refused_with_the_line_that_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let home = initialised(&dir);
    for (text, words) in [
        ("[network]\nmdns = false\nlistne = []\n", ["line 3", "listne"]),
        ("[storage]\n\nquota = \"much\"\n", ["line 3", "much"]),
        ("[network\n", ["line 1", "config.toml"]),
        ("\n\u{1}\u{2}binary", ["line 2", "config.toml"]),
    ] {
        fs::write(home.join("config.toml"), text).unwrap();
        run(&home, &["node"]).fails(2, &words);
        run(&home, &["config", "check"]).fails(2, &words);
    }
}

#[test]
fn a_wrong_environment_is_refused_with_the_variable_that_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let home = initialised(&dir);
    for (name, value, word) in [
        ("PANGEA_NETWORK_MDNS", "perhaps", "perhaps"),
        ("PANGEA_STORAGE_QUOTA", "much", "much"),
        ("PANGEA_LOG_FORMAT", "xml", "xml"),
        ("PANGEA_STORAGE_QUOTTA", "1GiB", "quota"),
    ] {
        for arguments in [["node", "--json"], ["config", "check"]] {
            let mut command = pangea(&home, &arguments);
            command.env(name, value);
            let told = Told::by(command).fails(2, &[name]);
            assert!(told.err.contains(word), "{}", told.err);
        }
    }
    // What others call PANGEA_ is none of our business.
    let mut command = pangea(&home, &["config", "check"]);
    command.env("PANGEA_BACKUP_DIR", "/x");
    Told::by(command).ok();
}

#[test]
fn a_home_that_others_can_read_is_refused_with_the_command_that_closes_it() {
    let dir = tempfile::tempdir().unwrap();
    let home = initialised(&dir);
    fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
    run(&home, &["node"]).fails(6, &["can be read by others", "chmod 700"]);
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(home.join("identity.key"), fs::Permissions::from_mode(0o644)).unwrap();
    run(&home, &["node"]).fails(6, &["identity.key", "chmod 600"]);
}

#[test]
fn without_a_home_or_a_node_every_command_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("nothing here");
    run(&home, &["node"]).fails(3, &["pangea init"]);
    run(&home, &["id"]).fails(3, &["pangea init"]);
    let home = initialised(&dir);
    run(&home, &["init"]).fails(6, &["exists already"]);
    for arguments in [&["status"][..], &["put", PANGEA], &["get", "x"], &["ls"], &["peers"], &["rm", "x"], &["stop"]] {
        run(&home, arguments).fails(4, &["no node runs in", "pangea node"]);
    }
    // A node that was killed leaves its socket behind.
    fs::write(home.join("control.sock"), "").unwrap();
    assert_ne!(run(&home, &["status"]).code(), Some(0));
}

#[test]
fn a_running_node_keeps_its_home_and_its_port_and_gives_both_back_when_it_is_stopped() {
    let mut swarm = Swarm::of(1);
    let home = swarm.home(0).to_owned();
    let pid = swarm.cluster.pid(0).unwrap().to_string();
    run(&home, &["node"]).fails(6, &["in use by another node", &pid]);
    swarm.status(0);

    let address = swarm.cluster.members()[0].ready.addresses[0].clone();
    let port = address.split('/').nth(4).unwrap();
    let socket = format!("127.0.0.1:{port}");
    let other = swarm.dir.path().join("other");
    run(&other, &["init"]).ok();
    run(&other, &["node", "--listen", &socket]).fails(1, &[&socket, "in use"]);

    // What `stop` has ended can be started at once, on the same port: nothing of it is left.
    for _ in 0..4 {
        swarm.cli(0, &["stop"]).ok();
        assert_eq!(swarm.cluster.wait(0).unwrap().code(), Some(0));
        swarm.cli(0, &["status"]).fails(4, &["no node runs in"]);
        swarm.cluster.restart(0).unwrap();
    }
    for _ in 0..3 {
        swarm.cli(0, &["stop", "--json"]).ok();
        // Not even waiting for the process.
        swarm.cluster.restart(0).unwrap();
    }
    // Ctrl-C is as good.
    swarm.signal(0, rustix::process::Signal::INT);
    assert_eq!(swarm.cluster.wait(0).unwrap().code(), Some(0));
}
