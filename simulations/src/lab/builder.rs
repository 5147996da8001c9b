//! [`Lab`]: who is there, what users ask, what goes wrong, what must be true.

use super::{
    Asks, Case, CaseError, Member, Outcome, Verdict, View,
    network::Network,
    oracle::{Goal, Oracle},
};
use crate::scenario::{
    Scenario,
    file::{FaultSpec, OneOrMany, RegionSpec},
    units::Range as Span,
};
use pangea_kernel::{Draw, Seed};
use std::{
    ops::{Range, RangeInclusive},
    time::Duration,
};

/// Fills the list of what users ask.
pub(super) type Workload<C> = Box<dyn Fn(&Seed, &mut Asks<C>) + Send + Sync>;

/// A network of one kind of actor, its users, its troubles, and what must be true of it.
pub struct Lab<C: Member> {
    pub(super) name: String,
    pub(super) scenario: Scenario,
    pub(super) seeds: Range<u64>,
    pub(super) workloads: Vec<Workload<C>>,
    pub(super) always: Vec<Oracle<C>>,
    pub(super) eventually: Vec<Oracle<C>>,
    pub(super) sometimes: Vec<Goal<C>>,
}

impl<C: Member> Lab<C> {
    /// Ten nodes, 5 to 50 ms apart, with four to ten faults within a minute and a minute to recover; a hundred seeds.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            scenario: scenario(name),
            seeds: 0..100,
            workloads: Vec::new(),
            always: Vec::new(),
            eventually: Vec::new(),
            sometimes: Vec::new(),
        }
    }

    /// So many nodes.
    pub fn nodes(self, count: u32) -> Self {
        self.nodes_between(count..=count)
    }

    /// So many nodes; every seed draws its number.
    pub fn nodes_between(mut self, count: RangeInclusive<u32>) -> Self {
        self.region().nodes = Span::new(f64::from(*count.start()), f64::from(*count.end()));
        self
    }

    /// A message takes so long, one way.
    pub fn latency(mut self, latency: RangeInclusive<Duration>) -> Self {
        let (low, high) = (millis(*latency.start()), millis(*latency.end()));
        let region = self.region();
        (region.latency, region.jitter) = (Span::new(low, low), Span::new(high - low, high - low));
        self
    }

    /// This part of all packets is lost, 0 to 1, beside what faults do.
    pub fn loss(mut self, rate: f64) -> Self {
        self.region().loss = rate;
        self
    }

    /// So many faults.
    pub fn faults(mut self, count: RangeInclusive<u32>) -> Self {
        self.fault().count = Span::new(f64::from(*count.start()), f64::from(*count.end()));
        self
    }

    /// Faults of these kinds, as scenario files call them: `["crash", "partition"]`. Left out: all that an actor should
    /// stand, which are latency, loss, reorder, duplicate, partition, crash, pause, skew and slow-disk.
    pub fn kinds(mut self, kinds: &[&str]) -> Self {
        self.fault().fault = OneOrMany::Many(kinds.iter().map(|kind| (*kind).to_owned()).collect());
        self
    }

    /// Users ask and faults act for `calm`; then nothing goes wrong any more, and `settle` later what is promised for the
    /// end must be true.
    pub fn times(mut self, calm: Duration, settle: Duration) -> Self {
        let (calm, settle) = (millis(calm), millis(settle));
        (self.scenario.calm, self.scenario.end) = (Span::new(calm, calm), Span::new(calm + settle, calm + settle));
        let fault = self.fault();
        (fault.at, fault.lasts) = (Span::new(0.0, calm * 0.9), Some(Span::new(calm / 60.0, calm / 3.0)));
        self
    }

    /// Nodes, lines, faults and times as a scenario file says, instead of all that is said above.
    ///
    /// # Panics
    /// The text is no scenario.
    pub fn scenario(mut self, text: &str) -> Self {
        self.scenario = toml::from_str(text).unwrap_or_else(|error| panic!("lab `{}`: {error}", self.name));
        self
    }

    /// The seeds of [`Lab::check`].
    pub fn seeds(mut self, seeds: Range<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// So often, at some time before the calm, some node receives what `what` draws.
    pub fn asks(mut self, count: u32, what: impl Fn(&mut Draw) -> C::In + Send + Sync + 'static) -> Self {
        self.workloads.push(Box::new(move |seed, asks| {
            for number in 0..count {
                let mut draw = seed.derive(&number.to_string()).draw();
                let event = what(&mut draw);
                asks.tell_somebody(&mut draw, event);
            }
        }));
        self
    }

    /// Nodes receive what `work` says, when it says.
    pub fn workload(mut self, work: impl Fn(&mut Draw, &mut Asks<C>) + Send + Sync + 'static) -> Self {
        self.workloads.push(Box::new(move |seed, asks| work(&mut seed.draw(), asks)));
        self
    }

    /// A promise that is kept at every moment: `check` is asked after every event. What it asserts counts as well.
    pub fn always(mut self, name: &str, check: impl Fn(&View<'_, C>) -> Verdict + Send + Sync + 'static) -> Self {
        self.always.push(Oracle { name: name.to_owned(), check: Box::new(check) });
        self
    }

    /// A promise that is kept at the end, when all faults have been over for a while.
    pub fn eventually(mut self, name: &str, check: impl Fn(&View<'_, C>) -> Verdict + Send + Sync + 'static) -> Self {
        self.eventually.push(Oracle { name: name.to_owned(), check: Box::new(check) });
        self
    }

    /// An interesting state: a sweep of ten seeds or more that never reaches it proves less than it seems to, and fails.
    pub fn sometimes(mut self, name: &str, reached: impl Fn(&View<'_, C>) -> bool + Send + Sync + 'static) -> Self {
        self.sometimes.push(Goal { name: name.to_owned(), reached: Box::new(reached) });
        self
    }

    /// Runs one seed.
    ///
    /// # Errors
    /// The lab contradicts itself.
    pub fn run(&self, seed: u64) -> Result<Outcome, CaseError> {
        self.replay(&Case::draw(self, seed)?, false)
    }

    /// Runs a case, and keeps records of it for traces and pictures if they are wanted.
    ///
    /// # Errors
    /// The case tells a node something that it cannot read.
    pub fn replay(&self, case: &Case, records: bool) -> Result<Outcome, CaseError> {
        Network::new(self, case, records).map(Network::run)
    }

    fn region(&mut self) -> &mut RegionSpec {
        // A scenario without regions is one that cannot be drawn: its error says so.
        if self.scenario.regions.is_empty() {
            self.scenario.regions = scenario(&self.name).regions;
        }
        &mut self.scenario.regions[0]
    }

    fn fault(&mut self) -> &mut FaultSpec {
        if self.scenario.faults.is_empty() {
            self.scenario.faults = scenario(&self.name).faults;
        }
        &mut self.scenario.faults[0]
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// What a lab begins with.
fn scenario(name: &str) -> Scenario {
    let text = r#"
        name = "lab"
        story = ""
        tiers = ["swarm"]
        calm = "60s"
        end = "120s"

        [[region]]
        name = "here"
        nodes = 10
        latency = "5ms"
        jitter = "45ms"
        start = "0s..1s"

        [[fault]]
        fault = ["latency", "loss", "reorder", "duplicate", "partition", "crash", "pause", "skew", "slow-disk"]
        count = "4..10"
        at = "0s..54s"
        lasts = "1s..20s"
    "#;
    let mut scenario: Scenario = toml::from_str(text).unwrap_or_else(|error| unreachable!("{error}"));
    name.clone_into(&mut scenario.name);
    scenario
}
