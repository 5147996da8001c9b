//! Users' files in memory: a source is bytes under a path, a sink collects bytes under a path.

use crate::timeline::Timeline;
use bytes::Bytes;
use pangea_kernel::{Port, Rejected};
use pangea_protocols::{
    JobId,
    files::{Command, Event, Sink, Source},
    job::{ErrorKind, JobError},
    manifest::Kind,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// A file system for one node. Clones are the same one.
#[derive(Clone)]
pub struct Files {
    timeline: Timeline,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<PathBuf, Bytes>,
    reading: BTreeMap<JobId, Bytes>,
    writing: BTreeMap<JobId, (PathBuf, Vec<u8>)>,
}

impl Files {
    /// No files.
    pub fn new(timeline: Timeline) -> Self {
        Self { timeline, state: Arc::default() }
    }

    /// Makes a file.
    pub fn write(&self, path: impl Into<PathBuf>, bytes: Bytes) {
        self.state().files.insert(path.into(), bytes);
    }

    /// Reads a file.
    pub fn read(&self, path: &Path) -> Option<Bytes> {
        self.state().files.get(path).cloned()
    }

    /// The driver's port; `events` hears its answers.
    pub fn open(&self, events: Port<Event>) -> Port<Command> {
        let files = self.clone();
        Port::new(move |command| {
            if files.timeline.is_closed() {
                return Err(Rejected::Closed(command));
            }
            if let Some(event) = files.on_command(command) {
                let events = events.clone();
                files.timeline.after(Duration::ZERO, move || {
                    let _ = events.send(event);
                });
            }
            Ok(())
        })
    }

    fn on_command(&self, command: Command) -> Option<Event> {
        let mut state = self.state();
        match command {
            Command::OpenSource { job, source } => {
                let found = match &source {
                    Source::Path(path) => state.files.get(path).cloned(),
                    Source::Stream { .. } => None,
                };
                let Some(bytes) = found else {
                    let error = JobError::new(ErrorKind::NotFound, format!("no such file: {source:?}"));
                    return Some(Event::Failed { job, error });
                };
                let len = Some(bytes.len() as u64);
                state.reading.insert(job, bytes);
                let kind = Kind::File { executable: false, modified_unix: 0 };
                Some(Event::SourceOpened { job, name: "source".to_owned(), kind, len, skipped: 0 })
            }
            Command::Read { job, offset, len } => {
                let bytes = state.reading.get(&job)?;
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let end = start.saturating_add(len as usize).min(bytes.len());
                Some(Event::Read { job, offset, bytes: bytes.slice(start..end) })
            }
            Command::OpenSink { job, sink, .. } => {
                let Sink::Path { path, .. } = sink else {
                    let error = JobError::new(ErrorKind::Usage, "streams are not simulated");
                    return Some(Event::Failed { job, error });
                };
                state.writing.insert(job, (path.clone(), Vec::new()));
                Some(Event::SinkOpened { job, path: Some(path) })
            }
            Command::Write { job, offset, bytes } => {
                state.writing.get_mut(&job)?.1.extend_from_slice(&bytes);
                Some(Event::Written { job, offset, len: u32::try_from(bytes.len()).unwrap_or(u32::MAX) })
            }
            Command::Finish { job } => {
                let (path, bytes) = state.writing.remove(&job)?;
                state.files.insert(path, bytes.into());
                Some(Event::Finished { job })
            }
            Command::Close { job } => {
                state.reading.remove(&job);
                state.writing.remove(&job);
                None
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
