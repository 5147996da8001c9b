//! The messages of the driver that runs guests which stay: instances in the sandbox that keep their memory from one call to
//! the next, as plugins do. What a call may use and how it ends is in [`crate::task`].

use crate::{
    id::Hash,
    task::{Capabilities, Input, Limits, Outcome, Refusal, TaskId},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Compile a module: answered by [`Event::Prepared`].
    Prepare { module: Hash, bytes: Bytes },
    /// Call an instance; make it before, if `open` says of what. Answered by [`Event::Ended`]. One call at a time. An
    /// instance that trapped is closed.
    Call { instance: TaskId, open: Option<Open>, input: Input },
    /// Close an instance.
    Close { instance: TaskId },
    /// Close all of them.
    CloseAll,
}

/// What an instance is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// A prepared module.
    pub module: Hash,
    /// What a call may use.
    pub limits: Limits,
    /// What it may import.
    pub granted: Capabilities,
}

/// What the driver answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A module is compiled, with what it imports, or will not be.
    Prepared { module: Hash, result: Result<Capabilities, Refusal> },
    /// A call has ended.
    Ended { instance: TaskId, lines: Vec<Line>, result: Result<Outcome, Refusal> },
    /// Where they ran is gone, and with it every instance and every compiled module. Calls and compilations that were at it
    /// have been answered before; what is asked from now on is done in another such place.
    Lost { reason: String },
}

/// A line that a guest logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// 0 error, 1 warning, 2 information, 3 and more for debugging.
    pub level: u8,
    /// Its text.
    pub text: String,
}
