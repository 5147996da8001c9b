//! When an unreachable peer is dialled again.
//!
//! Five minutes, doubling up to an hour; a pinned peer (bootstrap, or added by the user) starts at one second, so that
//! a network whose nodes start together finds itself. Every delay is drawn from ±25% around its step: nodes that lost
//! a peer at the same moment do not come back at the same moment.

use pangea_kernel::{Draw, planted};
use std::time::Duration;

/// First delay of an ordinary peer.
pub const FIRST: Duration = Duration::from_secs(300);
/// Longest step.
pub const LONGEST: Duration = Duration::from_secs(3600);
/// First delay of a pinned peer.
pub const FIRST_PINNED: Duration = Duration::from_secs(1);
/// Longest step while no peer at all is connected: then there is no stampede to fear, and somebody waits.
pub const LONGEST_ISOLATED: Duration = Duration::from_secs(60);

/// The step before jitter after `failures` dials in a row have failed (1 or more).
pub fn step(failures: u32, pinned: bool) -> Duration {
    let doublings = if planted!("dialled-without-backoff") { 0 } else { failures.saturating_sub(1) };
    let quick = FIRST_PINNED.saturating_mul(1u32.checked_shl(doublings).unwrap_or(u32::MAX));
    if pinned && quick < FIRST {
        return quick;
    }
    // The quick steps of a pinned peer end after 9 failures (256 s): its slow ones count from there.
    let slow = if pinned { doublings.saturating_sub(9) } else { doublings };
    FIRST.saturating_mul(1u32.checked_shl(slow).unwrap_or(u32::MAX)).min(LONGEST)
}

/// `step` ± 25%, uniformly.
pub fn jittered(step: Duration, draw: &mut Draw) -> Duration {
    step.mul_f64(0.75 + draw.unit() / 2.0)
}

/// How long after the end of a session a peer is dialled again.
pub fn reconnect(pinned: bool, draw: &mut Draw) -> Duration {
    if pinned { jittered(Duration::from_secs(2), draw) } else { jittered(Duration::from_secs(20), draw) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_kernel::Seed;
    use proptest::prelude::*;

    #[test]
    fn steps_double_from_five_minutes_to_an_hour() {
        let steps: Vec<u64> = (1..=7).map(|n| step(n, false).as_secs()).collect();
        assert_eq!(steps, [300, 600, 1200, 2400, 3600, 3600, 3600]);
    }

    #[test]
    fn a_pinned_peer_is_tried_again_after_one_second_then_two() {
        let steps: Vec<u64> = (1..=14).map(|n| step(n, true).as_secs()).collect();
        assert_eq!(steps, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 600, 1200, 2400, 3600]);
    }

    #[test]
    fn a_thousand_peers_that_fail_together_do_not_come_back_together() {
        let mut per_second = std::collections::BTreeMap::<u64, u32>::new();
        for node in 0..1000u32 {
            let mut draw = Seed::new([7; 32]).derive(&node.to_string()).draw();
            *per_second.entry(jittered(step(1, false), &mut draw).as_secs()).or_default() += 1;
        }
        // 150 seconds of spread: 6.7 a second on average; a stampede would be 1,000.
        assert!(per_second.values().all(|count| *count <= 25), "{per_second:?}");
        assert!(per_second.len() >= 140);
    }

    proptest! {
        #[test]
        fn a_delay_stays_within_a_quarter_of_its_step(failures in 0..u32::MAX, pinned: bool, seed: [u8; 32]) {
            let step = step(failures, pinned);
            prop_assert!((FIRST_PINNED..=LONGEST).contains(&step));
            let delay = jittered(step, &mut Seed::new(seed).draw());
            prop_assert!(delay >= step.mul_f64(0.7499) && delay <= step.mul_f64(1.2501));
        }
    }
}
