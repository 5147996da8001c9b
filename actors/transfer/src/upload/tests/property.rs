//! Whatever the holders do, every put ends, and what it promises is true.

use super::world::{JOB, Manner, World};
use crate::api::{Redundancy, upload::In};
use pangea_protocols::{job::JobEvent, wire::store::Refusal};
use proptest::prelude::*;
use std::time::Duration;

fn manner() -> impl Strategy<Value = Manner> {
    prop_oneof![
        8 => Just(Manner::Honest),
        1 => prop_oneof![Just(Refusal::Quota), Just(Refusal::Busy), Just(Refusal::Denied)].prop_map(Manner::Refusing),
        1 => Just(Manner::Silent),
        1 => Just(Manner::Dead),
        1 => (20u64..20_000).prop_map(|ms| Manner::Slow(Duration::from_millis(ms))),
        1 => (1u32..60).prop_map(Manner::Lying),
        2 => (1u32..90, any::<bool>()).prop_map(|(after, back)| Manner::Leaving(after, back)),
        1 => (0u32..90).prop_map(Manner::Full),
        1 => Just(Manner::Busy),
        1 => (2u32..40).prop_map(Manner::Forgetful),
        1 => (2u64..6).prop_map(Manner::Jammed),
    ]
}

fn redundancy() -> impl Strategy<Value = Redundancy> {
    prop_oneof![
        3 => Just(Redundancy::Auto),
        1 => (1u8..12, 0u8..8).prop_map(|(k, m)| Redundancy::Fixed { k, m }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_put_ends_and_a_done_one_is_durable(
        manners in prop::collection::vec(manner(), 0..24), later in 0u8..4, stripes in 0u64..40, zero_every in 0u64..5,
        redundancy in redundancy(), seed: u64,
    ) {
        let mut world = World::new(&manners, stripes, seed);
        world.source.zero_every = zero_every;
        (0..later).for_each(|number| world.add_later(100 + number, Manner::Honest));
        if let JobEvent::Done { .. } = world.run(redundancy) {
            world.assert_durable();
        }
        world.assert_clean();
    }

    #[test]
    fn with_a_spare_for_every_faulty_holder_the_put_succeeds_in_full(
        faulty in prop::collection::vec(manner(), 0..6), peers in 2usize..9, stripes in 1u64..30, seed: u64,
    ) {
        let mut manners = vec![Manner::Honest; peers];
        manners.extend(&faulty);
        let mut world = World::new(&manners, stripes, seed);
        (0..faulty.len() as u8).for_each(|number| world.add_later(100 + number, Manner::Honest));
        world.run(Redundancy::Auto);
        world.assert_durable();
        prop_assert_eq!(world.stored().missing_shards, 0);
        world.assert_clean();
    }

    #[test]
    fn a_put_that_is_cancelled_at_any_time_leaves_nothing_here(
        manners in prop::collection::vec(manner(), 1..12), stripes in 0u64..60, after_ms in 0u64..30_000, seed: u64,
    ) {
        let mut world = World::new(&manners, stripes, seed);
        world.put(Redundancy::Auto);
        world.run_for(Duration::from_millis(after_ms));
        if !world.over() {
            world.deliver(In::Cancel { job: JOB });
        }
        prop_assert!(world.over());
        world.assert_clean();
        world.run_rest();
        world.assert_clean();
    }
}
