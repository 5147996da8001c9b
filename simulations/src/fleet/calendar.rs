//! [`Calendar`]: what date a node believes it is. It survives its crashes, as the clock of a machine does.

use crate::timeline::Timeline;
use pangea_protocols::time::{Time, UnixTime};
use std::sync::{Arc, Mutex, PoisonError};

/// The calendar of one node. Clones are the same one.
#[derive(Clone)]
pub(super) struct Calendar {
    timeline: Timeline,
    error: Arc<Mutex<Error>>,
}

/// How far it is off: `by_s` at `since`, and from then on `drift_ppm` seconds more in a million.
#[derive(Clone, Copy, Default)]
struct Error {
    since: Time,
    by_s: i64,
    drift_ppm: i64,
}

impl Calendar {
    /// The right one.
    pub(super) fn new(timeline: Timeline) -> Self {
        Self { timeline, error: Arc::default() }
    }

    /// From now on it is off by this much, and drifts.
    pub(super) fn set(&self, by_s: i64, drift_ppm: i64) {
        let since = self.timeline.now();
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Error { since, by_s, drift_ppm };
    }

    /// What it says now.
    pub(super) fn read(&self) -> UnixTime {
        let now = self.timeline.now();
        let Error { since, by_s, drift_ppm } = *self.error.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = i64::try_from(now.since(since).as_secs()).unwrap_or(i64::MAX);
        let drifted = passed.saturating_mul(drift_ppm) / 1_000_000;
        UnixTime(Timeline::unix(now).0.saturating_add_signed(by_s.saturating_add(drifted)))
    }
}
