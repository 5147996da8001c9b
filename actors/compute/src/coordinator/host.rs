//! [`Host`]: a node that computes for a job, as the coordinator knows it.

use crate::api::Work;
use pangea_protocols::{receipt_job::Place, time::Time};
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
    /// Seconds per task, averaged over the last few; 0 before the first.
    pub mean_s: f64,
    /// Tasks that waited there when it said that it is full.
    pub busy: Option<u32>,
    /// What it has done, not yet told to the meter.
    pub work: Work,
}

/// Weight of the newest task in [`Host::mean_s`].
const NEWEST: f64 = 0.3;

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

    /// Tasks that it may be given now, `spare` more than it has slots.
    pub fn room(&self, spare: usize) -> usize {
        if self.state != State::Working {
            0
        } else if self.is_proven() {
            (self.slots + spare).saturating_sub(self.leases.len())
        } else {
            // One at a time: what a liar signs for is run again for nothing.
            1usize.saturating_sub(self.leases.len() + self.unproven.len())
        }
    }

    /// How long one more task is likely to take here, in seconds; a host that is not known yet is tried early.
    pub fn expected_s(&self) -> f64 {
        self.mean_s * (self.leases.len() + 1) as f64 / self.slots.max(1) as f64
    }

    /// A task took so long.
    pub fn took(&mut self, seconds: f64) {
        self.mean_s = if self.mean_s == 0.0 { seconds } else { NEWEST.mul_add(seconds - self.mean_s, self.mean_s) };
        self.tries = 0;
    }
}
