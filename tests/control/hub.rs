//! A hub that keeps its promises to the control API and does nothing else.
//!
//! | asked for | it answers |
//! |---|---|
//! | put of a stream | keeps the bytes; `Done` when the stream ends |
//! | put of `/fails` | news, then `Failed(Quota)` |
//! | put of another path | never ends, unless cancelled |
//! | get | the selected part of [`content`], into a stream or nowhere |
//! | info | a directory with [`ENTRIES`] entries |
//! | find `NotFound`, `Denied`, … | fails with that kind |

use bytes::Bytes;
use pangea::node::{
    NodeHandle,
    handle::{JOB_EVENTS_MAX, Job, News, Request, Status},
};
use pangea_ces::api::Selection;
use pangea_peers::api::View;
use pangea_protocols::{
    Cid, Hash, JobId, PeerId,
    files::{Sink, Source},
    job::{ErrorKind, JobError, JobEvent, Outcome, Progress, Stored},
    manifest::{DirectoryIndex, Entry, EntryKind},
    ticket::{ReadKey, Ticket},
};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};
use tokio::sync::mpsc;

/// More than two pages.
pub const ENTRIES: usize = 2500;
/// More than one page, and a page that is not full.
pub const OBJECTS: usize = 300;

pub const KINDS: [ErrorKind; 8] = [
    ErrorKind::Failed,
    ErrorKind::Usage,
    ErrorKind::NotFound,
    ErrorKind::Unreachable,
    ErrorKind::Integrity,
    ErrorKind::Denied,
    ErrorKind::Quota,
    ErrorKind::Interrupted,
];

/// What tests look at.
pub struct Hub {
    /// Jobs that were cancelled.
    pub cancelled: mpsc::UnboundedReceiver<JobId>,
    /// Questions without an answer, as text.
    pub told: mpsc::UnboundedReceiver<String>,
    /// Bytes of puts that were fed to the end.
    pub fed: mpsc::UnboundedReceiver<Vec<u8>>,
}

struct Running {
    news: mpsc::Sender<News>,
    fed: Vec<u8>,
    rest: Bytes,
    total: u64,
}

struct Inside {
    cancelled: mpsc::UnboundedSender<JobId>,
    told: mpsc::UnboundedSender<String>,
    fed: mpsc::UnboundedSender<Vec<u8>>,
    jobs: BTreeMap<JobId, Running>,
    last_job: u64,
}

pub fn content() -> Bytes {
    (0..1_500_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<u8>>().into()
}

pub fn peer(n: u8) -> PeerId {
    PeerId([n; 32])
}

pub fn stored(n: usize) -> Stored {
    Stored {
        cid: Cid(Hash::of(&n.to_le_bytes())),
        key: ReadKey([n as u8; 32]),
        name: format!("object {n}"),
        directory: n % 2 == 1,
        raw_bytes: n as u64,
        stored_bytes: n as u64 * 2,
        stripes: 1,
        k: 12,
        m: 8,
        holders: vec![peer(1), peer(2)],
        missing_shards: 3,
        sealed_unix: 1_790_000_000,
        skipped: 4,
    }
}

pub fn ticket() -> Ticket {
    let hint = (peer(1), "/ip4/192.0.2.1/udp/4001/quic-v1".parse().unwrap());
    Ticket { cid: stored(0).cid, hints: vec![hint], key: ReadKey([7; 32]) }
}

pub fn view() -> View {
    View {
        peer: peer(1),
        connected: true,
        address: Some("/ip4/192.0.2.1/udp/4001/quic-v1".parse().unwrap()),
        state: "good",
        reason: "audits pass".into(),
        score: 0.75,
        rtt: Some(Duration::from_micros(1500)),
        bytes_in: 10,
        bytes_out: 20,
        last_seen_unix: 30,
    }
}

pub fn status() -> Status {
    Status {
        peer: peer(9),
        version: "1.2.3",
        addresses: vec!["/ip4/127.0.0.1/udp/4001/quic-v1".parse().unwrap()],
        home: PathBuf::from("/somewhere"),
        uptime: Duration::from_millis(61_001),
        peers_connected: 5,
        objects: 6,
        jobs: 7,
        chunks: pangea_chunks::api::Status { quota_bytes: 8, stored: 9, ..Default::default() },
    }
}

pub fn index() -> DirectoryIndex {
    let entry = |n: usize| Entry {
        path: vec!["dir".into(), format!("file {n}")],
        kind: match n {
            0 => EntryKind::Directory,
            _ => EntryKind::File {
                offset: n as u64,
                len: 1,
                executable: n.is_multiple_of(2),
                modified_unix: -(n as i64),
            },
        },
    };
    DirectoryIndex { entries: (0..ENTRIES).map(entry).collect() }
}

impl Hub {
    pub fn start() -> (Self, NodeHandle) {
        let (sender, mut requests) = mpsc::channel(8);
        let (cancelled, cancelled_seen) = mpsc::unbounded_channel();
        let (told, told_seen) = mpsc::unbounded_channel();
        let (fed, fed_seen) = mpsc::unbounded_channel();
        let mut inside = Inside { cancelled, told, fed, jobs: BTreeMap::new(), last_job: 0 };
        tokio::task::spawn_local(async move {
            while let Some(request) = requests.recv().await {
                inside.on_request(request);
            }
        });
        (Self { cancelled: cancelled_seen, told: told_seen, fed: fed_seen }, NodeHandle::new(sender))
    }
}

impl Inside {
    fn start(&mut self, rest: Bytes) -> (Job, &mut Running) {
        self.last_job += 1;
        let id = JobId(self.last_job);
        let (news, receiver) = mpsc::channel(JOB_EVENTS_MAX);
        let total = rest.len() as u64;
        let running = self.jobs.entry(id).or_insert(Running { news, fed: Vec::new(), rest, total });
        (Job { id, news: receiver }, running)
    }

    fn end(&mut self, job: JobId, event: JobEvent) {
        if let Some(running) = self.jobs.remove(&job) {
            running.news.try_send(News::Event(event)).ok();
        }
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::Status(reply) => drop(reply.send(status())),
            Request::Peers(reply) => drop(reply.send(vec![view()])),
            Request::AddPeer { peer, addresses } => self.tell(format!("add {} {}", peer.short(), addresses[0])),
            Request::Ban { peer, reason } => self.tell(format!("ban {} {reason}", peer.short())),
            Request::Unban { peer } => self.tell(format!("unban {}", peer.short())),
            Request::Shutdown => self.tell("shutdown".into()),
            Request::Put { put, reply } => drop(reply.send(Ok(self.on_put(&put.source)))),
            Request::Get { get, reply } => drop(reply.send(Ok(self.on_get(&get.only, &get.sink)))),
            Request::Remove { cid, forget, reply } => {
                let job = self.start(Bytes::new()).0;
                let outcome = Outcome::Removed { shards: u64::from(forget), unreachable: vec![peer(3)] };
                assert_eq!(cid, stored(0).cid);
                self.end(job.id, JobEvent::Done { job: job.id, outcome });
                reply.send(Ok(job)).ok();
            }
            Request::Survey { reply, .. } => {
                reply.send(Err(JobError::new(ErrorKind::NotFound, "nobody has it"))).ok();
            }
            Request::Cancel { job } => {
                self.cancelled.send(job).ok();
                let error = JobError::new(ErrorKind::Interrupted, "cancelled");
                self.end(job, JobEvent::Failed { job, error });
            }
            Request::Feed { job, bytes, reply } => drop(reply.send(self.on_feed(job, bytes))),
            Request::Drain { job, reply } => drop(reply.send(self.on_drain(job))),
            Request::List(reply) => drop(reply.send(Ok((0..OBJECTS).map(stored).collect()))),
            Request::Find { name, reply } => {
                let kind = KINDS.into_iter().find(|kind| format!("{kind:?}") == name);
                let error = |kind| Err(JobError::new(kind, format!("it is {kind:?}")));
                reply.send(kind.map_or(Ok(stored(0)), error)).ok();
            }
            Request::Ticket { reply, .. } => drop(reply.send(Ok(ticket()))),
            Request::Metrics(reply) => drop(reply.send("pangea_peers 5\n".into())),
        }
    }

    fn tell(&self, what: String) {
        self.told.send(what).ok();
    }

    fn on_put(&mut self, source: &Source) -> Job {
        let (job, running) = self.start(Bytes::new());
        let placed = JobEvent::Placed { job: job.id, k: 12, m: 8, holders: vec![peer(1), peer(2)] };
        running.news.try_send(News::Event(placed)).unwrap();
        let progress = Progress { done_bytes: 1, full_bytes: 2, total_bytes: Some(3), shards: 4, healed: 5, hedged: 6 };
        running.news.try_send(News::Event(JobEvent::Progress { job: job.id, progress })).unwrap();
        if *source == Source::Path("/fails".into()) {
            let error = JobError::new(ErrorKind::Quota, "no holder has room");
            self.end(job.id, JobEvent::Failed { job: job.id, error });
        }
        job
    }

    fn on_get(&mut self, only: &Selection, sink: &Sink) -> Job {
        let all = content();
        let part = match only {
            Selection::All => all,
            Selection::Range { offset, len } => {
                let start = *offset as usize;
                all.slice(start..len.map_or(all.len(), |len| start + len as usize))
            }
            Selection::Entry(path) => path.join("/").into_bytes().into(),
            Selection::Info => Bytes::new(),
        };
        let (job, running) = self.start(part);
        let id = job.id;
        let opened = JobEvent::Opened { job: id, name: "it".into(), directory: true, raw_len: 9, k: 12, m: 8 };
        running.news.try_send(News::Event(opened)).unwrap();
        match (only, sink) {
            (Selection::Info, _) => {
                running.news.try_send(News::Index(index())).unwrap();
                self.end(id, got(id, None, 0));
            }
            (_, Sink::Path { path, .. }) => {
                let event = got(id, Some(path.clone()), running.total);
                self.end(id, event);
            }
            // As the real one may: the end is told before the stream is drained.
            (_, Sink::Stream) => running.news.try_send(News::Event(got(id, None, running.total))).unwrap(),
        }
        job
    }

    fn on_feed(&mut self, job: JobId, bytes: Option<Bytes>) -> Result<(), JobError> {
        let gone = || JobError::new(ErrorKind::Failed, "no such job");
        let running = self.jobs.get_mut(&job).ok_or_else(gone)?;
        match bytes {
            Some(bytes) => running.fed.extend_from_slice(&bytes),
            None => {
                self.fed.send(std::mem::take(&mut running.fed)).ok();
                self.end(job, JobEvent::Done { job, outcome: Outcome::Put(stored(0)) });
            }
        }
        Ok(())
    }

    fn on_drain(&mut self, job: JobId) -> Result<Option<Bytes>, JobError> {
        let gone = || JobError::new(ErrorKind::Interrupted, "cancelled");
        let running = self.jobs.get_mut(&job).ok_or_else(gone)?;
        let len = running.rest.len().min(1 << 20);
        Ok(Some(running.rest.split_to(len)).filter(|bytes| !bytes.is_empty()))
    }
}

fn got(job: JobId, path: Option<PathBuf>, bytes: u64) -> JobEvent {
    JobEvent::Done { job, outcome: Outcome::Got { path, bytes, progress: Progress::default() } }
}
