//! [`Host`]: a node that computes for a job, as the coordinator knows it.

use crate::api::Work;
use pangea_protocols::{
    receipt_job::Place,
    time::Time,
    wire::compute::{QUEUE_MAX, QUEUE_PER_SLOT},
};
use std::collections::{BTreeMap, BTreeSet};

/// How things are with a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was offered the job at this time.
    Asked(Time),
    /// It takes tasks.
    Working,
    /// It was lost, did not answer or is full: it is asked again at this time.
    Away(Time),
    /// It does not run this job.
    Useless,
    /// It signed for a wrong result.
    Banned,
}

/// A host.
#[derive(Debug)]
pub struct Host {
    /// How things are.
    pub state: State,
    /// Tasks that it takes at once.
    pub slots: usize,
    /// What it has.
    pub leases: BTreeMap<u64, Place>,
    /// Its results that wait to be confirmed, while it is on probation.
    pub unproven: BTreeSet<Place>,
    /// Its results that were confirmed.
    pub proven: u32,
    /// As many are needed before it is believed.
    pub probation: u32,
    /// When it last said something.
    pub heard: Time,
    /// Offers and losses since it last gave a result.
    pub tries: u32,
    /// Seconds of a slot per task, averaged over the last few; 0 before the first. Without the time in which it read an
    /// input.
    pub mean_s: f64,
    /// Bytes per second at which it reads what it does not hold, averaged over the last few.
    pub rate: f64,
    /// Seconds from lease to claim when nothing was before it: the least so far.
    least_s: f64,
    /// Tasks that it is given at once, if they are small: as many as wait there for a moment only.
    window: usize,
    /// Tasks that waited there when it said that it is full.
    pub busy: Option<u32>,
    /// What it has done, not yet told to the meter.
    pub work: Work,
}

/// Weight of the newest task in [`Host::mean_s`] and [`Host::rate`].
const NEWEST: f64 = 0.3;
/// So many seconds a small task may wait at a host behind others: what its next task is there for when one ends.
const QUEUE_S: f64 = 0.02;
/// Nothing waits at a host whose tasks take longer than so many seconds: what waits could run elsewhere.
const SHORT_S: f64 = 0.5;
/// Assumed of a host until something is known, bytes per second.
const RATE: f64 = 50e6;
/// What is less than this says nothing of a rate.
const MEASURED_BYTES_MIN: u64 = 64 << 10;

impl Host {
    /// One that is to be asked.
    pub fn new(now: Time, probation: u32) -> Self {
        Self {
            state: State::Away(now),
            slots: 0,
            leases: BTreeMap::new(),
            unproven: BTreeSet::new(),
            proven: 0,
            probation,
            heard: now,
            tries: 0,
            mean_s: 0.0,
            least_s: f64::INFINITY,
            window: 0,
            rate: RATE,
            busy: None,
            work: Work::NONE,
        }
    }

    /// Are its results believed, beside those that are drawn?
    pub fn is_proven(&self) -> bool {
        self.proven >= self.probation
    }

    /// Does it compute, and may it confirm what others say?
    pub fn is_believed(&self) -> bool {
        self.state == State::Working && self.is_proven()
    }

    /// Tasks that it may be given now, `spare` more than it has slots; of small ones as many as its window allows.
    pub fn room(&self, spare: usize, small: bool) -> usize {
        if self.state != State::Working {
            0
        } else if self.is_proven() {
            let most = if small { self.window.max(self.slots) } else { self.slots };
            (most + spare).saturating_sub(self.leases.len())
        } else {
            // One at a time: what a liar signs for is run again for nothing.
            1usize.saturating_sub(self.leases.len() + self.unproven.len())
        }
    }

    /// How long one more task is likely to take here, in seconds, if so many bytes have to be moved here for it; a host
    /// that is not known yet is tried early.
    pub fn expected_s(&self, move_bytes: u64) -> f64 {
        let each = self.mean_s + move_bytes as f64 / self.rate;
        each * (self.leases.len() + 1) as f64 / self.slots.max(1) as f64
    }

    /// It read so many bytes from others in so many seconds.
    pub fn moved(&mut self, bytes: u64, seconds: f64) {
        if bytes >= MEASURED_BYTES_MIN {
            let rate = (bytes as f64 / seconds.max(1e-3)).clamp(1e4, 1e10);
            self.rate = NEWEST.mul_add(rate - self.rate, self.rate);
        }
    }

    /// A task took so long, behind so many others. The window is that of TCP Vegas (Brakmo, Peterson 1995): it grows while
    /// the time beyond the least is short, and shrinks when it is long.
    pub fn took(&mut self, seconds: f64, behind: usize) {
        let alone_s = seconds / (behind / self.slots.max(1) + 1) as f64;
        self.mean_s = if self.mean_s == 0.0 { alone_s } else { NEWEST.mul_add(alone_s - self.mean_s, self.mean_s) };
        self.tries = 0;
        self.least_s = self.least_s.min(seconds);
        let waited_s = seconds - self.least_s;
        self.window = if waited_s <= QUEUE_S / 2.0 && self.least_s <= SHORT_S {
            self.window + 1
        } else if waited_s > QUEUE_S {
            self.window.saturating_sub(1)
        } else {
            self.window
        };
        self.window = self.window.clamp(self.slots, (self.slots * QUEUE_PER_SLOT).min(QUEUE_MAX).max(self.slots));
    }

    /// It says that it has too many: it gets no more than those that it kept.
    pub fn is_full(&mut self) {
        self.window = 0;
        self.slots = self.slots.min(self.leases.len()).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_protocols::receipt_job::Stage;

    fn host(mean_s: f64, rate: f64, slots: usize, leases: u64) -> Host {
        let place = Place { stage: Stage::Execute, index: 0 };
        let leases = (0..leases).map(|lease| (lease, place)).collect();
        Host { state: State::Working, slots, leases, mean_s, rate, ..Host::new(Time(0), 0) }
    }

    #[test]
    fn moving_data_costs_what_it_takes_there() {
        let holder = |leases| host(1.0, 1e6, 4, leases).expected_s(0);
        let other = |leases| host(1.0, 1e6, 4, leases).expected_s(1 << 20);
        assert!(holder(0) < other(0) && holder(1) < other(1), "at equal load who has the data is first");
        assert!(holder(3) > other(0), "at much higher load it is not waited for");
        let far = |rate| host(1.0, rate, 4, 0).expected_s(1 << 20);
        assert!(far(1e5) > far(1e7), "a slow line counts");
        assert!(holder(1) < far(1e5), "over a slow line the data is not moved for a free slot");
        let slow = host(9.0, 1e6, 4, 0).expected_s(0);
        assert!(slow > other(0), "a slow machine does not become a fast one by what it holds");
    }

    #[test]
    fn a_rate_is_what_was_measured_lately_and_small_reads_say_nothing() {
        let mut host = host(0.0, RATE, 1, 0);
        host.moved(1, 10.0);
        assert!((host.rate - RATE).abs() < 1.0);
        (0..40).for_each(|_| host.moved(1 << 20, 1.0));
        assert!((host.rate / f64::from(1 << 20) - 1.0).abs() < 0.01);
        host.moved(u64::MAX, 0.0);
        assert!(host.rate.is_finite());
    }
}
