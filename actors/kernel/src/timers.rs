//! [`Timers`]: the pending timers of one core, in the order in which they fire.
//!
//! Not a clock and not a sleep: whoever runs the core asks when the next one is due. actix would poll one future per
//! timer at every wake; a shell has one sleep for all of them.

use crate::core::TimerId;
use pangea_protocols::time::Time;
use std::collections::BTreeMap;

/// Fires by time, and timers of the same time in the order in which they were set.
pub(crate) struct Timers<E> {
    due: BTreeMap<(Time, TimerId), E>,
    at: BTreeMap<TimerId, Time>,
}

impl<E> Timers<E> {
    pub(crate) fn new() -> Self {
        Self { due: BTreeMap::new(), at: BTreeMap::new() }
    }

    pub(crate) fn set(&mut self, timer: TimerId, at: Time, event: E) {
        self.at.insert(timer, at);
        self.due.insert((at, timer), event);
    }

    /// One that has fired, or never was, is ignored.
    pub(crate) fn cancel(&mut self, timer: TimerId) {
        if let Some(at) = self.at.remove(&timer) {
            self.due.remove(&(at, timer));
        }
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the first timer that is due at `now`.
    pub(crate) fn pop(&mut self, now: Time) -> Option<(Time, E)> {
        let first = self.due.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((at, timer), event) = first.remove_entry();
        self.at.remove(&timer);
        Some((at, event))
    }
}
