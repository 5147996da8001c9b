//! The hub: the job table, and the place where the control API's questions meet the actors' answers.
//!
//! One task that never waits: slow work (the node store, streams to clients) runs in tasks of its own. It is not an
//! actor, because its requests carry reply channels; a simulation puts its workload in the hub's place.

use super::{
    handle::{Get, JOB_EVENTS_MAX, Job, News, Put, Request, Status},
    wiring::{self, Actors},
};
use crate::{
    drivers::{files::FilesHandle, jobs::stored::Survey},
    store::StoreThread,
};
use pangea_ces::api as ces;
use pangea_chunks::api as chunks;
use pangea_kernel::{Port, Rejected};
use pangea_peers::{api as peers, record::Record};
use pangea_protocols::{
    Address, Cid, JobId, PeerId,
    job::{ErrorKind, JobError, JobEvent, Outcome, Stored},
    manifest::{DirectoryIndex, RootBody},
    net,
    ticket::{HINTS_MAX, Ticket},
};
use pangea_transfer::api::{download, upload};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};

/// Jobs that may run at once.
pub const JOBS_MAX: usize = 32;
/// Questions that may wait for an actor's answer.
const QUESTIONS_MAX: usize = 256;
/// How often the hub looks at what waits …
const ROUND: Duration = Duration::from_secs(1);
/// … and how many rounds a question waits before its asker hears that there is no answer.
const QUESTION_ROUNDS: u64 = 5;
/// What is told if an actor's mailbox is full.
const OVERLOADED: &str = "the node is overloaded: try again in a moment";
/// Hints that a ticket gets, so that its QR code stays readable.
const TICKET_HINTS: usize = 2;

/// What the actors tell the hub.
#[derive(Clone, Debug)]
pub enum HubIn {
    /// News of a job.
    Job(JobEvent),
    /// A directory's index.
    Index { job: JobId, index: DirectoryIndex },
    /// The manifest of an object that was surveyed.
    Surveyed { job: JobId, root: Box<RootBody>, placement: Vec<u8> },
    /// Counters of a download.
    Tally { job: JobId, shards: u64, healed: u64, hedged: u64 },
    /// The chunk store's answer.
    Chunks { request: u64, status: chunks::Status },
    /// The peer manager's answer.
    Peers { request: u64, peers: Vec<peers::View> },
    /// Records to be kept.
    SavePeers { records: Vec<Record> },
    /// Connected Pangea peers.
    Connected { count: u32 },
    /// The node can be reached here.
    Listening { address: Address },
    /// No longer.
    NotListening { address: Address },
    /// The core of an actor panicked and is rebuilt: what it knew is gone.
    Restarted { actor: &'static str },
}

impl HubIn {
    /// True for what is told again, or only nice to know: it makes room for ends of jobs when the hub is flooded.
    pub fn may_be_lost(&self) -> bool {
        match self {
            Self::Job(event) => !matches!(event, JobEvent::Done { .. } | JobEvent::Failed { .. }),
            Self::Index { .. } | Self::Surveyed { .. } | Self::Restarted { .. } => false,
            _ => true,
        }
    }
}

/// What does not change while the node runs.
#[derive(Clone)]
pub struct About {
    /// Who.
    pub peer: PeerId,
    /// Its directory.
    pub home: PathBuf,
    /// When it started.
    pub started: Instant,
    /// Metrics of the actors, in the Prometheus text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// Why a job runs, as far as its end matters here.
enum Purpose {
    Put,
    Get,
    Remove { cid: Cid, forget: bool },
}

impl Purpose {
    /// Does such a job end when this actor loses what it knows?
    fn needs(&self, actor: &str) -> bool {
        match self {
            Self::Put => [wiring::CES, wiring::UPLOADS].contains(&actor),
            Self::Get => [wiring::CES, wiring::DOWNLOADS].contains(&actor),
            Self::Remove { .. } => actor == wiring::DOWNLOADS,
        }
    }
}

struct Entry {
    purpose: Purpose,
    news: mpsc::Sender<News>,
    shards: u64,
    healed: u64,
    hedged: u64,
}

/// Who waits for an actor's answer.
enum Question {
    Status { reply: oneshot::Sender<Status>, objects: u64 },
    Peers(oneshot::Sender<Vec<peers::View>>),
    Ticket { stored: Box<Stored>, reply: oneshot::Sender<Result<Ticket, JobError>> },
}

/// Who waits for a survey.
type Surveyor = oneshot::Sender<Result<Survey, JobError>>;

/// See the module.
pub struct Hub {
    about: About,
    actors: Actors,
    network: Port<net::Command>,
    files: FilesHandle,
    store: StoreThread,
    /// Sends to this hub, for tasks that return later.
    later: mpsc::Sender<Later>,
    jobs: BTreeMap<JobId, Entry>,
    surveys: BTreeMap<JobId, Surveyor>,
    /// With the round in which each was asked.
    questions: BTreeMap<u64, (u64, Question)>,
    /// Ended jobs that an actor could not be told of, because its mailbox was full.
    unreleased: BTreeSet<JobId>,
    round: u64,
    next: u64,
    addresses: Vec<Address>,
    connected: u32,
}

/// What tasks bring back.
enum Later {
    Ask(Question),
}

impl Hub {
    /// Runs until `Shutdown` or until nobody can ask any more.
    pub async fn run(
        about: About,
        actors: Actors,
        network: Port<net::Command>,
        files: FilesHandle,
        store: StoreThread,
        mut requests: mpsc::Receiver<Request>,
        mut inbox: mpsc::Receiver<HubIn>,
    ) {
        let (later, mut returned) = mpsc::channel(QUESTIONS_MAX);
        let mut hub = Self {
            about,
            actors,
            network,
            files,
            store,
            later,
            jobs: BTreeMap::new(),
            surveys: BTreeMap::new(),
            questions: BTreeMap::new(),
            unreleased: BTreeSet::new(),
            round: 0,
            next: 1,
            addresses: Vec::new(),
            connected: 0,
        };
        let mut rounds = tokio::time::interval(ROUND);
        loop {
            tokio::select! {
                _ = rounds.tick() => hub.on_round(),
                Some(message) = inbox.recv() => hub.on_actor(message),
                Some(Later::Ask(question)) = returned.recv() => hub.on_question(question),
                request = requests.recv() => match request {
                    Some(Request::Shutdown) | None => break,
                    Some(request) => hub.on_request(request),
                },
            }
        }
        // What has ended before the end is told as it ended: a put that is durable must reach the catalog.
        while let Ok(message) = inbox.try_recv() {
            hub.on_actor(message);
        }
        hub.stop();
    }

    /// What waits in vain is given up, what could not be said is said again.
    fn on_round(&mut self) {
        self.round += 1;
        let round = self.round;
        self.questions.retain(|_, (asked, _)| round - *asked <= QUESTION_ROUNDS);
        for job in std::mem::take(&mut self.unreleased) {
            self.release(job);
        }
    }

    /// Every running job ends; its user hears why.
    fn stop(&mut self) {
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        for job in jobs {
            self.fail(job, JobError::new(ErrorKind::Interrupted, "the node is shutting down"));
        }
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::Status(reply) => {
                let (store, later) = (self.store.clone(), self.later.clone());
                tokio::spawn(async move {
                    let objects =
                        store.call(|store| store.list().map(|all| all.stored.len() as u64)).await.unwrap_or(0);
                    let _ = later.send(Later::Ask(Question::Status { reply, objects })).await;
                });
            }
            Request::Peers(reply) => self.on_question(Question::Peers(reply)),
            Request::AddPeer { peer, addresses } => {
                let _ = self.actors.peers.send(peers::In::Add { peer, addresses });
            }
            Request::Ban { peer, reason } => {
                let _ = self.actors.peers.send(peers::In::Ban { peer, reason });
            }
            Request::Unban { peer } => {
                let _ = self.actors.peers.send(peers::In::Unban { peer });
            }
            Request::Put { put, reply } => {
                let started = self.on_put(put);
                self.on_started(reply, started);
            }
            Request::Get { get, reply } => {
                let started = self.on_get(get);
                self.on_started(reply, started);
            }
            Request::Remove { cid, forget, reply } => {
                let started = self.on_remove(cid, forget);
                self.on_started(reply, started);
            }
            Request::Survey { cid, hints, timeout, reply } => self.on_survey(cid, hints, timeout, reply),
            Request::Cancel { job } => self.on_cancel(job),
            Request::Feed { job, bytes, reply } => {
                let files = self.files.clone();
                tokio::spawn(async move {
                    let _ = reply.send(match bytes {
                        Some(bytes) => files.feed(job, bytes).await,
                        None => {
                            files.finish_feed(job);
                            Ok(())
                        }
                    });
                });
            }
            Request::Drain { job, reply } => {
                let files = self.files.clone();
                tokio::spawn(async move {
                    let _ = reply.send(files.drain(job).await);
                });
            }
            Request::List(reply) => {
                let store = self.store.clone();
                tokio::spawn(async move {
                    let _ = reply.send(store.call(|store| store.list().map(|all| all.stored)).await);
                });
            }
            Request::Find { name, reply } => {
                let store = self.store.clone();
                tokio::spawn(async move {
                    let _ = reply.send(store.call(move |store| store.find(&name)).await);
                });
            }
            Request::Ticket { cid, reply } => {
                let (store, later) = (self.store.clone(), self.later.clone());
                tokio::spawn(async move {
                    match store.call(move |store| store.find(&cid.to_string())).await {
                        Ok(stored) => {
                            let stored = Box::new(stored);
                            let _ = later.send(Later::Ask(Question::Ticket { stored, reply })).await;
                        }
                        Err(error) => {
                            let _ = reply.send(Err(error));
                        }
                    }
                });
            }
            Request::Metrics(reply) => {
                let _ = reply.send((self.about.metrics)());
            }
            Request::Shutdown => {}
        }
    }

    /// Passes a question on to the actor that knows; beyond the limit it is dropped, which its asker hears at once.
    fn on_question(&mut self, question: Question) {
        if self.questions.len() >= QUESTIONS_MAX {
            return;
        }
        let request = self.next_number();
        let asked = match &question {
            Question::Status { .. } => self.actors.chunks.send(chunks::In::Status { request }).is_ok(),
            Question::Peers(_) | Question::Ticket { .. } => self.actors.peers.send(peers::In::List { request }).is_ok(),
        };
        if asked {
            self.questions.insert(request, (self.round, question));
        }
    }

    /// A job whose client was gone before it heard of it is nobody's.
    fn on_started(&mut self, reply: oneshot::Sender<Result<Job, JobError>>, started: Result<Job, JobError>) {
        if let Err(Ok(job)) = reply.send(started) {
            self.on_cancel(job.id);
        }
    }

    fn on_put(&mut self, put: Put) -> Result<Job, JobError> {
        let job = self.admit(Purpose::Put)?;
        let Put { source, redundancy, profile, lease } = put;
        let message = upload::In::Put { job: job.id, source, redundancy, profile, lease };
        self.begin(job, |actors| actors.uploads.send(message).is_ok())
    }

    fn on_get(&mut self, get: Get) -> Result<Job, JobError> {
        let job = self.admit(Purpose::Get)?;
        let Get { ticket, only, sink, timeout } = get;
        let decode = ces::In::Decode { job: job.id, key: ces::Key::Read(ticket.key.clone()), only, sink };
        let open = download::In::Open { job: job.id, cid: ticket.cid, hints: ticket.hints.clone(), timeout };
        self.begin(job, |actors| actors.ces.send(decode).is_ok() && actors.downloads.send(open).is_ok())
    }

    fn on_remove(&mut self, cid: Cid, forget: bool) -> Result<Job, JobError> {
        let job = self.admit(Purpose::Remove { cid, forget })?;
        let message = download::In::Remove { job: job.id, cid, hints: Vec::new() };
        self.begin(job, |actors| actors.downloads.send(message).is_ok())
    }

    fn on_survey(&mut self, cid: Cid, hints: Vec<(PeerId, Address)>, timeout: Duration, reply: Surveyor) {
        if let Err(error) = self.check_room() {
            let _ = reply.send(Err(error));
            return;
        }
        let job = JobId(self.next_number());
        if self.actors.downloads.send(download::In::Survey { job, cid, hints, timeout }).is_ok() {
            self.surveys.insert(job, reply);
        } else {
            let _ = reply.send(Err(JobError::new(ErrorKind::Failed, OVERLOADED)));
        }
    }

    fn check_room(&self) -> Result<(), JobError> {
        if self.jobs.len() + self.surveys.len() >= JOBS_MAX {
            let message = format!("{JOBS_MAX} jobs are running already: wait for one to end");
            return Err(JobError::new(ErrorKind::Failed, message));
        }
        Ok(())
    }

    /// Enters a job into the table.
    fn admit(&mut self, purpose: Purpose) -> Result<Job, JobError> {
        self.check_room()?;
        let id = JobId(self.next_number());
        let (news, receiver) = mpsc::channel(JOB_EVENTS_MAX);
        self.jobs.insert(id, Entry { purpose, news, shards: 0, healed: 0, hedged: 0 });
        Ok(Job { id, news: receiver })
    }

    fn begin(&mut self, job: Job, send: impl FnOnce(&Actors) -> bool) -> Result<Job, JobError> {
        if send(&self.actors) {
            return Ok(job);
        }
        self.jobs.remove(&job.id);
        self.release(job.id);
        Err(JobError::new(ErrorKind::Failed, OVERLOADED))
    }

    fn on_cancel(&mut self, job: JobId) {
        match self.jobs.get(&job).map(|entry| &entry.purpose) {
            // The uploader releases what it reserved and then reports the end itself.
            Some(Purpose::Put) if self.actors.uploads.send(upload::In::Cancel { job }).is_ok() => {}
            Some(_) => self.fail(job, JobError::new(ErrorKind::Interrupted, "cancelled")),
            None => {}
        }
    }

    fn on_actor(&mut self, message: HubIn) {
        match message {
            HubIn::Job(event) => self.on_job(event),
            HubIn::Index { job, index } => {
                if let Some(entry) = self.jobs.get(&job) {
                    must_send(&entry.news, News::Index(index));
                }
            }
            HubIn::Surveyed { job, root, placement } => {
                if let Some(reply) = self.surveys.remove(&job) {
                    let _ = reply.send(Ok(Survey { root: *root, placement }));
                }
            }
            HubIn::Tally { job, shards, healed, hedged } => {
                if let Some(entry) = self.jobs.get_mut(&job) {
                    (entry.shards, entry.healed, entry.hedged) = (shards, healed, hedged);
                }
            }
            HubIn::Chunks { request, status } => self.on_chunks(request, status),
            HubIn::Peers { request, peers } => self.on_peers(request, peers),
            HubIn::SavePeers { records } => self.store.run(move |store| {
                if let Err(error) = store.save_peers(&records) {
                    tracing::warn!(%error, "peers not saved");
                }
            }),
            HubIn::Connected { count } => self.connected = count,
            HubIn::Listening { address } => {
                if !self.addresses.contains(&address) {
                    self.addresses.push(address);
                }
            }
            HubIn::NotListening { address } => self.addresses.retain(|known| *known != address),
            HubIn::Restarted { actor } => self.on_restarted(actor),
        }
    }

    /// Jobs that a rebuilt core does not know would never end. Peers are told to it again.
    fn on_restarted(&mut self, actor: &'static str) {
        let lost: Vec<JobId> =
            self.jobs.iter().filter(|(_, entry)| entry.purpose.needs(actor)).map(|(job, _)| *job).collect();
        for job in lost {
            let message = format!(
                "a part of the node ({actor}) failed and was restarted, so this job could not go on: try it again; the \
                 node's log and the newest file in its `flights` directory tell why"
            );
            self.on_failed(job, JobError::new(ErrorKind::Failed, message));
        }
        if actor == wiring::DOWNLOADS {
            // Who waits for a survey hears that there is no answer.
            self.surveys.clear();
        }
        if actor == wiring::PEERS {
            let (store, peers, network) = (self.store.clone(), self.actors.peers.clone(), self.network.clone());
            tokio::spawn(async move {
                // First whom the user has banned, then who is there.
                match store.call(|store| store.load_peers()).await {
                    Ok(records) => _ = peers.send(peers::In::Restored { records }),
                    Err(error) => tracing::warn!(%error, "known peers could not be read again"),
                }
                let _ = network.send(net::Command::WhoIsConnected);
            });
        } else if actor == wiring::DOWNLOADS {
            let _ = self.network.send(net::Command::WhoIsConnected);
        }
    }

    fn on_chunks(&mut self, request: u64, status: chunks::Status) {
        if let Some((_, Question::Status { reply, objects })) = self.questions.remove(&request) {
            let _ = reply.send(Status {
                peer: self.about.peer,
                version: env!("CARGO_PKG_VERSION"),
                addresses: self.addresses.clone(),
                home: self.about.home.clone(),
                uptime: self.about.started.elapsed(),
                peers_connected: self.connected,
                objects,
                jobs: u32::try_from(self.jobs.len()).unwrap_or(u32::MAX),
                chunks: status,
            });
        }
    }

    fn on_peers(&mut self, request: u64, peers: Vec<peers::View>) {
        match self.questions.remove(&request).map(|(_, question)| question) {
            Some(Question::Peers(reply)) => {
                let _ = reply.send(peers);
            }
            Some(Question::Ticket { stored, reply }) => {
                let _ = reply.send(Ok(ticket_of(&stored, &peers)));
            }
            Some(Question::Status { .. }) | None => {}
        }
    }

    fn on_job(&mut self, mut event: JobEvent) {
        if let JobEvent::Failed { job, error } = &event
            && let Some(reply) = self.surveys.remove(job)
        {
            let _ = reply.send(Err(error.clone()));
            return;
        }
        let Some(entry) = self.jobs.get(&event.job()) else { return };
        let progress = match &mut event {
            JobEvent::Progress { progress, .. } | JobEvent::Done { outcome: Outcome::Got { progress, .. }, .. } => {
                Some(progress)
            }
            _ => None,
        };
        if let (Purpose::Get, Some(progress)) = (&entry.purpose, progress) {
            progress.shards = entry.shards;
            progress.healed += entry.healed;
            progress.hedged = entry.hedged;
        }
        match event {
            JobEvent::Done { job, outcome } => self.on_done(job, outcome),
            JobEvent::Failed { job, error } => self.on_failed(job, error),
            // A reader that is 64 events behind misses progress, never an end.
            event => {
                let _ = entry.news.try_send(News::Event(event));
            }
        }
    }

    /// A put is done once the catalog remembers it; a removal once the catalog has forgotten it.
    fn on_done(&mut self, job: JobId, outcome: Outcome) {
        let Some(entry) = self.jobs.remove(&job) else { return };
        let store = self.store.clone();
        tokio::spawn(async move {
            let result = match (&outcome, &entry.purpose) {
                (Outcome::Put(stored), _) => remember(&store, stored).await,
                (Outcome::Removed { .. }, Purpose::Remove { cid, .. }) => {
                    let cid = *cid;
                    store.call(move |store| store.forget(cid)).await.map(|_| ())
                }
                _ => Ok(()),
            };
            let event = match result {
                Ok(()) => JobEvent::Done { job, outcome },
                Err(error) => JobEvent::Failed { job, error },
            };
            let _ = entry.news.send(News::Event(event)).await;
        });
    }

    fn on_failed(&mut self, job: JobId, error: JobError) {
        let forget = match self.jobs.get(&job).map(|entry| &entry.purpose) {
            Some(Purpose::Remove { cid, forget: true }) => Some(*cid),
            Some(_) => None,
            None => return,
        };
        if forget.is_some() {
            // The user asked to forget whether or not the holders can be told.
            self.on_done(job, Outcome::Removed { shards: 0, unreachable: Vec::new() });
        } else {
            self.fail(job, error);
        }
    }

    /// Ends a job here and at every actor.
    fn fail(&mut self, job: JobId, error: JobError) {
        if let Some(entry) = self.jobs.remove(&job) {
            must_send(&entry.news, News::Event(JobEvent::Failed { job, error }));
            self.release(job);
        }
    }

    /// Tells everybody that may know of a job to let go of it, now or in the next round.
    fn release(&mut self, job: JobId) {
        let full = [
            matches!(self.actors.uploads.send(upload::In::Cancel { job }), Err(Rejected::Full(_))),
            matches!(self.actors.ces.send(ces::In::Cancel { job }), Err(Rejected::Full(_))),
            matches!(self.actors.downloads.send(download::In::Close { job }), Err(Rejected::Full(_))),
        ];
        // Jobs are bounded, and a mailbox is not full for long: so is this.
        if full.contains(&true) {
            self.unreleased.insert(job);
        }
        self.files.release(job);
    }

    fn next_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// Sends what must not be lost to a reader that may be slow.
fn must_send(news: &mpsc::Sender<News>, item: News) {
    if let Err(mpsc::error::TrySendError::Full(item)) = news.try_send(item) {
        let news = news.clone();
        tokio::spawn(async move {
            let _ = news.send(item).await;
        });
    }
}

/// Writes a finished put to the catalog. If that fails the object is safe but its key would be lost: the user gets it.
async fn remember(store: &StoreThread, stored: &Stored) -> Result<(), JobError> {
    let (entry, ticket) = (stored.clone(), ticket_of(stored, &[]));
    store.call(move |store| store.remember(&entry)).await.map_err(|error| {
        let message = format!("stored, but the catalog could not be written ({error}); keep this ticket: {ticket}");
        JobError::new(error.kind, message)
    })
}

/// A ticket with hints of connected holders, roots first.
fn ticket_of(stored: &Stored, peers: &[peers::View]) -> Ticket {
    let address = |holder: &PeerId| {
        let view = peers.iter().find(|view| view.peer == *holder)?;
        Some((*holder, view.address.clone()?))
    };
    let hints = stored.holders.iter().filter_map(address).take(TICKET_HINTS.min(HINTS_MAX)).collect();
    Ticket { cid: stored.cid, hints, key: stored.key.clone() }
}
