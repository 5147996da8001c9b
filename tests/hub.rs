//! The hub against actors that say what a test says: a job ends, and its user hears of it, whatever is lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use bytes::Bytes;
use pangea::{
    drivers::files::{FilesDriver, FilesHandle},
    node::{
        NodeHandle,
        extensions::Extensions,
        handle::{Get, Job, News, Put, Request},
        hub::{About, Hub, HubIn},
        wiring::{self, Actors},
    },
    store::StoreThread,
};
use pangea_ces::api::{self as ces, Profile, Selection};
use pangea_kernel::{ActixHost, Port, Rejected};
use pangea_peers::api as peers;
use pangea_protocols::{
    Cid, Hash, JobId, PeerId,
    files::{Sink, Source},
    job::{ErrorKind, JobError, JobEvent},
    net::Command,
    ticket::{ReadKey, Ticket},
};
use pangea_transfer::api::{Redundancy, download, upload};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

/// No test takes a tenth of this.
const HANGS: Duration = Duration::from_secs(30);

/// A hub, and the far ends of everything it speaks to.
struct World {
    node: NodeHandle,
    requests: mpsc::Sender<Request>,
    to_hub: mpsc::Sender<HubIn>,
    ces: mpsc::UnboundedReceiver<ces::In>,
    uploads: mpsc::UnboundedReceiver<upload::In>,
    peers: mpsc::UnboundedReceiver<peers::In>,
    network: mpsc::UnboundedReceiver<Command>,
    downloads: mpsc::UnboundedReceiver<download::In>,
    /// Makes the mailbox of CES full.
    full: Arc<AtomicBool>,
    files: FilesHandle,
    _dir: TempDir,
}

/// A mailbox that is as big as it must be, and full when the test says so.
fn mailbox<M: Send + 'static>(full: &Arc<AtomicBool>) -> (Port<M>, mpsc::UnboundedReceiver<M>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let full = Arc::clone(full);
    let port = Port::new(move |message| {
        if full.load(Relaxed) {
            return Err(Rejected::Full(message));
        }
        sender.send(message).map_err(|closed| Rejected::Closed(closed.0))
    });
    (port, receiver)
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (full, never) = (Arc::<AtomicBool>::default(), Arc::default());
        let (ces_port, ces) = mailbox(&full);
        let (uploads_port, uploads) = mailbox(&never);
        let (peers_port, peers) = mailbox(&never);
        let (network_port, network) = mailbox(&never);
        let (downloads_port, downloads) = mailbox(&never);
        let actors = Actors {
            ces: ces_port,
            chunks: mailbox(&never).0,
            peers: peers_port,
            uploads: uploads_port,
            downloads: downloads_port,
            coordinator: mailbox(&never).0,
            worker: mailbox(&never).0,
            sandbox: mailbox(&never).0,
            extensions: Extensions::new::<ActixHost>(mailbox(&never).0, mailbox(&never).0, &[]),
        };
        let (_, files) = FilesDriver::start(Port::new(|_| Ok(())), Default::default()).unwrap();
        let store = StoreThread::start(&dir.path().join("node.redb")).unwrap();
        let about = About {
            peer: PeerId([1; 32]),
            home: PathBuf::from("/nowhere"),
            started: Instant::now(),
            metrics: Arc::new(String::new),
        };
        let (requests, asked) = mpsc::channel(64);
        let (to_hub, inbox) = mpsc::channel(64);
        tokio::spawn(Hub::run(about, actors, network_port, files.clone(), store, asked, inbox));
        let node = NodeHandle::new(requests.clone());
        Self { node, requests, to_hub, ces, uploads, peers, network, downloads, full, files, _dir: dir }
    }

    async fn put(&self) -> Job {
        self.node.put(put()).await.unwrap()
    }

    async fn get(&self) -> Job {
        let ticket = Ticket { cid: Cid(Hash([1; 32])), hints: Vec::new(), key: ReadKey([2; 32]) };
        let get = Get { ticket, only: Selection::All, sink: Sink::Stream, timeout: Duration::from_secs(60) };
        self.node.get(get).await.unwrap()
    }
}

fn put() -> Put {
    Put {
        source: Source::Stream { name: "pipe".to_owned() },
        redundancy: Redundancy::Auto,
        profile: Profile::Fast,
        lease: Duration::from_secs(60),
    }
}

/// Why a job ended.
async fn failure(job: &mut Job) -> JobError {
    match job.news.recv().await {
        Some(News::Event(JobEvent::Failed { error, .. })) => error,
        other => panic!("{other:?}"),
    }
}

fn run(test: impl AsyncFnOnce(World)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // No test waits for time; this only turns one that hangs into one that fails.
        tokio::time::timeout(HANGS, test(World::new())).await.expect("the test hangs");
    });
}

async fn cancelled(uploads: &mut mpsc::UnboundedReceiver<upload::In>, wanted: JobId) {
    while let Some(message) = uploads.recv().await {
        if matches!(message, upload::In::Cancel { job } if job == wanted) {
            return;
        }
    }
    panic!("never cancelled");
}

#[test]
fn jobs_of_an_actor_that_was_restarted_fail_and_those_of_others_go_on() {
    run(async |mut world| {
        let (mut put, mut get) = (world.put().await, world.get().await);
        world.to_hub.send(HubIn::Restarted { actor: wiring::UPLOADS }).await.unwrap();
        let error = failure(&mut put).await;
        assert_eq!(error.kind, ErrorKind::Failed);
        assert!(error.message.contains("uploads") && error.message.contains("try it again"), "{error}");
        assert!(get.news.try_recv().is_err());
        world.to_hub.send(HubIn::Restarted { actor: wiring::CES }).await.unwrap();
        failure(&mut get).await;
        cancelled(&mut world.uploads, put.id).await;
    });
}

#[test]
fn who_waits_for_a_survey_hears_what_came_of_it() {
    run(async |mut world| {
        let survey = |world: &World| {
            let node = world.node.clone();
            tokio::spawn(async move { node.survey(Cid(Hash([1; 32])), Vec::new(), Duration::from_secs(60)).await })
        };
        let failed = survey(&world);
        let Some(download::In::Survey { job, .. }) = world.downloads.recv().await else { panic!("no survey") };
        let error = JobError::new(ErrorKind::NotFound, "nobody has it");
        world.to_hub.send(HubIn::Job(JobEvent::Failed { job, error: error.clone() })).await.unwrap();
        assert_eq!(failed.await.unwrap().unwrap_err(), error);
        let lost = survey(&world);
        assert!(matches!(world.downloads.recv().await, Some(download::In::Survey { .. })));
        world.to_hub.send(HubIn::Restarted { actor: wiring::DOWNLOADS }).await.unwrap();
        assert!(lost.await.unwrap().unwrap_err().message.contains("no answer"));
    });
}

#[test]
fn a_restarted_peer_manager_is_told_again_whom_it_knew_and_who_is_connected() {
    run(async |mut world| {
        world.to_hub.send(HubIn::Restarted { actor: wiring::PEERS }).await.unwrap();
        assert_eq!(world.network.recv().await, Some(Command::WhoIsConnected));
        assert!(matches!(world.peers.try_recv(), Ok(peers::In::Restored { .. })), "first whom it knew");
    });
}

#[test]
fn a_job_whose_client_left_before_it_began_is_cancelled() {
    run(async |mut world| {
        let (reply, client) = oneshot::channel();
        drop(client);
        world.requests.send(Request::Put { put: put(), reply }).await.unwrap();
        let Some(upload::In::Put { job, .. }) = world.uploads.recv().await else { panic!("no put") };
        cancelled(&mut world.uploads, job).await;
    });
}

#[test]
fn a_stream_that_is_fed_hears_when_its_job_fails_before_anybody_reads() {
    run(async |world| {
        let mut job = world.put().await;
        let piece = Bytes::from(vec![0; 4 << 20]);
        world.node.feed(job.id, piece.clone()).await.unwrap();
        let feeding = tokio::spawn({
            let (node, id) = (world.node.clone(), job.id);
            async move { node.feed(id, piece).await }
        });
        let error = JobError::new(ErrorKind::Unreachable, "no peers");
        world.to_hub.send(HubIn::Job(JobEvent::Failed { job: job.id, error })).await.unwrap();
        assert_eq!(failure(&mut job).await.kind, ErrorKind::Unreachable);
        assert!(feeding.await.unwrap().is_err());
        assert!(world.files.drain(job.id).await.is_err());
    });
}

#[test]
fn an_actor_that_was_too_busy_to_hear_of_an_end_hears_of_it_later() {
    run(async |mut world| {
        let mut job = world.get().await;
        assert!(matches!(world.ces.recv().await, Some(ces::In::Decode { .. })));
        world.full.store(true, Relaxed);
        world.node.cancel(job.id).await.unwrap();
        assert_eq!(failure(&mut job).await.kind, ErrorKind::Interrupted);
        world.full.store(false, Relaxed);
        assert!(matches!(world.ces.recv().await, Some(ces::In::Cancel { job: ended }) if ended == job.id));
    });
}

#[test]
fn a_question_that_no_actor_answers_is_given_up() {
    run(async |world| {
        let error = world.node.peers().await.unwrap_err();
        assert!(error.message.contains("no answer"), "{error}");
    });
}
