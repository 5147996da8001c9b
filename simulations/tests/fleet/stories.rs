//! Stories of a few nodes: a file is stored, something happens, the file is read.

use pangea_peers::api as peers;
use pangea_protocols::{PeerId, encoded::Profile, time::Time};
use pangea_simulations::{
    fleet::{Fleet, Level, Options},
    plan::{Act, Content, DiskFate, Do, Fault, Nat, Node, Operation, Plan, Region, TierName},
    run::{self, End, Keep},
    tier::Tier,
};
use std::collections::BTreeMap;

const SECOND: u64 = 1_000_000_000;

/// When the file is stored, something happens, and the file is read.
const STORED_MS: u64 = 60_000;
const HAPPENS_MS: u64 = 90_000;
const READ_MS: u64 = 200_000;

/// Eight nodes that know the first of them. Node 1 stores a file, node 2 reads it.
fn plan(fault: Option<(Act, u64)>, nat: impl Fn(u32) -> Nat) -> Plan {
    let nodes = (0..8).map(|id| Node {
        id,
        region: "here".to_owned(),
        start_ms: Some(u64::from(id) * 500),
        quota: 1 << 30,
        nat: nat(id),
        knows: if id == 0 { vec![] } else { vec![0] },
    });
    let put = Do::Put {
        content: Content::Random,
        bytes: 700_000,
        files: 0,
        code: None,
        profile: Profile::Fast,
        lease_s: 86_400,
    };
    let get = Do::Get { of: 1, range: None };
    let region = Region { name: "here".to_owned(), latency_ms: 20.0, jitter_ms: 5.0, loss: 0.005, uplink: None };
    Plan {
        scenario: "story".to_owned(),
        story: String::new(),
        seed: 11,
        tier: TierName::Fleet,
        warm: false,
        calm_ms: READ_MS - 20_000,
        end_ms: READ_MS + 100_000,
        read_back: false,
        harmless: false,
        reads_within_ms: None,
        without: vec![],
        sometimes: vec![],
        peers_target: 8,
        regions: vec![region],
        lines: vec![],
        nodes: nodes.collect(),
        operations: vec![
            Operation { id: 1, at_ms: STORED_MS, node: 1, what: put },
            Operation { id: 2, at_ms: READ_MS, node: 2, what: get },
        ],
        faults: fault
            .map(|(act, lasts)| Fault { id: 1, at_ms: HAPPENS_MS, until_ms: Some(HAPPENS_MS + lasts), act })
            .into_iter()
            .collect(),
    }
}

/// With QUIC, and on streams without it.
fn must_succeed(plan: &Plan) {
    for tier in [TierName::Fleet, TierName::Streams] {
        let plan = Plan { tier, ..plan.clone() };
        let (outcome, _) = run::run(&plan, Keep::default());
        assert!(outcome.is_good(), "{tier:?}: {:#?}", outcome.violations);
        assert_eq!(outcome.operations.len(), plan.operations.len());
        for operation in &outcome.operations {
            assert_eq!(operation.end, End::Ok, "{tier:?}: {operation:?}");
        }
    }
}

fn peer(key: [u8; 32]) -> PeerId {
    PeerId(ed25519_dalek::SigningKey::from_bytes(&key).verifying_key().to_bytes())
}

fn open(_: u32) -> Nat {
    Nat::Open
}

#[test]
fn a_file_comes_back_from_real_nodes() {
    must_succeed(&plan(None, open));
}

#[test]
fn a_file_comes_back_after_crashes_that_its_holders_recover_from() {
    let crash = Act::Crash { nodes: vec![3, 4, 5, 6], disk: DiskFate::Lost };
    must_succeed(&plan(Some((crash, 30_000)), open));
}

#[test]
fn a_file_comes_back_after_nodes_stood_still_longer_than_their_connections_live() {
    must_succeed(&plan(Some((Act::Pause { nodes: vec![0, 3, 4] }, 40_000)), open));
}

#[test]
fn a_file_comes_back_after_routers_gave_its_writer_and_its_reader_other_ports() {
    must_succeed(&plan(Some((Act::Rebind { nodes: vec![1, 2] }, 1_000)), open));
}

#[test]
fn a_file_comes_back_after_a_partition() {
    let partition = Act::Partition { from: vec![0, 1, 2], to: vec![3, 4, 5, 6, 7], one_way: false };
    must_succeed(&plan(Some((partition, 60_000)), open));
}

#[test]
fn nodes_behind_routers_store_and_read() {
    must_succeed(&plan(None, |id| match id {
        1 => Nat::Restricted,
        2 => Nat::Symmetric,
        _ => Nat::Open,
    }));
}

#[test]
fn a_calendar_that_is_a_minute_off_does_no_harm() {
    must_succeed(&plan(Some((Act::Skew { nodes: vec![2, 5], by_s: -60, drift_ppm: 50 }, 600_000)), open));
}

#[test]
fn what_is_left_of_a_crashed_node_ends_and_is_mute() {
    crash_ten_times(Level::Packets);
    crash_ten_times(Level::Streams);
}

fn crash_ten_times(level: Level) {
    let plan = Plan { operations: vec![], ..plan(None, open) };
    let mut fleet = Fleet::new(&plan, BTreeMap::new(), Options { level, ..Options::default() }).unwrap();
    fleet.start(&plan.nodes[0], [1; 32]);
    fleet.run_until(Time(SECOND));
    let alone = fleet.tasks_alive();
    for life in 1..=10 {
        fleet.start(&plan.nodes[1], [2; 32]);
        let Some(actors) = fleet.actors(0) else { panic!("node 0 runs") };
        let (peer, addresses) = (peer([2; 32]), vec![fleet.address(1)]);
        actors.peers.send(peers::In::Add { peer, addresses }).unwrap();
        fleet.run_until(Time((60 * life) * SECOND));
        assert!(fleet.network(0).unwrap().metrics().connections > 0, "life {life}");
        fleet.crash(1, DiskFate::Kept);
        let said = |fleet: &Fleet| fleet.internet().counts().sent;
        fleet.pause(0, true);
        let before = said(&fleet);
        fleet.run_until(Time((60 * life + 10) * SECOND));
        assert_eq!(said(&fleet), before, "somebody spoke who is dead or stands still");
        fleet.pause(0, false);
        fleet.run_until(Time((60 * life + 50) * SECOND));
    }
    // A task that every life left behind would be ten; some see to what node 0 still waits for.
    assert!(fleet.tasks_alive() < alone + 5, "{} tasks, {alone} when alone", fleet.tasks_alive());
}

#[test]
fn connections_that_nobody_uses_are_kept_and_not_made_again() {
    let plan = Plan { operations: vec![], ..plan(None, open) };
    let mut fleet =
        Fleet::new(&plan, BTreeMap::new(), Options { level: Level::Streams, ..Options::default() }).unwrap();
    for node in &plan.nodes {
        fleet.start(node, [node.id as u8 + 1; 32]);
    }
    let opened = |fleet: &Fleet| -> Vec<u64> {
        plan.nodes.iter().map(|node| fleet.network(node.id).unwrap().metrics().connections_opened).collect()
    };
    for node in &plan.nodes[1..] {
        let actors = fleet.actors(node.id).unwrap();
        let (peer, addresses) = (peer([1; 32]), vec![fleet.address(0)]);
        actors.peers.send(peers::In::Add { peer, addresses }).unwrap();
    }
    fleet.run_until(Time(120 * SECOND));
    let before = opened(&fleet);
    assert!(before.iter().all(|count| *count >= 1), "{before:?}");
    fleet.run_until(Time(840 * SECOND));
    assert_eq!(opened(&fleet), before);
}

#[test]
fn a_warm_fleet_is_connected_from_the_beginning() {
    let mut warm = Plan { warm: true, ..plan(None, open) };
    for node in &mut warm.nodes {
        (node.start_ms, node.knows) = (Some(0), vec![]);
    }
    must_succeed(&warm);
}
