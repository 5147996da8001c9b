//! A running job as a capability, and the byte streams of puts and gets.
//!
//! A job belongs to the client that started it: when the client lets go of the capability, or its connection breaks,
//! the job is cancelled, unless it was started with `detach`. Cancelling happens in a `Drop`, which cannot wait, so it
//! goes through [`Canceller`], a queue that one task of the server empties.

use super::{CHUNK_BYTES_MAX, INDEX_PAGE, encode};
use crate::node::{
    NodeHandle,
    handle::{Job, News},
};
use bytes::Bytes;
use pangea_protocols::{
    JobId,
    generated::control_capnp::{byte_sink, job},
    job::{ErrorKind, JobError, JobEvent},
    manifest::DirectoryIndex,
};
use std::{cell::Cell, rc::Rc};
use tokio::sync::{Mutex, mpsc, oneshot};

/// Cancels jobs from where nothing can wait. The queue is bounded by the number of jobs of all connections.
#[derive(Clone)]
pub(super) struct Canceller(mpsc::UnboundedSender<JobId>);

impl Canceller {
    /// A canceller, and the task that does its work.
    pub(super) fn new(node: NodeHandle) -> (Self, impl Future<Output = ()>) {
        let (sender, mut jobs) = mpsc::unbounded_channel();
        let work = async move {
            while let Some(job) = jobs.recv().await {
                // Fails only when the node has stopped, and then so have its jobs.
                let _ = node.cancel(job).await;
            }
        };
        (Self(sender), work)
    }

    fn cancel(&self, job: JobId) {
        // Fails only when the server has stopped.
        let _ = self.0.send(job);
    }
}

/// Counts the jobs of a connection; a slot is free again when it is dropped.
#[derive(Clone, Default)]
pub(super) struct Slots(Rc<Cell<usize>>);

pub(super) struct Slot(Rc<Cell<usize>>);

impl Slots {
    /// A slot, if fewer than `max` are taken.
    pub(super) fn take(&self, max: usize) -> Result<Slot, JobError> {
        if self.0.get() >= max {
            let message = format!("this connection already has {max} jobs: wait for one to end, or open another");
            return Err(JobError::new(ErrorKind::Denied, message));
        }
        self.0.set(self.0.get() + 1);
        Ok(Slot(self.0.clone()))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A job of the node, as its client sees it.
pub(super) struct JobServer {
    node: NodeHandle,
    id: JobId,
    canceller: Canceller,
    detach: bool,
    ended: Cell<bool>,
    news: Mutex<Inbox>,
    _slot: Slot,
}

struct Inbox {
    news: mpsc::Receiver<News>,
    /// An index that is being handed out, and how many of its entries have been.
    index: Option<(DirectoryIndex, usize)>,
    /// Whether all bytes of a get have reached the client's sink.
    streamed: Option<oneshot::Receiver<Result<(), JobError>>>,
}

impl JobServer {
    pub(super) fn new(node: NodeHandle, job: Job, canceller: Canceller, detach: bool, slot: Slot) -> Self {
        let news = Mutex::new(Inbox { news: job.news, index: None, streamed: None });
        Self { node, id: job.id, canceller, detach, ended: Cell::new(false), news, _slot: slot }
    }

    /// The end of a get is told only after all bytes have reached the sink.
    pub(super) fn wait_for_stream(mut self, streamed: oneshot::Receiver<Result<(), JobError>>) -> Self {
        self.news.get_mut().streamed = Some(streamed);
        self
    }

    async fn next_event(&self, inbox: &mut Inbox) -> Option<News> {
        if self.ended.get() {
            return None;
        }
        let lost = || JobError::new(ErrorKind::Failed, "the node is shutting down");
        let news = inbox.news.recv().await;
        let news = news.unwrap_or_else(|| News::Event(JobEvent::Failed { job: self.id, error: lost() }));
        match news {
            News::Event(JobEvent::Done { job, outcome }) => {
                let streamed = match inbox.streamed.take() {
                    Some(streamed) => streamed.await.unwrap_or_else(|_| Err(lost())),
                    None => Ok(()),
                };
                self.ended.set(true);
                Some(News::Event(match streamed {
                    Ok(()) => JobEvent::Done { job, outcome },
                    Err(error) => JobEvent::Failed { job, error },
                }))
            }
            News::Event(JobEvent::Failed { .. }) => {
                self.ended.set(true);
                Some(news)
            }
            other => Some(other),
        }
    }
}

impl Drop for JobServer {
    fn drop(&mut self) {
        if !self.ended.get() && !self.detach {
            self.canceller.cancel(self.id);
        }
    }
}

impl job::Server for JobServer {
    async fn id(self: Rc<Self>, _: job::IdParams, mut results: job::IdResults) -> capnp::Result<()> {
        results.get().set_job(self.id.0);
        Ok(())
    }

    async fn next(self: Rc<Self>, _: job::NextParams, mut results: job::NextResults) -> capnp::Result<()> {
        let mut inbox = self.news.lock().await;
        if inbox.index.is_none() {
            match self.next_event(&mut inbox).await {
                None => results.get().init_news().set_ended(()),
                Some(News::Event(event)) => encode::event(results.get().init_news(), &event),
                Some(News::Index(index)) => inbox.index = Some((index, 0)),
            }
        }
        if let Some((index, told)) = &mut inbox.index {
            let page = &index.entries[*told..index.entries.len().min(*told + INDEX_PAGE)];
            *told += page.len();
            let last = *told == index.entries.len();
            let mut news = results.get().init_news();
            news.set_job(self.id.0);
            encode::index_page(news.init_index(), page, last);
            if last {
                inbox.index = None;
            }
        }
        Ok(())
    }

    async fn cancel(self: Rc<Self>, _: job::CancelParams, _: job::CancelResults) -> capnp::Result<()> {
        if !self.ended.get() {
            self.node.cancel(self.id).await.map_err(exception)?;
        }
        Ok(())
    }
}

/// Streaming calls have no results, so their failures are exceptions; the job's news have the structured form.
pub(super) fn exception(error: JobError) -> capnp::Error {
    capnp::Error::failed(error.message)
}

/// Takes the bytes of a put from its client.
pub(super) struct FeedServer {
    node: NodeHandle,
    job: JobId,
    canceller: Canceller,
    ended: Cell<bool>,
}

impl FeedServer {
    pub(super) fn new(node: NodeHandle, job: JobId, canceller: Canceller) -> Self {
        Self { node, job, canceller, ended: Cell::new(false) }
    }
}

impl Drop for FeedServer {
    fn drop(&mut self) {
        if !self.ended.get() {
            self.canceller.cancel(self.job);
        }
    }
}

impl byte_sink::Server for FeedServer {
    async fn write(self: Rc<Self>, params: byte_sink::WriteParams) -> capnp::Result<()> {
        let bytes = params.get()?.get_bytes()?;
        if bytes.len() > CHUNK_BYTES_MAX {
            return Err(capnp::Error::failed(format!("a write has at most {CHUNK_BYTES_MAX} bytes")));
        }
        if self.ended.get() {
            return Err(capnp::Error::failed("the stream has ended".into()));
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.node.feed(self.job, Bytes::copy_from_slice(bytes)).await.map_err(exception)
    }

    async fn end(self: Rc<Self>, _: byte_sink::EndParams, _: byte_sink::EndResults) -> capnp::Result<()> {
        if self.ended.replace(true) {
            return Ok(());
        }
        self.node.finish_feed(self.job).await.map_err(exception)
    }
}

/// Moves the bytes of a get to its client's sink, and tells when all are there. A sink that fails cancels the job.
pub(super) async fn stream_out(
    node: NodeHandle,
    job: JobId,
    sink: byte_sink::Client,
    done: oneshot::Sender<Result<(), JobError>>,
) {
    let result = drain_into(&node, job, &sink).await;
    // Nobody listens when the client is gone.
    let _ = done.send(result);
}

async fn drain_into(node: &NodeHandle, job: JobId, sink: &byte_sink::Client) -> Result<(), JobError> {
    // When the node ends the stream, the job has failed: its own news say why, and a cancel could come before them.
    while let Some(bytes) = node.drain(job).await? {
        for chunk in bytes.chunks(CHUNK_BYTES_MAX) {
            let mut request = sink.write_request();
            request.get().set_bytes(chunk);
            if let Err(error) = request.send().await {
                return Err(given_up(node, job, &error).await);
            }
        }
    }
    // Writes are acknowledged ahead of their reader: its refusal of the last ones is heard here.
    match sink.end_request().send().promise.await {
        Ok(_) => Ok(()),
        Err(error) => Err(given_up(node, job, &error).await),
    }
}

/// The reader wants no more, so nobody wants the job.
async fn given_up(node: &NodeHandle, job: JobId, error: &capnp::Error) -> JobError {
    let _ = node.cancel(job).await;
    JobError::new(ErrorKind::Interrupted, format!("the reader of the stream gave up: {}", error.extra))
}
