//! The coordinator: from a module and chunks to results that were checked, and a receipt for them.
//!
//! ```text
//! job   Submit ─► waits ─► Split? ─► Execute ─► Merge? ─► Done                  any of them ─► Failed
//! host  Asked ─Accept─► Working ─lost, full─► Away ─later─► Asked …             ─► Useless │ Banned
//! task  open ─lease─► running ─Commit─► votes ─agree, enough─► truth ─output─► accepted
//!                                        └─differ─► this node runs it: its vote is the truth
//! ```
//! | module | what it decides |
//! |---|---|
//! | `job` | state of a job, its stages, its times |
//! | `hosts` | offers, silence, losses, bans; `host`: one of them |
//! | `placing` | who runs what next, and what is late |
//! | `supply` | where the input of a task comes from |
//! | `feeding` | stored inputs that hosts could not read |
//! | `claims` | votes, audits, what is true |
//! | `ending` | results, receipt, failure; restoring |
//! | `task`, `cache`, `tally` | state and arithmetic of the above |
//! | [`limits`] | every bound |
//!
//! **Invariants.** A vote counts under a lease only, and of one host once for a task. An accepted task whose last voters
//! are banned is open again. An input is held from when somebody is to run it until it is sent. When a job is over
//! nothing of it is left but its results in the cache: see [`Coordinator::is_idle`].

mod cache;
mod claims;
mod ending;
mod feeding;
mod host;
mod hosts;
mod job;
pub mod limits;
mod placing;
mod supply;
mod tally;
mod task;

use crate::{
    api::{
        Happened, News, Report, Saved, Spec, Trace,
        coordinator::{In, Out},
    },
    parts::parts_of,
};
use bytes::{Bytes, BytesMut};
use cache::Cache;
pub use claims::name;
use ed25519_dalek::SigningKey;
use job::Job;
pub use limits::Limits;
use pangea_kernel::{Core, Cx};
use pangea_protocols::{
    Hash, JobId, PeerId,
    job::{ErrorKind, JobError},
    net::Class,
    receipt_job::Place,
    wire::{
        Frame, Message,
        compute::{Compute, MODULE_PARTS_MAX, PART_BYTES, SMALL_BYTES, SmallTask, TASKS_MAX},
    },
};
use std::{cmp::Reverse, collections::BTreeMap};

/// The core.
pub struct Coordinator {
    me: PeerId,
    key: SigningKey,
    pass_version: u32,
    limits: Limits,
    jobs: BTreeMap<JobId, Job>,
    /// Jobs by their names on the wire.
    names: BTreeMap<Hash, JobId>,
    /// Jobs that wait, by priority and time.
    waiting: BTreeMap<(Reverse<u8>, u64), Job>,
    cache: Cache,
    numbers: Numbers,
    ticking: bool,
}

/// Numbers of leases, requests, reads and tags, and whose the requests and reads are.
#[derive(Default)]
struct Numbers {
    next: u64,
    requests: BTreeMap<u64, JobId>,
    reads: BTreeMap<JobId, JobId>,
}

impl Numbers {
    fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.reads.is_empty()
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// What a job may use while it handles one event.
struct Env<'a, 'b> {
    cx: &'a mut Cx<'b, Coordinator>,
    key: &'a SigningKey,
    me: PeerId,
    pass_version: u32,
    limits: &'a Limits,
    cache: &'a mut Cache,
    numbers: &'a mut Numbers,
    traces: Vec<Trace>,
    /// Tasks with small inputs that are to be sent together.
    small: BTreeMap<PeerId, Small>,
}

/// See [`Compute::AssignSmall`].
#[derive(Default)]
struct Small {
    job: Hash,
    tasks: Vec<SmallTask>,
    body: BytesMut,
}

impl Env<'_, '_> {
    fn send(&mut self, peer: PeerId, message: Compute, body: Bytes) {
        // What is said later is about them, too.
        self.send_small(peer);
        self.send_now(peer, message, body);
    }

    /// Sends the input of a task, with others if it is small.
    fn assign(&mut self, peer: PeerId, job: Hash, (lease, place, input): (u64, Place, Hash), bytes: &Bytes) {
        if bytes.len() > SMALL_BYTES {
            for (part, parts, body) in parts_of(bytes) {
                self.send(peer, Compute::Assign { job, lease, place, input, part, parts }, body);
            }
            return;
        }
        let full = |small: &Small| small.tasks.len() >= TASKS_MAX || small.body.len() + bytes.len() > PART_BYTES;
        if self.small.get(&peer).is_some_and(full) {
            self.send_small(peer);
        }
        let small = self.small.entry(peer).or_default();
        small.job = job;
        small.tasks.push(SmallTask { lease, place, input, bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX) });
        small.body.extend_from_slice(bytes);
    }

    fn send_small(&mut self, peer: PeerId) {
        let Some(Small { job, tasks, body }) = self.small.remove(&peer) else { return };
        let message = match tasks[..] {
            [SmallTask { lease, place, input, .. }] => Compute::Assign { job, lease, place, input, part: 0, parts: 1 },
            _ => Compute::AssignSmall { job, tasks },
        };
        self.send_now(peer, message, body.freeze());
    }

    fn send_now(&mut self, peer: PeerId, message: Compute, body: Bytes) {
        let class = if body.is_empty() { Class::Control } else { Class::Bulk };
        let frame = Frame { message: Message::Compute(message), body };
        let tag = self.numbers.fresh();
        self.cx.emit(Out::Send { peer, tag, class, frame });
    }

    fn trace(&mut self, place: Option<Place>, host: PeerId, what: Happened) {
        self.traces.push(Trace { place, host, what });
    }

    fn report(&mut self, peer: PeerId, report: Report) {
        if peer != self.me {
            self.cx.emit(Out::Report { peer, report });
        }
    }
}

impl Coordinator {
    /// A coordinator of the node whose identity is `key`, which also signs its receipts. `pass_version` is that of the
    /// sandbox: results of hosts with another one cannot be compared.
    pub fn new(me: PeerId, key: SigningKey, pass_version: u32, limits: Limits) -> Self {
        Self {
            me,
            key,
            pass_version,
            limits,
            jobs: BTreeMap::new(),
            names: BTreeMap::new(),
            waiting: BTreeMap::new(),
            cache: Cache::default(),
            numbers: Numbers::default(),
            ticking: false,
        }
    }

    /// True if nothing is kept of any job.
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.waiting.is_empty() && self.names.is_empty() && self.numbers.is_empty()
    }

    /// Lets `job` handle something, then drives it on and, if it is over, clears it away.
    fn with(&mut self, cx: &mut Cx<'_, Self>, id: JobId, handle: impl FnOnce(&mut Job, &mut Env<'_, '_>)) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let mut env = Env {
            cx,
            key: &self.key,
            me: self.me,
            pass_version: self.pass_version,
            limits: &self.limits,
            cache: &mut self.cache,
            numbers: &mut self.numbers,
            traces: Vec::new(),
            small: BTreeMap::new(),
        };
        handle(job, &mut env);
        job.drive(&mut env);
        while let Some(peer) = env.small.keys().next().copied() {
            env.send_small(peer);
        }
        if !env.traces.is_empty() {
            env.cx.emit(Out::Trace { job: id, traces: std::mem::take(&mut env.traces) });
        }
        let Some(verdict) = job.verdict.take() else { return };
        job.close(&mut env);
        let name = job.name;
        self.jobs.remove(&id);
        self.names.remove(&name);
        self.numbers.requests.retain(|_, job| *job != id);
        cx.emit(Out::Forget { job: id });
        cx.emit(Out::News { job: id, news: verdict });
        self.start_waiting(cx);
    }

    fn on_submit(&mut self, cx: &mut Cx<'_, Self>, id: JobId, spec: Spec) {
        let (module_max, chunks_max) = (usize::from(MODULE_PARTS_MAX) * PART_BYTES, self.limits.chunks_max);
        let error = if self.jobs.contains_key(&id) || self.waiting.values().any(|job| job.id == id) {
            tracing::warn!(job = id.0, "a job with the id of another is ignored");
            return;
        } else if self.waiting.len() >= self.limits.waiting_max {
            Some(JobError::new(
                ErrorKind::Failed,
                format!("{} jobs wait already: wait for one to end", self.waiting.len()),
            ))
        } else if spec.chunks > chunks_max {
            Some(usage(format!("{} chunks; {chunks_max} are the most: make them larger", spec.chunks)))
        } else if spec.module.len() > module_max {
            Some(usage(format!("a module of {} bytes; {module_max} are the most", spec.module.len())))
        } else {
            None
        };
        if let Some(error) = error {
            return cx.emit(Out::News { job: id, news: News::Failed(error) });
        }
        let (priority, order) = (Reverse(spec.priority), self.numbers.fresh());
        let job = Job::new(id, spec, &self.key, self.me, cx.now());
        if self.names.insert(job.name, id).is_some() {
            tracing::warn!(job = id.0, "two jobs with the same nonce: their workers cannot tell them apart");
        }
        self.waiting.insert((priority, order), job);
        self.start_waiting(cx);
        self.tick_on(cx);
    }

    /// Starts jobs while there is room; the others hear how many are before them.
    fn start_waiting(&mut self, cx: &mut Cx<'_, Self>) {
        let mut started = Vec::new();
        while self.jobs.len() < self.limits.running_max
            && let Some((_, job)) = self.waiting.pop_first()
        {
            started.push(job.id);
            self.jobs.insert(job.id, job);
        }
        for (ahead, job) in self.waiting.values_mut().enumerate() {
            let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
            if job.ahead != Some(ahead) {
                job.ahead = Some(ahead);
                cx.emit(Out::News { job: job.id, news: News::Queued { ahead } });
            }
        }
        for id in started {
            self.with(cx, id, |job, env| job.begin(env));
        }
    }

    /// A job that waits is over before it began.
    fn drop_waiting(&mut self, cx: &mut Cx<'_, Self>, gone: impl Fn(&Job) -> Option<JobError>) {
        let over: Vec<_> = self.waiting.iter().filter_map(|(at, job)| Some((*at, gone(job)?))).collect();
        for (at, error) in over {
            let Some(job) = self.waiting.remove(&at) else { continue };
            self.names.remove(&job.name);
            cx.emit(Out::Forget { job: job.id });
            cx.emit(Out::News { job: job.id, news: News::Failed(error) });
        }
        self.start_waiting(cx);
    }

    fn on_cancel(&mut self, cx: &mut Cx<'_, Self>, id: JobId) {
        let cancelled = || JobError::new(ErrorKind::Interrupted, "the job was cancelled");
        self.with(cx, id, |job, _| job.fail_with(cancelled()));
        self.drop_waiting(cx, |job| (job.id == id).then(cancelled));
    }

    fn on_restored(&mut self, cx: &mut Cx<'_, Self>, id: JobId, saved: Saved) {
        if let Some(job) = self.waiting.values_mut().find(|job| job.id == id) {
            job.restored.push(saved);
        } else {
            self.with(cx, id, |job, env| job.on_restored(saved, env));
        }
    }

    fn on_received(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, message: Compute, body: Bytes) {
        let name = message.job();
        let known = self.names.get(&name).copied().filter(|id| self.jobs.contains_key(id));
        let Some(id) = known else {
            // It works for a job that is over: it is told so. What it would not tell again needs no answer.
            if matches!(message, Compute::Accept { .. } | Compute::Alive { .. } | Compute::ModuleGet { .. }) {
                let message = Message::Compute(Compute::Cancel { job: name, leases: Vec::new() });
                let (tag, frame) = (self.numbers.fresh(), Frame::bare(message));
                cx.emit(Out::Send { peer, tag, class: Class::Control, frame });
            }
            return;
        };
        self.with(cx, id, |job, env| job.on_message(peer, message, body, env));
    }

    fn on_tick(&mut self, cx: &mut Cx<'_, Self>) {
        let now = cx.now();
        self.each_job(cx, |job, env| job.on_tick(env));
        self.drop_waiting(cx, |job| job.is_late(now).then(|| job.late_error()));
        self.ticking = false;
        self.tick_on(cx);
    }

    fn tick_on(&mut self, cx: &mut Cx<'_, Self>) {
        if !(self.ticking || self.jobs.is_empty() && self.waiting.is_empty()) {
            self.ticking = true;
            cx.after(self.limits.tick, In::Tick);
        }
    }

    fn each_job(&mut self, cx: &mut Cx<'_, Self>, handle: impl Fn(&mut Job, &mut Env<'_, '_>)) {
        // Those of the highest priority take slots first.
        let mut ids: Vec<_> = self.jobs.values().map(|job| (Reverse(job.spec.priority), job.id)).collect();
        ids.sort_unstable();
        for (_, id) in ids {
            self.with(cx, id, &handle);
        }
    }
}

fn usage(message: String) -> JobError {
    JobError::new(ErrorKind::Usage, message)
}

impl Core for Coordinator {
    type In = In;
    type Out = Out;

    /// Numbers start at random, so that answers to leases from before a restart find nothing.
    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        self.numbers.next = cx.rng("numbers").u64() >> 2;
        cx.emit(Out::Began);
    }

    fn on(&mut self, cx: &mut Cx<'_, Self>, event: In) {
        match event {
            In::Submit { job, spec } => self.on_submit(cx, job, *spec),
            In::Restored { job, saved } => self.on_restored(cx, job, saved),
            In::Input { job, index, bytes } => self.with(cx, job, |job, env| job.on_input(index, bytes, env)),
            In::Stored { job, index, input, local } => {
                self.with(cx, job, |job, env| job.on_stored(index, input, local, env));
            }
            In::Reading { read, news } => {
                if let Some(job) = self.numbers.reads.get(&read).copied() {
                    self.with(cx, job, |job, env| job.on_reading(read, news, env));
                }
            }
            In::InputFailed { job, reason } => self.with(cx, job, |job, _| {
                job.fail(ErrorKind::Failed, format!("the input could not be read: {reason}"));
            }),
            In::Cancel { job } => self.on_cancel(cx, job),
            In::Candidates { request, candidates } => {
                if let Some(job) = self.numbers.requests.remove(&request) {
                    self.with(cx, job, |job, env| job.on_candidates(candidates, env));
                }
            }
            In::Received { peer, frame: Frame { message: Message::Compute(message), body } } => {
                self.on_received(cx, peer, message, body);
            }
            In::Received { .. } => {}
            In::SendFailed { peer, .. } | In::Disconnected { peer } => {
                self.each_job(cx, |job, env| job.on_lost(peer, env));
            }
            In::Tick => self.on_tick(cx),
        }
    }
}
