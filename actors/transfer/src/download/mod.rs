//! The downloader: finds an object, fetches any k shards of every stripe that is wanted, and verifies each of them.
//!
//! **Job.** From a CID to verified shards: root block, manifest tree, stripes in the order CES asks for them. It does not
//! decode, decrypt or write (the CES actor does), it does not judge peers (it reports to the peer manager), and it
//! does not place or repair (the uploader does).
//!
//! ```text
//! control ─ Open ─▶ search.rs ── root block ──▶ CES ─ Need ─▶ window.rs ─▶ stripe.rs: k of n, quickest holders
//!                     hints, DHT, Want            ▲                           │ Get, hedge, Cancel
//!                                                 └── Stripe ◀── answer.rs ◀──┴── fetch.rs
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | `limits` | every bound, with its reason |
//! | `job` | the state of one job, its events, and the loop that decides what to do next |
//! | `search`, `discover` | who has the root block; who has what the manifest's hints do not find |
//! | `tree`, `block` | the manifest: which stripe is where, and its blocks under way |
//! | `window`, `stripe`, `shard` | what is wanted, under way and not consumed; k of n; who may have a shard |
//! | `source` | how soon a peer would deliver, and whether it may be asked |
//! | `fetch` | requests: who is asked, when one is late, what is hedged |
//! | `answer` | answers: verification, blame, delivery |
//! | `survey` | the manifest alone |
//! | `removal` | asking every holder to forget an object |
//! | `verdict` | when to give up, and what the user is told |
//!
//! **Invariants.** What is emitted has been verified against the signed manifest. Shard bytes under way or not consumed
//! are at most 24 MiB per job (or one stripe). A message that nobody asked for changes nothing. Once no job runs,
//! nothing is kept but the list of connected peers and a few root blocks: [`Downloader::is_idle`].
//!
//! **Ids.** Requests, tags and queries are below 2^56: the wiring may use the top byte to tell actors apart.

mod answer;
mod block;
mod discover;
mod fetch;
mod ids;
mod job;
mod limits;
mod outbox;
mod removal;
mod search;
mod shard;
mod source;
mod stripe;
mod survey;
mod tally;
mod tree;
mod verdict;
mod window;

use crate::api::download::{In, Out, Timer};
use answer::Answer;
use ids::{Ids, slot_of};
use job::{Aim, Job};
use limits::{CONNECTED_MAX, JOBS_MAX, REMOVE_TIMEOUT, ROOTS_MAX};
use pangea_kernel::Core;
use pangea_protocols::{
    Address, Cid, JobId, PeerId,
    job::JobEvent,
    manifest::RootBody,
    wire::{Frame, Message, fetch::Fetch, have::Have, store::Store},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

type Cx<'a> = pangea_kernel::Cx<'a, Downloader>;

/// The core of the download actor.
pub struct Downloader {
    me: PeerId,
    jobs: BTreeMap<JobId, Job>,
    /// For each slot, who has it and where its ids go on.
    slots: [Slot; JOBS_MAX],
    /// Peers to ask when a job begins.
    connected: BTreeSet<PeerId>,
    /// Of objects of which parts are read; the one that was used last is the last.
    roots: VecDeque<(Cid, RootBody)>,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    job: Option<JobId>,
    serial: u64,
}

impl Downloader {
    /// Without jobs. What node `me` holds itself it fetches from itself.
    pub fn new(me: PeerId) -> Self {
        Self {
            me,
            jobs: BTreeMap::new(),
            slots: [Slot::default(); JOBS_MAX],
            connected: BTreeSet::new(),
            roots: VecDeque::new(),
        }
    }

    /// True if no job is known and nothing of an ended one is left.
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.slots.iter().all(|slot| slot.job.is_none())
    }

    /// Shard bytes of a job that are under way, or delivered and not consumed.
    pub fn window_bytes(&self, job: JobId) -> u64 {
        self.jobs.get(&job).map_or(0, |job| job.window.bytes())
    }

    fn on_begin(
        &mut self,
        cx: &mut Cx<'_>,
        id: JobId,
        cid: Cid,
        hints: Vec<(PeerId, Address)>,
        (aim, timeout): (Aim, Duration),
    ) {
        if self.jobs.contains_key(&id) {
            tracing::warn!(job = id.0, "a job of this number is running already: ignored");
            return;
        }
        let Some(slot) = self.slots.iter().position(|slot| slot.job.is_none()) else {
            if matches!(aim, Aim::Read | Aim::ReadPart) {
                cx.emit(Out::CancelDecode { job: id });
            }
            let error = verdict::too_many_jobs(JOBS_MAX);
            cx.emit(Out::Job(JobEvent::Failed { job: id, error }));
            return;
        };
        self.slots[slot].job = Some(id);
        let ids = Ids::new(slot, self.slots[slot].serial);
        let known = self.roots.iter().find(|(of, _)| *of == cid && aim == Aim::ReadPart);
        let known = known.map(|(_, root)| root.clone());
        let mut job = Job::new(id, cid, ids, (aim, timeout), self.me, cx.now());
        job.begin(cx, hints, self.connected.iter().copied(), known);
        self.jobs.insert(id, job);
        self.sweep(id);
    }

    fn on_received(&mut self, cx: &mut Cx<'_>, peer: PeerId, frame: Frame) {
        let Frame { message, body } = frame;
        match message {
            Message::Fetch(Fetch::Found { request, shard, stripe, range }) => {
                self.with_owner(request, |job| job.on_found(cx, peer, request, Answer { shard, stripe, range, body }));
            }
            Message::Fetch(Fetch::Missing { request, reason }) => {
                self.with_owner(request, |job| job.on_missing(cx, peer, request, reason));
            }
            Message::Have(Have::Have { request, present }) => {
                self.with_owner(request, |job| job.on_have(cx, peer, request, &present));
            }
            Message::Store(Store::Dropped { request, count }) => {
                self.with_owner(request, |job| job.on_dropped(cx, peer, request, count));
            }
            Message::Store(Store::Refused { request, .. }) => {
                self.with_owner(request, |job| job.on_drop_refused(cx, peer, request));
            }
            // Questions to this node are the chunk store's; the rest of the store protocol is the uploader's.
            Message::Fetch(Fetch::Get { .. } | Fetch::Cancel { .. })
            | Message::Have(Have::Want { .. })
            | Message::Store(_)
            | Message::Pex(_)
            | Message::Compute(_)
            | Message::Extension(_) => {}
        }
    }

    fn on_connected(&mut self, cx: &mut Cx<'_>, peer: PeerId) {
        if self.connected.len() < CONNECTED_MAX {
            self.connected.insert(peer);
        }
        self.with_all(|job| job.on_connected(cx, peer));
    }

    fn on_gone(&mut self, cx: &mut Cx<'_>, peer: PeerId) {
        self.connected.remove(&peer);
        self.with_all(|job| job.on_gone(cx, peer));
    }

    fn on_close(&mut self, cx: &mut Cx<'_>, id: JobId) {
        self.with(id, |job| job.end(cx));
    }

    fn with(&mut self, id: JobId, act: impl FnOnce(&mut Job)) {
        if let Some(job) = self.jobs.get_mut(&id) {
            act(job);
            self.sweep(id);
        }
    }

    /// Ids carry the slot of the job they belong to.
    fn with_owner(&mut self, id: u64, act: impl FnOnce(&mut Job)) {
        if let Some(job) = self.slots[slot_of(id)].job {
            self.with(job, act);
        }
    }

    fn with_all(&mut self, mut act: impl FnMut(&mut Job)) {
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        ids.into_iter().for_each(|id| self.with(id, &mut act));
    }

    /// Forgets a job that has ended; the next one in its slot goes on with its ids.
    fn sweep(&mut self, id: JobId) {
        if self.jobs.get(&id).is_some_and(Job::has_ended)
            && let Some(job) = self.jobs.remove(&id)
        {
            if let Some(root) = job.root_to_keep() {
                self.roots.retain(|(cid, _)| *cid != job.cid);
                self.roots.push_back((job.cid, root.clone()));
                if self.roots.len() > ROOTS_MAX {
                    self.roots.pop_front();
                }
            }
            let (slot, serial) = job.ids.into_parts();
            self.slots[slot] = Slot { job: None, serial };
        }
    }
}

impl Core for Downloader {
    type In = In;
    type Out = Out;

    fn on(&mut self, cx: &mut Cx<'_>, event: In) {
        match event {
            In::Open { job, cid, hints, timeout } => self.on_begin(cx, job, cid, hints, (Aim::Read, timeout)),
            In::OpenPart { job, cid, hints, timeout } => self.on_begin(cx, job, cid, hints, (Aim::ReadPart, timeout)),
            In::Survey { job, cid, hints, timeout } => self.on_begin(cx, job, cid, hints, (Aim::Survey, timeout)),
            In::Remove { job, cid, hints } => {
                self.roots.retain(|(known, _)| *known != cid);
                self.on_begin(cx, job, cid, hints, (Aim::Remove, REMOVE_TIMEOUT));
            }
            In::Need { job, stripes } => self.with(job, |job| job.on_need(cx, stripes)),
            In::Consumed { job, index } => self.with(job, |job| job.on_consumed(cx, index)),
            In::Close { job } => self.on_close(cx, job),
            In::Ranked { job, candidates } => self.with(job, |job| job.on_ranked(&candidates)),
            In::Received { peer, frame } => self.on_received(cx, peer, frame),
            In::Connected { peer } => self.on_connected(cx, peer),
            In::Disconnected { peer } | In::DialFailed { peer } => self.on_gone(cx, peer),
            In::Sent { peer, tag } => self.with_owner(tag, |job| job.on_sent(peer, tag)),
            In::SendFailed { peer, tag, error } => {
                self.with_owner(tag, |job| job.on_send_failed(cx, peer, tag, error));
            }
            In::Providers { query, providers, done } => {
                self.with_owner(query, |job| job.on_providers(cx, query, providers, done));
            }
            In::Timer(Timer::Hedge { job }) => self.with(job, |job| job.on_due(cx)),
            In::Timer(Timer::Stalled { job }) => self.with(job, |job| job.on_stalled(cx)),
        }
    }
}
