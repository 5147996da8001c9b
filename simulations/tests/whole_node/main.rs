//! Whole nodes on the virtual clock, wired by the page that wires them in production: a file is stored, a holder
//! dies, the file comes back. The same seed gives the same run, event for event.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod node;

use node::{Net, Node};
use pangea_ces::api as ces;
use pangea_protocols::{
    JobId,
    encoded::Profile,
    files::{Sink, Source},
    job::{JobEvent, Outcome, Stored},
    time::Time,
};
use pangea_simulations::World;
use pangea_transfer::api::{Redundancy, download, upload};
use std::{path::PathBuf, time::Duration};

const SECOND: u64 = 1_000_000_000;

/// Bytes that do not compress and depend on the seed.
fn content(seed: u64, length: usize) -> bytes::Bytes {
    let mut bytes = vec![0; length];
    pangea_kernel::Seed::new([seed as u8; 32]).derive("content").draw().fill(&mut bytes);
    bytes.into()
}

fn put(net: &Net, at: &Node) -> Stored {
    let source = Source::Path(PathBuf::from("/source"));
    let lease = Duration::from_secs(3600);
    let put = upload::In::Put { job: JobId(1), source, redundancy: Redundancy::Auto, profile: Profile::Fast, lease };
    at.actors.uploads.send(put).unwrap();
    match net.end_of(at, JobId(1)) {
        JobEvent::Done { outcome: Outcome::Put(stored), .. } => stored,
        other => panic!("{other:?}"),
    }
}

fn get(net: &Net, at: &Node, stored: &Stored) -> JobEvent {
    let job = JobId(2);
    let sink = Sink::Path { path: PathBuf::from("/sink"), overwrite: false };
    let decode = ces::In::Decode { job, key: stored.key.clone(), only: ces::Selection::All, sink };
    at.actors.ces.send(decode).unwrap();
    let open = download::In::Open { job, cid: stored.cid, hints: vec![], timeout: Duration::from_secs(30) };
    at.actors.downloads.send(open).unwrap();
    net.end_of(at, job)
}

/// Eight nodes, one put, `dead` holders killed, one get. Returns what came back, the digest and the virtual time.
fn story(seed: u64, dead: usize) -> (JobEvent, bool, String, Time) {
    let net = Net::start(World::new(seed).digested(), 8);
    let bytes = content(seed, (2 << 20) + 12_345);
    net.nodes[0].files.write("/source", bytes.clone());
    let stored = put(&net, &net.nodes[0]);
    assert_eq!(stored.missing_shards, 0);
    let reader = &net.nodes[7];
    let victims = net.nodes[1..7].iter().filter(|node| stored.holders.contains(&node.peer)).take(dead);
    victims.for_each(|victim| net.network.kill(victim.peer));
    let end = get(&net, reader, &stored);
    let intact = reader.files.read("/sink".as_ref()) == Some(bytes);
    (end, intact, net.world.digest().unwrap().to_string(), net.world.now())
}

#[test]
fn a_file_comes_back_after_as_many_holders_die_as_the_code_tolerates() {
    for seed in 0..4 {
        // Seven holders get three shards of a stripe each, so the loss of one (three of four parity shards) is healed.
        let (end, intact, _, _) = story(seed, 1);
        assert!(matches!(end, JobEvent::Done { .. }), "seed {seed}: {end:?}");
        assert!(intact, "seed {seed}: other bytes came back");
    }
}

#[test]
fn one_death_too_many_is_an_error_that_says_so_and_never_wrong_bytes() {
    let (end, intact, _, _) = story(0, 2);
    let JobEvent::Failed { error, .. } = end else { panic!("{end:?}") };
    assert!(error.message.contains("of the 16 shards"), "{error}");
    assert!(!intact);
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let (_, _, first, took) = story(7, 1);
    let (_, _, again, took_again) = story(7, 1);
    assert_eq!((first.as_str(), took), (again.as_str(), took_again));
    let (_, _, other, _) = story(8, 1);
    assert_ne!(first, other);
}

#[test]
fn a_put_and_a_get_survive_a_holder_that_dies_under_them() {
    for seed in 0..12 {
        let net = Net::start(World::new(seed), 10);
        let bytes = content(seed, 5 << 20);
        net.nodes[0].files.write("/source", bytes.clone());
        let mut fate = pangea_kernel::Seed::new([seed as u8; 32]).derive("fate").draw();
        let victim = fate.choose(&net.nodes[1..9]).unwrap().peer;
        // Nine holders get up to three shards of a stripe each, so one death at any moment is healed: while the file
        // is being stored, between, or while it is being read.
        net.die_within(victim, Duration::from_millis(fate.below(2_000)));
        let stored = put(&net, &net.nodes[0]);
        let end = get(&net, &net.nodes[9], &stored);
        assert!(matches!(end, JobEvent::Done { .. }), "seed {seed}: {end:?}");
        assert_eq!(net.nodes[9].files.read("/sink".as_ref()), Some(bytes), "seed {seed}");
    }
}

#[test]
fn nothing_is_left_behind_once_an_object_is_removed() {
    let net = Net::start(World::new(3), 6);
    net.nodes[0].files.write("/source", content(3, 3 << 20));
    let stored = put(&net, &net.nodes[0]);
    assert!(net.nodes.iter().map(|node| node.disk.len()).sum::<usize>() > 60);
    let remove = download::In::Remove { job: JobId(3), cid: stored.cid, hints: vec![] };
    net.nodes[0].actors.downloads.send(remove).unwrap();
    let end = net.end_of(&net.nodes[0], JobId(3));
    assert!(
        matches!(&end, JobEvent::Done { outcome: Outcome::Removed { unreachable, .. }, .. } if unreachable.is_empty())
    );
    net.world.run_until(Time(net.world.now().0 + SECOND));
    assert!(net.nodes.iter().all(|node| node.disk.is_empty()));
}
