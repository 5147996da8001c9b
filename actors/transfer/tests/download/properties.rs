//! Whatever holders do: every job ends, delivered shards verify (the world checks each), nothing is left behind.

use crate::{
    object::{Object, Plan},
    world::{Vice, World},
};
use proptest::prelude::*;
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
enum Fault {
    Change(u64, u8, Vice),
    Cut(u64, u8),
    Return(u64, u8),
}

fn vice() -> impl Strategy<Value = Vice> {
    prop_oneof![
        4 => Just(Vice::None),
        1 => Just(Vice::Silent),
        1 => Just(Vice::Dead),
        1 => (1u64..4000).prop_map(Vice::Slow),
        1 => Just(Vice::LyingBytes),
        1 => Just(Vice::WrongProof),
        1 => Just(Vice::Missing),
        1 => Just(Vice::Corrupt),
        1 => (1u32..30).prop_map(Vice::Busy),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    let (at, who) = (0u64..5000, 1u8..=6);
    prop_oneof![
        (at.clone(), who.clone(), vice()).prop_map(|(at, who, vice)| Fault::Change(at, who, vice)),
        (at.clone(), who.clone()).prop_map(|(at, who)| Fault::Cut(at, who)),
        (at, who).prop_map(|(at, who)| Fault::Return(at, who)),
    ]
}

fn build(plan: Plan, vices: &[Vice], faults: &[Fault], rate: u64) -> World {
    let mut world = World::new(Object::new(plan));
    for (n, vice) in (1..).zip(vices) {
        world = world.vice(n, *vice);
    }
    world.holders.values_mut().for_each(|holder| holder.rate = rate);
    for fault in faults {
        match *fault {
            Fault::Change(at, who, vice) => world.change(Duration::from_millis(at), who, vice),
            Fault::Cut(at, who) => world.cut(Duration::from_millis(at), who),
            Fault::Return(at, who) => world.bring_back(Duration::from_millis(at), who),
        }
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_download_ends_and_leaves_nothing(
        vices in prop::collection::vec(vice(), 6),
        faults in prop::collection::vec(fault(), 0..12),
        rate in prop_oneof![Just(0u64), 20_000u64..2_000_000],
        height in prop_oneof![Just(None), Just(Some(0u8)), Just(Some(1u8))],
    ) {
        let plan = Plan { k: 4, m: 2, stripes: 40, shard_len: 4096, height, zero_every: 6, holders: 6 };
        let mut world = build(plan, &vices, &faults, rate);
        world.get(&[1, 2, 3]);
        prop_assert!(world.is_whole() != world.failed.is_some(), "ended: {:?}", world.failed);
        world.close();
    }

    #[test]
    fn two_bad_holders_of_six_never_matter(
        first in vice(), second in vice(), pair in (3u8..=5, 6u8..=6), rate in prop_oneof![Just(0u64), 50_000u64..2_000_000],
    ) {
        let plan = Plan { k: 4, m: 2, stripes: 40, shard_len: 4096, height: None, zero_every: 0, holders: 6 };
        let mut world = build(plan, &[], &[], rate).vice(pair.0, first).vice(pair.1, second);
        world.get(&[1, 2]);
        prop_assert!(world.is_whole(), "{:?}", world.failed);
        world.close();
    }

    #[test]
    fn every_removal_ends_and_leaves_nothing(
        vices in prop::collection::vec(vice(), 6),
        faults in prop::collection::vec(fault(), 0..8),
        height in prop_oneof![Just(None), Just(Some(1u8))],
    ) {
        let plan = Plan { k: 4, m: 2, stripes: 600, shard_len: 64, height, zero_every: 6, holders: 6 };
        // A tree is made for more records than a root block takes.
        let plan = if height.is_none() { Plan { stripes: 100, ..plan } } else { plan };
        let mut world = build(plan, &vices, &faults, 0);
        world.remove(&[1, 2, 3]);
        prop_assert!(world.removed.is_some() != world.failed.is_some());
        prop_assert!(world.bed.core.is_idle());
        prop_assert_eq!(world.bed.next_timer(), None);
    }
}
