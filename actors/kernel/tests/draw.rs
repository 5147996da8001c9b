//! Randomness: every stream stands for itself, and stays what it is from one version to the next.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use pangea_kernel::{Seed, draw::Draws};
use proptest::prelude::*;

const PURPOSES: [&str; 4] = ["dial", "nonce", "jitter", "placement"];

/// Recorded flights and scenarios replay only while these values stand.
#[test]
fn streams_have_their_golden_values() {
    let seed = Seed::new([0; 32]);
    let mut draw = seed.draw();
    assert_eq!([draw.u64(), draw.u64()], GOLDEN_ROOT);
    let mut draws = Draws::new(seed.actor("peers", 0));
    assert_eq!([draws.stream("dial").u64(), draws.stream("dial").u64()], GOLDEN_DIAL);
    assert_eq!(draws.stream("jitter").below(1000), GOLDEN_BELOW);
}

/// The keystream of ChaCha20 with a key and nonce of zeroes (RFC 8439, appendix A.1, test vector 1).
const GOLDEN_ROOT: [u64; 2] = [0x903d_f1a0_ade0_b876, 0x28bd_8653_e56a_5d40];
const GOLDEN_DIAL: [u64; 2] = [14_940_264_246_930_936_088, 16_370_325_682_064_216_542];
const GOLDEN_BELOW: u64 = 117;

#[test]
fn every_item_is_sampled_about_as_often_as_any_other() {
    let (mut draw, mut taken) = (Seed::new([3; 32]).draw(), [0u32; 10]);
    for _ in 0..1000 {
        let mut items: Vec<usize> = (0..10).collect();
        draw.sample(&mut items, 3);
        items.iter().for_each(|item| taken[*item] += 1);
    }
    // 300 each on average, with a standard deviation of 14.5.
    assert!(taken.iter().all(|times| (230..370).contains(times)), "{taken:?}");
}

#[test]
fn actors_and_lives_have_streams_of_their_own() {
    let seed = Seed::new([1; 32]);
    let firsts = [("a", 0), ("a", 1), ("b", 0), ("a0", 0)].map(|(name, life)| seed.actor(name, life).draw().u64());
    for (index, first) in firsts.iter().enumerate() {
        assert!(!firsts[..index].contains(first));
    }
}

proptest! {
    /// Drawing for one purpose, however often and whenever, leaves all others as they are.
    #[test]
    fn streams_of_different_purposes_do_not_disturb_each_other(
        seed: [u8; 32],
        order in prop::collection::vec(0..PURPOSES.len(), 0..64),
        removed in 0..PURPOSES.len(),
    ) {
        let run = |keep: &dyn Fn(usize) -> bool| {
            let mut draws = Draws::new(Seed::new(seed));
            let kept = order.iter().filter(|purpose| keep(**purpose));
            kept.map(|purpose| (*purpose, draws.stream(PURPOSES[*purpose]).u64())).collect::<Vec<_>>()
        };
        let mut all = run(&|_| true);
        all.retain(|(purpose, _)| *purpose != removed);
        prop_assert_eq!(all, run(&|purpose| purpose != removed));
    }

    #[test]
    fn numbers_stay_within_their_bounds(seed: [u8; 32], bound: u64) {
        let mut draw = Seed::new(seed).draw();
        prop_assert!(draw.below(bound) < bound.max(1));
        prop_assert!((0.0..1.0).contains(&draw.unit()));
    }

    #[test]
    fn a_sample_has_the_size_asked_for_and_every_item_once_at_most(seed: [u8; 32], length in 0usize..50, count in 0usize..60) {
        let mut items: Vec<usize> = (0..length).collect();
        Seed::new(seed).draw().sample(&mut items, count);
        prop_assert_eq!(items.len(), count.min(length));
        items.sort_unstable();
        items.dedup();
        prop_assert_eq!(items.len(), count.min(length));
    }

    #[test]
    fn a_shuffle_keeps_every_item(seed: [u8; 32], length in 0usize..50) {
        let mut items: Vec<usize> = (0..length).collect();
        let mut draw = Seed::new(seed).draw();
        draw.shuffle(&mut items);
        prop_assert_eq!(draw.choose(&items).is_some(), length > 0);
        items.sort_unstable();
        prop_assert_eq!(items, (0..length).collect::<Vec<_>>());
    }
}
