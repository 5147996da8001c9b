//! [`JobsHandle`]: what the control API asks of the jobs driver.

use super::{
    driver::Task,
    meter::{self, Row, Totals},
    record::{Record, Request},
};
use bytes::Bytes;
use pangea_protocols::job::{ErrorKind, JobError};
use std::{
    path::PathBuf,
    sync::mpsc::{SyncSender, TrySendError},
};
use tokio::sync::{oneshot, watch};

/// A file of a job that a client may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// What came of it.
    Output,
    /// What others can check.
    Receipt,
    /// What tasks logged: lines of JSON, [`super::notes::LogLine`].
    Log,
    /// What happened where: lines of JSON, [`super::notes::Event`].
    Trace,
}

impl File {
    /// Its name in the directory of the job.
    pub fn name(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::Receipt => "receipt",
            Self::Log => "log",
            Self::Trace => "trace",
        }
    }
}

pub use super::notes::{Event, LogLine};

/// What clients ask.
#[derive(Debug)]
pub(super) enum Ask {
    Run { request: Box<Request>, reply: Reply<Record> },
    Feed { name: String, bytes: Option<Bytes>, reply: Reply<()> },
    List(Reply<Vec<Record>>),
    Watch { name: String, reply: Reply<watch::Receiver<Record>> },
    Cancel { name: String, reply: Reply<()> },
    Remove { name: String, reply: Reply<()> },
    File { name: String, file: File, reply: Reply<PathBuf> },
    Meter(Reply<Vec<Row>>),
}

/// Asks the jobs driver. Cheap to clone.
#[derive(Clone, Debug)]
pub struct JobsHandle {
    tasks: SyncSender<Task>,
    totals: Totals,
}

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, JobError>>;

impl JobsHandle {
    pub(super) fn new(tasks: SyncSender<Task>, totals: Totals) -> Self {
        Self { tasks, totals }
    }

    async fn ask<T>(&self, question: impl FnOnce(Reply<T>) -> Ask) -> Result<T, JobError> {
        let (reply, answer) = oneshot::channel();
        let failed = |text: &str| JobError::new(ErrorKind::Failed, text);
        match self.tasks.try_send(Task::Ask(question(reply))) {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(failed("the node is stopping"))),
            Err(TrySendError::Full(_)) => Err(failed("the node is overloaded: try again in a moment")),
            Err(TrySendError::Disconnected(_)) => Err(failed("the node is stopping")),
        }
    }

    /// Begins a job; a stream is to be fed now.
    ///
    /// # Errors
    /// The input cannot be read or cut, or too many jobs are there.
    pub async fn run(&self, request: Request) -> Result<Record, JobError> {
        self.ask(|reply| Ask::Run { request: Box::new(request), reply }).await
    }

    /// More of an input, or its end (`None`).
    ///
    /// # Errors
    /// The disk is full; the job has ended.
    pub async fn feed(&self, name: String, bytes: Option<Bytes>) -> Result<(), JobError> {
        self.ask(|reply| Ask::Feed { name, bytes, reply }).await
    }

    /// The client that fed a job is gone: it ends.
    pub fn abandon(&self, name: String) {
        let (reply, _) = oneshot::channel();
        // If the driver has no room or is gone, the input stays unfinished, and so its job when the node starts again.
        let _ = self.tasks.try_send(Task::Ask(Ask::Cancel { name, reply }));
    }

    /// All jobs, the newest first.
    ///
    /// # Errors
    /// The node is stopping.
    pub async fn list(&self) -> Result<Vec<Record>, JobError> {
        self.ask(Ask::List).await
    }

    /// A job by its name or a unique beginning of it, as it changes.
    ///
    /// # Errors
    /// There is none, or several.
    pub async fn watch(&self, name: String) -> Result<watch::Receiver<Record>, JobError> {
        self.ask(|reply| Ask::Watch { name, reply }).await
    }

    /// Ends a job.
    ///
    /// # Errors
    /// There is none.
    pub async fn cancel(&self, name: String) -> Result<(), JobError> {
        self.ask(|reply| Ask::Cancel { name, reply }).await
    }

    /// Forgets a job that has ended, with all its files.
    ///
    /// # Errors
    /// There is none, it runs, or its files cannot be removed.
    pub async fn remove(&self, name: String) -> Result<(), JobError> {
        self.ask(|reply| Ask::Remove { name, reply }).await
    }

    /// What was computed for whom, by peer, the latest first.
    ///
    /// # Errors
    /// The node is stopping.
    pub async fn meter(&self) -> Result<Vec<Row>, JobError> {
        self.ask(Ask::Meter).await
    }

    /// The totals of the meter in Prometheus' text format.
    pub fn metrics(&self) -> String {
        meter::render(&self.totals)
    }

    /// Where a file of a job is.
    ///
    /// # Errors
    /// There is no such job, or it has no such file (yet).
    pub async fn file(&self, name: String, file: File) -> Result<PathBuf, JobError> {
        self.ask(|reply| Ask::File { name, file, reply }).await
    }
}
