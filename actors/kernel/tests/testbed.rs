//! The testbed's promises about timers, on which every actor's tests rest.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code, reason = "each test binary uses its part")]
mod probe;

use pangea_kernel::testbed::Testbed;
use pangea_protocols::time::Time;
use probe::{Do, Heard, Probe};
use proptest::prelude::*;
use std::time::Duration;

fn bed() -> Testbed<Probe> {
    Testbed::new(Probe { life: 1, said: 0 })
}

fn numbers(heard: Vec<Heard>) -> Vec<u32> {
    let said = heard.into_iter().map(|heard| match heard {
        Heard::Said { number, .. } => number,
        other => panic!("unexpected {other:?}"),
    });
    said.collect()
}

#[test]
fn a_timer_fires_at_its_time_and_not_before() {
    let mut bed = bed();
    bed.send(Do::SayAfter(10, 1));
    assert_eq!(bed.next_timer(), Some(Time(10_000_000)));
    assert!(bed.advance(Duration::from_nanos(9_999_999)).is_empty());
    assert_eq!(numbers(bed.advance(Duration::from_nanos(1))), [1]);
    assert_eq!(bed.next_timer(), None);
}

#[test]
fn a_cancelled_timer_does_not_fire_and_cancelling_a_fired_one_does_nothing() {
    let mut bed = bed();
    bed.send(Do::SayAfter(10, 1));
    bed.send(Do::SayAfter(20, 2));
    bed.send(Do::SayAfter(30, 3));
    bed.send(Do::Cancel(1));
    bed.advance(Duration::from_millis(10));
    bed.send(Do::Cancel(0));
    assert_eq!(numbers(bed.advance(Duration::from_secs(1))), [3]);
}

proptest! {
    #[test]
    fn timers_fire_by_time_then_in_the_order_they_were_set(delays in prop::collection::vec(0u64..5, 0..40)) {
        let mut bed = bed();
        let mut expected: Vec<(u64, u32)> = delays.iter().copied().zip(0..).collect();
        for (delay, number) in &expected {
            bed.send(Do::SayAfter(*delay, *number));
        }
        expected.sort_unstable();
        let expected: Vec<u32> = expected.into_iter().map(|(_, number)| number).collect();
        prop_assert_eq!(numbers(bed.advance(Duration::from_millis(5))), expected);
    }
}
