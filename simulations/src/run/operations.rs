//! What users ask for, and what became of it. Plays the part that the hub plays in production: names jobs, hears of
//! their ends, tells the actors to let go of what has failed.

use super::{
    computing, content,
    plugins::{self, Plugins, Verdict},
};
use crate::{
    observer::{Findings, Observer, Sight, Watch, Who},
    oracles::ledger::Ledger,
    plan::{Do, Operation, Plan, Version},
    record::{NodeId, What},
    scenario::explain::doing,
    tier::{self, Ask, Tier},
    twins::jobs::Input,
};
use bytes::Bytes;
use pangea::{
    drivers::jobs::stored::{Stored as StoredInput, Survey},
    node::hub::HubIn,
};
use pangea_ces::api::Selection;
use pangea_compute::api::{News, coordinator};
use pangea_kernel::Seed;
use pangea_plugins::api::{self, Reply};
use pangea_protocols::{
    JobId,
    job::{ErrorKind, JobEvent, Outcome, Stored},
    ticket::Ticket,
    time::Time,
};
use pangea_transfer::api::{Redundancy, download};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// A get that does not move for this long fails, as with the command line's default.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Hints that a ticket carries.
const HINTS: usize = 2;

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// As asked.
    Ok,
    /// With an error that says why.
    Failed,
    /// The user gave it up.
    Cancelled,
    /// Its node crashed.
    Lost,
    /// It could not be asked: its node was down, or what it is about is not stored.
    Skipped,
}

/// An operation that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub id: u32,
    pub node: NodeId,
    /// put, get, remove, cancel, compute, install, tell or recall.
    pub kind: String,
    pub at_ms: u64,
    pub took_ms: u64,
    pub end: End,
    pub text: String,
}

struct Running {
    operation: Operation,
    began: Time,
    cancelled: bool,
}

/// All operations of a run.
pub struct Operations {
    plan: Plan,
    seed: Seed,
    ledger: Ledger,
    heard: Arc<Mutex<Vec<(NodeId, Heard)>>>,
    running: BTreeMap<u32, Running>,
    /// Computations of which the manifest is still read.
    surveying: BTreeSet<u32>,
    stored: BTreeMap<u32, Stored>,
    removed: BTreeSet<u32>,
    /// Of these, all holders have said so.
    fully_removed: BTreeSet<u32>,
    ended: Vec<Ended>,
    /// After the calm, what is asked must succeed.
    due: BTreeSet<u32>,
    /// About objects that are removed: these may fail.
    excused: BTreeSet<u32>,
    plugins: Plugins,
}

impl Operations {
    /// Of a plan; `seed` makes what is stored.
    pub fn new(plan: &Plan, seed: Seed, ledger: Ledger) -> Self {
        Self {
            plan: plan.clone(),
            seed,
            ledger,
            heard: Arc::default(),
            running: BTreeMap::new(),
            surveying: BTreeSet::new(),
            stored: BTreeMap::new(),
            removed: BTreeSet::new(),
            fully_removed: BTreeSet::new(),
            ended: Vec::new(),
            due: BTreeSet::new(),
            excused: BTreeSet::new(),
            plugins: Plugins::default(),
        }
    }

    /// Listens to what actors tell their users.
    pub fn watch(&self) -> impl Watch + use<> {
        Listener(Arc::clone(&self.heard))
    }

    /// Some are under way.
    pub fn are_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// What the put `id` has stored.
    pub fn stored(&self, id: u32) -> Option<&Stored> {
        self.stored.get(&id)
    }

    /// Everything acknowledged and not removed.
    pub fn kept(&self) -> impl Iterator<Item = (u32, &Stored)> {
        self.stored.iter().filter(|(id, _)| !self.removed.contains(id)).map(|(id, stored)| (*id, stored))
    }

    /// What all holders have said they forgot.
    pub fn fully_removed(&self) -> impl Iterator<Item = u32> {
        self.fully_removed.iter().copied()
    }

    /// What plugins have acknowledged.
    pub fn plugins(&self) -> &Plugins {
        &self.plugins
    }

    /// All that have ended.
    pub fn ended(&self) -> Vec<Ended> {
        self.ended.clone()
    }

    /// The operation `id` must succeed.
    pub fn must_succeed(&mut self, id: u32) {
        self.due.insert(id);
    }

    /// Asks for one.
    pub fn ask(&mut self, operation: &Operation, up: bool, observer: &Observer, tier: &mut dyn Tier) {
        let began = tier.now();
        let text = doing(operation.id, &operation.what);
        observer.see(Some(operation.node), Sight::Run(&What::Asked { operation: operation.id, text }));
        self.running.insert(operation.id, Running { operation: operation.clone(), began, cancelled: false });
        let actors = tier.actors(operation.node).filter(|_| up);
        let Some(actors) = actors else {
            return self.end(operation.id, End::Skipped, "its node is down", observer);
        };
        if let Do::Cancel { of } = operation.what {
            self.cancel(of, observer, tier);
            return self.end(operation.id, End::Ok, "", observer);
        }
        if let Some((spec, chunks)) = computing::question(&self.seed, operation.id, &operation.what) {
            let submitted = tier
                .jobs(operation.node)
                .is_some_and(|jobs| jobs.submit(&actors.coordinator, job(operation.id), spec, Input::Chunks(chunks)));
            if !submitted {
                self.end(operation.id, End::Failed, "the node is overloaded", observer);
            }
            return;
        }
        if let Some((_, of, _)) = computing::question_of_stored(&self.seed, operation.id, &operation.what) {
            let Some(stored) = self.stored.get(&of) else {
                return self.end(operation.id, End::Skipped, "what it is about is not stored", observer);
            };
            let (cid, hints, timeout) = (stored.cid, Vec::new(), TIMEOUT);
            let survey = download::In::Survey { job: job(operation.id), cid, hints, timeout };
            self.surveying.insert(operation.id);
            if actors.downloads.send(survey).is_err() {
                self.end(operation.id, End::Failed, "the node is overloaded", observer);
            }
            return;
        }
        let upgrades = matches!(operation.what, Do::Install { version, .. } if version != Version::First);
        if (upgrades || matches!(operation.what, Do::Tell | Do::Recall { .. })) && !self.plugins.runs_on(operation.node)
        {
            return self.end(operation.id, End::Skipped, "the plugin is not there", observer);
        }
        if let Some(bytes) = Plugins::question(operation.id, &operation.what) {
            let ask = api::In::Ask { request: job(operation.id).0, name: plugins::name(), bytes };
            if actors.extensions.plugins.send(ask).is_err() {
                self.end(operation.id, End::Failed, "the node is overloaded", observer);
            }
            return;
        }
        let Some(ask) = self.question(operation, tier) else {
            return self.end(operation.id, End::Skipped, "what it is about is not stored", observer);
        };
        if matches!(operation.what, Do::Put { .. }) {
            self.ledger.begin(operation.id, operation.node);
        }
        if let Do::Remove { of } = operation.what {
            if !self.removed.insert(of) {
                self.excused.insert(operation.id);
            }
            // Whoever reads it now may or may not be in time.
            let of_it = |running: &Running| matches!(running.operation.what, Do::Get { of: read, .. } if read == of);
            let reading = self.running.iter().filter(|(_, running)| of_it(running)).map(|(id, _)| *id);
            self.excused.extend(reading);
            self.ledger.forget(of);
        }
        if matches!(operation.what, Do::Get { of, .. } if self.removed.contains(&of)) {
            self.excused.insert(operation.id);
        }
        if !tier::ask(&actors, job(operation.id), ask) {
            tier::ask(&actors, job(operation.id), Ask::Release);
            self.end(operation.id, End::Failed, "the node is overloaded", observer);
        }
    }

    fn question(&self, operation: &Operation, tier: &mut dyn Tier) -> Option<Ask> {
        match &operation.what {
            Do::Put { content, bytes, files, code, profile, lease_s } => {
                let path = PathBuf::from(format!("/put/{}", operation.id));
                let all = content::bytes(&self.seed, operation.id, *content, *bytes);
                if *files == 0 {
                    tier.write(operation.node, path.clone(), all);
                } else {
                    for (name, bytes) in content::files(&all, *files) {
                        tier.write(operation.node, path.join(name), bytes);
                    }
                }
                let redundancy = code.map_or(Redundancy::Auto, |[k, m]| Redundancy::Fixed { k, m });
                Some(Ask::Put { path, redundancy, profile: *profile, lease: Duration::from_secs(*lease_s) })
            }
            Do::Get { of, .. } | Do::Install { of, .. } => {
                let stored = self.stored.get(of)?;
                let only = match operation.what {
                    Do::Get { range: Some([offset, len]), .. } => Selection::Range { offset, len: Some(len) },
                    _ => Selection::All,
                };
                // Every other ticket was made by somebody who knows no addresses.
                let hints = if operation.id.is_multiple_of(2) { HINTS } else { 0 };
                let address = |peer| Some((peer, tier.address(self.ledger.node(peer)?)));
                Some(Ask::Get {
                    cid: stored.cid,
                    key: stored.key.clone(),
                    only,
                    path: result(operation.id),
                    hints: stored.holders.iter().filter_map(|peer| address(*peer)).take(hints).collect(),
                    timeout: TIMEOUT,
                })
            }
            Do::Remove { of } => Some(Ask::Remove { cid: self.stored.get(of)?.cid, hints: Vec::new() }),
            Do::Cancel { .. } | Do::Compute { .. } | Do::ComputeStored { .. } | Do::Tell | Do::Recall { .. } => None,
        }
    }

    fn cancel(&mut self, of: u32, observer: &Observer, tier: &dyn Tier) {
        let Some(running) = self.running.get_mut(&of) else { return };
        let put = matches!(running.operation.what, Do::Put { .. });
        running.cancelled = true;
        let Some(actors) = tier.actors(running.operation.node) else { return };
        if is_computed(&running.operation.what) && !self.surveying.contains(&of) {
            // The coordinator tells its end.
            let _ = actors.coordinator.send(coordinator::In::Cancel { job: job(of) });
            return;
        }
        if put && tier::ask(&actors, job(of), Ask::Cancel) {
            return;
        }
        tier::ask(&actors, job(of), Ask::Release);
        self.end(of, End::Cancelled, "", observer);
    }

    /// Hears what has ended since it was asked last.
    pub fn look(&mut self, observer: &Observer, tier: &dyn Tier) {
        let heard = std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner));
        for (node, message) in heard {
            match message {
                Heard::Hub(HubIn::Job(event)) => self.on_job(node, event, observer, tier),
                Heard::Hub(HubIn::Surveyed { job, root, placement }) => {
                    let survey = Survey { root: *root, placement };
                    self.on_surveyed(node, number(job), survey, observer, tier);
                }
                Heard::Hub(HubIn::Restarted { actor }) => self.on_restarted(node, actor, observer),
                Heard::Hub(_) => {}
                Heard::News(id, news) => self.on_news(node, id, news, observer),
                Heard::Reply(request, reply) => self.on_reply(node, number(JobId(request)), &reply, observer),
            }
        }
    }

    /// The manifest of what is to be computed on is here: as in production, the job is kept with it from now on.
    fn on_surveyed(&mut self, node: NodeId, id: u32, survey: Survey, observer: &Observer, tier: &dyn Tier) {
        let asked = self.running.get(&id).filter(|running| running.operation.node == node);
        let Some(what) = asked.map(|running| running.operation.what.clone()) else { return };
        let Some((spec, of, stripes)) = computing::question_of_stored(&self.seed, id, &what) else { return };
        self.surveying.remove(&id);
        let Some(Stored { cid, key, .. }) = self.stored.get(&of).cloned() else { return };
        let submitted = match StoredInput::new(Ticket { cid, hints: Vec::new(), key }, survey, stripes) {
            Ok(Some(stored)) => tier.jobs(node).zip(tier.actors(node)).is_some_and(|(jobs, actors)| {
                jobs.submit(&actors.coordinator, job(id), spec, Input::Stored(Box::new(stored)))
            }),
            Ok(None) => return self.end(id, End::Skipped, "it is not in stripes", observer),
            Err(error) => return self.end(id, End::Failed, &error.message, observer),
        };
        if !submitted {
            self.end(id, End::Failed, "the node is overloaded", observer);
        }
    }

    fn on_news(&mut self, node: NodeId, id: JobId, news: News, observer: &Observer) {
        let id = number(id);
        let Some(running) = self.running.get(&id).filter(|running| running.operation.node == node) else { return };
        match news {
            News::Done { outputs, receipt, progress } => {
                observer.goal("computed");
                if progress.own_bytes > 0 && progress.read_bytes > progress.own_bytes {
                    observer.goal("read-in-place");
                }
                let what = &running.operation.what;
                let stored = match what {
                    Do::ComputeStored { of, .. } => self.content(*of),
                    _ => None,
                };
                let came = (&outputs[..], &*receipt);
                if let Some(wrong) = computing::wrong(&self.seed, id, what, stored.as_ref(), came) {
                    observer.violation("computed", wrong);
                }
                self.end(id, End::Ok, "", observer);
            }
            News::Failed(error) => {
                let given_up = running.cancelled || error.kind == ErrorKind::Interrupted;
                self.end(id, if given_up { End::Cancelled } else { End::Failed }, &error.message, observer);
            }
            News::Queued { .. } | News::Progress(_) => {}
        }
    }

    fn on_reply(&mut self, node: NodeId, id: u32, reply: &Reply, observer: &Observer) {
        let Some(running) = self.running.get(&id).filter(|running| running.operation.node == node) else { return };
        match self.plugins.on_reply(id, node, &running.operation.what, reply) {
            Verdict::Good(goal) => {
                goal.into_iter().for_each(|goal| observer.goal(goal));
                self.end(id, End::Ok, "", observer);
            }
            Verdict::Failed(reason) => self.end(id, End::Failed, &reason, observer),
            Verdict::Wrong(text) => {
                observer.violation("plugins", text);
                self.end(id, End::Ok, "", observer);
            }
        }
    }

    /// What an installation has read is installed.
    fn install(&mut self, id: u32, observer: &Observer, tier: &dyn Tier) {
        let Some(Operation { node, what: Do::Install { version, .. }, .. }) =
            self.running.get(&id).map(|running| running.operation.clone())
        else {
            return;
        };
        let (module, actors) = (tier.read(node, &result(id)), tier.actors(node));
        let (Some(module), Some(actors)) = (module, actors) else {
            return self.end(id, End::Failed, "what was read is not there", observer);
        };
        let install = api::In::Install { request: job(id).0, package: plugins::package(version, module) };
        if actors.extensions.plugins.send(install).is_err() {
            self.end(id, End::Failed, "the node is overloaded", observer);
        }
    }

    fn on_job(&mut self, node: NodeId, event: JobEvent, observer: &Observer, tier: &dyn Tier) {
        let id = number(event.job());
        let Some(running) = self.running.get(&id).filter(|running| running.operation.node == node) else { return };
        let cancelled = running.cancelled;
        match event {
            JobEvent::Placed { k, .. } => self.ledger.coded(id, k),
            JobEvent::Done { outcome, .. } => self.on_done(id, outcome, observer, tier),
            JobEvent::Failed { error, .. } => {
                if let Some(actors) = tier.actors(node) {
                    tier::ask(&actors, job(id), Ask::Release);
                }
                let end = if cancelled || error.kind == ErrorKind::Interrupted { End::Cancelled } else { End::Failed };
                self.end(id, end, &error.message, observer);
            }
            _ => {}
        }
    }

    fn on_done(&mut self, id: u32, outcome: Outcome, observer: &Observer, tier: &dyn Tier) {
        match outcome {
            Outcome::Put(stored) => {
                observer.goal("stored");
                self.stored.insert(id, stored);
                self.ledger.acknowledged(id);
            }
            Outcome::Got { .. } => {
                observer.goal("read");
                if self.running.get(&id).is_some_and(|running| matches!(running.operation.what, Do::Install { .. })) {
                    return self.install(id, observer, tier);
                }
                if let Some(wrong) = self.compare(id, tier) {
                    observer.violation("bytes", wrong);
                }
            }
            Outcome::Removed { unreachable, .. } => {
                observer.goal("removed");
                let of = self.running.get(&id).and_then(|running| match running.operation.what {
                    Do::Remove { of } => Some(of),
                    _ => None,
                });
                self.fully_removed.extend(of.filter(|_| unreachable.is_empty()));
            }
        }
        self.end(id, End::Ok, "", observer);
    }

    /// What the put `id` was to store.
    fn content(&self, id: u32) -> Option<Bytes> {
        let Do::Put { content, bytes, .. } = self.plan.operation(id)?.what else { return None };
        Some(content::bytes(&self.seed, id, content, bytes))
    }

    /// What is wrong with what the get `id` has written.
    fn compare(&self, id: u32, tier: &dyn Tier) -> Option<String> {
        let operation = &self.running.get(&id)?.operation;
        let Do::Get { of, range } = operation.what else { return None };
        let Do::Put { content, bytes, files, .. } = self.plan.operation(of)?.what else { return None };
        let all = content::bytes(&self.seed, of, content, bytes);
        let wanted = match (files, range) {
            (0, None) => vec![(result(id), all)],
            (0, Some([offset, length])) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(all.len());
                let end = start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)).min(all.len());
                vec![(result(id), all.slice(start..end))]
            }
            (count, _) => {
                content::files(&all, count).into_iter().map(|(name, bytes)| (result(id).join(name), bytes)).collect()
            }
        };
        wanted.iter().find_map(|(path, bytes)| {
            let got = tier.read(operation.node, path);
            let same = got.as_ref() == Some(bytes);
            (!same).then(|| wrong(id, of, path, bytes, got.as_deref()))
        })
    }

    /// What its node knew of its jobs is gone, but for computations, which are kept and go on.
    pub fn on_crash(&mut self, node: NodeId, observer: &Observer) {
        for id in self.of(node) {
            self.end(id, End::Lost, "its node crashed", observer);
        }
    }

    fn on_restarted(&mut self, node: NodeId, actor: &str, observer: &Observer) {
        for id in self.of(node) {
            self.end(id, End::Failed, &format!("the actor `{actor}` was restarted"), observer);
        }
    }

    fn of(&self, node: NodeId) -> Vec<u32> {
        let of_node = |(id, running): &(&u32, &Running)| {
            let kept = is_computed(&running.operation.what) && !self.surveying.contains(id);
            running.operation.node == node && !kept
        };
        self.running.iter().filter(of_node).map(|(id, _)| *id).collect()
    }

    /// The run is over: what still runs has not ended in time.
    pub fn finish(&mut self, observer: &Observer, tier: &dyn Tier) {
        self.look(observer, tier);
        let down = |running: &&Running| tier.actors(running.operation.node).is_none();
        let lost: Vec<u32> = self.running.iter().filter(|(_, running)| down(running)).map(|(id, _)| *id).collect();
        lost.into_iter().for_each(|id| self.end(id, End::Lost, "its node is down", observer));
        for (id, running) in &self.running {
            let text = format!(
                "{} at node {} was asked at {} and has not ended by {}",
                doing(*id, &running.operation.what),
                running.operation.node,
                running.began,
                tier.now()
            );
            observer.violation("ends", text);
        }
    }

    fn end(&mut self, id: u32, end: End, text: &str, observer: &Observer) {
        let Some(running) = self.running.remove(&id) else { return };
        self.surveying.remove(&id);
        let Running { operation, began, .. } = running;
        if matches!(operation.what, Do::Put { .. }) {
            self.ledger.end(id, end == End::Ok);
        }
        let told = What::Ended { operation: id, ok: end == End::Ok, text: text.to_owned() };
        observer.see(Some(operation.node), Sight::Run(&told));
        let unharmed = (self.plan.harmless || self.plan.faults.is_empty())
            && !self.plan.without.iter().any(|name| name == "fault-free");
        let unharmed = unharmed && !self.excused.contains(&id);
        if end == End::Failed && (unharmed || self.due.contains(&id)) {
            let oracle = match operation.what {
                Do::Recall { all: true } => "plugins",
                _ if self.due.contains(&id) => "recoverable",
                _ => "fault-free",
            };
            let what = doing(id, &operation.what);
            observer.violation(oracle, format!("{what} at node {} failed: {text}", operation.node));
        }
        let took = observer.timeline().now().since(began);
        let within = self.plan.reads_within_ms.map(Duration::from_millis);
        if matches!(operation.what, Do::Get { .. }) && end != End::Lost && within.is_some_and(|within| took > within) {
            let what = doing(id, &operation.what);
            observer.violation("prompt", format!("{what} at node {} took {} ms", operation.node, took.as_millis()));
        }
        self.ended.push(Ended {
            id,
            node: operation.node,
            kind: kind(&operation.what).to_owned(),
            at_ms: began.0 / 1_000_000,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            end,
            text: text.to_owned(),
        });
    }
}

fn wrong(id: u32, of: u32, path: &Path, wanted: &[u8], got: Option<&[u8]>) -> String {
    let Some(got) = got else {
        return format!("get #{of} (#{id}) succeeded, but {} is not there", path.display());
    };
    let at = wanted.iter().zip(got).position(|(a, b)| a != b).unwrap_or(wanted.len().min(got.len()));
    format!(
        "get #{of} (#{id}) returned other bytes than were stored: {} has {} B instead of {}, and differs at {at}",
        path.display(),
        got.len(),
        wanted.len()
    )
}

fn kind(what: &Do) -> &'static str {
    match what {
        Do::Put { .. } => "put",
        Do::Get { .. } => "get",
        Do::Remove { .. } => "remove",
        Do::Cancel { .. } => "cancel",
        Do::Compute { .. } | Do::ComputeStored { .. } => "compute",
        Do::Install { .. } => "install",
        Do::Tell => "tell",
        Do::Recall { .. } => "recall",
    }
}

fn is_computed(what: &Do) -> bool {
    matches!(what, Do::Compute { .. } | Do::ComputeStored { .. })
}

fn job(id: u32) -> JobId {
    JobId(u64::from(id) + 1)
}

fn number(job: JobId) -> u32 {
    u32::try_from(job.0.saturating_sub(1)).unwrap_or(u32::MAX)
}

fn result(id: u32) -> PathBuf {
    PathBuf::from(format!("/get/{id}"))
}

/// What a node tells its user.
enum Heard {
    Hub(HubIn),
    News(JobId, News),
    Reply(u64, Reply),
}

struct Listener(Arc<Mutex<Vec<(NodeId, Heard)>>>);

impl Watch for Listener {
    fn name(&self) -> &'static str {
        "operations"
    }

    fn see(&mut self, _: Time, node: Option<NodeId>, _: &Who, sight: Sight<'_>, _: &mut Findings) {
        let heard = match sight {
            Sight::Hub(message @ (HubIn::Job(_) | HubIn::Surveyed { .. } | HubIn::Restarted { .. })) => {
                Heard::Hub(message.clone())
            }
            Sight::Jobs(coordinator::Out::News { job, news: news @ (News::Done { .. } | News::Failed(_)) }) => {
                Heard::News(*job, news.clone())
            }
            Sight::Plugins(api::Out::Reply { request, reply }) => Heard::Reply(*request, reply.clone()),
            _ => return,
        };
        if let Some(node) = node {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push((node, heard));
        }
    }
}
