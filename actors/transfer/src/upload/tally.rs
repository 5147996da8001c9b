//! What the user hears of an upload: durable progress, at most ten times a second, and the latencies that decide when
//! a shard is late.

use pangea_protocols::{job::Progress, time::Time};
use std::{collections::VecDeque, time::Duration};

/// Receipt times that are remembered.
const RECENT: usize = 64;

/// Counts of one job.
#[derive(Debug, Default)]
pub struct Tally {
    /// What is reported.
    pub progress: Progress,
    /// Bytes that holders signed for.
    pub stored_bytes: u64,
    /// Stripe shards that were given up.
    pub missing_shards: u64,
    reported: Option<(Time, Progress)>,
    recent: VecDeque<Duration>,
}

impl Tally {
    /// The progress to report now, if it changed and the last report is `interval` old.
    pub fn due(&mut self, now: Time, interval: Duration) -> Option<Progress> {
        let due = match self.reported {
            None => true,
            Some((at, progress)) => now.since(at) >= interval && progress != self.progress,
        };
        due.then(|| {
            self.reported = Some((now, self.progress));
            self.progress
        })
    }

    /// True if the user has not heard of the latest progress.
    pub fn unreported(&self) -> bool {
        self.reported.is_none_or(|(_, progress)| progress != self.progress)
    }

    /// Remembers how long a receipt took.
    pub fn took(&mut self, duration: Duration) {
        self.recent.push_back(duration);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// A shard older than this is late: `factor` times the median of recent receipts, and never less than `floor`.
    pub fn late_after(&self, floor: Duration, factor: u32) -> Duration {
        let mut sorted: Vec<_> = self.recent.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).map_or(floor, |median| floor.max(median.saturating_mul(factor)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_is_four_medians_but_at_least_the_floor() {
        let mut tally = Tally::default();
        let floor = Duration::from_secs(2);
        assert_eq!(tally.late_after(floor, 4), floor);
        (0..9).for_each(|_| tally.took(Duration::from_millis(100)));
        assert_eq!(tally.late_after(floor, 4), floor);
        (0..200).for_each(|_| tally.took(Duration::from_secs(3)));
        assert_eq!(tally.late_after(floor, 4), Duration::from_secs(12));
    }

    #[test]
    fn progress_is_reported_at_once_then_only_when_changed_and_due() {
        let mut tally = Tally::default();
        let interval = Duration::from_millis(100);
        assert!(tally.due(Time(0), interval).is_some());
        tally.progress.shards = 1;
        assert!(tally.due(Time(99_000_000), interval).is_none());
        assert!(tally.due(Time(100_000_000), interval).is_some());
        assert!(tally.due(Time(900_000_000), interval).is_none());
    }
}
