//! Many seeds, as many at once as there are processors.

use super::{Broken, CaseError, Lab, Member, Outcome};
use crate::parallel::in_parallel;
use std::{collections::BTreeSet, ops::Range, thread};

/// A sweep of at least so many seeds must reach every goal.
const SEEDS_FOR_GOALS: u64 = 10;

/// What came of many runs.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Tally {
    /// How many there were.
    pub runs: u64,
    /// Events of all of them.
    pub events: u64,
    /// Virtual milliseconds of all of them.
    pub virtual_ms: u64,
    /// Goals that some of them have reached.
    pub goals: BTreeSet<String>,
    /// Goals that none of them has reached, if there were enough for that to mean something.
    pub missed: Vec<String>,
    /// Seeds that broke a promise.
    pub broken: Vec<(u64, Broken)>,
}

impl Tally {
    /// All promises were kept, and all goals reached.
    pub fn is_good(&self) -> bool {
        self.broken.is_empty() && self.missed.is_empty()
    }
}

impl<C: Member> Lab<C> {
    /// Runs seeds until so many of them have failed.
    ///
    /// # Errors
    /// The lab contradicts itself.
    pub fn sweep(&self, seeds: Range<u64>, failures_max: usize) -> Result<Tally, CaseError> {
        self.sweep_telling(seeds, failures_max, |_| ())
    }

    /// The same; `tell` hears of every run, in order of seeds.
    pub(super) fn sweep_telling(
        &self,
        seeds: Range<u64>,
        failures_max: usize,
        mut tell: impl FnMut(&Outcome) + Send,
    ) -> Result<Tally, CaseError> {
        let (mut tally, mut trouble) = (Tally::default(), None);
        let enough = seeds.end - seeds.start >= SEEDS_FOR_GOALS;
        let seeds: Vec<u64> = seeds.collect();
        in_parallel(
            &seeds,
            processors(),
            |_, seed| self.run(*seed),
            |_, outcome| match outcome {
                Ok(outcome) => {
                    tell(&outcome);
                    tally.add(outcome);
                    tally.broken.len() < failures_max
                }
                Err(error) => {
                    trouble = Some(error);
                    false
                }
            },
        );
        if enough && tally.broken.is_empty() {
            let missed = self.sometimes.iter().filter(|goal| !tally.goals.contains(&goal.name));
            tally.missed = missed.map(|goal| goal.name.clone()).collect();
        }
        trouble.map_or(Ok(tally), Err)
    }
}

impl Tally {
    fn add(&mut self, outcome: Outcome) {
        self.runs += 1;
        self.events += outcome.events;
        self.virtual_ms += outcome.virtual_ms;
        self.goals.extend(outcome.goals.into_keys());
        self.broken.extend(outcome.broken.map(|broken| (outcome.seed, broken)));
    }
}

/// How many runs there are at once.
pub(super) fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
