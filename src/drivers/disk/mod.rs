//! The shard disk: bodies in append-only segment files, their places in a redb index, one writer, group commit.
//!
//! ```text
//!   Command ─► Port ─┬─► jobs (bounded) ──► writer ─► stage ─► one write + fdatasync ─► overlay ─► answer
//!                    │                        │ later: commit overlay + watermark to index.redb; compact
//!                    └─► requests (bounded) ─► readers ─► overlay, index ─► pread + CRC ─► answer
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | [`record`] | the bytes of segments and records |
//! | [`segment`] | segment files: append, read, scan |
//! | [`log`] | the active segment, roll-over, going back after a failed write |
//! | [`entry`], [`index`], [`catalog`] | where a shard is and who holds it: on redb, and above it what is not committed |
//! | [`ledger`] | live and dead bytes |
//! | [`writer`], [`compaction`] | the thread that changes things |
//! | [`reader`] | the threads that do not |
//! | [`recovery`] | opening after a clean end, a crash, or the loss of the index |
//! | [`queue`] | bounded queues between the threads |
//!
//! **Invariants.** An answer `Appended` or `Deleted` is sent after the sync, never before. The index is never the only
//! copy of anything. Every command that the port takes is answered once. A shard of several owners is forgotten when
//! the last of them lets it go.
//!
//! Quota, proofs and receipts are not here but in `actors/chunks`.

mod catalog;
mod compaction;
mod entry;
mod index;
mod ledger;
mod log;
mod queue;
mod reader;
mod record;
mod recovery;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use catalog::Catalog;
use index::Index;
use log::{Log, Wrap};
use pangea_kernel::{Port, Rejected, contain};
use pangea_protocols::{
    ShardId,
    disk::{Command, Event, Failure},
};
use queue::Queue;
use reader::Request;
use recovery::Recovered;
use segment::Segments;
use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::DirBuilderExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use writer::{Job, Writer};

/// Roots in one event.
const ROOTS_MAX: usize = 256;
/// How long a full event port is waited for before a closing disk drops the event, in milliseconds.
const CLOSING_PATIENCE_MS: u32 = 200;

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
    /// Bytes after which the index is committed.
    pub commit_bytes: u64,
    /// Time after which the index is committed.
    pub commit_interval: Duration,
    /// Dead bytes below which a segment is not worth compacting.
    pub compact_bytes_min: u64,
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
            commit_bytes: 64 << 20,
            commit_interval: Duration::from_secs(10),
            compact_bytes_min: 1 << 20,
        }
    }
}

impl Options {
    /// Options whose segments fit a quota: compaction needs room for half a segment, and a small quota should not
    /// spend much of it on that.
    pub fn for_quota(quota_bytes: u64) -> Self {
        let segment_bytes = (quota_bytes / 32).clamp(4 << 20, 128 << 20);
        Self { segment_bytes: u32::try_from(segment_bytes).unwrap_or(128 << 20), ..Self::default() }
    }

    /// Bytes that `Usage::disk_bytes` may grow by on the disk's own account, while a segment is being compacted.
    /// The chunk store keeps them free of promises.
    pub fn maintenance_bytes(&self) -> u64 {
        u64::from(self.segment_bytes) / 2 + (1 << 20)
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

/// What all threads of the disk share.
struct Shared {
    catalog: Catalog,
    segments: Arc<Segments>,
    events: Port<Event>,
    closing: AtomicBool,
}

impl Shared {
    /// Sends an event, waiting while the receiver is full: an answer must not be lost. The receiver is an actor that
    /// never waits for the disk, so this ends.
    fn emit(&self, event: Event) {
        let mut event = event;
        let mut waited_ms = 0;
        while let Err(Rejected::Full(back)) = self.events.send(event) {
            if self.closing.load(Ordering::Relaxed) {
                waited_ms += 1;
                if waited_ms > CLOSING_PATIENCE_MS {
                    return;
                }
            }
            event = back;
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// An open shard disk. Dropping it writes everything down and ends its threads.
pub struct Disk {
    shared: Arc<Shared>,
    jobs: Arc<Queue<Job>>,
    requests: Arc<Queue<Request>>,
    readers: Vec<JoinHandle<()>>,
    writer: Option<JoinHandle<()>>,
}

impl Disk {
    /// Opens the store under `dir` (`dir/segments/`, `dir/index.redb`), creating it if needed, and brings it up to
    /// date. `Opened` is the first event.
    ///
    /// # Errors
    /// See [`OpenError`]. A damaged index is no error: it is put aside and rebuilt.
    pub fn open(dir: &Path, options: Options, events: Port<Event>) -> Result<(Self, Port<Command>), OpenError> {
        Self::open_wrapped(dir, options, events, Box::new(|file| Box::new(file)))
    }

    fn open_wrapped(
        dir: &Path,
        options: Options,
        events: Port<Event>,
        wrap: Wrap,
    ) -> Result<(Self, Port<Command>), OpenError> {
        let segments = Arc::new(Segments::new(dir.join("segments")));
        let io = |error: io::Error| OpenError::Io { path: dir.to_owned(), error };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(segments.dir()).map_err(io)?;
        let (catalog, recovered) = open_catalog(&dir.join("index.redb"), &segments)?;
        let Recovered { ledger, roots, durable, tail } = recovered;
        let log = Log::new(Arc::clone(&segments), wrap, options.segment_bytes, ledger, durable, tail).map_err(io)?;
        let shared = Arc::new(Shared { catalog, segments, events, closing: AtomicBool::new(false) });
        let jobs = Arc::new(Queue::new(options.jobs_max, options.job_bytes_max));
        let requests = Arc::new(Queue::new(options.requests_max, usize::MAX));
        let mut disk = Self { shared, jobs, requests, readers: Vec::new(), writer: None };
        disk.spawn(options, log, roots).map_err(io)?;
        let port = disk.port();
        Ok((disk, port))
    }

    /// Writes everything down and ends the threads.
    pub fn close(self) {
        drop(self);
    }

    fn spawn(&mut self, options: Options, log: Log, roots: BTreeSet<ShardId>) -> io::Result<()> {
        let writer = Writer::new(Arc::clone(&self.shared), options, log);
        let jobs = Arc::clone(&self.jobs);
        let run = move || {
            let work = || {
                writer.announce(&roots);
                drop(roots);
                writer.run(&jobs);
            };
            if let Err(reason) = contain(work) {
                tracing::error!(reason, "the shard disk takes nothing more; restart the node to recover what is on it");
                // Nobody would answer what still comes: the port hands it back, and peers hear a refusal.
                jobs.close();
            }
        };
        self.writer = Some(thread::Builder::new().name("disk-writer".to_owned()).spawn(run)?);
        for number in 0..options.readers.max(1) {
            let (shared, requests, jobs) =
                (Arc::clone(&self.shared), Arc::clone(&self.requests), Arc::clone(&self.jobs));
            let run = move || reader::run(&shared, &requests, &jobs);
            self.readers.push(thread::Builder::new().name(format!("disk-reader-{number}")).spawn(run)?);
        }
        Ok(())
    }

    // A port hands back what it cannot take, whole: that is its contract.
    #[allow(clippy::result_large_err)]
    fn port(&self) -> Port<Command> {
        let (jobs, requests) = (Arc::clone(&self.jobs), Arc::clone(&self.requests));
        Port::new(move |command| match command {
            Command::Append { tag, shard, meta, body } => {
                jobs.push(Job::Append { tag, shard, meta, body }).map_err(from_job)
            }
            Command::Delete { tag, owner, shards } => jobs.push(Job::Delete { tag, owner, shards }).map_err(from_job),
            Command::Expire { tag, now_unix } => jobs.push(Job::Expire { tag, now_unix }).map_err(from_job),
            Command::Read { tag, shard } => requests.push(Request::Read { tag, shard }).map_err(from_request),
            Command::Contains { tag, shards } => requests.push(Request::Contains { tag, shards }).map_err(from_request),
        })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        self.requests.close();
        let readers = std::mem::take(&mut self.readers);
        for handle in readers {
            join(handle);
        }
        self.jobs.close();
        self.writer.take().into_iter().for_each(join);
    }
}

fn join(handle: JoinHandle<()>) {
    if handle.join().is_err() {
        tracing::error!("a thread of the shard disk has panicked; what was answered is safe");
    }
}

/// Opens and recovers; a damaged index is put aside and rebuilt. redb may panic on damaged pages, which is caught.
fn open_catalog(path: &Path, segments: &Segments) -> Result<(Catalog, Recovered), OpenError> {
    let attempt = || -> Result<(Catalog, Recovered), OpenError> {
        let catalog = Catalog::new(Index::open(path.to_owned())?);
        let recovered = recovery::recover(&catalog, segments)?;
        Ok((catalog, recovered))
    };
    let reason = match catch_unwind(AssertUnwindSafe(attempt)) {
        Ok(Err(OpenError::Index { reason, .. })) => reason,
        Ok(done) => return done,
        Err(_) => "reading it panicked".to_owned(),
    };
    let aside = path.with_extension("redb.damaged");
    tracing::error!(path = %path.display(), aside = %aside.display(), reason, "shard index is damaged: rebuilding it");
    fs::rename(path, &aside).map_err(|error| OpenError::Io { path: aside, error })?;
    attempt()
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

fn from_job(rejected: Rejected<Job>) -> Rejected<Command> {
    let command = |job| match job {
        Job::Append { tag, shard, meta, body } => Command::Append { tag, shard, meta, body },
        Job::Delete { tag, owner, shards } => Command::Delete { tag, owner, shards },
        Job::Expire { tag, now_unix } => Command::Expire { tag, now_unix },
        Job::Damaged { tag, shard, .. } => Command::Read { tag, shard },
    };
    match rejected {
        Rejected::Full(job) => Rejected::Full(command(job)),
        Rejected::Closed(job) => Rejected::Closed(command(job)),
    }
}

fn from_request(rejected: Rejected<Request>) -> Rejected<Command> {
    let command = |request| match request {
        Request::Read { tag, shard } => Command::Read { tag, shard },
        Request::Contains { tag, shards } => Command::Contains { tag, shards },
    };
    match rejected {
        Rejected::Full(request) => Rejected::Full(command(request)),
        Rejected::Closed(request) => Rejected::Closed(command(request)),
    }
}
