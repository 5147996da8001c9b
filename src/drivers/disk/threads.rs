//! [`Disk`]: the shard disk on threads of its own. One writes, some read; none of them decides anything.
//!
//! What they do is in [`super::writer`] and [`super::reader`]; [`super::InlineDisk`] does the same without a thread.

use super::{
    OpenError, Options,
    dir_volume::DirVolume,
    opening::{Emit, Opened, Shared, open},
    queue::{Queue, Taken},
    reader::{Damage, Request, serve},
    task::Task,
    volume::Volume,
    writer::Job,
};
use pangea_kernel::{Port, Rejected, contain};
use pangea_protocols::{
    disk::{Command, Event},
    time::Time,
};
use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long a full event port is waited for before a closing disk drops the event, in milliseconds.
const CLOSING_PATIENCE_MS: u32 = 200;
/// Readers wake up for nothing else, so this only bounds one wait.
const READER_PATIENCE: Duration = Duration::from_secs(3600);

/// An open shard disk. Dropping it writes everything down and ends its threads.
pub struct Disk {
    closing: Arc<AtomicBool>,
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
        let volume = DirVolume::open(dir).map_err(|error| OpenError::Io { path: dir.to_owned(), error })?;
        Self::open_volume(Arc::new(volume), options, events)
    }

    /// [`Disk::open`] on any volume.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_volume(
        volume: Arc<dyn Volume>,
        options: Options,
        events: Port<Event>,
    ) -> Result<(Self, Port<Command>), OpenError> {
        let path = volume.path().to_owned();
        let closing = Arc::new(AtomicBool::new(false));
        let emit = emitter(events, Arc::clone(&closing));
        let start = Instant::now();
        let clock = move || Time(0) + start.elapsed();
        let opened = open(volume, options, emit, clock())?;
        let jobs = Arc::new(Queue::new(options.jobs_max, options.job_bytes_max));
        let requests = Arc::new(Queue::new(options.requests_max, usize::MAX));
        let mut disk = Self { closing, jobs, requests, readers: Vec::new(), writer: None };
        disk.spawn(opened, options.readers, clock).map_err(|error| OpenError::Io { path, error })?;
        let port = disk.port();
        Ok((disk, port))
    }

    /// Writes everything down and ends the threads.
    pub fn close(self) {
        drop(self);
    }

    fn spawn(&mut self, opened: Opened, readers: usize, clock: impl Fn() -> Time + Send + 'static) -> io::Result<()> {
        let Opened { shared, writer, roots } = opened;
        let jobs = Arc::clone(&self.jobs);
        let run = move || {
            let work = || {
                writer.announce(&roots);
                drop(roots);
                writer.run(&jobs, clock);
            };
            if let Err(reason) = contain(work) {
                tracing::error!(reason, "the shard disk takes nothing more; restart the node to recover what is on it");
                // Nobody would answer what still comes: the port hands it back, and peers hear a refusal.
                jobs.close();
            }
        };
        self.writer = Some(thread::Builder::new().name("disk-writer".to_owned()).spawn(run)?);
        for number in 0..readers.max(1) {
            let (shared, requests, jobs) = (Arc::clone(&shared), Arc::clone(&self.requests), Arc::clone(&self.jobs));
            let run = move || read(&shared, &requests, &jobs);
            self.readers.push(thread::Builder::new().name(format!("disk-reader-{number}")).spawn(run)?);
        }
        Ok(())
    }

    // A port hands back what it cannot take, whole: that is its contract.
    #[allow(clippy::result_large_err)]
    fn port(&self) -> Port<Command> {
        let (jobs, requests) = (Arc::clone(&self.jobs), Arc::clone(&self.requests));
        Port::new(move |command| match Task::from(command) {
            Task::Job(job) => jobs.push(job).map_err(|rejected| handed_back(rejected, Task::Job)),
            Task::Request(request) => requests.push(request).map_err(|rejected| handed_back(rejected, Task::Request)),
        })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
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

/// Sends events, waiting while the receiver is full: an answer must not be lost. The receiver is an actor that never
/// waits for the disk, so this ends.
fn emitter(events: Port<Event>, closing: Arc<AtomicBool>) -> Emit {
    Box::new(move |event| {
        let mut event = event;
        let mut waited_ms = 0;
        while let Err(Rejected::Full(back)) = events.send(event) {
            if closing.load(Ordering::Relaxed) {
                waited_ms += 1;
                if waited_ms > CLOSING_PATIENCE_MS {
                    return;
                }
            }
            event = back;
            thread::sleep(Duration::from_millis(1));
        }
    })
}

/// A reader: works until the queue is closed and empty.
fn read(shared: &Shared, requests: &Queue<Request>, jobs: &Queue<Job>) {
    while let Taken::Items(taken) = requests.take(1, usize::MAX, READER_PATIENCE) {
        for request in taken {
            match serve(shared, request) {
                Ok(event) => shared.emit(event),
                // The writer answers; a closing one does not, then the answer is given here.
                Err(Damage { tag, shard, at }) => {
                    if !jobs.push_own(Job::Damaged { tag, shard, at }) {
                        shared.emit(Event::Corrupt { tag });
                    }
                }
            }
        }
    }
}

fn handed_back<T>(rejected: Rejected<T>, task: impl FnOnce(T) -> Task) -> Rejected<Command> {
    match rejected {
        Rejected::Full(item) => Rejected::Full(task(item).into()),
        Rejected::Closed(item) => Rejected::Closed(task(item).into()),
    }
}
