//! A job as its user sees it: what was asked for, and how it stands.

use super::stored::Stored;
use bytes::Bytes;
use pangea_compute::{api::Progress, split::Cut};
use pangea_protocols::{Hash, job::JobError, receipt_job::Verification, task::Limits, ticket::Ticket};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, time::Duration};

/// What a user asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// WebAssembly.
    pub module: Bytes,
    /// What its user calls it.
    pub module_name: String,
    /// What to compute on.
    pub input: Input,
    /// How to.
    pub terms: Terms,
}

/// Where an input comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A file of this machine, which must not change until the job has ended.
    Path(PathBuf),
    /// Bytes that are fed; the name is for the user.
    Stream(String),
    /// The content of a stored object. If nobody has read its manifest it is fed.
    Ticket(Box<Ticket>),
    /// The same, of which the manifest was read: whoever runs a task reads its part.
    Stored(Box<Stored>),
}

/// How a job is to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// How the input becomes chunks; with `split`, how it is read.
    pub cut: Cut,
    /// The module cuts the input.
    pub split: bool,
    /// The module joins the outputs.
    pub merge: bool,
    /// Of every task.
    pub limits: Limits,
    /// How results are checked.
    pub verification: Verification,
    /// Higher goes first.
    pub priority: u8,
    /// Longest time from submission to the end.
    pub timeout: Option<Duration>,
    /// How often tasks may be passed on.
    #[serde(default)]
    pub depth: u8,
}

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its input is on its way.
    Receiving,
    /// The coordinator has it; it may wait for others.
    Running,
    /// Output and receipt are there.
    Done,
    /// There is none.
    Failed,
    /// Its user has given it up.
    Cancelled,
}

impl State {
    /// Nothing will change any more.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Receiving => "receiving",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// An input that is cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub len: u64,
    /// When it was last changed, nanoseconds since 1970.
    pub modified_ns: u128,
}

/// A job as clients see it, in this process or another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Computation {
    /// 12 hexadecimal digits.
    pub name: String,
    /// BLAKE3 of the module.
    pub module: Hash,
    /// What its user calls the module.
    pub module_name: String,
    /// What its user calls the input.
    pub input_name: String,
    /// Bytes of the input, once it is all there.
    #[serde(default)]
    pub input_bytes: u64,
    /// How it is to run.
    pub terms: Terms,
    /// Chunks of the input, once it is cut.
    pub chunks: u32,
    /// How it stands.
    pub state: State,
    /// Jobs that go first, while it waits.
    pub ahead: Option<u32>,
    /// How far it is.
    pub progress: Progress,
    /// Bytes of the output, once it is there.
    pub output_bytes: u64,
    /// Why there is none.
    pub error: Option<JobError>,
    /// Seconds since 1970.
    pub submitted_unix: u64,
    /// Seconds since 1970.
    pub ended_unix: Option<u64>,
    /// From submission to the end, as long as the node ran without a break.
    pub took: Option<Duration>,
}

/// A job as it is written down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What its user sees.
    #[serde(flatten)]
    pub seen: Computation,
    /// With it, another run of the node goes on with the job.
    pub nonce: [u8; 16],
    /// The input, once it is all there.
    pub source: Option<Source>,
}
