//! Shrinking: takes parts out of a failing plan as long as the same promise is still broken, until what is left is
//! small enough to be understood. Delta debugging (Zeller and Hildebrandt, 2002) over faults, operations and nodes,
//! then over times and sizes. It works because every draw is keyed by ids that stay: what is taken out leaves the luck
//! of the rest alone.

use crate::{
    plan::{Act, Do, Plan},
    record::NodeId,
};
use std::collections::BTreeSet;

/// Runs that one shrinking may take.
pub const RUNS_MAX: usize = 600;
/// After the last thing that happens, a run goes on for this long at least.
const TAIL_MS: u64 = 60_000;

/// A test of many plans: the number of the first that still fails, if any does.
pub trait Try {
    /// Tries plans, in order or at once.
    fn first_failing(&mut self, plans: &[Plan]) -> Option<usize>;

    /// Runs so far.
    fn runs(&self) -> usize;

    /// Told of every step forward.
    fn on_smaller(&mut self, plan: &Plan);
}

/// The smallest plan found that still fails. `plan` itself must.
pub fn shrink(plan: Plan, trial: &mut impl Try) -> Plan {
    let mut best = plan;
    loop {
        let before = size(&best);
        for part in [Part::Faults, Part::Operations, Part::Nodes, Part::Groups] {
            best = without_parts(best, part, trial);
        }
        best = simpler(best, trial);
        if size(&best) == before || trial.runs() >= RUNS_MAX {
            return best;
        }
    }
}

/// Nodes, and events (operations and faults).
pub fn size(plan: &Plan) -> (usize, usize, u64, u64) {
    let bytes = plan.operations.iter().map(|operation| match operation.what {
        Do::Put { bytes, .. } => bytes,
        Do::Compute { chunks, bytes, .. } => u64::from(chunks).saturating_mul(bytes),
        _ => 0,
    });
    (plan.nodes.len(), plan.operations.len() + plan.faults.len(), plan.end_ms, bytes.sum())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Faults,
    Operations,
    Nodes,
    /// Members of the groups that faults are about.
    Groups,
}

/// Takes away halves, then quarters, … then single ones.
fn without_parts(mut best: Plan, part: Part, trial: &mut impl Try) -> Plan {
    let mut chunk = ids(&best, part).len().div_ceil(2).max(1);
    loop {
        let all = ids(&best, part);
        if all.is_empty() || trial.runs() >= RUNS_MAX {
            return best;
        }
        let candidates: Vec<Plan> =
            all.chunks(chunk).filter_map(|gone| without(&best, part, &gone.iter().copied().collect())).collect();
        match trial.first_failing(&candidates) {
            Some(at) => {
                best = candidates[at].clone();
                trial.on_smaller(&best);
                chunk = chunk.min(ids(&best, part).len().max(1));
            }
            None if chunk == 1 => return best,
            None => chunk = chunk.div_ceil(2),
        }
    }
}

fn ids(plan: &Plan, part: Part) -> Vec<u64> {
    match part {
        Part::Faults => plan.faults.iter().map(|fault| u64::from(fault.id)).collect(),
        Part::Operations => plan.operations.iter().map(|operation| u64::from(operation.id)).collect(),
        // The last first: those that all others know come last.
        Part::Nodes => plan.nodes.iter().rev().map(|node| u64::from(node.id)).collect(),
        Part::Groups => {
            let members = |act: &Act| act.groups().iter().map(|group| group.len()).sum::<usize>();
            let each = plan.faults.iter().filter(|fault| members(&fault.act) > 1);
            each.flat_map(|fault| (0..members(&fault.act)).map(|at| u64::from(fault.id) << 32 | at as u64)).collect()
        }
    }
}

/// The plan without some of its parts; `None` if nothing sensible is left.
fn without(plan: &Plan, part: Part, gone: &BTreeSet<u64>) -> Option<Plan> {
    let mut smaller = plan.clone();
    match part {
        Part::Faults => smaller.faults.retain(|fault| !gone.contains(&u64::from(fault.id))),
        Part::Operations => smaller.operations.retain(|operation| !gone.contains(&u64::from(operation.id))),
        Part::Nodes => smaller.nodes.retain(|node| !gone.contains(&u64::from(node.id))),
        Part::Groups => {
            for fault in &mut smaller.faults {
                let mut at = 0;
                for group in fault.act.groups_mut() {
                    group.retain(|_| {
                        at += 1;
                        !gone.contains(&(u64::from(fault.id) << 32 | (at - 1)))
                    });
                }
            }
        }
    }
    mend(&mut smaller, plan);
    (!smaller.nodes.is_empty() && smaller != *plan).then_some(smaller)
}

/// Takes out what refers to something that is gone.
fn mend(plan: &mut Plan, before: &Plan) {
    let nodes: BTreeSet<NodeId> = plan.nodes.iter().map(|node| node.id).collect();
    let first = plan.nodes.iter().filter_map(|node| Some((node.start_ms?, node.id))).min();
    for node in &mut plan.nodes {
        node.knows.retain(|known| nodes.contains(known));
        // Somebody must be known, or the node is alone for good.
        if let Some((_, first)) = first.filter(|(_, first)| node.knows.is_empty() && *first != node.id) {
            node.knows.push(first);
        }
    }
    plan.operations.retain(|operation| nodes.contains(&operation.node));
    let kept: BTreeSet<u32> = plan.operations.iter().map(|operation| operation.id).collect();
    plan.operations.retain(|operation| match operation.what {
        Do::Put { .. } | Do::Compute { .. } | Do::Tell | Do::Recall { .. } => true,
        Do::Get { of, .. }
        | Do::Remove { of }
        | Do::Cancel { of }
        | Do::ComputeStored { of, .. }
        | Do::Install { of, .. } => kept.contains(&of),
    });
    for fault in &mut plan.faults {
        fault.act.groups_mut().into_iter().for_each(|group| group.retain(|node| nodes.contains(node)));
    }
    // An empty group means everybody: one that has become empty means nobody, and its fault goes.
    plan.faults.retain(|fault| {
        let was = before.faults.iter().find(|old| old.id == fault.id);
        was.is_some_and(|old| {
            old.act.groups().iter().zip(fault.act.groups()).all(|(old, new)| old.is_empty() == new.is_empty())
        })
    });
    plan.faults.retain(|fault| !matches!(fault.act, Act::Eclipse { of, .. } if !kept.contains(&of)));
    let regions: BTreeSet<&String> = plan.nodes.iter().map(|node| &node.region).collect();
    plan.lines.retain(|line| line.between.iter().all(|name| regions.contains(name)));
    plan.regions.retain(|region| regions.contains(&region.name));
}

/// Shorter, smaller, plainer.
fn simpler(mut best: Plan, trial: &mut impl Try) -> Plan {
    for step in [shorter, without_reading_back, plainer, smaller_content] {
        while trial.runs() < RUNS_MAX {
            let candidate = step(&best);
            if candidate == best || trial.first_failing(std::slice::from_ref(&candidate)).is_none() {
                break;
            }
            best = candidate;
            trial.on_smaller(&best);
        }
    }
    best
}

/// Ends soon after the last thing that happens.
fn shorter(plan: &Plan) -> Plan {
    let operations = plan.operations.iter().map(|operation| operation.at_ms);
    let faults = plan.faults.iter().map(|fault| fault.until_ms.unwrap_or(fault.at_ms));
    let last = operations.chain(faults).max().unwrap_or(0) + 1;
    let mut shorter = plan.clone();
    shorter.calm_ms = plan.calm_ms.min(last);
    shorter.end_ms = plan.end_ms.min(shorter.calm_ms + 3 * TAIL_MS);
    shorter
}

fn without_reading_back(plan: &Plan) -> Plan {
    let mut plain = plan.clone();
    plain.read_back = false;
    plain.end_ms = plan.end_ms.min(plan.calm_ms + TAIL_MS);
    plain
}

/// One quiet region without losses or limits.
fn plainer(plan: &Plan) -> Plan {
    let mut plain = plan.clone();
    for region in &mut plain.regions {
        (region.jitter_ms, region.loss, region.uplink) = (0.0, 0.0, None);
    }
    for line in &mut plain.lines {
        (line.jitter_ms, line.loss) = (0.0, 0.0);
    }
    plain.nodes.iter_mut().for_each(|node| node.nat = crate::plan::Nat::Open);
    plain
}

fn smaller_content(plan: &Plan) -> Plan {
    let mut small = plan.clone();
    for operation in &mut small.operations {
        if let Do::Put { bytes, files, .. } = &mut operation.what {
            (*bytes, *files) = ((*bytes / 2).max(1), *files / 2);
        }
        if let Do::Compute { chunks, rounds, .. } = &mut operation.what {
            (*chunks, *rounds) = ((*chunks / 2).max(1), (*rounds / 2).max(1));
        }
        if let Do::Get { range: Some([offset, length]), .. } = &mut operation.what {
            (*offset, *length) = (*offset / 2, *length / 2);
        }
    }
    small
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    /// Fails while some named parts are there.
    struct Needs {
        node: NodeId,
        fault: u32,
        runs: usize,
    }

    impl Try for Needs {
        fn first_failing(&mut self, plans: &[Plan]) -> Option<usize> {
            self.runs += plans.len();
            plans.iter().position(|plan| {
                plan.node(self.node).is_some() && plan.faults.iter().any(|fault| fault.id == self.fault)
            })
        }

        fn runs(&self) -> usize {
            self.runs
        }

        fn on_smaller(&mut self, _: &Plan) {}
    }

    #[test]
    fn what_the_failure_does_not_need_is_taken_out_and_the_rest_makes_sense() {
        let chaos = scenario::find("chaos").unwrap();
        for seed in 0..20 {
            let plan = scenario::draw(&chaos, seed, None).unwrap();
            let fault = plan.faults[plan.faults.len() / 2].clone();
            let node = fault.act.groups().into_iter().flatten().next().copied().unwrap_or(3);
            let mut trial = Needs { node, fault: fault.id, runs: 0 };
            let small = shrink(plan, &mut trial);
            assert!(small.nodes.len() <= 3, "seed {seed}: {} nodes", small.nodes.len());
            assert_eq!((small.faults.len(), small.operations.len()), (1, 0), "seed {seed}");
            assert!(trial.runs < 200, "seed {seed}: {} runs", trial.runs);
            let known: BTreeSet<NodeId> = small.nodes.iter().map(|node| node.id).collect();
            assert!(small.nodes.iter().all(|node| node.knows.iter().all(|id| known.contains(id))));
        }
    }
}
