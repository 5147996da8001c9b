//! [`Host`]: a node that computes for a job, as the coordinator knows it.

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
    /// Seconds of a slot per task, averaged over the last few; 0 before the first.
    pub mean_s: f64,
    /// Seconds from lease to claim when nothing was before it: the least so far.
    least_s: f64,
    /// Tasks that it is given at once, if they are small: as many as wait there for a moment only.
    window: usize,
    /// Tasks that waited there when it said that it is full.
    pub busy: Option<u32>,
}

/// Weight of the newest task in [`Host::mean_s`].
const NEWEST: f64 = 0.3;
/// So many seconds a small task may wait at a host behind others: what its next task is there for when one ends.
const QUEUE_S: f64 = 0.02;
/// Nothing waits at a host whose tasks take longer than so many seconds: what waits could run elsewhere.
const SHORT_S: f64 = 0.5;

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
            busy: None,
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

    /// How long one more task is likely to take here, in seconds; a host that is not known yet is tried early.
    pub fn expected_s(&self) -> f64 {
        self.mean_s * (self.leases.len() + 1) as f64 / self.slots.max(1) as f64
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
