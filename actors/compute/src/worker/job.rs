//! What a worker keeps of a job: how far its module is, its leases, and claims that are not yet signed for.

use super::Limits;
use crate::parts::Parts;
use bytes::Bytes;
use pangea_protocols::{
    Hash, JobId,
    receipt_job::{BATCH_MAX, Claim, Place},
    stored::StoredInput,
    task::{self, TaskId},
    time::Time,
};
use std::collections::BTreeMap;

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
    /// When this node last signed for some.
    pub signed: Option<Time>,
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

impl Lease {
    /// At its beginning.
    pub fn new(place: Place, input: Hash, step: Step) -> Self {
        Self { place, input, input_bytes: 0, step, log: String::new(), stays: false }
    }
}

/// How far a task is.
pub enum Step {
    /// Parts of its input are missing.
    Coming(Parts),
    /// It waits for a slot.
    Waiting(Bytes),
    /// The sandbox runs it; its input is kept in case the sandbox has no room.
    Running(TaskId, Bytes),
    /// Its input is to be read from a stored object.
    ToRead(Box<StoredInput>),
    /// It is being read.
    Reading,
    /// Others run it, or will, as one of the tasks of a job of this node; its input is kept for them, or for this node.
    PassedOn(JobId, Kept),
    /// Claimed, not committed.
    Done,
}

/// The input of a task that is passed on.
#[derive(Clone)]
pub enum Kept {
    /// All of it.
    Bytes(Bytes),
    /// Where it is.
    Stored(Box<StoredInput>),
}

impl Kept {
    /// Bytes that the guest sees.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Stored(input) => input.seen_bytes(),
        }
    }
}

impl Job {
    /// The lease that has waited longest.
    pub fn next(&self) -> Option<u64> {
        let waits = |lease: &Lease| matches!(lease.step, Step::Waiting(_));
        matches!(self.state, Module::Ready)
            .then(|| self.leases.iter().find(|(_, lease)| waits(lease)))?
            .map(|(id, _)| *id)
    }

    /// When to sign: now for a full batch; else, when the last signature is old enough, if there are as many claims as tasks
    /// that could join them, or one has waited.
    pub fn due(&self, now: Time, limits: &Limits) -> Option<Time> {
        let open = self.leases.len().saturating_sub(self.done.len());
        if self.done.len() >= BATCH_MAX {
            return Some(now);
        }
        let enough = self.done.len() >= open;
        let wanted = if enough { self.done_since } else { self.done_since + limits.batch_wait };
        let next = self.signed.map_or(wanted, |signed| wanted.max(signed + limits.sign_every));
        (!self.done.is_empty()).then_some(next)
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
        let waits = |lease: &Lease| matches!(lease.step, Step::Waiting(_) | Step::ToRead(_)) && !lease.stays;
        let open = matches!(self.state, Module::Ready) && self.depth > 0 && self.bytes.is_some();
        self.leases.iter().filter(|(_, lease)| open && waits(lease)).map(|(id, _)| *id).collect()
    }

    /// The stored input that has waited longest to be read.
    pub fn to_read(&self) -> Option<(u64, &StoredInput)> {
        self.leases.iter().find_map(|(id, lease)| match &lease.step {
            Step::ToRead(input) => Some((*id, &**input)),
            _ => None,
        })
    }

    /// Leases that wait or whose input comes.
    pub fn waiting(&self) -> usize {
        let waits = |lease: &&Lease| !matches!(lease.step, Step::Running(..) | Step::PassedOn(..) | Step::Done);
        self.leases.values().filter(waits).count()
    }
}
