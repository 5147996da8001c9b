//! [`FilesHandle`]: how a client of the control API feeds a stream source and drains a stream sink.
//!
//! Streams are named by their job. A client may begin before the driver has opened the job: bytes wait, within limits.

use super::{inbox::Door, stream::Streams};
use bytes::Bytes;
use pangea_protocols::{JobId, files::Command, job::JobError};
use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

/// Feeds and drains streams. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FilesHandle {
    streams: Arc<Streams>,
    door: Arc<Door>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl FilesHandle {
    pub(super) fn new(streams: Arc<Streams>, door: Arc<Door>, threads: Vec<JoinHandle<()>>) -> Self {
        Self { streams, door, threads: Arc::new(Mutex::new(threads)) }
    }

    /// Adds bytes to a source; waits while 4 MiB are unread. Dropping the future adds nothing.
    ///
    /// # Errors
    /// The job is over, or failed.
    pub async fn feed(&self, job: JobId, bytes: Bytes) -> Result<(), JobError> {
        self.streams.feed(job, bytes).await
    }

    /// The source ends here.
    pub fn finish_feed(&self, job: JobId) {
        self.streams.end_feed(job, None);
    }

    /// The client is gone or its source failed: the job fails with `error`.
    pub fn fail_feed(&self, job: JobId, error: JobError) {
        self.streams.end_feed(job, Some(error));
    }

    /// The next bytes of a sink; `None` at its end. Waits for them. What is returned counts as taken.
    ///
    /// # Errors
    /// The job failed or was closed before its end.
    pub async fn drain(&self, job: JobId) -> Result<Option<Bytes>, JobError> {
        self.streams.drain(job).await
    }

    /// The client takes no more: the job fails with `error`.
    pub fn fail_drain(&self, job: JobId, error: JobError) {
        self.streams.end_feed(job, Some(error));
    }

    /// Forgets a job, ending whoever waits on its stream and removing what is unfinished. For jobs that ended before
    /// the driver heard of them, or whose `Close` may have been lost with an actor; after a `Close` it does nothing.
    pub fn release(&self, job: JobId) {
        // A queue so full that it has no room for a `Close` either is closed: then the worker removes everything.
        let _ = self.door.inbox(job).push(Command::Close { job });
        self.streams.close(job);
    }

    /// Ends the workers, after the commands that are queued, and removes unfinished work. Blocks until that is done.
    pub fn shutdown(&self) {
        self.door.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a files worker had panicked");
            }
        }
    }
}
