//! The messages of the files driver: what a user stores and gets back, as one stream of bytes per job.
//!
//! A file is its bytes. A directory is its files' bytes in ascending order of path, followed by an encoded
//! [`DirectoryIndex`](crate::manifest::DirectoryIndex). The driver walks directories, checks names and never follows
//! a symbolic link; whoever reads or writes the stream sees only offsets.

use crate::{
    id::JobId,
    job::JobError,
    manifest::{DirectoryIndex, Kind},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where bytes come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A file or directory of this machine, absolute.
    Path(PathBuf),
    /// A stream that a client of the control API feeds under the same job id; its length is not known.
    Stream { name: String },
}

/// Where bytes go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sink {
    /// A file or directory of this machine, absolute. Written beside it under a temporary name, then renamed.
    Path { path: PathBuf, overwrite: bool },
    /// A stream that a client of the control API reads under the same job id, in order.
    Stream,
}

/// What the CES actor asks of the driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Answered by `SourceOpened` or `Failed`.
    OpenSource { job: JobId, source: Source },
    /// Answered by `Read`; fewer bytes than asked for mean that the stream ends there. Offsets ascend without gaps.
    /// The last read of a source of known length asks for one byte more than is left, which tells a source that grew:
    /// `len` is at most 1 MiB and one byte.
    Read { job: JobId, offset: u64, len: u32 },
    /// Answered by `SinkOpened` or `Failed`. `layout` tells which ranges of the stream are which files;
    /// `start` is the stream offset of the first byte that will be written (not 0 for range reads). Offsets in the
    /// layout are offsets of the object's stream, also if it holds only some entries; paths are relative to the sink.
    OpenSink { job: JobId, sink: Sink, name: String, layout: Layout, start: u64 },
    /// The bytes at `offset`; offsets ascend without gaps. Answered by `Written` when the sink wants more.
    Write { job: JobId, offset: u64, bytes: Bytes },
    /// All is written: sync, rename, answer `Finished`.
    Finish { job: JobId },
    /// The job is over: close, and remove what is not finished. Not answered.
    Close { job: JobId },
}

impl Command {
    /// Which job.
    pub fn job(&self) -> JobId {
        match self {
            Self::OpenSource { job, .. }
            | Self::Read { job, .. }
            | Self::OpenSink { job, .. }
            | Self::Write { job, .. }
            | Self::Finish { job }
            | Self::Close { job } => *job,
        }
    }
}

/// How a sink divides the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout {
    /// One file.
    File { executable: bool, modified_unix: i64 },
    /// Many.
    Directory(DirectoryIndex),
}

/// What the driver answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// What the stream is; `len` is `None` if it is not known before its end. `skipped` counts links and special files.
    SourceOpened { job: JobId, name: String, kind: Kind, len: Option<u64>, skipped: u64 },
    /// Bytes of the source.
    Read { job: JobId, offset: u64, bytes: Bytes },
    /// The sink accepts bytes; `path` is what it will be called.
    SinkOpened { job: JobId, path: Option<PathBuf> },
    /// This many bytes of the write at `offset` are taken.
    Written { job: JobId, offset: u64, len: u32 },
    /// Synced and renamed.
    Finished { job: JobId },
    /// The source or sink failed: the job cannot go on.
    Failed { job: JobId, error: JobError },
}
