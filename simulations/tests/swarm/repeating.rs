//! What makes a run repeat: the same seed gives the same run, and what one node does not do changes nothing for others.

use crate::net::{Net, content, plan};
use pangea_protocols::time::Time;
use pangea_simulations::{
    observer::{Findings, Sight, Watch, Who},
    plan::{DiskFate, Plan},
    record::NodeId,
    tier::Tier,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

type Digests = Arc<Mutex<BTreeMap<NodeId, blake3::Hasher>>>;

/// Hashes all that every node does.
struct Digest(Digests);

impl Watch for Digest {
    fn name(&self) -> &'static str {
        "digest"
    }

    fn see(&mut self, at: Time, node: Option<NodeId>, _: &Who, sight: Sight<'_>, _: &mut Findings) {
        if let Some(node) = node {
            self.0.lock().unwrap().entry(node).or_default().update(format!("{at} {sight:?}\n").as_bytes());
        }
    }
}

/// A story with a put, a crash, a restart and a get, and the digest of every node.
fn story(plan: Plan, seed: u64) -> BTreeMap<NodeId, String> {
    let mut net = Net::of(plan, seed);
    let digests = Digests::default();
    net.observer.add(Digest(Arc::clone(&digests)));
    net.run(Duration::from_secs(200));
    net.write(0, "/source", content(7, 700_000));
    let stored = net.put(0, "/source");
    net.swarm.crash(2, DiskFate::Torn);
    net.run(Duration::from_secs(30));
    net.start(2);
    net.run(Duration::from_secs(10));
    net.get(3, &stored, "/sink");
    net.run(Duration::from_secs(100));
    let digests = digests.lock().unwrap();
    digests.iter().map(|(node, digest)| (*node, digest.finalize().to_hex().to_string())).collect()
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let first = story(plan(8), 7);
    assert_eq!(first, story(plan(8), 7));
    assert_ne!(first, story(plan(8), 8));
    assert_eq!(first.len(), 8);
}

#[test]
fn a_node_that_nobody_meets_changes_nothing_for_the_others() {
    let mut with_hermit = plan(8);
    with_hermit.nodes[7].knows.clear();
    let mut without = with_hermit.clone();
    without.nodes.truncate(7);
    let mut first = story(with_hermit, 7);
    first.remove(&7);
    assert_eq!(first, story(without, 7));
}

#[test]
fn two_hundred_nodes_begin_warm_and_store_at_once() {
    let mut plan = plan(200);
    plan.warm = true;
    let mut net = Net::of(plan, 1);
    net.run(Duration::from_secs(60));
    net.write(0, "/source", content(1, 400_000));
    let stored = net.put(0, "/source");
    assert_eq!(stored.missing_shards, 0);
    net.get(199, &stored, "/sink");
    assert_eq!(net.read(199, "/sink"), Some(content(1, 400_000)));
}
