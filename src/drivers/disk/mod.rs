//! The shard disk: bodies in append-only segment files, their places in a redb index, one writer, group commit.
//!
//! ```text
//!   Command ─► Port ─┬─► jobs (bounded) ──► writer ─► stage ─► one write + fdatasync ─► overlay ─► answer
//!                    │                        │ later: commit overlay + watermark to index.redb; compact
//!                    └─► requests (bounded) ─► readers ─► overlay, index ─► pread + CRC ─► answer
//! ```
//!
//! [`Disk`] is this, on threads. [`InlineDisk`] is the same writer and reader without threads and queues: the caller
//! brings the groups and the time. Both work on any [`Volume`]; a node uses a [`DirVolume`].
//!
//! | module | what it does |
//! |---|---|
//! | [`volume`], [`dir_volume`] | the files, and how they lie in a directory |
//! | [`record`] | the bytes of segments and records |
//! | [`segment`] | segments: make, read, scan |
//! | [`log`] | the active segment, roll-over, going back after a failed write |
//! | [`entry`], [`index`], [`catalog`] | where a shard is and who holds it: on redb, and above it what is not committed |
//! | [`ledger`] | live and dead bytes |
//! | [`task`] | which part a command is for |
//! | [`writer`], [`compaction`] | what changes things: one group of jobs, one step of upkeep |
//! | [`reader`] | what does not |
//! | [`opening`], [`recovery`] | opening after a clean end, a crash, or the loss of the index |
//! | [`threads`], [`queue`] | threads around the writer and the reader, bounded queues between them |
//! | [`inline`] | no threads |
//!
//! **Invariants.** An answer `Appended` or `Deleted` is sent after the sync, never before. The index is never the only
//! copy of anything. Every command that the port takes is answered once. A shard of several owners is forgotten when
//! the last of them lets it go.
//!
//! Quota, proofs and receipts are not here but in `actors/chunks`.

mod catalog;
mod compaction;
mod dir_volume;
mod entry;
mod index;
mod inline;
mod ledger;
mod log;
mod opening;
mod queue;
mod reader;
mod record;
mod recovery;
mod segment;
mod task;
#[cfg(test)]
mod tests;
mod threads;
mod volume;
mod writer;

pub use dir_volume::DirVolume;
pub use entry::{Claim, add_claim};
pub use inline::InlineDisk;
use pangea_protocols::{ShardId, disk::Failure};
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    time::Duration,
};
pub use threads::Disk;
pub use volume::{SegmentReader, SegmentWriter, Volume};

/// Roots in one event.
const ROOTS_MAX: usize = 256;

/// Limits of the disk. The defaults are for a node; tests use smaller ones.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes after which a segment is full.
    pub segment_bytes: u32,
    /// Appends, deletes and expiries that may wait.
    pub jobs_max: usize,
    /// Bytes of bodies that may wait.
    pub job_bytes_max: usize,
    /// Reads and look-ups that may wait.
    pub requests_max: usize,
    /// Threads that read.
    pub readers: usize,
    /// Most commands in one group.
    pub group_commands: usize,
    /// Bytes of bodies after which a group is full.
    pub group_bytes: usize,
    /// Time between two groups of several commands, unless there is much to write.
    pub group_interval: Duration,
    /// Bytes after which the index is committed.
    pub commit_bytes: u64,
    /// Time after which the index is committed.
    pub commit_interval: Duration,
    /// Dead bytes below which a segment is not worth compacting.
    pub compact_bytes_min: u64,
    /// Dead bytes of all segments above which the one with most of them is compacted although most of it lives.
    pub dead_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 128 << 20,
            jobs_max: 1024,
            job_bytes_max: 128 << 20,
            requests_max: 1024,
            readers: 2,
            group_commands: 256,
            group_bytes: 64 << 20,
            group_interval: Duration::from_millis(10),
            commit_bytes: 64 << 20,
            commit_interval: Duration::from_secs(10),
            compact_bytes_min: 1 << 20,
            dead_bytes_max: u64::MAX,
        }
    }
}

impl Options {
    /// Options whose segments fit a quota: compaction needs room for a segment, and a small quota should not spend much
    /// of it on that, nor on dead bytes.
    pub fn for_quota(quota_bytes: u64) -> Self {
        let segment_bytes = (quota_bytes / 32).clamp(1 << 20, 128 << 20);
        let segment_bytes = u32::try_from(segment_bytes).unwrap_or(128 << 20);
        Self { segment_bytes, dead_bytes_max: quota_bytes / 8, ..Self::default() }
    }

    /// Bytes that `Usage::disk_bytes` may grow by on the disk's own account, while a segment is being compacted.
    /// The chunk store keeps them free of promises.
    pub fn maintenance_bytes(&self) -> u64 {
        u64::from(self.segment_bytes) + (1 << 20)
    }
}

/// Why the disk cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process works on it.
    #[error("{}: in use by another process; stop it first, or use another --home", path.display())]
    InUse { path: PathBuf },
    /// The system says no.
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    /// The index is damaged and could not be replaced.
    #[error("{}: the shard index cannot be read ({reason}); move it away to rebuild it from the segments", path.display())]
    Index { path: PathBuf, reason: String },
}

fn roots_of(roots: &BTreeSet<ShardId>) -> Vec<Vec<ShardId>> {
    let roots: Vec<ShardId> = roots.iter().copied().collect();
    roots.chunks(ROOTS_MAX).map(<[ShardId]>::to_vec).collect()
}

/// An I/O error as the chunk store sees it.
fn failure(path: &Path, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::Full,
        _ => Failure::Io(format!("{}: {error}", path.display())),
    }
}
