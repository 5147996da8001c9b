//! [`Job`]: the state of a job, its stages and its times. `hosts`, `placing`, `supply`, `claims` and `ending` add the
//! rest of it.

use super::{Env, host::Host, supply::Supply, tally::Tally, task::Tasks};
use crate::{
    api::{Candidate, News, Report, Saved, Spec, coordinator::Out},
    envelope,
    parts::{self, Parts},
    reading::Reading,
};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use pangea_protocols::{
    Hash, JobId, PeerId,
    job::{ErrorKind, JobError},
    receipt_job::{Batch, Place, Stage, Terms, Verification},
    time::Time,
    wire::compute::Compute,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

/// A task that a host has.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// Which task.
    pub place: Place,
    /// Who.
    pub host: PeerId,
    /// Since when.
    pub since: Time,
    /// Tasks that the host had when it was leased.
    pub behind: usize,
    /// Bytes that the host reads itself.
    pub reads: u32,
    /// What it said of that: bytes of its own disk, and how long it took.
    pub read: Option<(u32, Duration)>,
}

/// State of one job.
pub struct Job {
    /// What its user calls it.
    pub id: JobId,
    /// What its workers call it.
    pub name: Hash,
    /// What was asked for.
    pub spec: Spec,
    /// The same, as it is signed.
    pub terms: Terms,
    /// Decides which results are audited.
    pub secret: [u8; 32],
    /// This node.
    pub me: PeerId,
    /// How far it is.
    pub stage: Stage,
    /// Tasks of the stages so far.
    pub totals: BTreeMap<Stage, u32>,
    /// Of all stages so far.
    pub tasks: Tasks,
    /// All that were ever asked, this node among them.
    pub hosts: BTreeMap<PeerId, Host>,
    /// What hosts have.
    pub leases: BTreeMap<u64, Lease>,
    /// Inputs.
    pub supply: Supply,
    /// Outputs of which parts are missing, each of a host with a lease or a vote.
    pub coming: BTreeMap<(Place, PeerId), Parts>,
    /// Outputs that overtook their claims.
    pub early: BTreeMap<(Place, PeerId), Bytes>,
    /// Tasks of which all is known but the output.
    pub deciding: BTreeSet<Place>,
    /// Every batch of which a claim was used.
    pub batches: Vec<Batch>,
    /// Which of them an earlier run of this job has saved, by task.
    pub restored_claims: BTreeMap<Place, Vec<usize>>,
    /// Outputs that an earlier run of this job has accepted.
    pub saved: BTreeMap<Place, Bytes>,
    /// What this node reads because others could not.
    pub feeding: BTreeMap<JobId, (Place, Reading)>,
    /// What came back while the job waited.
    pub restored: Vec<Saved>,
    /// Candidates that were not asked yet.
    pub spares: VecDeque<Candidate>,
    /// When the peer manager was last asked.
    pub asked: Option<Time>,
    /// Bytes of all outputs that were accepted.
    pub outputs_bytes: usize,
    /// What the user hears.
    pub tally: Tally,
    /// Jobs before it, as its user knows it.
    pub ahead: Option<u32>,
    /// Set when it is over.
    pub verdict: Option<News>,
    submitted: Time,
}

impl Job {
    /// A job that has not begun.
    pub fn new(id: JobId, spec: Spec, key: &SigningKey, me: PeerId, now: Time) -> Self {
        // Known to nobody but this node, and the same when the job is run again.
        let secret = blake3::derive_key("pangea 2026 compute audits", &[&key.to_bytes()[..], &spec.nonce].concat());
        let terms = Terms {
            owner: me,
            nonce: spec.nonce,
            module: Hash::of(&spec.module),
            limits: spec.limits,
            verification: spec.verification,
            split: spec.split,
            merge: spec.merge,
            draw: Hash::of(&secret),
        };
        Self {
            id,
            name: terms.name(),
            stage: if spec.split { Stage::Split } else { Stage::Execute },
            totals: BTreeMap::new(),
            spec,
            terms,
            secret,
            me,
            tasks: Tasks::default(),
            hosts: BTreeMap::new(),
            leases: BTreeMap::new(),
            supply: Supply::default(),
            coming: BTreeMap::new(),
            early: BTreeMap::new(),
            deciding: BTreeSet::new(),
            batches: Vec::new(),
            restored_claims: BTreeMap::new(),
            saved: BTreeMap::new(),
            feeding: BTreeMap::new(),
            restored: Vec::new(),
            spares: VecDeque::new(),
            asked: None,
            outputs_bytes: 0,
            tally: Tally::default(),
            ahead: None,
            verdict: None,
            submitted: now,
        }
    }

    /// The first thing that happens to it.
    pub fn begin(&mut self, env: &mut Env<'_, '_>) {
        self.hosts.insert(self.me, Host::new(env.cx.now(), 0));
        self.enter(self.stage, self.spec.chunks, env);
        for saved in std::mem::take(&mut self.restored) {
            self.on_restored(saved, env);
        }
    }

    /// Goes on with all that can go on. Called after every event.
    pub fn drive(&mut self, env: &mut Env<'_, '_>) {
        self.advance(env);
        if self.verdict.is_some() {
            return;
        }
        self.recruit(env);
        self.place_all(env);
        self.report_progress(env);
    }

    /// To the next stage, if all of this one is accepted.
    fn advance(&mut self, env: &mut Env<'_, '_>) {
        while self.verdict.is_none() && self.tasks.accepted() == self.tally.progress.total {
            match self.stage {
                Stage::Split => {
                    let whole = self.tasks.of(Stage::Split).find_map(|(_, task)| task.output().cloned());
                    let max = usize::try_from(env.limits.chunks_max).unwrap_or(usize::MAX);
                    let Some(pieces) = envelope::read_list(&whole.unwrap_or_default(), max) else {
                        let text = format!("the split returned no CBOR list of at most {max} byte strings");
                        return self.fail(ErrorKind::Failed, text);
                    };
                    let chunks = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
                    self.supply.pieces = pieces;
                    self.enter(Stage::Execute, chunks, env);
                }
                Stage::Execute if self.spec.merge => self.enter(Stage::Merge, 1, env),
                Stage::Execute | Stage::Merge => return self.finish(env),
            }
        }
    }

    fn enter(&mut self, stage: Stage, chunks: u32, env: &mut Env<'_, '_>) {
        let count = if stage == Stage::Execute { chunks } else { 1 };
        let needed = match self.spec.verification {
            Verification::Quorum { hosts } => hosts.into(),
            // All depends on one task.
            Verification::Audit { .. } if stage != Stage::Execute => 2,
            Verification::Audit { .. } | Verification::None => 1,
        };
        self.stage = stage;
        self.supply.begin();
        self.totals.insert(stage, count);
        self.tasks.add(stage, count, needed, self.me);
        self.tally.progress.stage = Some(stage);
        self.tally.progress.total = self.totals.values().sum();
        self.tally.stage_began = (env.cx.now(), self.tasks.accepted());
        self.replay_all(env);
    }

    /// A task of this stage, which was over, is something else than was believed: what was made of it is void.
    pub fn return_to(&mut self, stage: Stage, env: &mut Env<'_, '_>) {
        let later: Vec<Place> = self.tasks.iter().map(|(place, _)| place).filter(|place| place.stage > stage).collect();
        for place in later {
            self.stop(place, env);
            self.forget_outputs(place);
            for host in self.hosts.values_mut() {
                host.unproven.remove(&place);
            }
            let bytes = self.tasks.remove(place).and_then(|task| Some(task.output()?.len()));
            self.outputs_bytes = self.outputs_bytes.saturating_sub(bytes.unwrap_or(0));
        }
        self.totals.retain(|known, _| *known <= stage);
        self.saved.retain(|place, _| place.stage <= stage);
        env.cx.emit(Out::Save { job: self.id, saved: Saved::Void { after: stage } });
        self.stage = stage;
        self.tally.progress.stage = Some(stage);
        self.tally.progress.total = self.totals.values().sum();
    }

    /// Time has passed.
    pub fn on_tick(&mut self, env: &mut Env<'_, '_>) {
        if self.is_late(env.cx.now()) {
            return self.fail_with(self.late_error());
        }
        self.look_after_hosts(env);
        self.look_for_outputs(env);
        self.look_after_feeding(env);
        self.meter(env);
    }

    /// Is its time over?
    pub fn is_late(&self, now: Time) -> bool {
        self.spec.timeout.is_some_and(|timeout| now.since(self.submitted) >= timeout)
    }

    /// What the user is told then.
    pub fn late_error(&self) -> JobError {
        let progress = &self.tally.progress;
        let text = format!(
            "the job took longer than its {:?}: {} of {} tasks are done, {} hosts compute",
            self.spec.timeout.unwrap_or_default(),
            progress.done,
            progress.total,
            progress.hosts
        );
        JobError::new(ErrorKind::Failed, text)
    }

    fn report_progress(&mut self, env: &mut Env<'_, '_>) {
        use super::host::State;
        let working = |host: &&Host| host.state == State::Working;
        let busy = self.hosts.values().filter(|host| matches!(host.state, State::Away(_))).filter_map(|host| host.busy);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let progress = &mut self.tally.progress;
        progress.done = self.tasks.accepted();
        progress.running = count(self.leases.len());
        progress.hosts = count(self.hosts.values().filter(working).count());
        progress.busy_hosts = count(busy.clone().count());
        progress.busy_waiting = busy.min().unwrap_or(0);
        if let Some(progress) = self.tally.due(env.cx.now(), env.limits.progress_interval) {
            env.cx.emit(Out::News { job: self.id, news: News::Progress(progress) });
        }
    }

    /// A frame of a worker.
    pub fn on_message(&mut self, peer: PeerId, message: Compute, body: Bytes, env: &mut Env<'_, '_>) {
        let Some(host) = self.hosts.get_mut(&peer) else { return };
        host.heard = env.cx.now();
        match message {
            Compute::Accept { slots, .. } => self.on_accept(peer, slots, env),
            Compute::Refuse { reason, waiting, .. } => self.on_refuse(peer, reason, waiting, env),
            Compute::ModuleGet { part, .. } => self.on_module_get(peer, part, env),
            Compute::Alive { leases, .. } => self.on_alive(peer, &leases, env),
            Compute::Commit { batch, .. } => self.on_commit(peer, batch, env),
            Compute::Output { place, part, parts, .. } => self.on_output(peer, place, (part, parts), body, env),
            Compute::OutputSmall { outputs, .. } => {
                let Some(apart) = parts::apart(&body, outputs.iter().map(|(_, bytes)| *bytes)) else {
                    return env.report(peer, Report::Violation);
                };
                for ((place, _), bytes) in outputs.into_iter().zip(apart) {
                    self.on_output(peer, place, (0, 1), bytes, env);
                }
            }
            Compute::Failed { lease, reason, .. } => self.on_failed(peer, lease, reason, env),
            Compute::Log { place, .. } => self.on_log(peer, place, &body, env),
            Compute::Read { place, own_bytes, took_ms, .. } => self.on_read(peer, place, own_bytes, took_ms),
            // The rest is for workers.
            _ => {}
        }
    }
}
