//! What goes wrong with nodes, lines and disks, and what the others make of it.

use crate::net::{Net, content, plan};
use pangea::node::hub::HubIn;
use pangea_chunks::api as chunks;
use pangea_kernel::Rejected;
use pangea_protocols::{
    PeerId,
    job::{JobEvent, Outcome},
};
use pangea_simulations::{
    plan::{Act, DiskFate, DiskFault},
    record::NodeId,
    tier::Tier,
};
use std::time::Duration;

fn done(end: &JobEvent) -> bool {
    matches!(end, JobEvent::Done { .. })
}

#[test]
fn a_holder_that_restarts_serves_what_it_had_and_remembers_its_peers() {
    let mut net = Net::settled(6, 1);
    let bytes = content(1, 1 << 20);
    net.write(0, "/source", bytes.clone());
    let stored = net.put(0, "/source");
    for node in 1..5 {
        let before = net.swarm.holdings(node);
        net.swarm.crash(node, DiskFate::Torn);
        assert!(net.swarm.actors(node).is_none());
        net.run(Duration::from_secs(5));
        net.start(node);
        assert_eq!(net.swarm.holdings(node), before, "what was acknowledged is there");
    }
    // Also the one that all others were told of: only what they have saved leads back.
    net.swarm.crash(0, DiskFate::Wiped);
    net.run(Duration::from_secs(120));
    assert!((1..6).all(|node| net.swarm.degree(node) >= 3));
    let end = net.get(5, &stored, "/sink");
    assert!(done(&end), "{end:?}");
    assert_eq!(net.read(5, "/sink"), Some(bytes));
}

#[test]
fn a_node_that_crashes_draws_differently_in_its_next_life() {
    let mut net = Net::settled(6, 2);
    let keys: Vec<_> = (0..2)
        .map(|_| {
            net.write(0, "/source", content(2, 300_000));
            let stored = net.put(0, "/source");
            net.swarm.crash(0, DiskFate::Kept);
            net.start(0);
            net.run(Duration::from_secs(60));
            stored.key
        })
        .collect();
    assert_ne!(keys[0], keys[1], "a read key was used twice");
}

#[test]
fn a_put_goes_on_while_a_holder_stands_still_and_the_holder_goes_on_after_it() {
    let mut net = Net::settled(10, 3);
    let bytes = content(3, 2 << 20);
    net.write(0, "/source", bytes.clone());
    let job = net.begin_put(0, "/source");
    net.swarm.pause(3, true);
    let end = net.end_of(0, job);
    let JobEvent::Done { outcome: Outcome::Put(stored), .. } = end else { panic!("{end:?}") };
    net.swarm.pause(3, false);
    net.run(Duration::from_secs(60));
    assert!(net.swarm.degree(3) > 0);
    let end = net.get(3, &stored, "/sink");
    assert!(done(&end), "{end:?}");
    assert_eq!(net.read(3, "/sink"), Some(bytes));
}

#[test]
fn a_partition_fails_what_cannot_be_read_and_heals() {
    let mut net = Net::settled(8, 4);
    net.write(0, "/source", content(4, 1 << 20));
    let stored = net.put(0, "/source");
    let all: Vec<NodeId> = (0..7).collect();
    let cut = net.fault(Act::Partition { from: vec![7], to: all, one_way: false });
    net.run(Duration::from_secs(30));
    assert_eq!(net.swarm.degree(7), 0);
    let end = net.get(7, &stored, "/sink");
    assert!(matches!(end, JobEvent::Failed { .. }), "{end:?}");
    net.links.end(cut);
    net.run(Duration::from_secs(120));
    let end = net.get(7, &stored, "/sink");
    assert!(done(&end), "{end:?}");
}

#[test]
fn bits_that_rot_on_one_disk_are_found_and_made_up_for() {
    let mut net = Net::settled(8, 5);
    let bytes = content(5, 2 << 20);
    net.write(0, "/source", bytes.clone());
    let stored = net.put(0, "/source");
    let holder = (1..8).max_by_key(|node| net.swarm.holdings(*node).shards.len()).unwrap();
    let before = net.swarm.holdings(holder).shards.len();
    net.swarm.disk(holder, DiskFault::Rot { places: 2 }, true);
    assert!(net.swarm.holdings(holder).shards.len() < before);
    for reader in 1..8 {
        let end = net.get(reader, &stored, "/sink");
        assert!(done(&end), "node {reader}: {end:?}");
        assert_eq!(net.read(reader, "/sink"), Some(bytes.clone()));
    }
}

#[test]
fn a_sync_that_lies_loses_what_was_acknowledged_at_a_power_loss() {
    let mut net = Net::settled(8, 6);
    for node in 0..8 {
        net.swarm.disk(node, DiskFault::LyingSync, true);
    }
    net.write(0, "/source", content(6, 1 << 20));
    net.put(0, "/source");
    let holder = (1..8).find(|node| !net.swarm.holdings(*node).shards.is_empty()).unwrap();
    net.swarm.crash(holder, DiskFate::Lost);
    assert!(net.swarm.holdings(holder).shards.is_empty());
}

#[test]
fn a_directory_is_stored_and_comes_back() {
    let mut net = Net::settled(6, 7);
    let files: Vec<(String, bytes::Bytes)> =
        (0..12).map(|n| (format!("sub{}/file{n}", n % 3), content(n, 40_000 + 1000 * n as usize))).collect();
    for (path, bytes) in &files {
        net.write(0, &format!("/tree/{path}"), bytes.clone());
    }
    let stored = net.put(0, "/tree");
    assert!(stored.directory && stored.name == "tree");
    let end = net.get(5, &stored, "/copy");
    assert!(done(&end), "{end:?}");
    for (path, bytes) in &files {
        assert_eq!(net.read(5, &format!("/copy/{path}")).as_ref(), Some(bytes), "{path}");
    }
}

#[test]
fn a_skewed_calendar_is_one_nodes_own() {
    let mut net = Net::of(plan(3), 8);
    net.swarm.skew(1, 86_400 * 30, 0);
    net.run(Duration::from_secs(600));
    // Its records are of a date that nobody believes, so only its connections lead to it.
    let told = |net: &Net, node: NodeId, about: PeerId| {
        let saved = net.swarm.tap(node).unwrap().saved_peers();
        saved.into_iter().find(|record| record.peer == about).and_then(|record| record.signed.clone())
    };
    let [one, two] = [1, 2].map(|node| net.swarm.peer(node).unwrap());
    assert!(told(&net, 0, two).is_some() && told(&net, 0, one).is_none());
}

#[test]
fn a_crashed_node_takes_no_messages() {
    let mut net = Net::settled(3, 9);
    let actors = net.swarm.actors(1).unwrap();
    net.swarm.crash(1, DiskFate::Kept);
    assert!(matches!(actors.chunks.send(chunks::In::Status { request: 1 }), Err(Rejected::Closed(_))));
    net.start(1);
    assert!(matches!(actors.chunks.send(chunks::In::Status { request: 1 }), Err(Rejected::Closed(_))));
    net.swarm.actors(1).unwrap().chunks.send(chunks::In::Status { request: 2 }).unwrap();
    net.run(Duration::from_secs(1));
    let answers = net.heard(1).into_iter().filter(|message| matches!(message, HubIn::Chunks { .. })).count();
    assert_eq!(answers, 1);
}

#[test]
fn a_path_that_is_not_there_fails_its_job_only() {
    let mut net = Net::settled(4, 10);
    let job = net.begin_put(0, "/nothing");
    let end = net.end_of(0, job);
    assert!(matches!(end, JobEvent::Failed { .. }), "{end:?}");
    net.write(0, "/source", content(10, 100_000));
    net.put(0, "/source");
}
