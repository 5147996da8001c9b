//! [`Streams`]: bytes between a client of the control API and a worker.
//!
//! Both sides may come first, and either may end it. Neither buffer grows beyond its limit: a client that feeds waits,
//! and a worker that writes has been told by missing `Written`s to stop.

use super::{
    fault::misuse,
    inbox::{Inbox, inbox_of},
};
use bytes::{Buf, Bytes, BytesMut};
use pangea_protocols::{
    JobId,
    job::{ErrorKind, JobError},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// A feed waits above this many unread bytes; a read asks for at most as many.
pub(super) const FEED_BYTES_MAX: usize = super::source::READ_BYTES_MAX as usize;
/// Most bytes that wait for a client to drain them.
pub(super) const DRAIN_BYTES_MAX: usize = 16 << 20;
/// Streams that are known at the same time.
const STREAMS_MAX: usize = 1024;
/// Jobs whose end is remembered, for clients that ask once more.
const ENDED_MAX: usize = 4096;

/// All streams, by job.
#[derive(Debug)]
pub(super) struct Streams {
    table: Mutex<Table>,
    inboxes: Vec<Arc<Inbox>>,
}

#[derive(Debug, Default)]
struct Table {
    streams: BTreeMap<JobId, Arc<Stream>>,
    /// Jobs that are over, oldest first, and whether their client had everything.
    ended: VecDeque<(JobId, bool)>,
}

/// One direction of bytes.
#[derive(Debug, Default)]
struct Stream {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Bytes>,
    bytes: usize,
    /// Bytes that the reading side has taken since the start.
    taken: u64,
    /// No more will come.
    ended: bool,
    /// The other side has given up.
    failed: Option<JobError>,
    /// The job is over.
    closed: bool,
}

/// What a worker finds when it looks at a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look<T> {
    /// It has to wait.
    Wait,
    /// Here.
    Ready(T),
    /// The client failed.
    Failed(JobError),
}

impl Streams {
    pub(super) fn new(inboxes: Vec<Arc<Inbox>>) -> Self {
        Self { table: Mutex::default(), inboxes }
    }

    /// The stream of a job, made if neither side has named it yet.
    fn stream(&self, job: JobId) -> Result<Arc<Stream>, JobError> {
        let mut table = lock(&self.table);
        if let Some(stream) = table.streams.get(&job) {
            return Ok(Arc::clone(stream));
        }
        if table.ended.iter().any(|(ended, _)| *ended == job) {
            return Err(over());
        }
        if table.streams.len() >= STREAMS_MAX {
            return Err(JobError::new(ErrorKind::Failed, "too many streams are open: wait for a job to end"));
        }
        Ok(Arc::clone(table.streams.entry(job).or_default()))
    }

    pub(super) async fn feed(&self, job: JobId, bytes: Bytes) -> Result<(), JobError> {
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.len() > FEED_BYTES_MAX {
            return Err(misuse("more than 4 MiB were fed at once"));
        }
        let stream = self.stream(job)?;
        loop {
            let news = stream.news.notified();
            {
                let mut state = lock(&stream.state);
                state.check()?;
                if state.ended {
                    return Err(misuse("bytes were fed after the end of a stream"));
                }
                if state.bytes < FEED_BYTES_MAX {
                    state.bytes += bytes.len();
                    state.chunks.push_back(bytes);
                    break;
                }
            }
            news.await;
        }
        inbox_of(&self.inboxes, job).wake(job);
        Ok(())
    }

    /// The client's side ends: well, or with an error.
    pub(super) fn end_feed(&self, job: JobId, error: Option<JobError>) {
        let Ok(stream) = self.stream(job) else { return };
        {
            let mut state = lock(&stream.state);
            match error {
                Some(error) => state.failed = state.failed.take().or(Some(error)),
                None => state.ended = true,
            }
        }
        stream.news.notify_waiters();
        inbox_of(&self.inboxes, job).wake(job);
    }

    pub(super) async fn drain(&self, job: JobId) -> Result<Option<Bytes>, JobError> {
        let stream = match self.stream(job) {
            Ok(stream) => stream,
            Err(error) => {
                let complete = lock(&self.table).ended.contains(&(job, true));
                return if complete { Ok(None) } else { Err(error) };
            }
        };
        let taken = loop {
            let news = stream.news.notified();
            {
                let mut state = lock(&stream.state);
                if let Some(bytes) = state.chunks.pop_front() {
                    state.bytes -= bytes.len();
                    state.taken += bytes.len() as u64;
                    break bytes;
                }
                if state.ended && state.failed.is_none() {
                    return Ok(None);
                }
                state.check()?;
            }
            news.await;
        };
        inbox_of(&self.inboxes, job).wake(job);
        Ok(Some(taken))
    }

    /// For a worker: exactly `len` bytes of what was fed, or what is left of it at its end.
    pub(super) fn take(&self, job: JobId, len: usize) -> Result<Look<Bytes>, JobError> {
        let stream = self.stream(job)?;
        let look = {
            let mut state = lock(&stream.state);
            match &state.failed {
                Some(error) => Look::Failed(error.clone()),
                None if state.bytes >= len || state.ended => Look::Ready(state.take(len)),
                None => Look::Wait,
            }
        };
        stream.news.notify_waiters();
        Ok(look)
    }

    /// For a worker: bytes that the client shall have.
    pub(super) fn give(&self, job: JobId, bytes: Bytes) -> Result<(), JobError> {
        let stream = self.stream(job)?;
        {
            let mut state = lock(&stream.state);
            if state.bytes + bytes.len() > DRAIN_BYTES_MAX {
                return Err(misuse("more was written than the client takes"));
            }
            if !bytes.is_empty() {
                state.bytes += bytes.len();
                state.chunks.push_back(bytes);
            }
        }
        stream.news.notify_waiters();
        Ok(())
    }

    /// For a worker: no more will be given.
    pub(super) fn end(&self, job: JobId) -> Result<(), JobError> {
        let stream = self.stream(job)?;
        lock(&stream.state).ended = true;
        stream.news.notify_waiters();
        Ok(())
    }

    /// For a worker: how many bytes the client has taken.
    pub(super) fn taken(&self, job: JobId) -> Result<Look<u64>, JobError> {
        let stream = self.stream(job)?;
        let state = lock(&stream.state);
        Ok(match &state.failed {
            Some(error) => Look::Failed(error.clone()),
            None => Look::Ready(state.taken),
        })
    }

    /// For a worker: the job cannot go on, and its client hears why.
    pub(super) fn fail(&self, job: JobId, error: &JobError) {
        let stream = lock(&self.table).streams.get(&job).map(Arc::clone);
        if let Some(stream) = stream {
            {
                let mut state = lock(&stream.state);
                state.failed = state.failed.take().or_else(|| Some(error.clone()));
                (state.chunks, state.bytes) = (VecDeque::new(), 0);
            }
            stream.news.notify_waiters();
        }
    }

    /// The job is over: whoever waits is woken.
    pub(super) fn close(&self, job: JobId) {
        let stream = {
            let mut table = lock(&self.table);
            let stream = table.streams.remove(&job);
            let complete = stream.as_ref().is_some_and(|stream| {
                let state = lock(&stream.state);
                state.ended && state.failed.is_none() && state.chunks.is_empty()
            });
            if !table.ended.iter().any(|(ended, _)| *ended == job) {
                if table.ended.len() >= ENDED_MAX {
                    table.ended.pop_front();
                }
                table.ended.push_back((job, complete));
            }
            stream
        };
        if let Some(stream) = stream {
            lock(&stream.state).closed = true;
            stream.news.notify_waiters();
        }
    }
}

impl State {
    fn check(&self) -> Result<(), JobError> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None if self.closed => Err(over()),
            None => Ok(()),
        }
    }

    /// Up to `len` bytes, without a copy if the first chunk has them all.
    fn take(&mut self, len: usize) -> Bytes {
        let len = len.min(self.bytes);
        self.bytes -= len;
        self.taken += len as u64;
        if let Some(first) = self.chunks.front_mut()
            && first.len() >= len
        {
            let bytes = first.split_to(len);
            if first.is_empty() {
                self.chunks.pop_front();
            }
            return bytes;
        }
        let mut bytes = BytesMut::with_capacity(len);
        while bytes.len() < len {
            let Some(first) = self.chunks.front_mut() else { break };
            let part = first.len().min(len - bytes.len());
            bytes.extend_from_slice(&first[..part]);
            first.advance(part);
            if first.is_empty() {
                self.chunks.pop_front();
            }
        }
        bytes.freeze()
    }
}

fn over() -> JobError {
    JobError::new(ErrorKind::Interrupted, "the job is over")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
