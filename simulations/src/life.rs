//! [`Life`]: one run of a node's process, from its start to its crash. While it is paused, everything that would happen
//! in it waits, in order; after its end, nothing does.

use crate::timeline::{Entry, Timeline};
use pangea_kernel::{Port, Rejected, testbed::EPOCH};
use pangea_protocols::time::{Time, UnixTime};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU8, Ordering::Relaxed},
};

const RUNS: u8 = 0;
const STANDS: u8 = 1;
const IS_OVER: u8 = 2;

/// The life of a process. Clones are the same life.
#[derive(Clone)]
pub struct Life(Arc<Shared>);

struct Shared {
    timeline: Timeline,
    phase: AtomicU8,
    held: Mutex<Vec<Entry>>,
}

impl Life {
    pub(crate) fn new(timeline: Timeline) -> Self {
        Self(Arc::new(Shared { timeline, phase: AtomicU8::new(RUNS), held: Mutex::default() }))
    }

    /// True after the end.
    pub fn is_over(&self) -> bool {
        self.0.phase.load(Relaxed) == IS_OVER
    }

    /// True while it stands still.
    pub fn is_paused(&self) -> bool {
        self.0.phase.load(Relaxed) == STANDS
    }

    /// A port into the node: what comes while it stands still is handed on when it goes on. What the receiver then has
    /// no room for is lost.
    pub fn port<M: Send + 'static>(&self, to: Port<M>) -> Port<M> {
        let life = self.clone();
        Port::new(move |message| match life.0.phase.load(Relaxed) {
            RUNS => to.send(message),
            STANDS => {
                let to = to.clone();
                life.hold(Entry::Call(Box::new(move || {
                    let _ = to.send(message);
                })));
                Ok(())
            }
            _ => Err(Rejected::Closed(message)),
        })
    }

    /// Keeps an entry until the node goes on.
    pub(crate) fn hold(&self, entry: Entry) {
        self.held().push(entry);
    }

    /// Stands still, or goes on: what was held happens now.
    pub(crate) fn pause(&self, paused: bool) {
        let (from, to) = if paused { (RUNS, STANDS) } else { (STANDS, RUNS) };
        if self.0.phase.compare_exchange(from, to, Relaxed, Relaxed).is_err() || paused {
            return;
        }
        let held = std::mem::take(&mut *self.held());
        let now = self.0.timeline.now();
        for entry in held {
            self.0.timeline.insert(now, entry);
        }
    }

    /// The process has ended.
    pub(crate) fn end(&self) {
        self.0.phase.store(IS_OVER, Relaxed);
        let held = std::mem::take(&mut *self.held());
        // Dropped without the lock: what is held may own ports of this node.
        drop(held);
    }

    fn held(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A machine's calendar, which may be wrong. It outlives crashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    /// Seconds that it is ahead.
    ahead_s: i64,
    /// What it gains on top, in millionths.
    drift_ppm: i64,
    /// Since when it drifts.
    since: Time,
}

impl Calendar {
    /// Off by `by_s` seconds from `now` on, and drifting.
    pub fn skewed(now: Time, by_s: i64, drift_ppm: i64) -> Self {
        Self { ahead_s: by_s, drift_ppm, since: now }
    }

    /// The date that it shows.
    pub fn unix(&self, now: Time) -> UnixTime {
        let true_s = EPOCH.0.saturating_add(now.0 / 1_000_000_000);
        let drifted =
            i128::from(now.0.saturating_sub(self.since.0)) * i128::from(self.drift_ppm) / 1_000_000_000_000_000;
        let off = i64::try_from(drifted).unwrap_or(i64::MAX).saturating_add(self.ahead_s);
        UnixTime(true_s.saturating_add_signed(off))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000_000_000;

    #[test]
    fn a_calendar_shows_the_true_date_unless_it_is_skewed_and_drifts_from_then_on() {
        assert_eq!(Calendar::default().unix(Time(DAY)), UnixTime(EPOCH.0 + 86_400));
        let wrong = Calendar::skewed(Time(DAY), -3600, 500);
        assert_eq!(wrong.unix(Time(DAY)), UnixTime(EPOCH.0 + 86_400 - 3600));
        assert_eq!(wrong.unix(Time(2 * DAY)), UnixTime(EPOCH.0 + 2 * 86_400 - 3600 + 43));
    }
}
