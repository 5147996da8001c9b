//! [`Intensity`]: what becomes of an actor whose core has panicked.
//!
//! Erlang's rule: a few failures within a window are repaired by a restart, more of them are the parent's business.
//! Restarts are spaced by a back-off that doubles with every failure inside the window. The deed is in [`crate::shell`].

use pangea_protocols::time::Time;
use std::{collections::VecDeque, time::Duration};

/// The first pause before a restart.
pub(crate) const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest pause before a restart.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// What to do about a failure.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Rebuild the core after this pause.
    Restart(Duration),
    /// Stop the actor and tell the node.
    Escalate,
}

/// Remembers the failures within the window; never more than `restarts_max` of them.
pub struct Intensity {
    restarts_max: u32,
    window: Duration,
    failures: VecDeque<Time>,
}

impl Intensity {
    /// At most `restarts_max` within `window` are repaired.
    pub fn new(restarts_max: u32, window: Duration) -> Self {
        Self { restarts_max, window, failures: VecDeque::new() }
    }

    /// Counts a failure at `now`.
    pub fn failed(&mut self, now: Time) -> Verdict {
        self.failures.retain(|at| now.since(*at) < self.window);
        let earlier = u32::try_from(self.failures.len()).unwrap_or(u32::MAX);
        if earlier >= self.restarts_max {
            return Verdict::Escalate;
        }
        self.failures.push_back(now);
        let doubled = 1u32.checked_shl(earlier).unwrap_or(u32::MAX);
        Verdict::Restart(BACKOFF_MIN.saturating_mul(doubled).min(BACKOFF_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Time {
        Time(secs * 1_000_000_000)
    }

    #[test]
    fn pauses_double_up_to_ten_seconds() {
        let mut intensity = Intensity::new(100, Duration::from_secs(60));
        let pauses: Vec<u128> = (0..9)
            .map(|_| match intensity.failed(at(1)) {
                Verdict::Restart(pause) => pause.as_millis(),
                Verdict::Escalate => 0,
            })
            .collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    }

    #[test]
    fn one_failure_more_than_tolerated_in_the_window_escalates() {
        let mut intensity = Intensity::new(2, Duration::from_secs(60));
        assert_eq!(intensity.failed(at(0)), Verdict::Restart(BACKOFF_MIN));
        assert_eq!(intensity.failed(at(59)), Verdict::Restart(BACKOFF_MIN * 2));
        assert_eq!(intensity.failed(at(59)), Verdict::Escalate);
    }

    #[test]
    fn failures_older_than_the_window_are_forgiven() {
        let mut intensity = Intensity::new(1, Duration::from_secs(60));
        assert_eq!(intensity.failed(at(0)), Verdict::Restart(BACKOFF_MIN));
        assert_eq!(intensity.failed(at(60)), Verdict::Restart(BACKOFF_MIN));
    }

    #[test]
    fn with_no_restarts_allowed_the_first_failure_escalates() {
        assert_eq!(Intensity::new(0, Duration::from_secs(60)).failed(at(0)), Verdict::Escalate);
    }
}
