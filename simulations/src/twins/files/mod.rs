//! Users' files in memory: a tree of files per node, read and written as the files driver does it, with its limits and
//! its rules for names and for what is in the way.
//!
//! | file | what it does |
//! |---|---|
//! | `tree` | paths and what is under them |
//! | `source` | reading a file, or a directory as its files and their index |
//! | `sink` | writing a file or a directory; nothing shows before it is whole |
//!
//! Not modelled: links, permissions, full disks, and streams of clients.

mod sink;
mod source;
#[cfg(test)]
mod tests;
mod tree;

use crate::timeline::Timeline;
use bytes::Bytes;
use pangea_kernel::{Port, Rejected};
use pangea_protocols::{
    JobId,
    files::{Command, Event, Sink, Source},
    job::{ErrorKind, JobError},
};
use sink::OpenSink;
use source::OpenSource;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tree::Tree;

/// Jobs that are open at the same time.
const JOBS_MAX: usize = 256;
/// What every command takes.
const COMMAND: Duration = Duration::from_micros(50);
/// Until an answer is offered again to a full mailbox.
const MAILBOX_RETRY: Duration = Duration::from_millis(1);

/// A file system for one node. Clones are the same one; it outlives the processes that use it.
#[derive(Clone)]
pub struct Files {
    timeline: Timeline,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    tree: Tree,
    jobs: BTreeMap<JobId, Job>,
}

enum Job {
    Source(OpenSource),
    Sink(Box<OpenSink>),
    /// Finished or failed: what still comes for it is ignored.
    Over,
}

impl Files {
    /// No files.
    pub fn new(timeline: Timeline) -> Self {
        Self { timeline, state: Arc::default() }
    }

    /// Makes a file, and the directories above it.
    pub fn write(&self, path: impl Into<PathBuf>, bytes: Bytes) {
        self.state().tree.put(path.into(), bytes);
    }

    /// Reads a file.
    pub fn read(&self, path: &Path) -> Option<Bytes> {
        self.state().tree.file(path).cloned()
    }

    /// Removes a file, or a directory with all below it.
    pub fn remove(&self, path: &Path) {
        self.state().tree.remove(path);
    }

    /// Files below a directory, by their whole paths.
    pub fn below(&self, path: &Path) -> Vec<PathBuf> {
        self.state().tree.below(path).map(|(path, _)| path.clone()).collect()
    }

    /// The process is gone: what it had not finished is not there.
    pub fn crash(&self) {
        self.state().jobs.clear();
    }

    /// The driver's port; `events` hears its answers.
    pub fn open(&self, events: Port<Event>) -> Port<Command> {
        let files = self.clone();
        Port::new(move |command| {
            if files.timeline.is_closed() {
                return Err(Rejected::Closed(command));
            }
            if let Some(event) = files.on_command(command) {
                files.answer(&events, COMMAND, event);
            }
            Ok(())
        })
    }

    fn answer(&self, events: &Port<Event>, after: Duration, event: Event) {
        let (files, events) = (self.clone(), events.clone());
        self.timeline.after(after, move || {
            if let Err(Rejected::Full(event)) = events.send(event) {
                files.answer(&events, MAILBOX_RETRY, event);
            }
        });
    }

    fn on_command(&self, command: Command) -> Option<Event> {
        let state = &mut *self.state();
        let job = command.job();
        state.carry_out(command).unwrap_or_else(|error| {
            if let Some(open) = state.jobs.get_mut(&job) {
                *open = Job::Over;
            }
            Some(Event::Failed { job, error })
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn carry_out(&mut self, command: Command) -> Result<Option<Event>, JobError> {
        match command {
            Command::OpenSource { job, source } => {
                self.check_room(job)?;
                let Source::Path(path) = source else { return Err(no_streams()) };
                let (open, opened) = OpenSource::new(&self.tree, &path)?;
                self.jobs.insert(job, Job::Source(open));
                let source::Opened { name, kind, len } = opened;
                Ok(Some(Event::SourceOpened { job, name, kind, len: Some(len), skipped: 0 }))
            }
            Command::Read { job, offset, len } => match self.jobs.get_mut(&job) {
                Some(Job::Source(source)) => Ok(Some(Event::Read { job, offset, bytes: source.read(offset, len)? })),
                Some(Job::Over) => Ok(None),
                _ => Err(misuse("a read of a job that is not a source")),
            },
            Command::OpenSink { job, sink, name, layout, start } => {
                self.check_room(job)?;
                let Sink::Path { path, overwrite } = sink else { return Err(no_streams()) };
                let sink = OpenSink::new(&self.tree, &path, &name, overwrite, layout, start)?;
                let path = Some(sink.path().to_owned());
                self.jobs.insert(job, Job::Sink(Box::new(sink)));
                Ok(Some(Event::SinkOpened { job, path }))
            }
            Command::Write { job, offset, bytes } => match self.jobs.get_mut(&job) {
                Some(Job::Sink(sink)) => {
                    let len = u32::try_from(bytes.len()).map_err(|_| misuse("a write of more than 4 GiB"))?;
                    sink.write(offset, &bytes)?;
                    Ok(Some(Event::Written { job, offset, len }))
                }
                Some(Job::Over) => Ok(None),
                _ => Err(misuse("a write to a job that is not a sink")),
            },
            Command::Finish { job } => match self.jobs.get_mut(&job) {
                Some(Job::Sink(sink)) => {
                    sink.finish(&mut self.tree)?;
                    self.jobs.insert(job, Job::Over);
                    Ok(Some(Event::Finished { job }))
                }
                Some(Job::Over) => Ok(None),
                _ => Err(misuse("the end of a job that is not a sink")),
            },
            Command::Close { job } => {
                self.jobs.remove(&job);
                Ok(None)
            }
        }
    }

    fn check_room(&self, job: JobId) -> Result<(), JobError> {
        if self.jobs.contains_key(&job) {
            return Err(misuse("a job was opened twice"));
        }
        if self.jobs.len() >= JOBS_MAX {
            return Err(JobError::new(ErrorKind::Failed, "too many jobs are open: wait for one to end"));
        }
        Ok(())
    }
}

/// A command that its sender must not send.
fn misuse(what: &str) -> JobError {
    JobError::new(ErrorKind::Failed, format!("files driver: {what}; this is a bug in Pangea, please report it"))
}

fn no_streams() -> JobError {
    JobError::new(ErrorKind::Usage, "streams are not simulated")
}
