//! [`Testbed`]: one core on a virtual clock, for tests.
//!
//! ```
//! # use pangea_kernel::{Core, Cx, testbed::Testbed};
//! # use std::time::Duration;
//! struct Echo;
//! impl Core for Echo {
//!     type In = u32;
//!     type Out = u32;
//!     fn on(&mut self, cx: &mut Cx<'_, Self>, event: u32) {
//!         if event == 1 { cx.after(Duration::from_secs(5), 2); } else { cx.emit(event); }
//!     }
//! }
//! let mut bed = Testbed::new(Echo);
//! assert!(bed.send(1).is_empty());
//! assert_eq!(bed.advance(Duration::from_secs(5)), [2]);
//! ```

use crate::{
    core::{Core, CxState, Effect},
    draw::{Draws, Seed},
    timers::Timers,
};
use pangea_protocols::time::{Time, UnixTime};
use std::time::Duration;

/// Calendar time at the start of every testbed: 2026-01-01.
pub const EPOCH: UnixTime = UnixTime(1_767_225_600);

/// Drives one core.
pub struct Testbed<C: Core> {
    /// The core, open to inspection.
    pub core: C,
    state: CxState<C>,
    now: Time,
    timers: Timers<C::In>,
}

impl<C: Core> Testbed<C> {
    /// A core at time zero with seed zero.
    pub fn new(core: C) -> Self {
        Self::with_seed(core, 0)
    }

    /// A core at time zero. `start` has been called; its effects are delivered with the first event's.
    pub fn with_seed(mut core: C, seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut state = CxState::new(Draws::new(Seed::new(bytes)));
        core.start(&mut state.cx(Time(0), EPOCH));
        Self { core, state, now: Time(0), timers: Timers::new() }
    }

    /// Now, on the virtual clock.
    pub fn now(&self) -> Time {
        self.now
    }

    /// When the next timer is due.
    pub fn next_timer(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Delivers one event and returns what the core emitted.
    pub fn send(&mut self, event: C::In) -> Vec<C::Out> {
        let unix = EPOCH + self.now.since(Time(0));
        self.core.on(&mut self.state.cx(self.now, unix), event);
        self.collect()
    }

    /// Moves the clock, firing due timers in order, and returns what the core emitted.
    pub fn advance(&mut self, duration: Duration) -> Vec<C::Out> {
        let until = self.now + duration;
        let mut emitted = self.collect();
        while let Some((at, event)) = self.timers.pop(until) {
            self.now = self.now.max(at);
            emitted.extend(self.send(event));
        }
        self.now = until;
        emitted
    }

    fn collect(&mut self) -> Vec<C::Out> {
        let mut emitted = Vec::new();
        for effect in self.state.take_effects() {
            match effect {
                Effect::Emit(out) => emitted.push(out),
                Effect::After { timer, at, event } => self.timers.set(timer, at, event),
                Effect::Cancel(timer) => self.timers.cancel(timer),
            }
        }
        emitted
    }
}
