//! What happens when. Steps of one moment happen in the order: ends of faults, starts, beginnings of faults, the calm,
//! what users ask.

use super::SETTLE;
use crate::{
    plan::{Fault, Operation, Plan},
    record::NodeId,
};
use std::collections::BTreeMap;

/// Something to do.
#[derive(Clone, Debug)]
pub enum Step {
    /// A fault is over.
    End(u32),
    /// A node is started for the first time.
    Start(NodeId),
    /// A fault begins.
    Begin(Fault),
    /// All faults are over.
    Calm,
    /// What should be readable is read.
    ReadBack,
    /// A user asks.
    Ask(Operation),
}

impl Step {
    fn order(&self) -> (u8, u32) {
        match self {
            Self::End(id) => (0, *id),
            Self::Start(node) => (1, *node),
            Self::Begin(fault) => (2, fault.id),
            Self::Calm => (3, 0),
            Self::ReadBack => (4, 0),
            Self::Ask(operation) => (5, operation.id),
        }
    }
}

/// All steps that are still to come.
pub struct Agenda {
    now_ms: u64,
    steps: BTreeMap<(u64, (u8, u32)), Step>,
}

impl Agenda {
    /// Of a plan.
    pub fn of(plan: &Plan) -> Self {
        let mut agenda = Self { now_ms: 0, steps: BTreeMap::new() };
        for node in &plan.nodes {
            if let Some(at) = node.start_ms {
                agenda.add(at, Step::Start(node.id));
            }
        }
        for fault in &plan.faults {
            agenda.add(fault.at_ms, Step::Begin(fault.clone()));
            if let Some(until) = fault.until_ms {
                agenda.add(until, Step::End(fault.id));
            }
        }
        for operation in &plan.operations {
            agenda.add(operation.at_ms, Step::Ask(operation.clone()));
        }
        agenda.add(plan.calm_ms, Step::Calm);
        let settle_ms = u64::try_from(SETTLE.as_millis()).unwrap_or(u64::MAX);
        if plan.read_back {
            agenda.add(plan.calm_ms.saturating_add(settle_ms).min(plan.end_ms), Step::ReadBack);
        }
        agenda
    }

    /// The next step, and when.
    pub fn pop(&mut self) -> Option<(u64, Step)> {
        let ((at, _), step) = self.steps.pop_first()?;
        self.now_ms = at;
        Some((at, step))
    }

    /// Something is asked at this moment.
    pub fn ask_now(&mut self, operation: Operation) {
        self.add(self.now_ms, Step::Ask(operation));
    }

    fn add(&mut self, at_ms: u64, step: Step) {
        self.steps.insert((at_ms, step.order()), step);
    }
}
