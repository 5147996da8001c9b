//! What the user hears of a job: put, get, remove.

use crate::{
    id::{Cid, JobId, PeerId},
    ticket::ReadKey,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// News of a job, in order. `Done` or `Failed` is the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum JobEvent {
    /// Put: the code and the holders are chosen. A holder appears once for each shard it gets per stripe.
    Placed { job: JobId, k: u8, m: u8, holders: Vec<PeerId> },
    /// Get: the manifest is open.
    Opened { job: JobId, name: String, directory: bool, raw_len: u64, k: u8, m: u8 },
    /// How far the job is.
    Progress { job: JobId, progress: Progress },
    /// It ended well.
    Done { job: JobId, outcome: Outcome },
    /// It did not.
    Failed { job: JobId, error: JobError },
}

impl JobEvent {
    /// Which job.
    pub fn job(&self) -> JobId {
        match self {
            Self::Placed { job, .. }
            | Self::Opened { job, .. }
            | Self::Progress { job, .. }
            | Self::Done { job, .. }
            | Self::Failed { job, .. } => *job,
        }
    }
}

/// Durable progress: what is counted is safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Put: plaintext bytes of stripes with at least k receipts: readable from the network. Get: bytes verified and
    /// written.
    pub done_bytes: u64,
    /// Put: plaintext bytes of stripes with all receipts.
    pub full_bytes: u64,
    /// Plaintext bytes of the whole job, if known.
    pub total_bytes: Option<u64>,
    /// Put: receipts. Get: shards received and verified.
    pub shards: u64,
    /// Get: shards that were bad or missing and were replaced by others; put: shards moved to another holder.
    pub healed: u64,
    /// Get: hedged requests that were sent; put: likewise.
    pub hedged: u64,
}

/// What a finished job achieved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// The object is durable.
    Put(Stored),
    /// The content is at `path`, or has been streamed.
    Got { path: Option<PathBuf>, bytes: u64, progress: Progress },
    /// Holders have forgotten `shards` shards; `unreachable` holders will when the lease ends.
    Removed { shards: u64, unreachable: Vec<PeerId> },
}

/// A stored object, as its owner's catalog remembers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// The object.
    pub cid: Cid,
    /// The key that opens it.
    pub key: ReadKey,
    /// File or directory name.
    pub name: String,
    /// True for a directory.
    pub directory: bool,
    /// Plaintext bytes, with a directory's index.
    pub raw_bytes: u64,
    /// Bytes sent to holders, with parity and manifest copies.
    pub stored_bytes: u64,
    /// Stripes.
    pub stripes: u64,
    /// Data shards per stripe.
    pub k: u8,
    /// Parity shards per stripe.
    pub m: u8,
    /// Peers that signed for something, roots first.
    pub holders: Vec<PeerId>,
    /// Shards without a receipt: 0 if all went well.
    pub missing_shards: u64,
    /// Seconds since 1970.
    pub sealed_unix: u64,
    /// Symbolic links and special files that were left out.
    pub skipped: u64,
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct JobError {
    /// What kind, for the exit code.
    pub kind: ErrorKind,
    /// What happened, to which file or peer, and what to do.
    pub message: String,
}

impl JobError {
    /// An error of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// Kinds of failure; each has an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorKind {
    /// Anything else: exit 1.
    Failed,
    /// Bad arguments: exit 2.
    Usage,
    /// No such object, file or entry: exit 3.
    NotFound,
    /// Peers cannot be reached, or did not answer in time: exit 4.
    Unreachable,
    /// Wrong key, wrong signature, or too many bad shards: exit 5.
    Integrity,
    /// Permission, or a peer's or operator's refusal: exit 6.
    Denied,
    /// Quota or disk full: exit 7.
    Quota,
    /// Cancelled by the user: exit 130.
    Interrupted,
}

impl ErrorKind {
    /// The exit code of the command line.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Unreachable => 4,
            Self::Integrity => 5,
            Self::Denied => 6,
            Self::Quota => 7,
            Self::Interrupted => 130,
        }
    }
}
