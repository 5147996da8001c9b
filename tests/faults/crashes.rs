//! `kill -9`, at moments that progress decides: what `put` has acknowledged stays, what it has not leaves nothing in
//! the way.

use super::swarm::{Swarm, assert_nothing_left_of, eventually, names, noise, seeded};
use rustix::process::Signal;
use serde_json::Value;
use std::{fs, path::Path};

const MIB: usize = 1 << 20;

/// Holders that are stopped, and go on when this is dropped: what is read from them stays under way.
pub struct Frozen<'a> {
    swarm: &'a Swarm,
    nodes: Vec<usize>,
}

impl<'a> Frozen<'a> {
    /// The last `count` holders of an object.
    pub fn holders(swarm: &'a Swarm, stored: &Value, count: usize) -> Self {
        let holders = swarm.holders(stored);
        let nodes = holders[holders.len() - count..].to_vec();
        nodes.iter().for_each(|number| swarm.signal(*number, Signal::STOP));
        Self { swarm, nodes }
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.nodes.iter().for_each(|number| self.swarm.signal(*number, Signal::CONT));
    }
}

/// A code for four holders: each has a copy of the root, and none has enough shards to read alone.
pub const ALL_HAVE_THE_ROOT: [&str; 4] = ["--data", "3", "--parity", "3"];

/// Waits until the node has begun to write a result.
pub fn wait_for_part(to: &Path) {
    let name = to.file_name().unwrap().to_str().unwrap();
    let begun = |found: &String| found.contains(name) && found.contains("pangea-part");
    eventually("the node has begun to write", || names(to.parent().unwrap()).iter().any(begun));
    assert!(!to.exists());
}

/// What `put` has acknowledged: name, ticket, length.
type Acknowledged = Vec<(String, String, usize)>;

/// Node 0 is who the others know: it stays. Node 1 puts.
const UPLOADER: usize = 1;
const NODES: usize = 7;

/// One put that loses `victim` after some of it is stored; the victim comes back in the end.
fn put_while_killing(swarm: &mut Swarm, round: usize, victim: usize, acknowledged: &mut Acknowledged) {
    let name = format!("object {round}");
    let bytes = 4 * MIB + seeded(&name, MIB);
    let path = swarm.file(&name, bytes);
    let code = ["--data", "3", "--parity", "2"];
    let arguments = [&["put", path.to_str().unwrap(), "--json", "--progress"], &code[..]].concat();
    let mut put = swarm.begin(UPLOADER, &arguments);
    put.says("progress", 1 + seeded(&format!("moment {round}"), 4));
    swarm.cluster.kill(victim);
    let told = put.end();
    if told.code() == Some(0) {
        acknowledged.push((name, told.json()["ticket"].as_str().unwrap().to_owned(), bytes));
    } else {
        assert_eq!(victim, UPLOADER, "a put did not survive the loss of a holder: {}", told.err);
        assert_eq!(told.code(), Some(4), "{}", told.err);
    }
    swarm.cluster.restart(victim).unwrap();
    // Others may wait a while before they dial it again; enough of them are there for the next put.
    eventually("the uploader has enough peers", || {
        swarm.status(UPLOADER)["peers_connected"].as_u64().unwrap() >= NODES as u64 - 2
    });
}

#[test]
fn what_was_acknowledged_survives_the_crash_of_holders_and_of_the_uploader() {
    let mut swarm = Swarm::of(NODES);
    let mut acknowledged = Acknowledged::new();
    for round in 0..6 {
        let victim = if round % 2 == 0 { 2 + seeded(&format!("victim {round}"), NODES - 2) } else { UPLOADER };
        put_while_killing(&mut swarm, round, victim, &mut acknowledged);
        // The catalog is whole, and has nothing that was not acknowledged under another object's name.
        let listed = swarm.cli(UPLOADER, &["ls", "--json"]).ok().json_lines();
        for (name, ..) in &acknowledged {
            assert!(
                listed.iter().any(|stored| stored["name"] == **name),
                "round {round}: {name} is not in the catalog"
            );
        }
    }
    assert!(acknowledged.len() >= 3, "{acknowledged:?}");
    for (name, ticket, bytes) in &acknowledged {
        assert!(swarm.read(0, ticket) == noise(name, *bytes), "{name}");
    }
    // A put that lost a holder while it ran still promises that any one more may be lost.
    swarm.cluster.kill(UPLOADER + 1 + seeded("last", NODES - UPLOADER - 1));
    for (name, _, bytes) in &acknowledged {
        assert!(swarm.read(UPLOADER, name) == noise(name, *bytes), "{name}");
    }
}

#[test]
fn a_get_that_is_killed_leaves_no_file_under_the_name_and_the_next_one_succeeds() {
    let mut swarm = Swarm::of(5);
    let bytes = 3 * MIB;
    let reader = 1;
    let stored = swarm.put(reader, &swarm.file("big", bytes), &ALL_HAVE_THE_ROOT);
    assert_eq!(swarm.holders(&stored).len(), 4);
    let ticket = stored["ticket"].as_str().unwrap();
    let to = swarm.dir.path().join("result");
    let get = ["get", ticket, to.to_str().unwrap(), "--timeout", "20s"];

    // The command is killed: its node cleans up.
    let frozen = Frozen::holders(&swarm, &stored, 3);
    let running = swarm.begin(reader, &get);
    wait_for_part(&to);
    drop(running);
    eventually("the node has removed the part", || !names(swarm.dir.path()).iter().any(|name| name.contains("result")));
    drop(frozen);
    swarm.cli(reader, &get).ok();
    assert!(fs::read(&to).unwrap() == noise("big", bytes));
    fs::remove_file(&to).unwrap();

    // The node is killed: nobody can clean up, and nothing is in the way of the next get.
    let frozen = Frozen::holders(&swarm, &stored, 3);
    let running = swarm.begin(reader, &get);
    wait_for_part(&to);
    drop(frozen);
    swarm.cluster.kill(reader);
    let told = running.end();
    if told.code() != Some(0) {
        told.fails(4, &["node"]);
        assert!(!to.exists());
    }
    let _ = fs::remove_file(&to);
    swarm.cluster.restart(reader).unwrap();
    swarm.settle();
    swarm.cli(reader, &get).ok();
    assert!(fs::read(&to).unwrap() == noise("big", bytes));
    fs::remove_file(&to).unwrap();
    assert_nothing_left_of(&swarm.dir.path().join("result that never was"));
}
