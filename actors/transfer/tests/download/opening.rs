//! Finding and opening the root block.

use crate::{
    object::{Object, Plan, peer, place},
    world::{JOB, TIMEOUT, Vice, World, hints_of},
};
use pangea_protocols::{JobId, PeerId, job::ErrorKind, manifest::Content, time::Time, wire::Message};
use pangea_transfer::api::{Report, download::In};
use std::time::Duration;

fn world() -> World {
    World::new(Object::new(Plan::default()))
}

fn millis(time: Time) -> u64 {
    time.0 / 1_000_000
}

#[test]
fn a_hint_is_enough_and_the_first_stripe_takes_two_round_trips() {
    let mut world = world();
    world.connect_all();
    world.get(&[1]);
    assert!(world.is_whole());
    assert_eq!(millis(world.first_stripe_at.unwrap()), 20, "10 ms for the root, 10 ms for the shards");
    assert_eq!(world.parity_used, 0, "data shards suffice, nothing to decode");
    world.close();
}

#[test]
fn without_hints_a_connected_peer_is_found_by_asking() {
    let mut world = world();
    world.connect_all();
    world.get(&[]);
    assert!(world.is_whole());
    world.close();
}

#[test]
fn without_hints_and_connections_the_dht_finds_it() {
    let mut world = world();
    world.providers = vec![peer(2)];
    world.get(&[]);
    assert!(world.is_whole());
    world.close();
}

#[test]
fn the_manifest_says_where_its_holders_are() {
    let mut world = world();
    world.get(&[1]);
    assert!(world.is_whole());
    for n in 2..=6 {
        assert_eq!(world.dials[&peer(n)], [place(peer(n))], "nobody has to be searched for");
    }
    world.close();
}

#[test]
fn a_dead_hint_does_not_hold_up_a_live_one() {
    let mut world = world().vice(1, Vice::Dead).vice(2, Vice::Silent);
    world.get(&[1, 2, 3]);
    assert!(world.is_whole());
    assert!(millis(world.first_stripe_at.unwrap()) < 500, "one hedge for the root, one for a shard");
    world.close();
}

#[test]
fn a_silent_hint_does_not_hold_up_a_peer_that_says_it_has_it() {
    let mut world = world().vice(1, Vice::Silent);
    world.connect_all();
    world.get(&[1]);
    assert!(world.is_whole());
    assert!(millis(world.first_stripe_at.unwrap()) < 450);
    world.close();
}

#[test]
fn wrong_root_bytes_are_reported_and_the_next_source_is_asked() {
    let mut world = world().vice(1, Vice::LyingBytes);
    world.get(&[1, 2]);
    assert!(world.is_whole());
    assert!(world.reports.contains(&(peer(1), Report::BadProof)));
    world.close();
}

#[test]
fn a_manifest_that_announces_more_memory_than_content_is_refused() {
    let mut object = Object::new(Plan::default());
    let Content::Stripes(records) = &mut object.root.content else { panic!("a small object") };
    records[1].shard_len = 1 << 20;
    object.reseal();
    let mut world = World::new(object);
    world.get(&[1]);
    assert_eq!(world.failed.clone().unwrap().kind, ErrorKind::Integrity);
    world.close();
}

#[test]
fn a_leaf_in_the_wrong_place_is_refused() {
    let mut object = Object::new(Plan { stripes: 600, height: Some(0), ..Plan::default() });
    let Content::Tree { children, .. } = &mut object.root.content else { panic!("a tree") };
    children.swap(0, 1);
    object.reseal();
    let mut world = World::new(object);
    world.get(&[1]);
    assert_eq!(world.failed.clone().unwrap().kind, ErrorKind::Integrity);
    assert!(world.delivered.is_empty());
    world.close();
}

#[test]
fn if_all_that_were_asked_do_not_have_it_it_is_not_found() {
    let mut world = world();
    world.holders.values_mut().for_each(|holder| holder.shelf.clear());
    world.connect_all();
    world.get(&[1]);
    let error = world.failed.clone().unwrap();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    assert!(world.bed.now() < Time(0) + Duration::from_secs(5), "does not wait for the timeout");
    world.close();
}

#[test]
fn if_nobody_can_be_asked_it_is_unreachable_after_the_timeout() {
    let mut world = world();
    world.holders.values_mut().for_each(|holder| holder.vice = Vice::Dead);
    world.get(&[1, 2]);
    let error = world.failed.clone().unwrap();
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    assert!(error.message.contains(&peer(1).short()), "{error}");
    assert_eq!(world.bed.now(), Time(0) + TIMEOUT);
    world.close();
}

#[test]
fn a_hint_that_is_down_makes_it_unreachable_even_if_others_do_not_have_it() {
    let mut world = world().vice(1, Vice::Dead);
    world.holders.values_mut().for_each(|holder| holder.shelf.clear());
    world.connect_all();
    world.get(&[1]);
    assert_eq!(world.failed.clone().unwrap().kind, ErrorKind::Unreachable);
    world.close();
}

#[test]
fn a_holder_that_connects_late_is_still_asked() {
    let mut world = world();
    world.holders.values_mut().for_each(|holder| holder.vice = Vice::Dead);
    (1..=6).for_each(|n| world.bring_back(Duration::from_secs(12), n));
    world.get(&[1]);
    assert!(world.is_whole());
    world.close();
}

#[test]
fn more_jobs_than_slots_fail_at_once_and_slots_are_used_again() {
    let mut world = world();
    let cid = world.object.cid;
    let open = |n: u64| In::Open { job: JobId(n), cid, hints: Vec::new(), timeout: TIMEOUT };
    for n in 100..164 {
        world.send(open(n));
    }
    assert!(world.failed.is_none());
    world.send(open(164));
    assert_eq!(world.failed.take().unwrap().kind, ErrorKind::Failed);
    world.send(In::Close { job: JobId(100) });
    world.send(open(165));
    assert!(world.failed.is_none());
    for n in 100..=165 {
        world.send(In::Close { job: JobId(n) });
    }
    assert!(world.bed.core.is_idle());
}

#[test]
fn messages_that_nobody_asked_for_change_nothing() {
    let mut world = world();
    world.connect_all();
    world.get(&[1]);
    let stranger = PeerId([99; 32]);
    let (_, before) = (world.close(), world.sent.len());
    for job in [JOB, JobId(77)] {
        world.send(In::Need { job, stripes: 0..u64::MAX });
        world.send(In::Consumed { job, index: u64::MAX });
        world.send(In::Ranked { job, candidates: Vec::new() });
    }
    let answers: Vec<Message> = world.sent.iter().map(|(_, message)| message.clone()).collect();
    for message in answers {
        let frame = pangea_protocols::wire::Frame::bare(message);
        world.send(In::Received { peer: stranger, frame });
    }
    for id in [0, 1, 64, 65, 128, u64::MAX] {
        world.send(In::Sent { peer: stranger, tag: id });
        world.send(In::Providers { query: id, providers: vec![(stranger, Vec::new())], done: true });
    }
    assert_eq!(world.sent.len(), before);
    assert!(world.bed.core.is_idle());
}

#[test]
fn closing_while_the_search_runs_takes_back_what_was_sent() {
    let mut world = world().vice(1, Vice::Silent);
    let cid = world.object.cid;
    world.send(In::Open { job: JOB, cid, hints: hints_of(&[1, 2]), timeout: TIMEOUT });
    world.close();
    while world.step() {}
    assert!(world.root.is_none() && world.failed.is_none());
}
