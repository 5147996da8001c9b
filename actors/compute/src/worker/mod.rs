//! The worker: takes offers within its slots, fetches modules, has tasks run, and signs for what came of them.
//!
//! ```text
//! job    Offer ─► module Coming ─► Installing ─► Ready ─► forgotten: Cancel, disconnected, or not renewed in time
//! lease  Assign ─► Coming ─► Waiting ─► Running ─► Done ─► committed, then the output is sent
//!        AssignStored ─► ToRead ─► Reading ─► Waiting …
//! ```
//! | module | what it holds |
//! |---|---|
//! | `job` | what is kept of a job |
//! | `tasks` | running them, and what came of them |
//! | `inputs` | reading inputs that lie in stored objects |
//! | `passing` | tasks that are passed on to other nodes, and what came back |
//! | [`limits`] | every bound |
//!
//! **Invariants.** No task runs whose input or module has another hash than was announced; of a stored input the manifest
//! is checked by who reads it. Nothing is signed that the
//! sandbox has not said. When no job is left nothing is kept but the names of installed modules: [`Worker::is_idle`].

mod inputs;
mod job;
pub mod limits;
mod passing;
mod tasks;

use crate::{
    api::{
        Report, Work,
        worker::{In, Out},
    },
    parts::{self, Parts},
    reading::Reading,
};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use job::{Job, Lease, Module, Step};
pub use limits::Limits;
use pangea_kernel::{Core, Cx};
use pangea_protocols::{
    Hash, JobId, PeerId,
    net::Class,
    receipt_job::Place,
    stored::StoredInput,
    task::{self, TaskId},
    time::Time,
    wire::{
        Frame, Message,
        compute::{Compute, Failure, QUEUE_MAX, QUEUE_PER_SLOT, Refusal, SMALL_BYTES, SmallTask},
    },
};
pub use passing::is_passed_on;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};
pub use tasks::granted;

/// How often times are looked at while there are jobs.
const TICK: Duration = Duration::from_millis(250);
/// Peers that this node does not work for; beyond it the one with the lowest id is forgotten.
const DENIED_MAX: usize = 4096;
/// A module that this node fails to install so often is not wanted any more: it may be what ends the sandbox.
const INSTALLS_MAX: u8 = 3;
/// Peers whose work is summed up between two ticks; beyond it, the meter is told at once.
const METERED_MAX: usize = 64;
/// A coordinator may send so many tasks beyond the slots: what it sends to check others does not wait for a slot.
const SPARE_LEASES: usize = 2;

/// Whose job, and its name.
type Key = (PeerId, Hash);

/// The core.
pub struct Worker {
    me: PeerId,
    key: SigningKey,
    limits: Limits,
    jobs: BTreeMap<Key, Job>,
    /// Tasks in the sandbox.
    running: BTreeMap<TaskId, (Key, u64)>,
    /// Most lately used last.
    installed: VecDeque<Hash>,
    denied: BTreeSet<PeerId>,
    /// Jobs of this node's coordinator that run tasks of others, with the leases in the order of their chunks.
    passed_on: BTreeMap<JobId, (Key, Vec<u64>)>,
    /// Inputs that are being read, for whose lease.
    reads: BTreeMap<JobId, (Key, u64, Reading)>,
    next_read: u64,
    /// What this node has done for others, not yet told to the meter: of at most [`METERED_MAX`].
    work: BTreeMap<PeerId, Work>,
    next_task: u64,
    next_passed: u64,
    next_tag: u64,
    ticking: bool,
    /// A timer runs for claims that are to be signed for soon.
    signing: bool,
}

impl Worker {
    /// A worker of the node whose identity is `key`.
    pub fn new(me: PeerId, key: SigningKey, limits: Limits) -> Self {
        Self {
            me,
            key,
            limits,
            jobs: BTreeMap::new(),
            running: BTreeMap::new(),
            installed: VecDeque::new(),
            denied: BTreeSet::new(),
            passed_on: BTreeMap::new(),
            reads: BTreeMap::new(),
            next_read: 0,
            work: BTreeMap::new(),
            next_task: 0,
            next_passed: 0,
            next_tag: 0,
            ticking: false,
            signing: false,
        }
    }

    /// True if nothing is kept of any job.
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.running.is_empty() && self.passed_on.is_empty() && self.reads.is_empty()
    }

    /// Tasks that wait or run.
    pub fn load(&self) -> usize {
        self.running.len() + self.jobs.values().map(Job::waiting).sum::<usize>()
    }

    fn tell(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, message: Compute, body: Bytes) {
        let class = if body.is_empty() { Class::Control } else { Class::Bulk };
        self.next_tag += 1;
        let frame = Frame { message: Message::Compute(message), body };
        cx.emit(Out::Send { peer, tag: self.next_tag, class, frame });
    }

    fn on_offer(&mut self, cx: &mut Cx<'_, Self>, key: Key, offer: Offer) {
        let (peer, job) = key;
        if let Some(known) = self.jobs.get_mut(&key) {
            known.ends = cx.now() + offer.lease;
            let slots = self.slots_for(offer.depth);
            return self.tell(cx, peer, Compute::Accept { job, slots }, Bytes::new());
        }
        let others = self.jobs.keys().filter(|(owner, _)| *owner != self.me).count();
        let refusal = if !self.limits.enabled || self.denied.contains(&peer) {
            Some(Refusal::Denied)
        } else if offer.limits.exceeds(&self.limits.task).is_some() {
            Some(Refusal::OverLimit)
        } else if offer.module_bytes > self.limits.module_bytes_max {
            Some(Refusal::Module)
        } else if peer != self.me && others >= self.limits.jobs_max {
            Some(Refusal::Busy)
        } else {
            None
        };
        if let Some(reason) = refusal {
            return self.refuse(cx, key, reason);
        }
        // Who is to pass tasks on needs the module itself, too.
        let ready = self.installed.contains(&offer.module) && offer.depth == 0;
        self.jobs.insert(
            key,
            Job {
                module: offer.module,
                limits: offer.limits,
                priority: offer.priority,
                ends: cx.now() + offer.lease,
                alive_at: cx.now() + self.limits.alive_every,
                depth: offer.depth,
                bytes: None,
                state: if ready { Module::Ready } else { Module::Coming(Parts::default(), cx.now()) },
                failures: 0,
                leases: BTreeMap::new(),
                done: Vec::new(),
                done_since: Time(0),
                signed: None,
            },
        );
        let slots = self.slots_for(offer.depth);
        self.tell(cx, peer, Compute::Accept { job, slots }, Bytes::new());
        if !ready {
            self.tell(cx, peer, Compute::ModuleGet { job, part: 0 }, Bytes::new());
        }
        self.tick_on(cx);
    }

    fn refuse(&mut self, cx: &mut Cx<'_, Self>, (peer, job): Key, reason: Refusal) {
        self.credit(cx, peer, &Work { refused: 1, ..Work::NONE });
        let waiting = u32::try_from(self.load()).unwrap_or(u32::MAX);
        self.tell(cx, peer, Compute::Refuse { job, reason, waiting }, Bytes::new());
    }

    /// Work for another node. It is told to the meter from time to time; at once if nothing else is to come.
    fn credit(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, work: &Work) {
        if peer == self.me {
            return;
        }
        self.work.entry(peer).or_default().add(work);
        if self.work.len() > METERED_MAX || self.jobs.is_empty() {
            self.meter(cx);
        }
    }

    fn meter(&mut self, cx: &mut Cx<'_, Self>) {
        for (peer, work) in std::mem::take(&mut self.work) {
            cx.emit(Out::Metered { peer, work });
        }
    }

    fn on_module_part(&mut self, cx: &mut Cx<'_, Self>, key: Key, part: u16, parts: u16, bytes: Bytes) {
        let (now, (peer, name)) = (cx.now(), key);
        let Some(job) = self.jobs.get_mut(&key) else { return };
        let Module::Coming(come, asked) = &mut job.state else { return };
        *asked = now;
        let Some(whole) = come.add(part, parts, bytes) else {
            let part = come.missing();
            return self.tell(cx, peer, Compute::ModuleGet { job: name, part }, Bytes::new());
        };
        let module = job.module;
        if Hash::of(&whole) != module {
            cx.emit(Out::Report { peer, report: Report::BadProof });
            self.forget(cx, key);
            return self.refuse(cx, key, Refusal::Module);
        }
        job.state = Module::Installing;
        job.bytes = (job.depth > 0).then(|| whole.clone());
        cx.emit(Out::Install { module, bytes: whole });
    }

    fn on_installed(&mut self, cx: &mut Cx<'_, Self>, module: Hash, result: Result<(), task::Refusal>) {
        let of_module = self.jobs.iter().filter(|(_, job)| job.module == module);
        let keys: Vec<Key> = of_module.map(|(key, _)| *key).collect();
        if let Err(refusal) = result {
            for key in keys {
                if !matches!(refusal, task::Refusal::Node { .. }) || !self.install_later(cx.now(), key) {
                    self.forget(cx, key);
                    self.refuse(cx, key, Refusal::Module);
                }
            }
            return;
        }
        self.installed.retain(|known| *known != module);
        self.installed.push_back(module);
        if self.installed.len() > self.limits.modules_max {
            self.installed.pop_front();
        }
        for job in self.jobs.values_mut().filter(|job| job.module == module) {
            job.state = Module::Ready;
        }
    }

    /// This node failed, which says nothing about the module: it is asked for again, as if a part had not come. False if
    /// that was tried too often.
    fn install_later(&mut self, now: Time, key: Key) -> bool {
        let Some(job) = self.jobs.get_mut(&key) else { return false };
        job.failures += 1;
        job.state = Module::Coming(Parts::default(), now);
        job.failures < INSTALLS_MAX
    }

    /// The job of a lease, if there is room for it: more of it for those with small inputs.
    fn job_for(&mut self, cx: &mut Cx<'_, Self>, key: Key, lease: u64, small: bool) -> Option<&mut Job> {
        let (peer, name) = key;
        let Some(job) = self.jobs.get(&key) else {
            // Forgotten: the coordinator has to offer it again.
            self.refuse(cx, key, Refusal::Busy);
            return None;
        };
        let slots = usize::from(self.slots_for(job.depth));
        let queue = if small { (slots * QUEUE_PER_SLOT).min(QUEUE_MAX) } else { 0 };
        let leases_max = slots.max(queue) + SPARE_LEASES;
        if job.leases.len() >= leases_max && !job.leases.contains_key(&lease) {
            self.tell(cx, peer, Compute::Failed { job: name, lease, reason: Failure::Busy }, Bytes::new());
            return None;
        }
        self.jobs.get_mut(&key)
    }

    fn on_assign_stored(&mut self, cx: &mut Cx<'_, Self>, key: Key, lease: u64, place: Place, input: Box<StoredInput>) {
        let Some(job) = self.job_for(cx, key, lease, false) else { return };
        let hash = input.hash();
        job.leases.entry(lease).or_insert_with(|| Lease::new(place, hash, Step::ToRead(input)));
    }

    fn on_assign(&mut self, cx: &mut Cx<'_, Self>, key: Key, assign: Assign, bytes: Bytes) {
        let (peer, name) = key;
        let Assign { lease, place, input, part, parts } = assign;
        let small = parts == 1 && bytes.len() <= SMALL_BYTES;
        let Some(job) = self.job_for(cx, key, lease, small) else { return };
        let entry = job.leases.entry(lease);
        let entry = entry.or_insert_with(|| Lease::new(place, input, Step::Coming(Parts::default())));
        let Step::Coming(come) = &mut entry.step else { return };
        let Some(whole) = come.add(part, parts, bytes) else { return };
        let seen = task::Input { bytes: whole.clone(), ..task::Input::default() };
        if task::input_hash(&seen) == entry.input {
            entry.step = Step::Waiting(whole);
        } else {
            job.leases.remove(&lease);
            self.tell(cx, peer, Compute::Failed { job: name, lease, reason: Failure::Input }, Bytes::new());
        }
    }

    fn on_cancel(&mut self, cx: &mut Cx<'_, Self>, key: Key, leases: &[u64]) {
        if leases.is_empty() {
            return self.forget(cx, key);
        }
        let Some(job) = self.jobs.get_mut(&key) else { return };
        for task in leases.iter().filter_map(|lease| job.remove(*lease)) {
            self.running.remove(&task);
            cx.emit(Out::Cancel { task });
        }
        self.take_back(cx);
        self.stop_reads(cx);
    }

    /// Stops all that is done for a job.
    fn forget(&mut self, cx: &mut Cx<'_, Self>, key: Key) {
        let Some(job) = self.jobs.remove(&key) else { return };
        for lease in job.leases.into_values() {
            if let Step::Running(task, _) = lease.step {
                self.running.remove(&task);
                cx.emit(Out::Cancel { task });
            }
        }
        self.take_back(cx);
        self.stop_reads(cx);
        if self.jobs.is_empty() {
            self.meter(cx);
        }
    }

    fn on_received(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, message: Compute, body: Bytes) {
        let key = (peer, message.job());
        match message {
            Compute::Offer { module, module_bytes, limits, priority, lease_secs, depth, .. } => {
                let lease = Duration::from_secs(lease_secs.into());
                self.on_offer(cx, key, Offer { module, module_bytes, limits, priority, lease, depth });
            }
            Compute::ModulePart { part, parts, .. } => self.on_module_part(cx, key, part, parts, body),
            Compute::Assign { lease, place, input, part, parts, .. } => {
                self.on_assign(cx, key, Assign { lease, place, input, part, parts }, body);
            }
            Compute::AssignSmall { tasks, .. } => {
                let Some(inputs) = parts::apart(&body, tasks.iter().map(|task| task.bytes)) else {
                    return cx.emit(Out::Report { peer, report: Report::Violation });
                };
                for (SmallTask { lease, place, input, .. }, bytes) in tasks.into_iter().zip(inputs) {
                    self.on_assign(cx, key, Assign { lease, place, input, part: 0, parts: 1 }, bytes);
                }
            }
            Compute::AssignStored { lease, place, input, .. } => self.on_assign_stored(cx, key, lease, place, input),
            Compute::Renew { lease_secs, .. } => {
                if let Some(job) = self.jobs.get_mut(&key) {
                    job.ends = cx.now() + Duration::from_secs(lease_secs.into());
                }
            }
            Compute::Cancel { leases, .. } => self.on_cancel(cx, key, &leases),
            // The rest is for coordinators.
            _ => {}
        }
    }

    fn on_tick(&mut self, cx: &mut Cx<'_, Self>) {
        let now = cx.now();
        let keys: Vec<Key> = self.jobs.keys().copied().collect();
        for key in keys {
            let Some(job) = self.jobs.get_mut(&key) else { continue };
            let (peer, name) = key;
            if now >= job.ends {
                self.forget(cx, key);
                continue;
            }
            if let Module::Coming(come, asked) = &mut job.state
                && now.since(*asked) >= self.limits.part_timeout
            {
                *asked = now;
                let part = come.missing();
                self.tell(cx, peer, Compute::ModuleGet { job: name, part }, Bytes::new());
                continue;
            }
            if now >= job.alive_at {
                job.alive_at = now + self.limits.alive_every;
                let leases = job.leases.keys().copied().collect();
                self.tell(cx, peer, Compute::Alive { job: name, leases }, Bytes::new());
            }
        }
        self.look_after_reads(cx);
        self.meter(cx);
        self.ticking = false;
        self.tick_on(cx);
    }

    fn tick_on(&mut self, cx: &mut Cx<'_, Self>) {
        if !self.ticking && !self.jobs.is_empty() {
            self.ticking = true;
            cx.after(TICK, In::Tick);
        }
    }
}

/// What a coordinator offers.
struct Offer {
    module: Hash,
    module_bytes: u64,
    limits: task::Limits,
    priority: u8,
    lease: Duration,
    depth: u8,
}

/// A part of a task.
struct Assign {
    lease: u64,
    place: Place,
    input: Hash,
    part: u16,
    parts: u16,
}

impl Core for Worker {
    type In = In;
    type Out = Out;

    /// Numbers start at random, so that answers to tasks from before a restart find nothing.
    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        self.next_task = cx.rng("tasks").u64() >> 2;
        self.next_passed = cx.rng("passed").u64() >> 2;
        self.next_read = cx.rng("reads").u64() >> 3;
    }

    fn on(&mut self, cx: &mut Cx<'_, Self>, event: In) {
        match event {
            In::Received { peer, frame: Frame { message: Message::Compute(message), body } } => {
                self.on_received(cx, peer, message, body);
            }
            In::Received { .. } | In::SendFailed { .. } => {}
            In::Disconnected { peer } => {
                let of_peer = self.jobs.keys().filter(|(owner, _)| *owner == peer);
                let keys: Vec<Key> = of_peer.copied().collect();
                keys.into_iter().for_each(|key| self.forget(cx, key));
            }
            In::Allow { peer, allowed } => {
                if allowed {
                    self.denied.remove(&peer);
                } else {
                    self.denied.insert(peer);
                    if self.denied.len() > DENIED_MAX {
                        self.denied.pop_first();
                    }
                }
            }
            In::Installed { module, result } => self.on_installed(cx, module, result.map(|_| ())),
            In::Done { task, outcome, receipt } => self.on_done(cx, task, outcome, receipt),
            In::Refused { task, refusal } => self.on_refused(cx, task, &refusal),
            In::Late { task } => self.fail_task(cx, task, Failure::Late),
            In::Line { task, line } => self.on_line(task, &line),
            In::Began => self.on_sandbox_began(cx),
            In::Want { job, index } => self.on_want(cx, job, index),
            In::Returned { job, results } => self.on_returned(cx, job, results),
            In::CoordinatorBegan => self.on_coordinator_began(),
            In::Reading { read, news } => self.on_reading(cx, read, news),
            In::Tick => self.on_tick(cx),
            In::Sign => self.signing = false,
        }
        self.run_waiting(cx);
        self.pass_on(cx);
        self.read_waiting(cx);
        self.commit_due(cx);
    }
}
