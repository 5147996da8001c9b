//! Neither a flooded mailbox nor a core that keeps itself busy may starve timers, the mailbox or other actors.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code, reason = "each test binary uses its part")]
mod probe;

use pangea_kernel::{ActixHost, Core, Cx, Host, Options, Slot};
use probe::{Do, config, pass, paused, probe};
use serde::{Deserialize, Serialize};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

const INTERVAL: Duration = Duration::from_millis(10);

/// A flood that nobody interrupts ends after so many messages, so that a starving test fails and does not hang.
const FLOOD: u64 = 300_000;

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Event {
    Message,
    Tick,
}

/// Sends itself a message for every message, and has a 10 ms interval.
struct Flooded;

impl Core for Flooded {
    type In = Event;
    type Out = Event;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        cx.after(INTERVAL, Event::Tick);
    }

    fn on(&mut self, cx: &mut Cx<'_, Self>, event: Event) {
        if let Event::Tick = event {
            cx.after(INTERVAL, Event::Tick);
        }
        cx.emit(event);
    }
}

#[derive(Clone, Default)]
struct Counts {
    messages: Arc<AtomicU64>,
    ticks: Arc<AtomicU64>,
}

fn flood(host: &ActixHost) -> Counts {
    let slot = host.slot::<Flooded>("flooded", Options::default());
    let (myself, counts) = (slot.port(), Counts::default());
    let (first, seen) = (myself.clone(), counts.clone());
    host.start(
        slot,
        || Flooded,
        move |out| match out {
            Event::Message if seen.messages.fetch_add(1, Relaxed) < FLOOD => myself.send(Event::Message).unwrap(),
            Event::Message => (),
            Event::Tick => {
                seen.ticks.fetch_add(1, Relaxed);
            }
        },
    );
    first.send(Event::Message).unwrap();
    counts
}

#[test]
fn a_10_ms_timer_fires_on_time_while_the_mailbox_is_flooded() {
    paused(async {
        let counts = flood(&ActixHost::new(config()));
        // The shell gets to run between two advances only if it yields.
        tokio::task::yield_now().await;
        for _ in 0..20 {
            tokio::time::advance(INTERVAL).await;
            tokio::task::yield_now().await;
        }
        let messages = counts.messages.load(Relaxed);
        assert!(messages < FLOOD, "the flood ran to its end before anything else could");
        assert!(messages > 20 * 64, "there was no flood");
        assert_eq!(counts.ticks.load(Relaxed), 20);
    });
}

#[test]
fn another_actor_is_served_while_one_is_flooded() {
    paused(async {
        let host = ActixHost::new(config());
        let counts = flood(&host);
        let (port, ear) = probe(&host, "other", Options::default());
        for number in 0..5 {
            port.send(Do::Say(number)).unwrap();
            while ear.said().len() <= number as usize && counts.messages.load(Relaxed) < FLOOD {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(ear.said().len(), 5);
        assert!(counts.messages.load(Relaxed) < FLOOD);
    });
}

#[test]
fn a_core_that_sets_timers_of_no_delay_for_ever_still_gets_its_messages() {
    paused(async {
        let (port, ear) = probe(&ActixHost::new(config()), "spinning", Options::default());
        port.send(Do::Spin).unwrap();
        tokio::task::yield_now().await;
        port.send(Do::Say(1)).unwrap();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(ear.said(), [(1, 1)]);
    });
}

#[test]
fn timers_fire_in_order_of_time_and_cancelled_ones_do_not() {
    paused(async {
        let (port, ear) = probe(&ActixHost::new(config()), "timed", Options::default());
        for event in [Do::SayAfter(30, 3), Do::SayAfter(10, 1), Do::SayAfter(20, 2), Do::SayAfter(10, 11)] {
            port.send(event).unwrap();
        }
        pass(15).await;
        assert_eq!(ear.said(), [(1, 1), (11, 1)]);
        port.send(Do::Cancel(2)).unwrap();
        // A timer that is set while the shell sleeps for a later one shortens that sleep.
        port.send(Do::SayAfter(1, 12)).unwrap();
        pass(2).await;
        assert_eq!(ear.said(), [(1, 1), (11, 1), (12, 1)]);
        pass(60_000).await;
        assert_eq!(ear.said(), [(1, 1), (11, 1), (12, 1), (3, 1)]);
    });
}

#[test]
fn a_timer_beyond_the_range_of_the_executors_timers_neither_fires_nor_spins() {
    paused(async {
        let (port, ear) = probe(&ActixHost::new(config()), "patient", Options::default());
        port.send(Do::SayAfter(u64::MAX, 1)).unwrap();
        for _year in 0..4 {
            pass(1000 * 3600 * 24 * 365).await;
        }
        assert_eq!(ear.said(), []);
    });
}
