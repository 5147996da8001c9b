//! `/pangea/compute/1`: have tasks run by other nodes, and check what they say came of them.
//!
//! ```text
//! coordinator                                worker
//!    │ Offer {job, module, limits, lease} ────▶ │ slots are announced, or Refuse with the length of its queue
//!    │ ◀──────────────────── Accept {slots} │
//!    │ ◀─────────────────── ModuleGet {part} │ unless it has the module
//!    │ ModulePart {part} + body ──────────────▶ │ verified by its BLAKE3
//!    │ Assign {lease, place, part} + body ────▶ │ run when all parts are there
//!    │ AssignSmall {tasks} + body ────────────▶ │ several with small inputs
//!    │ AssignStored {lease, place, input} ────▶ │ run when it has read the frames of the object itself
//!    │ ◀─────────────────── Alive {leases} │ every few seconds
//!    │ Renew {lease} ─────────────────────────▶ │ without it, the worker forgets the job
//!    │ ◀──────────────────── Commit {batch} │ one signature over the claims of several tasks
//!    │ ◀────── Output {place, part} + body │
//!    │ ◀────── OutputSmall {outputs} + body │ several small ones
//!    │ ◀────────────── Log {place} + body │ if it logged something
//!    │ ◀────────────────────── Read {place} │ if it has read the input itself
//!    │ Cancel {leases} ───────────────────────▶ │ these are wanted no longer, or nothing of the job is
//! ```
//! An audit is an `Assign` like any other: no worker can tell which of its results are compared, and with whose.
//! A job is named by the hash of its terms ([`crate::receipt_job::Terms::name`]).

use crate::{
    id::Hash,
    receipt_job::{Batch, Place},
    stored::StoredInput,
    task::Limits,
};
use serde::{Deserialize, Serialize};

/// Messages of the compute protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compute {
    /// Ask for slots. Repeated, it asks again. A worker may have others run what it cannot run itself, and those again,
    /// `depth` times; it signs for all of it.
    Offer { job: Hash, module: Hash, module_bytes: u64, limits: Limits, priority: u8, lease_secs: u32, depth: u8 },
    /// So many tasks of the job may be there at once.
    Accept { job: Hash, slots: u16 },
    /// None. `waiting` tasks of others are queued.
    Refuse { job: Hash, reason: Refusal, waiting: u32 },
    /// Ask for a part of the module.
    ModuleGet { job: Hash, part: u16 },
    /// A part of the module is the body.
    ModulePart { job: Hash, part: u16, parts: u16 },
    /// Run a task. A part of its input is the body; `input` is the hash of all it sees
    /// ([`crate::task::input_hash`]). `lease` is chosen by the coordinator, unique for it.
    Assign { job: Hash, lease: u64, place: Place, input: Hash, part: u16, parts: u16 },
    /// These leases are queued, running, or done and not yet committed (at most [`LEASES_MAX`]).
    Alive { job: Hash, leases: Vec<u64> },
    /// The coordinator still wants them, for so long from now.
    Renew { job: Hash, lease_secs: u32 },
    /// What came of tasks; their outputs follow.
    Commit { job: Hash, batch: Batch },
    /// A part of the output of a committed task is the body.
    Output { job: Hash, place: Place, part: u16, parts: u16 },
    /// Nothing came of a task.
    Failed { job: Hash, lease: u64, reason: Failure },
    /// These leases are over (at most [`LEASES_MAX`]); without any, the job is.
    Cancel { job: Hash, leases: Vec<u64> },
    /// What a task logged is the body: lines of UTF-8, each behind its level as a digit and a space. Nobody vouches for it.
    Log { job: Hash, place: Place },
    /// Run a task whose input the worker reads itself. [`StoredInput::hash`] is what its claim names as the input.
    AssignStored { job: Hash, lease: u64, place: Place, input: Box<StoredInput> },
    /// The input of a task was read by the worker itself: so many of its bytes came from the worker's own disk, and it
    /// took so long. Nobody vouches for it.
    Read { job: Hash, place: Place, own_bytes: u32, took_ms: u32 },
    /// Run these tasks (at most [`TASKS_MAX`]). Their inputs, each of at most [`SMALL_BYTES`], are the body, one behind the
    /// other.
    AssignSmall { job: Hash, tasks: Vec<SmallTask> },
    /// The outputs of committed tasks (at most [`TASKS_MAX`]) are the body, one behind the other: of which task, and how
    /// many bytes, at most [`SMALL_BYTES`].
    OutputSmall { job: Hash, outputs: Vec<(Place, u32)> },
}

/// A task of [`Compute::AssignSmall`]; the fields are those of [`Compute::Assign`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmallTask {
    /// Chosen by the coordinator.
    pub lease: u64,
    /// Which one.
    pub place: Place,
    /// Hash of its input.
    pub input: Hash,
    /// Length of its input.
    pub bytes: u32,
}

/// Bytes of every part but the last, which may be shorter. A part of nothing is one empty part.
pub const PART_BYTES: usize = 1 << 20;
/// Most parts of a module: 64 MiB.
pub const MODULE_PARTS_MAX: u16 = 64;
/// Most parts of an input or an output: 16 MiB.
pub const DATA_PARTS_MAX: u16 = 16;
/// Most leases in one message.
pub const LEASES_MAX: usize = 1024;
/// Tasks with inputs of at most so many bytes may wait at a worker, beyond its slots …
pub const SMALL_BYTES: usize = 64 << 10;
/// … so many in one message …
pub const TASKS_MAX: usize = 128;
/// … so many for each slot …
pub const QUEUE_PER_SLOT: usize = 32;
/// … and so many in all.
pub const QUEUE_MAX: usize = LEASES_MAX / 2;

/// Why a worker takes no task of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// As many jobs as it takes are there.
    #[error("busy")]
    Busy,
    /// It does not compute for this peer, or for nobody.
    #[error("not allowed")]
    Denied,
    /// The tasks ask for more than it gives.
    #[error("the limits of the tasks are more than it gives")]
    OverLimit,
    /// It does not run this module.
    #[error("the module does not run there")]
    Module,
}

/// Why nothing came of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    /// More tasks than slots.
    #[error("busy")]
    Busy,
    /// The process that ran it ended.
    #[error("the process that ran it crashed")]
    Crashed,
    /// It has no such module, or does not run it.
    #[error("the module does not run there")]
    Module,
    /// The parts are not the input that was announced.
    #[error("the input does not match its hash")]
    Input,
    /// It took longer than the worker gives.
    #[error("it took too long")]
    Late,
    /// The frames of a stored input cannot be had from there: too few of its shards, or they are not what was announced.
    #[error("the stored input cannot be read there")]
    Unreadable,
}

impl Compute {
    /// The job that is spoken of.
    pub fn job(&self) -> Hash {
        match self {
            Self::Offer { job, .. }
            | Self::Accept { job, .. }
            | Self::Refuse { job, .. }
            | Self::ModuleGet { job, .. }
            | Self::ModulePart { job, .. }
            | Self::Assign { job, .. }
            | Self::Alive { job, .. }
            | Self::Renew { job, .. }
            | Self::Commit { job, .. }
            | Self::Output { job, .. }
            | Self::Failed { job, .. }
            | Self::Cancel { job, .. }
            | Self::Log { job, .. }
            | Self::AssignStored { job, .. }
            | Self::Read { job, .. }
            | Self::AssignSmall { job, .. }
            | Self::OutputSmall { job, .. } => *job,
        }
    }

    /// True for what a coordinator says, false for what a worker says.
    pub fn is_for_worker(&self) -> bool {
        matches!(
            self,
            Self::Offer { .. }
                | Self::ModulePart { .. }
                | Self::Assign { .. }
                | Self::AssignStored { .. }
                | Self::AssignSmall { .. }
                | Self::Renew { .. }
                | Self::Cancel { .. }
        )
    }

    pub(super) fn fits(&self) -> bool {
        let is_part = |part: u16, parts: u16, max: u16| part < parts && parts <= max;
        match self {
            Self::Offer { module_bytes, .. } => *module_bytes <= u64::from(MODULE_PARTS_MAX) * PART_BYTES as u64,
            Self::ModuleGet { part, .. } => *part < MODULE_PARTS_MAX,
            Self::ModulePart { part, parts, .. } => is_part(*part, *parts, MODULE_PARTS_MAX),
            Self::Assign { part, parts, .. } | Self::Output { part, parts, .. } => {
                is_part(*part, *parts, DATA_PARTS_MAX)
            }
            Self::Alive { leases, .. } | Self::Cancel { leases, .. } => leases.len() <= LEASES_MAX,
            Self::Commit { batch, .. } => batch.fits(),
            Self::AssignStored { input, .. } => input.fits(),
            Self::AssignSmall { tasks, .. } => are_small(tasks.iter().map(|task| task.bytes)),
            Self::OutputSmall { outputs, .. } => are_small(outputs.iter().map(|(_, bytes)| *bytes)),
            Self::Accept { .. }
            | Self::Refuse { .. }
            | Self::Renew { .. }
            | Self::Failed { .. }
            | Self::Log { .. }
            | Self::Read { .. } => true,
        }
    }
}

fn are_small(lengths: impl ExactSizeIterator<Item = u32> + Clone) -> bool {
    lengths.len() <= TASKS_MAX && lengths.clone().all(|bytes| bytes as usize <= SMALL_BYTES)
}
