//! The whole interface of the sandbox actor on one screen.

use crate::{
    engine::host::Line,
    work::{Done, Work},
};
use bytes::Bytes;
use pangea_protocols::{
    Hash,
    task::{Capabilities, Outcome, Receipt, Refusal, TaskId},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub use pangea_protocols::task::Run;

/// What the actor receives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum In {
    /// Pass and compile a module: answered by `Installed`. It may be forgotten when others are used more.
    Install { module: Hash, bytes: Bytes },
    /// Run a task: answered by `Started` and then `Done` or `Stopped`, or by `Refused`.
    Run(Box<Run>),
    /// Stop a task, whatever its state: answered by `Stopped`, within a slice.
    Cancel { task: TaskId },
    /// From the cpu driver.
    Worked(Done),
    /// An own timer: the wall time of a task is over.
    Late { task: TaskId },
}

/// What the actor emits.
#[derive(Clone, Debug)]
pub enum Out {
    /// At the start: of tasks and modules from before, nothing is left.
    Began,
    /// To the cpu driver: answered by `In::Worked`.
    Work(Work),
    /// A module is ready, with what it imports, or refused.
    Installed { module: Hash, result: Result<Capabilities, Refusal> },
    /// A task has its first slice.
    Started { task: TaskId },
    /// A guest logged something.
    Line { task: TaskId, line: Line },
    /// A task has ended by itself, with output or trapped.
    Done { task: TaskId, outcome: Outcome, receipt: Receipt, usage: Usage },
    /// A task was not run, or not to its end: no outcome.
    Refused { task: TaskId, refusal: Refusal },
    /// A task was stopped from outside: no outcome.
    Stopped { task: TaskId, why: Stop },
}

/// What a task took of this node; not part of its outcome, since it differs between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// From its start to its end, the turns of others included.
    pub wall: Duration,
    /// Slices.
    pub slices: u64,
}

/// Why a task was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stop {
    /// By `Cancel`.
    Cancelled,
    /// By its `wall_max`.
    Late,
}
