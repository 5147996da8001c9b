//! The uploader: from a source to a sealed object with signed receipts for every shard.
//!
//! ```text
//! Put ─► Finding ──candidates──► Reserving ──grants──► Streaming ──all stripes retired──► Sealing ──tree──► Rooting ─► Done
//!          ask the peer manager    ask holders for       credit to CES, shards to           blocks of         the signed
//!                                  room; then choose     holders, receipts back,            the tree          root block
//!                                  k, m and the cap      leaves as they fill
//! ```
//! Any of them ─► Failed: grants are released, stored shards dropped, timers cancelled.
//!
//! | module | what it decides |
//! |---|---|
//! | [`code`] | k, m and how many shards of a stripe one holder may have |
//! | `job` | the phases of one put |
//! | `holders` | reservations, sending, the loss of a holder and its replacement |
//! | `placing` | where a shard goes, and where it goes when that fails; hedges |
//! | `receipts` | what a holder's answer means |
//! | `sealing` | retiring stripes, the manifest, the end |
//! | `group`, `holder`, `ledger`, `tally`, `routes` | state and arithmetic of the above |
//!
//! **Invariants.** A stripe is retired only with a receipt for every shard, or for k + happy of them when no holder is
//! left that would take the rest and no single holder's loss could make it unreadable. The root block, which makes an
//! object findable, is sent last. The read key leaves only in `Stored`. When a job is over nothing of it is left:
//! see [`Uploader::is_idle`].

pub mod code;
mod group;
mod holder;
mod holders;
mod job;
mod ledger;
pub mod limits;
mod placing;
mod receipts;
mod routes;
mod sealing;
mod tally;

#[cfg(test)]
mod tests;

use crate::api::{
    Redundancy, Report,
    upload::{In, Out, Timer},
};
use code::Code;
use ed25519_dalek::SigningKey;
use job::{Job, Verdict};
pub use limits::Limits;
use pangea_kernel::{Core, Cx, planted};
use pangea_protocols::{
    JobId, PeerId, ShardId,
    encoded::Profile,
    files::Source,
    job::{ErrorKind, JobError, JobEvent, Outcome},
    net::{Class, SendError},
    receipt::Receipt,
    wire::{
        Frame, Message,
        store::{Refusal, Store},
    },
};
use routes::{Routes, Tag};
use std::{collections::BTreeMap, time::Duration};

/// The core.
pub struct Uploader {
    me: PeerId,
    key: SigningKey,
    limits: Limits,
    jobs: BTreeMap<JobId, Job>,
    routes: Routes,
}

/// What a job may use while it handles one event.
struct Env<'a, 'b> {
    cx: &'a mut Cx<'b, Uploader>,
    routes: &'a mut Routes,
    limits: &'a Limits,
    key: &'a SigningKey,
    me: PeerId,
}

impl Env<'_, '_> {
    /// Sends a message that nobody needs to hear of again.
    fn tell(&mut self, peer: PeerId, message: Store) {
        let tag = self.routes.fresh();
        let frame = Frame::bare(Message::Store(message));
        self.cx.emit(Out::Send { peer, tag, class: Class::Control, frame });
    }
}

impl Uploader {
    /// An uploader for the node whose identity is `key`, which also seals its manifests.
    pub fn new(me: PeerId, key: SigningKey, limits: Limits) -> Self {
        Self { me, key, limits, jobs: BTreeMap::new(), routes: Routes::default() }
    }

    /// True if nothing is kept of any job.
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.routes.is_empty()
    }

    /// Lets `job` handle something, then drives it on and, if it is over, clears it away.
    fn with(&mut self, cx: &mut Cx<'_, Self>, id: JobId, handle: impl FnOnce(&mut Job, &mut Env<'_, '_>)) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let mut env = Env { cx, routes: &mut self.routes, limits: &self.limits, key: &self.key, me: self.me };
        handle(job, &mut env);
        if job.verdict.is_none() {
            job.drive(&mut env);
        }
        let Some(verdict) = job.verdict.take() else { return };
        job.close(matches!(verdict, Verdict::Failed(_)), &mut env);
        self.jobs.remove(&id);
        cx.emit(Out::Job(match verdict {
            Verdict::Stored(stored) => JobEvent::Done { job: id, outcome: Outcome::Put(*stored) },
            Verdict::Failed(error) => JobEvent::Failed { job: id, error },
        }));
    }

    fn on_put(&mut self, cx: &mut Cx<'_, Self>, put: Put) {
        let id = put.job;
        if self.jobs.contains_key(&id) {
            tracing::warn!(job = id.0, "a put with the id of a running job is ignored");
            return;
        }
        let full = JobError::new(
            ErrorKind::Failed,
            format!("{} uploads are under way: wait for one to end", self.limits.jobs_max),
        );
        let error = if self.jobs.len() >= self.limits.jobs_max {
            Some(full)
        } else {
            Code::holders_wanted(put.redundancy).err()
        };
        if let Some(error) = error {
            cx.emit(Out::Job(JobEvent::Failed { job: id, error }));
            return;
        }
        self.jobs.insert(id, Job::new(put, cx.now(), &self.limits));
        self.with(cx, id, |job, env| job.begin(env));
    }

    fn on_received(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, message: Store) {
        match message {
            Store::Reserved { request, grant, expires_unix } => match self.routes.take_reserve(request, peer) {
                Some((job, holder)) => self.with(cx, job, |job, env| job.on_reserved(holder, grant, expires_unix, env)),
                // Too late: the room is wanted no longer.
                None => {
                    let tag = self.routes.fresh();
                    let frame = Frame::bare(Message::Store(Store::Release { grant }));
                    cx.emit(Out::Send { peer, tag, class: Class::Control, frame });
                }
            },
            Store::Refused { request, reason } => {
                if let Some((job, holder)) = self.routes.take_reserve(request, peer) {
                    self.with(cx, job, |job, env| job.on_refused(holder, reason, env));
                }
            }
            Store::Stored { receipt, .. } => self.on_stored(cx, peer, &receipt),
            Store::NotStored { grant, shard, reason } => self.on_not_stored(cx, peer, grant, shard, reason),
            // Answers to `Drop` change nothing here; the rest is for holders.
            Store::Dropped { .. }
            | Store::Reserve { .. }
            | Store::Put { .. }
            | Store::Release { .. }
            | Store::Drop { .. } => {}
        }
    }

    /// A receipt counts for the shards that this peer was sent and has not answered. One that names none of them is a
    /// late answer to a hedge that lost: it is ignored before its signature costs anything.
    fn on_stored(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, receipt: &Receipt) {
        let mut hits: BTreeMap<JobId, Vec<_>> = BTreeMap::new();
        for shard in &receipt.shards {
            for (job, group, slot) in self.routes.waiting_at(peer, *shard) {
                hits.entry(job).or_default().push((group, slot));
            }
        }
        if hits.is_empty() {
            return;
        }
        let ours = receipt.holder == peer && receipt.owner == self.me && receipt.expires_unix > cx.unix().0;
        if !ours || !(planted!("receipt-unverified") || receipt.verify()) {
            cx.emit(Out::Report { peer, report: Report::BadProof });
            self.each_job(cx, |job, env| job.on_misconduct(peer, env));
            return;
        }
        for (job, hits) in hits {
            self.with(cx, job, |job, env| job.on_receipt(peer, &hits, env));
        }
    }

    fn on_not_stored(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, grant: u64, shard: ShardId, reason: Refusal) {
        let hits: Vec<_> = self.routes.waiting_at(peer, shard).collect();
        for (job, group, slot) in hits {
            self.with(cx, job, |job, env| job.on_not_stored(peer, grant, (group, slot), reason, env));
        }
    }

    fn on_send_failed(&mut self, cx: &mut Cx<'_, Self>, tag: u64, error: SendError) {
        match self.routes.tag(tag) {
            Some(Tag::Shard { job, group, slot, peer }) => {
                self.with(cx, job, |job, env| job.on_shard_send_failed(peer, (group, slot), error, env));
            }
            Some(Tag::Reserve { job, holder }) => {
                self.with(cx, job, |job, env| job.on_reserve_send_failed(holder, error, env))
            }
            None => {}
        }
    }

    fn each_job(&mut self, cx: &mut Cx<'_, Self>, handle: impl Fn(&mut Job, &mut Env<'_, '_>)) {
        let ids: Vec<_> = self.jobs.keys().copied().collect();
        for id in ids {
            self.with(cx, id, &handle);
        }
    }
}

/// What a user asks for.
struct Put {
    job: JobId,
    source: Source,
    redundancy: Redundancy,
    profile: Profile,
    lease: Duration,
}

impl Core for Uploader {
    type In = In;
    type Out = Out;

    /// Numbers start at random, so that answers to requests from before a restart find nothing.
    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        self.routes.start_at(cx.rng("requests").u64() >> 1);
    }

    fn on(&mut self, cx: &mut Cx<'_, Self>, event: In) {
        match event {
            In::Put { job, source, redundancy, profile, lease } => {
                self.on_put(cx, Put { job, source, redundancy, profile, lease });
            }
            In::Cancel { job } => {
                self.with(cx, job, |job, _| job.fail(ErrorKind::Interrupted, "the upload was cancelled"))
            }
            In::Candidates { request, candidates } => {
                if let Some(job) = self.routes.take_candidates(request) {
                    self.with(cx, job, |job, env| job.on_candidates(candidates, env));
                }
            }
            In::Encoded { job, index, record, shards } => {
                self.with(cx, job, |job, env| job.on_encoded(index, record, shards, env));
            }
            In::EncodedAll { job, end } => self.with(cx, job, |job, _| job.on_encoded_all(end)),
            In::SourceFailed { job } => self.with(cx, job, |job, _| {
                job.fail(ErrorKind::Interrupted, "the source could not be read to its end; nothing of it is kept");
            }),
            In::Received { peer, frame: Frame { message: Message::Store(message), .. } } => {
                self.on_received(cx, peer, message)
            }
            In::Received { .. } => {}
            In::Sent { tag, .. } => self.routes.forget_control(tag),
            In::SendFailed { tag, error, .. } => self.on_send_failed(cx, tag, error),
            In::Disconnected { peer } => self.each_job(cx, |job, env| job.on_disconnected(peer, env)),
            In::Timer(Timer::Hedge { job }) => self.with(cx, job, |job, env| job.on_tick(env)),
            In::Timer(Timer::Stalled { job }) => self.with(cx, job, |job, env| job.on_stall_timer(env)),
        }
    }
}

/// Shorthand of the submodules.
type Place = (group::GroupId, usize);
