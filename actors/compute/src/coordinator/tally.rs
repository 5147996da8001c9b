//! What the user hears of a job, and how long its tasks take: what is late, and when it will end.

use crate::api::Progress;
use pangea_protocols::time::Time;
use std::{collections::VecDeque, time::Duration};

/// Durations that are remembered.
const RECENT: usize = 64;
/// Before so many are known, nothing is late.
const KNOWN_MIN: usize = 5;

/// Counts of one job.
#[derive(Debug, Default)]
pub struct Tally {
    /// What is reported.
    pub progress: Progress,
    /// When the stage began, and tasks that were done then.
    pub stage_began: (Time, u32),
    reported: Option<(Time, Progress)>,
    recent: VecDeque<Duration>,
}

impl Tally {
    /// The progress to report now, if it changed and the last report is `interval` old.
    pub fn due(&mut self, now: Time, interval: Duration) -> Option<Progress> {
        self.progress.eta = self.eta(now);
        let quiet = |progress: Progress| Progress { eta: None, ..progress };
        let due = match self.reported {
            None => true,
            Some((at, before)) => now.since(at) >= interval && quiet(before) != quiet(self.progress),
        };
        due.then(|| {
            self.reported = Some((now, self.progress));
            self.progress
        })
    }

    /// A task took so long, on its way and back included.
    pub fn took(&mut self, duration: Duration) {
        self.recent.push_back(duration);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// A task older than this is late.
    pub fn late_after(&self, floor: Duration, factor: u32) -> Option<Duration> {
        let mut sorted: Vec<Duration> = self.recent.iter().copied().collect();
        sorted.sort_unstable();
        let p90 = sorted.get((sorted.len() * 9).div_ceil(10).saturating_sub(1))?;
        (sorted.len() >= KNOWN_MIN).then(|| floor.max(p90.saturating_mul(factor)))
    }

    fn eta(&self, now: Time) -> Option<Duration> {
        let (since, before) = self.stage_began;
        let done = self.progress.done.checked_sub(before).filter(|done| *done > 0)?;
        let left = self.progress.total.saturating_sub(self.progress.done);
        Some(now.since(since).mul_f64(f64::from(left) / f64::from(done)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_is_twice_the_90th_percentile_but_at_least_the_floor() {
        let (mut tally, floor) = (Tally::default(), Duration::from_secs(1));
        (0..4).for_each(|_| tally.took(Duration::from_secs(3)));
        assert_eq!(tally.late_after(floor, 2), None);
        (0..14).for_each(|_| tally.took(Duration::from_secs(4)));
        (0..2).for_each(|_| tally.took(Duration::from_secs(90)));
        assert_eq!(tally.late_after(floor, 2), Some(Duration::from_secs(8)));
        (0..64).for_each(|_| tally.took(Duration::from_millis(1)));
        assert_eq!(tally.late_after(floor, 2), Some(floor));
    }

    #[test]
    fn the_end_is_expected_at_the_speed_so_far() {
        let mut tally = Tally { stage_began: (Time(0), 10), ..Tally::default() };
        (tally.progress.done, tally.progress.total) = (10, 50);
        let after = |tally: &mut Tally, seconds: u64| tally.due(Time(seconds * 1_000_000_000), Duration::ZERO);
        assert_eq!(after(&mut tally, 1).unwrap().eta, None);
        tally.progress.done = 20;
        assert_eq!(after(&mut tally, 10).unwrap().eta, Some(Duration::from_secs(30)));
        assert_eq!(after(&mut tally, 11), None, "time alone is no news");
    }
}
