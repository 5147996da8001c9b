//! Holders that lie, lose, fall silent, go away and come back.

use crate::{
    object::{Object, Plan, peer},
    world::{TIMEOUT, Vice, World},
};
use pangea_protocols::{
    job::ErrorKind,
    time::Time,
    wire::{Message, fetch::Fetch},
};
use pangea_transfer::api::Report;
use std::time::Duration;

const PLAN: Plan = Plan { k: 4, m: 2, stripes: 30, shard_len: 4096, height: None, zero_every: 0, holders: 6 };

/// Two of six holders have this vice: as many shards of every stripe as there is parity.
fn with_two(vice: Vice) -> World {
    let mut world = World::new(Object::new(PLAN)).vice(2, vice).vice(5, vice);
    world.get(&[1]);
    world
}

#[test]
fn as_many_bad_holders_as_parity_shards_do_no_harm() {
    let vices = [
        Vice::Dead,
        Vice::Silent,
        Vice::LyingBytes,
        Vice::WrongProof,
        Vice::Missing,
        Vice::Corrupt,
        Vice::Busy(5),
        Vice::Slow(5000),
    ];
    for vice in vices {
        let mut world = with_two(vice);
        assert!(world.is_whole(), "{vice:?}: {:?}", world.failed);
        assert!(world.bed.now() < Time(0) + Duration::from_secs(3), "{vice:?} costs {}", world.bed.now());
        world.close();
    }
}

#[test]
fn liars_are_reported_once_asked_no_more_and_their_shards_healed() {
    for vice in [Vice::LyingBytes, Vice::WrongProof] {
        let mut world = with_two(vice);
        for liar in [2, 5] {
            let reports =
                world.reports.iter().filter(|(who, report)| (*who, *report) == (peer(liar), Report::BadProof));
            assert_eq!(reports.count(), 1, "{vice:?}");
        }
        assert!(world.tallies.last().unwrap().2 > 0, "healed is counted");
        assert!(!world.reports.iter().any(|(who, r)| *who == peer(2) && matches!(r, Report::Delivered { .. })));
        world.close();
    }
}

#[test]
fn lost_shards_are_reported_and_counted_as_healed() {
    let mut world = with_two(Vice::Corrupt);
    assert!(world.reports.contains(&(peer(2), Report::Lost)));
    assert!(world.tallies.last().unwrap().2 > 0);
    world.close();
}

#[test]
fn one_bad_holder_too_many_is_told_with_its_cause() {
    let cases = [
        (Vice::LyingBytes, ErrorKind::Integrity, "wrong bytes"),
        (Vice::WrongProof, ErrorKind::Integrity, "wrong bytes"),
        (Vice::Dead, ErrorKind::Unreachable, "cannot reach"),
        (Vice::Missing, ErrorKind::Unreachable, "lost at their holders"),
        (Vice::Silent, ErrorKind::Unreachable, "3 of the 4 shards"),
    ];
    for (vice, kind, words) in cases {
        let mut world = World::new(Object::new(PLAN)).vice(2, vice).vice(4, vice).vice(5, vice);
        world.get(&[1]);
        let error = world.failed.clone().expect("fails");
        assert_eq!(error.kind, kind, "{vice:?}: {error}");
        assert!(error.message.contains(words), "{vice:?}: {error}");
        assert!(error.message.contains("of 30"), "{vice:?}: {error}");
        world.close();
    }
}

#[test]
fn one_slow_holder_is_outrun_by_a_hedge() {
    let mut world = World::new(Object::new(PLAN)).vice(2, Vice::Slow(60_000));
    world.connect_all();
    world.get(&[1]);
    assert!(world.is_whole());
    assert!(world.last_stripe_at < Time(0) + Duration::from_millis(700), "took {}", world.last_stripe_at);
    let hedged = world.tallies.last().unwrap().3;
    assert!((1..=30).contains(&hedged), "{hedged} hedges");
    let cancelled = world
        .sent
        .iter()
        .any(|(to, message)| *to == peer(2) && matches!(message, Message::Fetch(Fetch::Cancel { .. })));
    assert!(cancelled, "the slow holder is told that its answers are not wanted");
    world.close();
}

#[test]
fn a_slow_holder_is_avoided_once_it_is_known() {
    let plan = Plan { k: 4, m: 2, stripes: 300, shard_len: 64 << 10, ..PLAN };
    let mut world = World::new(Object::new(plan)).vice(2, Vice::Slow(60_000));
    world.connect_all();
    world.get(&[1]);
    assert!(world.is_whole());
    let hedged = world.tallies.last().unwrap().3;
    assert!(hedged <= 100, "{hedged} hedges for 300 stripes: it is asked again and again");
    world.close();
}

#[test]
fn an_even_load_on_a_thin_line_is_not_hedged_much() {
    let plan = Plan { k: 4, m: 2, stripes: 100, shard_len: 64 << 10, ..PLAN };
    let mut world = World::new(Object::new(plan));
    world.holders.values_mut().for_each(|holder| holder.rate = 500_000);
    world.get(&[1]);
    assert!(world.is_whole());
    let (_, shards, _, hedged) = *world.tallies.last().unwrap();
    assert_eq!(shards, 400);
    assert!(hedged <= 80, "{hedged} hedges for 400 shards");
    world.close();
}

#[test]
fn a_fast_holder_gets_more_of_the_work() {
    // All shards are at all holders' places alike, but two holders are 20 times slower: parity replaces them.
    let plan = Plan { k: 4, m: 2, stripes: 200, shard_len: 64 << 10, ..PLAN };
    let mut world = World::new(Object::new(plan));
    for (name, holder) in &mut world.holders {
        holder.rate = if [peer(1), peer(2)].contains(name) { 1_000_000 } else { 20_000_000 };
    }
    world.get(&[3]);
    assert!(world.is_whole());
    let bytes =
        |who| world.reports.iter().filter(|(name, r)| *name == who && matches!(r, Report::Delivered { .. })).count();
    assert!(bytes(peer(1)) * 3 < bytes(peer(4)), "{} to {}", bytes(peer(1)), bytes(peer(4)));
    world.close();
}

#[test]
fn holders_that_go_away_in_the_middle_are_replaced() {
    let mut world = World::new(Object::new(PLAN));
    world.holders.values_mut().for_each(|holder| holder.rate = 100_000);
    world.cut(Duration::from_millis(100), 3);
    world.cut(Duration::from_millis(200), 6);
    world.get(&[1]);
    assert!(world.is_whole(), "{:?}", world.failed);
    world.close();
}

#[test]
fn a_holder_that_comes_back_within_the_timeout_saves_the_job() {
    let mut world = World::new(Object::new(PLAN)).vice(2, Vice::Dead).vice(3, Vice::Dead).vice(4, Vice::Dead);
    world.bring_back(Duration::from_secs(20), 3);
    world.get(&[1]);
    assert!(world.is_whole(), "{:?}", world.failed);
    assert!(world.bed.now() < Time(0) + TIMEOUT);
    world.close();
}

#[test]
fn a_down_holder_is_dialled_again_only_a_few_times() {
    let mut world = World::new(Object::new(PLAN)).vice(2, Vice::Dead).vice(3, Vice::Dead).vice(4, Vice::Dead);
    world.get(&[1]);
    assert!(world.failed.is_some());
    let frames = world.sent.iter().filter(|(to, _)| *to == peer(2)).count();
    assert!((2..=10).contains(&frames), "{frames} frames to a dead holder");
    world.close();
}

#[test]
fn shards_that_were_moved_are_found_by_asking() {
    let mut object = Object::new(PLAN);
    let moved: Vec<_> =
        [2, 3, 4].iter().map(|n| object.shelves.insert(peer(*n), Default::default()).unwrap()).collect();
    let shelf = moved.into_iter().flatten().collect();
    object.shelves.insert(peer(9), shelf);
    let mut world = World::new(object);
    world.connect_all();
    world.get(&[1]);
    assert!(world.is_whole(), "{:?}", world.failed);
    world.close();
}

#[test]
fn a_busy_holder_that_is_needed_is_asked_again() {
    let mut world = World::new(Object::new(PLAN)).vice(2, Vice::Dead).vice(3, Vice::Dead).vice(4, Vice::Busy(40));
    world.get(&[1]);
    assert!(world.is_whole(), "{:?}", world.failed);
    world.close();
}
