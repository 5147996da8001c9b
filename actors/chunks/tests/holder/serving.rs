//! Fetch and have: what a holder serves, to whom, in which order, and what it does not do.

use crate::world::*;
use bytes::Bytes;
use pangea_chunks::{
    Config,
    api::{In, Out},
};
use pangea_protocols::{
    Cid, PeerId,
    disk::{Command, Event, Failure, Meta},
    merkle::{self, GROUP_BYTES},
    net::Class,
    receipt::Receipt,
    wire::{
        Frame, Message,
        fetch::{Fetch, Item, MissingReason},
        have::Have,
        store::{Refusal, Store},
    },
};

fn read(tag: u64, leaf: &Leaf) -> Event {
    let meta = Meta { owner: BOB, kind: leaf.kind, expires_unix: 1, proof: leaf.proof.clone() };
    Event::Read { tag, meta, body: leaf.body.clone() }
}

fn missing(out: &[Out]) -> Vec<(PeerId, u64, MissingReason)> {
    let missing = |(peer, message): (&PeerId, &Message)| match message {
        Message::Fetch(Fetch::Missing { request, reason }) => Some((*peer, *request, *reason)),
        _ => None,
    };
    said(out).into_iter().filter_map(missing).collect()
}

#[test]
fn a_whole_shard_and_any_range_of_it_verify_against_the_stripe_root() {
    let mut world = World::new(config());
    let leaf = leaf(1, 5 * GROUP_BYTES + 77);
    let len = leaf.body.len() as u32;
    let group = GROUP_BYTES as u32;
    let ranges = [
        (None, 0, len),
        (Some((0, 1)), 0, group),
        (Some((group + 5, group)), group, 2 * group),
        (Some((len - 1, 1)), 5 * group, len - 5 * group),
        (Some((0, len)), 0, len),
    ];
    for (request, (range, offset, expected_len)) in (0u64..).zip(ranges) {
        let [tag] = reads(&world.get(ALICE, vec![Item { request, shard: leaf.shard, range }]))[..] else { panic!() };
        let out = world.disk(read(tag, &leaf));
        let [Out::Send { peer: ALICE, class: Class::Bulk, frame: Frame { message: Message::Fetch(found), body } }] =
            &out[..]
        else {
            panic!("{out:?}")
        };
        let Fetch::Found { request: answered, shard, stripe, range } = found else { panic!("{found:?}") };
        assert_eq!((*answered, *shard, range.offset, body.len() as u32), (request, leaf.shard, offset, expected_len));
        assert_eq!(merkle::verify(*shard, stripe, range, body), Ok(()));
    }
    assert_eq!(world.bed.core.status().served, 5);
}

#[test]
fn a_range_outside_the_shard_is_refused() {
    let mut world = World::new(config());
    let leaf = leaf(1, 100);
    for (request, range) in (0u64..).zip([(0, 0), (0, 101), (100, 1), (u32::MAX, u32::MAX)]) {
        let [tag] = reads(&world.get(ALICE, vec![Item { request, shard: leaf.shard, range: Some(range) }]))[..] else {
            panic!()
        };
        assert_eq!(missing(&world.disk(read(tag, &leaf))), [(ALICE, request, MissingReason::BadRange)]);
    }
}

#[test]
fn what_cannot_be_read_is_said_to_be_missing_with_its_reason() {
    let mut world = World::new(config());
    type Answer = fn(u64) -> Event;
    let answers: [(Answer, MissingReason); 3] = [
        (|tag| Event::Missing { tag }, MissingReason::NotHeld),
        (|tag| Event::Corrupt { tag }, MissingReason::Corrupt),
        (|tag| Event::ReadFailed { tag, error: Failure::Io("broken".into()) }, MissingReason::Busy),
    ];
    for (request, (answer, reason)) in (0u64..).zip(answers) {
        let [tag] = reads(&world.get(ALICE, vec![item(request, &leaf(1, 100))]))[..] else { panic!() };
        assert_eq!(missing(&world.disk(answer(tag))), [(ALICE, request, reason)]);
        assert!(world.disk(answer(tag)).is_empty(), "an answer that nobody waits for is ignored");
    }
}

#[test]
fn a_root_that_has_rotted_is_no_longer_announced() {
    let mut world = World::new(config());
    let root = root(1, 100);
    let [tag] = reads(&world.get(ALICE, vec![item(1, &root)]))[..] else { panic!() };
    let out = world.disk(Event::Corrupt { tag });
    assert!(out.iter().any(|out| matches!(out, Out::Unprovide { cid } if *cid == Cid(root.shard.stripe))));
}

#[test]
fn a_peer_that_asks_for_much_does_not_delay_one_that_asks_for_little() {
    let mut world = World::new(Config { reads_max: 4, reads_per_peer_max: 3, ..config() });
    let leaf = leaf(1, 100);
    let mut at_disk = reads(&world.get(ALICE, (0..40).map(|request| item(request, &leaf)).collect()));
    assert_eq!(at_disk.len(), 3, "its share");
    at_disk.extend(reads(&world.get(BOB, vec![item(1, &leaf), item(2, &leaf)])));
    assert_eq!(at_disk.len(), 4, "all places taken");
    let mut served = Vec::new();
    for _ in 0..6 {
        let out = world.disk(read(at_disk.remove(0), &leaf));
        served.extend(said(&out).iter().map(|(peer, _)| **peer));
        at_disk.extend(reads(&out));
    }
    // Both came before the other's remaining 36.
    assert_eq!(served, [ALICE, ALICE, ALICE, BOB, ALICE, BOB]);
}

#[test]
fn beyond_its_queue_a_peer_hears_busy_and_the_others_are_served() {
    let mut world = World::new(Config { reads_max: 1, waiting_per_peer_max: 2, waiting_max: 3, ..config() });
    let leaf = leaf(1, 100);
    let out = world.get(ALICE, (0..5).map(|request| item(request, &leaf)).collect());
    assert_eq!(reads(&out).len(), 1);
    assert_eq!(missing(&out), [(ALICE, 3, MissingReason::Busy), (ALICE, 4, MissingReason::Busy)]);
    let out = world.get(BOB, vec![item(1, &leaf), item(2, &leaf)]);
    assert_eq!(missing(&out), [(BOB, 2, MissingReason::Busy)], "the total");
}

#[test]
fn a_cancelled_request_is_not_answered_and_its_number_is_free() {
    let mut world = World::new(Config { reads_max: 1, ..config() });
    let leaf = leaf(1, 100);
    let [tag] = reads(&world.get(ALICE, vec![item(1, &leaf), item(2, &leaf), item(3, &leaf)]))[..] else { panic!() };
    world.hear(ALICE, Message::Fetch(Fetch::Cancel { requests: vec![1, 2, 99] }), Bytes::new());
    assert_eq!(violations(&world.get(ALICE, vec![item(1, &leaf)])), 0);
    let out = world.disk(read(tag, &leaf));
    assert!(said(&out).is_empty());
    let [third] = reads(&out)[..] else { panic!("{out:?}") };
    let out = world.disk(read(third, &leaf));
    assert!(matches!(said(&out)[..], [(_, Message::Fetch(Fetch::Found { request: 3, .. }))]));
    assert_eq!(reads(&out).len(), 1, "then the new 1");
}

#[test]
fn a_request_number_in_use_is_a_violation() {
    let mut world = World::new(config());
    let out = world.get(ALICE, vec![item(1, &leaf(1, 10)), item(1, &leaf(2, 10))]);
    assert_eq!((reads(&out).len(), violations(&out)), (1, 1));
}

#[test]
fn a_peer_that_has_gone_gets_no_answers_and_frees_its_places() {
    let mut world = World::new(Config { reads_max: 1, ..config() });
    let leaf = leaf(1, 100);
    let [tag] = reads(&world.get(ALICE, vec![item(1, &leaf), item(2, &leaf)]))[..] else { panic!() };
    let want = world.want(ALICE, 7);
    let [Out::Disk(Command::Contains { tag: asked, .. })] = want[..] else { panic!("{want:?}") };
    world.bed.send(In::Disconnected { peer: ALICE });
    assert!(world.disk(Event::Contains { tag: asked, present: vec![1] }).is_empty());
    assert!(world.disk(read(tag, &leaf)).is_empty());
    assert_eq!(reads(&world.get(BOB, vec![item(1, &leaf)])).len(), 1);
}

#[test]
fn a_want_is_answered_with_the_bits_of_the_disk_and_bounded() {
    let mut world = World::new(Config { questions_per_peer_max: 1, ..config() });
    let out = world.want(ALICE, 7);
    let [Out::Disk(Command::Contains { tag, .. })] = out[..] else { panic!("{out:?}") };
    assert!(world.want(ALICE, 8).is_empty(), "one at a time");
    let out = world.disk(Event::Contains { tag, present: vec![1] });
    assert_eq!(said(&out), [(&ALICE, &Message::Have(Have::Have { request: 7, present: vec![1] }))]);
    assert_eq!(world.bed.core.status().refused, 1);
}

#[test]
fn messages_that_are_not_for_a_holder_are_violations() {
    let mut world = World::new(config());
    let key = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
    let receipt = Receipt::sign(&key, ALICE, vec![], 0);
    let shard = leaf(1, 10).shard;
    let messages = [
        Message::Store(Store::Reserved { request: 1, grant: 1, expires_unix: 1 }),
        Message::Store(Store::Refused { request: 1, reason: Refusal::Busy }),
        Message::Store(Store::Stored { grant: 1, receipt }),
        Message::Store(Store::NotStored { grant: 1, shard, reason: Refusal::Busy }),
        Message::Store(Store::Dropped { request: 1, count: 1 }),
        Message::Fetch(Fetch::Missing { request: 1, reason: MissingReason::Busy }),
        Message::Have(Have::Have { request: 1, present: vec![] }),
    ];
    for message in messages {
        let out = world.hear(ALICE, message, Bytes::new());
        assert!(out.len() == 1 && violations(&out) == 1, "{out:?}");
    }
    let out = world.hear(ALICE, Message::Store(Store::Release { grant: 1 }), vec![0; 10]);
    assert_eq!(violations(&out), 1, "a body where none belongs");
}
