//! The files driver: what a user stores and gets back, as one stream of bytes per job.
//!
//! | module | what it defines |
//! |---|---|
//! | [`handle`] | [`FilesHandle`]: how a client of the control API feeds and drains streams |
//! | `worker` | the thread that carries out commands, and its table of jobs |
//! | `inbox` | the bounded queue in front of it |
//! | `source`, `walk` | reading a file; reading a directory, sorted |
//! | `sink`, `tree` | writing a file; writing a directory |
//! | `beneath` | directories by descriptor: how nothing is written through a symbolic link |
//! | `names` | which names are accepted, and what unfinished work is called |
//! | `stream` | bytes between a client and a worker, with back-pressure |
//! | `fault` | an operating system's error as one the user can act on |
//!
//! **Paths.** A sink path that ends in `/`, or a file's sink path that is an existing directory, means "in there, under
//! the object's own name". Otherwise the path is what the result will be called.
//!
//! **Unfinished work** is called `.<name>.pangea-part-<job>`, is readable by its owner only, and lies beside the result
//! (inside it, if a directory is merged into an existing one). It is removed when the job fails or is closed, and when
//! the driver ends. After a crash it stays: the driver never searches a user's directories for it.
//!
//! **Limits.** 256 jobs, 1,024 queued commands per worker, 4 MiB per read, 4 MiB buffered per fed stream, 16 MiB per
//! drained one, 1,000,000 entries and 128 levels per directory.

mod beneath;
mod fault;
pub mod handle;
mod inbox;
pub mod names;
mod sink;
mod source;
mod stream;
mod tree;
mod walk;
mod worker;

pub use handle::FilesHandle;

use inbox::{Door, Inbox};
use pangea_kernel::Port;
use pangea_protocols::{
    JobId,
    files::{Command, Event},
};
use std::sync::Arc;
use stream::Streams;

/// How the driver is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads; a job stays on one.
    pub workers: usize,
    /// Commands that wait for one worker before the port hands them back.
    pub queue: usize,
    /// Jobs that are open at the same time, per worker.
    pub jobs_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { workers: 2, queue: 1024, jobs_max: 128 }
    }
}

/// Starts the driver.
#[derive(Debug)]
pub struct FilesDriver;

impl FilesDriver {
    /// Starts the worker threads. They end, and remove unfinished work, when the port and the handle are gone, or at
    /// [`FilesHandle::shutdown`].
    ///
    /// # Errors
    /// The operating system refuses a thread.
    pub fn start(events: Port<Event>, options: Options) -> std::io::Result<(Port<Command>, FilesHandle)> {
        let workers = options.workers.max(1);
        let inboxes: Vec<Arc<Inbox>> = (0..workers).map(|_| Arc::new(Inbox::new(options.queue))).collect();
        let streams = Arc::new(Streams::new(inboxes.clone()));
        let umask = sink::umask();
        // Made first: if a thread cannot be started, its end stops those that were.
        let door = Arc::new(Door::new(inboxes.clone()));
        let mut threads = Vec::new();
        for (n, inbox) in inboxes.iter().enumerate() {
            let settings = worker::Settings { jobs_max: options.jobs_max, umask };
            let worker = worker::Worker::new(Arc::clone(inbox), Arc::clone(&streams), events.clone(), settings);
            threads.push(std::thread::Builder::new().name(format!("files-{n}")).spawn(move || worker.run())?);
        }
        let commands = Arc::clone(&door);
        let port = Port::new(move |command: Command| commands.inbox(job_of(&command)).push(command));
        Ok((port, FilesHandle::new(streams, door, threads)))
    }
}

fn job_of(command: &Command) -> JobId {
    match command {
        Command::OpenSource { job, .. }
        | Command::Read { job, .. }
        | Command::OpenSink { job, .. }
        | Command::Write { job, .. }
        | Command::Finish { job }
        | Command::Close { job } => *job,
    }
}
