//! A failure as small as it can be made: the shrinker of [`crate::shrink`], with cases instead of plans, in this process.

use super::{Broken, Case, CaseError, Lab, Member, sweep::processors};
use crate::{
    parallel::in_parallel,
    plan::Plan,
    scenario::explain::{fault_text, time},
    shrink::{self, Try},
};
use std::fmt::Write;

/// A failure that has been made small.
#[derive(Clone, Debug)]
pub struct Small {
    /// What is left.
    pub case: Case,
    /// How it still fails.
    pub broken: Broken,
    /// Runs that it took.
    pub runs: usize,
}

impl Small {
    /// How much smaller it is.
    pub(super) fn sizes(&self, before: &Case) -> String {
        let events = |case: &Case| case.asks.len() + case.faults.len();
        format!(
            "{} nodes and {} events, from {} and {}, after {} runs:",
            self.case.nodes.len(),
            events(&self.case),
            before.nodes.len(),
            events(before),
            self.runs
        )
    }
}

impl<C: Member> Lab<C> {
    /// Takes away what a failure does not need: nodes, asks, faults, time. `None` if the case does not fail.
    ///
    /// # Errors
    /// The case tells a node something that it cannot read.
    pub fn shrink(&self, case: &Case) -> Result<Option<Small>, CaseError> {
        let Some(broken) = self.replay(case, false)?.broken else { return Ok(None) };
        let mut trial = Trial { lab: self, case, oracle: &broken.oracle, runs: 0 };
        let plan = shrink::shrink(case.to_plan(), &mut trial);
        let mut small = case.cut_to(&plan);
        for step in [sooner, together] {
            let candidate = step(&small);
            if candidate != small && trial.fails(&candidate) {
                small = candidate;
            }
        }
        let (runs, case) = (trial.runs, small);
        let again = self.replay(&case, false)?.broken;
        Ok(again.map(|broken| Small { case, broken, runs }))
    }
}

struct Trial<'a, C: Member> {
    lab: &'a Lab<C>,
    case: &'a Case,
    oracle: &'a str,
    runs: usize,
}

impl<C: Member> Trial<'_, C> {
    fn fails(&mut self, case: &Case) -> bool {
        self.runs += 1;
        fails(self.lab, case, self.oracle)
    }
}

fn fails<C: Member>(lab: &Lab<C>, case: &Case, oracle: &str) -> bool {
    lab.replay(case, false).is_ok_and(|outcome| outcome.broken.is_some_and(|broken| broken.oracle == oracle))
}

/// Without the time in which nothing happens but the actors' own business. Whole seconds, as calendars have them.
fn sooner(case: &Case) -> Case {
    let first = case.asks.iter().map(|ask| ask.at_ms).chain(case.faults.iter().map(|fault| fault.at_ms)).min();
    let started = case.nodes.iter().map(|node| node.start_ms).max().unwrap_or(0);
    let gap = first.unwrap_or(0).saturating_sub(started + 1_000) / 1_000 * 1_000;
    let mut sooner = case.clone();
    sooner.asks.iter_mut().for_each(|ask| ask.at_ms -= gap);
    for fault in &mut sooner.faults {
        fault.at_ms -= gap;
        fault.until_ms = fault.until_ms.map(|until| until - gap);
    }
    (sooner.calm_ms, sooner.end_ms) = (case.calm_ms - gap, case.end_ms - gap);
    sooner
}

/// All nodes are there from the beginning.
fn together(case: &Case) -> Case {
    let mut together = case.clone();
    together.nodes.iter_mut().for_each(|node| node.start_ms = 0);
    together
}

impl<C: Member> Try for Trial<'_, C> {
    fn first_failing(&mut self, plans: &[Plan]) -> Option<usize> {
        let (lab, case, oracle) = (self.lab, self.case, self.oracle);
        let fails = |_: usize, plan: &Plan| fails(lab, &case.cut_to(plan), oracle);
        let (mut found, mut runs) = (None, 0);
        in_parallel(plans, processors(), fails, |at, fails| {
            runs += 1;
            found = fails.then_some(at);
            !fails
        });
        self.runs += runs;
        found
    }

    fn runs(&self) -> usize {
        self.runs
    }

    fn on_smaller(&mut self, _: &Plan) {}
}

impl Case {
    /// What happens in it, a line for each thing, as a person reads it.
    pub fn explain(&self) -> String {
        let mut lines: Vec<(u64, String)> = Vec::new();
        let starts = self.nodes.iter().map(|node| node.start_ms);
        if let (Some(first), Some(last)) = (starts.clone().min(), starts.max()) {
            let names: Vec<String> = self.nodes.iter().map(|node| node.id.to_string()).collect();
            let who =
                if names.len() > 8 { format!("{} nodes", names.len()) } else { format!("nodes {}", names.join(", ")) };
            lines.push((first, format!("{who} start, the last at {}", time(last))));
        }
        lines.extend(self.asks.iter().map(|ask| (ask.at_ms, format!("node {} is told {}", ask.node, ask.event))));
        for fault in &self.faults {
            let until = fault.until_ms.map_or_else(String::new, |until| format!(", until {}", time(until)));
            lines.push((fault.at_ms, format!("FAULT {}{until}", fault_text(fault))));
        }
        lines.push((self.calm_ms, "CALM: no fault acts any more".to_owned()));
        lines.push((self.end_ms, "END".to_owned()));
        lines.sort_by_key(|(at, _)| *at);
        lines.into_iter().fold(String::new(), |mut text, (at, line)| {
            let _ = writeln!(text, "{:>10}  {line}", time(at));
            text
        })
    }
}
