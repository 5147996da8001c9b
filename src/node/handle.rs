//! [`NodeHandle`]: everything that can be asked of a running node, as messages to its hub.
//!
//! The control API, the demo and tests use it; it can be cloned and sent between threads. It does nothing itself: the
//! hub (`node::hub`) owns the job table and talks to the actors.

use super::extensions::ExtensionsHandle;
use crate::drivers::jobs::stored::Survey;
use bytes::Bytes;
use pangea_ces::api::{Profile, Selection};
use pangea_protocols::{
    Address, Cid, JobId, PeerId,
    files::{Sink, Source},
    job::{ErrorKind, JobError, JobEvent, Stored},
    manifest::DirectoryIndex,
    ticket::Ticket,
};
use pangea_transfer::api::Redundancy;
use std::{path::PathBuf, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// Events of one job that may wait for a slow reader; progress beyond that is coalesced, the end never.
pub const JOB_EVENTS_MAX: usize = 64;

/// A put.
#[derive(Clone, Debug)]
pub struct Put {
    /// What to store. A [`Source::Stream`] is fed with [`NodeHandle::feed`].
    pub source: Source,
    /// How many shards.
    pub redundancy: Redundancy,
    /// How hard to compress.
    pub profile: Profile,
    /// How long holders keep it unless renewed.
    pub lease: Duration,
}

/// A get.
#[derive(Clone, Debug)]
pub struct Get {
    /// What to read.
    pub ticket: Ticket,
    /// Which part.
    pub only: Selection,
    /// Where to. A [`Sink::Stream`] is read with [`NodeHandle::drain`].
    pub sink: Sink,
    /// A job that does not move for this long fails.
    pub timeout: Duration,
}

/// News of a job as the hub hands it on: the actors' events, and a directory's index where it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// From the actors. `Done` and `Failed` are last.
    Event(JobEvent),
    /// The index of a directory object.
    Index(DirectoryIndex),
}

/// A job that has been started.
#[derive(Debug)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// Its news; ends after `Done` or `Failed`.
    pub news: mpsc::Receiver<News>,
}

/// What the node is and does.
#[derive(Clone, Debug)]
pub struct Status {
    /// Who.
    pub peer: PeerId,
    /// Version of the program.
    pub version: &'static str,
    /// Where it can be reached.
    pub addresses: Vec<Address>,
    /// Its directory.
    pub home: PathBuf,
    /// Time since start.
    pub uptime: Duration,
    /// Connected Pangea peers.
    pub peers_connected: u32,
    /// Objects in the catalog.
    pub objects: u64,
    /// Jobs that run.
    pub jobs: u32,
    /// The chunk store.
    pub chunks: pangea_chunks::api::Status,
}

/// One question to the hub.
#[derive(Debug)]
pub enum Request {
    Status(oneshot::Sender<Status>),
    Peers(oneshot::Sender<Vec<pangea_peers::api::View>>),
    AddPeer {
        peer: PeerId,
        addresses: Vec<Address>,
    },
    Ban {
        peer: PeerId,
        reason: String,
    },
    Unban {
        peer: PeerId,
    },
    Put {
        put: Put,
        reply: oneshot::Sender<Result<Job, JobError>>,
    },
    Get {
        get: Get,
        reply: oneshot::Sender<Result<Job, JobError>>,
    },
    Remove {
        cid: Cid,
        forget: bool,
        reply: oneshot::Sender<Result<Job, JobError>>,
    },
    Survey {
        cid: Cid,
        hints: Vec<(PeerId, Address)>,
        timeout: Duration,
        reply: oneshot::Sender<Result<Survey, JobError>>,
    },
    Cancel {
        job: JobId,
    },
    Feed {
        job: JobId,
        bytes: Option<Bytes>,
        reply: oneshot::Sender<Result<(), JobError>>,
    },
    Drain {
        job: JobId,
        reply: oneshot::Sender<Result<Option<Bytes>, JobError>>,
    },
    List(oneshot::Sender<Result<Vec<Stored>, JobError>>),
    Find {
        name: String,
        reply: oneshot::Sender<Result<Stored, JobError>>,
    },
    Ticket {
        cid: Cid,
        reply: oneshot::Sender<Result<Ticket, JobError>>,
    },
    Metrics(oneshot::Sender<String>),
    Shutdown,
}

/// Asks a running node.
#[derive(Clone, Debug)]
pub struct NodeHandle {
    hub: mpsc::Sender<Request>,
    extensions: Option<ExtensionsHandle>,
}

/// The node has stopped, so it cannot answer.
fn stopped<T>(_: T) -> JobError {
    JobError::new(ErrorKind::Failed, "the node is shutting down")
}

impl NodeHandle {
    /// A handle whose requests go to the hub that reads `hub`.
    pub fn new(hub: mpsc::Sender<Request>) -> Self {
        Self { hub, extensions: None }
    }

    /// The same, of a node with extensions.
    #[must_use]
    pub fn with_extensions(self, extensions: ExtensionsHandle) -> Self {
        Self { extensions: Some(extensions), ..self }
    }

    /// Plugins, and actors that were added to the node.
    ///
    /// # Errors
    /// It has none: only a node in a test.
    pub fn extensions(&self) -> Result<&ExtensionsHandle, JobError> {
        self.extensions.as_ref().ok_or_else(|| JobError::new(ErrorKind::Failed, "this node has no extensions"))
    }

    /// Has all extensions save what they know.
    pub(super) async fn drain_extensions(&self) {
        if let Some(extensions) = &self.extensions {
            let _ = extensions.drain().await;
        }
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, JobError> {
        let (reply, answer) = oneshot::channel();
        self.hub.send(request(reply)).await.map_err(stopped)?;
        answer
            .await
            .map_err(|_| JobError::new(ErrorKind::Failed, "the node gave no answer: it is overloaded or shutting down"))
    }

    /// What the node is and does.
    ///
    /// # Errors
    /// Every method fails with [`JobError`] "shutting down" once the node stops.
    pub async fn status(&self) -> Result<Status, JobError> {
        self.ask(Request::Status).await
    }

    /// Known peers, connected ones first.
    pub async fn peers(&self) -> Result<Vec<pangea_peers::api::View>, JobError> {
        self.ask(Request::Peers).await
    }

    /// Dials a peer and remembers it.
    pub async fn add_peer(&self, peer: PeerId, addresses: Vec<Address>) -> Result<(), JobError> {
        self.hub.send(Request::AddPeer { peer, addresses }).await.map_err(stopped)
    }

    /// Has no more to do with a peer.
    pub async fn ban(&self, peer: PeerId, reason: String) -> Result<(), JobError> {
        self.hub.send(Request::Ban { peer, reason }).await.map_err(stopped)
    }

    /// Takes a ban back.
    pub async fn unban(&self, peer: PeerId) -> Result<(), JobError> {
        self.hub.send(Request::Unban { peer }).await.map_err(stopped)
    }

    /// Starts a put.
    pub async fn put(&self, put: Put) -> Result<Job, JobError> {
        self.ask(|reply| Request::Put { put, reply }).await?
    }

    /// Starts a get.
    pub async fn get(&self, get: Get) -> Result<Job, JobError> {
        self.ask(|reply| Request::Get { get, reply }).await?
    }

    /// Asks the holders of an object of this node's catalog to forget it; then forgets it here.
    /// With `forget`, it leaves the catalog even if holders cannot be reached.
    pub async fn remove(&self, cid: Cid, forget: bool) -> Result<Job, JobError> {
        self.ask(|reply| Request::Remove { cid, forget, reply }).await?
    }

    /// Reads the manifest of an object, and nothing else of it. It fails if nothing moves for so long.
    pub async fn survey(&self, cid: Cid, hints: Vec<(PeerId, Address)>, timeout: Duration) -> Result<Survey, JobError> {
        self.ask(|reply| Request::Survey { cid, hints, timeout, reply }).await?
    }

    /// Cancels a job; it ends with `Failed(Interrupted)`.
    pub async fn cancel(&self, job: JobId) -> Result<(), JobError> {
        self.hub.send(Request::Cancel { job }).await.map_err(stopped)
    }

    /// Feeds bytes to a put from a stream; returns when the node can take more.
    pub async fn feed(&self, job: JobId, bytes: Bytes) -> Result<(), JobError> {
        self.ask(|reply| Request::Feed { job, bytes: Some(bytes), reply }).await?
    }

    /// Ends the stream of a put.
    pub async fn finish_feed(&self, job: JobId) -> Result<(), JobError> {
        self.ask(|reply| Request::Feed { job, bytes: None, reply }).await?
    }

    /// The next verified bytes of a get into a stream; `None` at its end.
    pub async fn drain(&self, job: JobId) -> Result<Option<Bytes>, JobError> {
        self.ask(|reply| Request::Drain { job, reply }).await?
    }

    /// The catalog, newest first.
    pub async fn list(&self) -> Result<Vec<Stored>, JobError> {
        self.ask(Request::List).await?
    }

    /// One catalog entry by CID, a unique beginning of a CID, or name.
    pub async fn find(&self, name: String) -> Result<Stored, JobError> {
        self.ask(|reply| Request::Find { name, reply }).await?
    }

    /// A ticket for a catalog entry, with address hints of peers that hold its root.
    pub async fn ticket(&self, cid: Cid) -> Result<Ticket, JobError> {
        self.ask(|reply| Request::Ticket { cid, reply }).await?
    }

    /// Metrics in the Prometheus text format.
    pub async fn metrics(&self) -> Result<String, JobError> {
        self.ask(Request::Metrics).await
    }

    /// Stops the node gracefully.
    pub async fn shutdown(&self) -> Result<(), JobError> {
        self.hub.send(Request::Shutdown).await.map_err(stopped)
    }
}
