//! What a worker keeps of a job: how far its module is, its leases, and claims that are not yet signed for.

use crate::parts::Parts;
use bytes::Bytes;
use pangea_protocols::{
    Hash, JobId,
    receipt_job::{BATCH_MAX, Claim, Place},
    task::{self, TaskId},
    time::Time,
};
use std::{collections::BTreeMap, time::Duration};

/// A job of a coordinator.
pub struct Job {
    /// BLAKE3 of its module.
    pub module: Hash,
    /// Of every task.
    pub limits: task::Limits,
    /// Higher goes first.
    pub priority: u8,
    /// When it is forgotten unless it is renewed.
    pub ends: Time,
    /// When the coordinator is to hear of its leases.
    pub alive_at: Time,
    /// How often it may be passed on.
    pub depth: u8,
    /// The module itself, if it may be passed on.
    pub bytes: Option<Bytes>,
    /// How far the module is.
    pub state: Module,
    /// Times that this node failed to install it.
    pub failures: u8,
    /// What is to be done.
    pub leases: BTreeMap<u64, Lease>,
    /// Done and not committed: lease, claim, output.
    pub done: Vec<(u64, Claim, Option<Bytes>)>,
    /// When the first of them was done.
    pub done_since: Time,
}

/// How far a module is.
pub enum Module {
    /// Asked for at this time.
    Coming(Parts, Time),
    /// The sandbox has it in its hands.
    Installing,
    /// Tasks may run.
    Ready,
}

/// A task that was assigned.
pub struct Lease {
    /// Which.
    pub place: Place,
    /// What its input is to hash to.
    pub input: Hash,
    /// Bytes of its input, once it is done.
    pub input_bytes: u64,
    /// How far it is.
    pub step: Step,
    /// What it logged, as it is sent.
    pub log: String,
    /// Nobody else could run it: this node does.
    pub stays: bool,
}

/// How far a task is.
pub enum Step {
    /// Parts of its input are missing.
    Coming(Parts),
    /// It waits for a slot.
    Waiting(Bytes),
    /// The sandbox runs it; its input is kept in case the sandbox has no room.
    Running(TaskId, Bytes),
    /// Others run it, or will, as one of the tasks of a job of this node; its input is kept for them, or for this node.
    PassedOn(JobId, Bytes),
    /// Claimed, not committed.
    Done,
}

impl Job {
    /// The lease that has waited longest.
    pub fn next(&self) -> Option<u64> {
        let waits = |lease: &Lease| matches!(lease.step, Step::Waiting(_));
        matches!(self.state, Module::Ready)
            .then(|| self.leases.iter().find(|(_, lease)| waits(lease)))?
            .map(|(id, _)| *id)
    }

    /// Is it time to sign? A full batch, nothing else that could join it, or a claim that has waited.
    pub fn is_due(&self, now: Time, wait: Duration) -> bool {
        let busy = self.leases.values().any(|lease| !matches!(lease.step, Step::Done));
        !self.done.is_empty() && (self.done.len() >= BATCH_MAX || !busy || now.since(self.done_since) >= wait)
    }

    /// Takes a lease away. The task that ran for it, if one did.
    pub fn remove(&mut self, lease: u64) -> Option<TaskId> {
        self.done.retain(|(id, ..)| *id != lease);
        match self.leases.remove(&lease)?.step {
            Step::Running(task, _) => Some(task),
            _ => None,
        }
    }

    /// Leases that wait and may be passed on.
    pub fn may_be_passed_on(&self) -> Vec<u64> {
        let waits = |lease: &Lease| matches!(lease.step, Step::Waiting(_)) && !lease.stays;
        let open = matches!(self.state, Module::Ready) && self.depth > 0 && self.bytes.is_some();
        self.leases.iter().filter(|(_, lease)| open && waits(lease)).map(|(id, _)| *id).collect()
    }

    /// Leases that wait or whose input comes.
    pub fn waiting(&self) -> usize {
        self.leases.values().filter(|lease| matches!(lease.step, Step::Coming(_) | Step::Waiting(_))).count()
    }
}
