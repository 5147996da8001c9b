//! A run: a plan is carried out on a tier, watched by oracles, and comes to an [`Outcome`].
//!
//! | file | its job |
//! |---|---|
//! | `agenda.rs` | what happens when: starts, operations, faults, the calm |
//! | `operations.rs` | what users ask for, and what became of it |
//! | `content.rs` | the bytes they store, as a function of the seed |
//! | `computing.rs` | what they have computed |
//! | `plugins.rs` | the plugin that they run |
//! | `read_back.rs` | after the calm: what should be readable is read |
//! | `eclipse.rs` | identities next to an object |

mod agenda;
mod computing;
mod content;
mod eclipse;
mod operations;
mod plugins;
mod read_back;

pub use content::MARKER;
pub use operations::{End, Ended};

use crate::{
    chronicle::Chronicle,
    digest::Digest,
    fleet::{self, Fleet},
    links::Links,
    observer::{Observer, Sight, Violation},
    oracles::{self, ledger::Ledger, receipts::Receipts},
    plan::{self, Act, DiskFault, Fault, Plan, TierName},
    record::{NodeId, Record, What},
    scenario::{draw::root, explain::fault_text},
    swarm::Swarm,
    tap::Taps,
    tier::Tier,
    timeline::Timeline,
};
use agenda::{Agenda, Step};
use operations::Operations;
use pangea_kernel::Seed;
use pangea_protocols::{PeerId, time::Time};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The longest that a run goes on before it looks at what has ended.
const SLICE_BUSY: Duration = Duration::from_millis(250);
const SLICE_IDLE: Duration = Duration::from_secs(20);
/// After the calm, nodes get this long to find each other again before objects are read back.
const SETTLE: Duration = Duration::from_secs(60);

/// What to keep of a run beside its outcome.
#[derive(Default)]
pub struct Keep {
    /// Records, for traces and pictures.
    pub records: bool,
    /// A line per event, to find where two runs part.
    pub log: Option<std::fs::File>,
}

/// What came of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Of which scenario.
    pub scenario: String,
    /// With which seed.
    pub seed: u64,
    /// On which tier.
    pub tier: TierName,
    /// Nodes of the plan.
    pub nodes: usize,
    /// Over everything that happened.
    pub digest: String,
    /// How much that was.
    pub events: u64,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// Broken promises; none if all is well.
    pub violations: Vec<Violation>,
    /// Goals, and after how many virtual milliseconds each was reached.
    pub goals: BTreeMap<String, u64>,
    /// What users asked for.
    pub operations: Vec<operations::Ended>,
}

impl Outcome {
    /// No promise was broken.
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }
}

/// Carries out a plan.
pub fn run(plan: &Plan, keep: Keep) -> (Outcome, Vec<Record>) {
    let mut run = Run::new(plan, keep);
    run.go();
    run.finish()
}

struct Run<'a> {
    plan: &'a Plan,
    seed: Seed,
    tier: Box<dyn Tier>,
    links: Links,
    taps: Taps,
    observer: Observer,
    digest: Digest,
    chronicle: Option<Chronicle>,
    operations: Operations,
    ledger: Ledger,
    receipts: Receipts,
    /// Nodes whose process runs, or stands still.
    up: BTreeSet<NodeId>,
    /// Nodes that are down because of a fault, by fault.
    down: BTreeMap<u32, Vec<NodeId>>,
    /// Faults that act now.
    acting: BTreeMap<u32, Fault>,
    /// Identities that an eclipse has chosen.
    keys: BTreeMap<NodeId, [u8; 32]>,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, keep: Keep) -> Self {
        let seed = root(plan.seed).derive("run");
        let tier = tier(plan, &seed);
        let (taps, links) = (tier.taps(), tier.links());
        let observer = taps.observer();
        let digest = keep.log.map_or_else(Digest::default, Digest::logged);
        observer.add(digest.clone());
        let chronicle = keep.records.then(Chronicle::default);
        if let Some(chronicle) = &chronicle {
            observer.add(chronicle.clone());
        }
        let ledger = Ledger::default();
        let operations = Operations::new(plan, seed.derive("content"), ledger.clone());
        observer.add(operations.watch());
        oracles::watch(&observer, plan, &ledger);
        let receipts = Receipts::new(plan);
        observer.add(receipts.clone());
        Self {
            plan,
            seed,
            tier,
            links,
            taps,
            observer,
            digest,
            chronicle,
            operations,
            ledger,
            receipts,
            up: BTreeSet::new(),
            down: BTreeMap::new(),
            acting: BTreeMap::new(),
            keys: BTreeMap::new(),
        }
    }

    fn go(&mut self) {
        let mut agenda = Agenda::of(self.plan);
        while let Some((at_ms, step)) = agenda.pop() {
            self.run_until(plan::at(at_ms));
            self.on_step(step, &mut agenda);
        }
        self.run_until(plan::at(self.plan.end_ms));
        self.operations.finish(&self.observer, self.tier.as_ref());
        self.look_for_remains();
        for node in self.up.clone() {
            self.look_at_promises(node);
        }
        self.observer.end();
    }

    /// In slices, so that what a user does next follows what has just ended.
    fn run_until(&mut self, until: Time) {
        while self.tier.now() < until {
            let slice = if self.operations.are_running() { SLICE_BUSY } else { SLICE_IDLE };
            self.tier.run_until(until.min(self.tier.now() + slice));
            self.operations.look(&self.observer, self.tier.as_ref());
        }
    }

    fn on_step(&mut self, step: Step, agenda: &mut Agenda) {
        match step {
            Step::Start(node) => self.start(node),
            Step::Begin(fault) => self.begin(&fault),
            Step::End(id) => self.end(id),
            Step::Ask(operation) => {
                let up = self.up.contains(&operation.node);
                self.operations.ask(&operation, up, &self.observer, self.tier.as_mut());
            }
            Step::Calm => self.calm(),
            Step::ReadBack => {
                let recalls = read_back::recalls(&self.operations, self);
                for operation in
                    read_back::plan(self.plan, &self.operations, &self.ledger, self).into_iter().chain(recalls)
                {
                    self.operations.must_succeed(operation.id);
                    agenda.ask_now(operation);
                }
            }
        }
    }

    fn start(&mut self, node: NodeId) {
        let Some(spec) = self.plan.node(node) else { return };
        let key = *self.keys.entry(node).or_insert_with(|| key(&self.seed, node));
        self.observer.introduce(peer(&key), node);
        self.see(Some(node), &What::Started { region: spec.region.clone() });
        self.up.insert(node);
        self.tier.start(spec, key);
    }

    fn begin(&mut self, fault: &Fault) {
        let nodes = fault.act.nodes();
        self.see(None, &What::FaultBegan { fault: fault.id, text: fault_text(fault), nodes });
        self.links.begin(fault.id, &fault.act);
        match &fault.act {
            Act::Crash { nodes, disk } => {
                let victims: Vec<NodeId> = nodes.iter().copied().filter(|node| self.up.remove(node)).collect();
                for node in &victims {
                    self.see(Some(*node), &What::Crashed { disk: format!("{disk:?}").to_lowercase() });
                    self.tier.crash(*node, *disk);
                    self.operations.on_crash(*node, &self.observer);
                }
                self.down.insert(fault.id, victims);
            }
            Act::Rebind { nodes } => nodes.iter().for_each(|node| self.tier.rebind(*node)),
            Act::EndGuests { nodes } => nodes.iter().for_each(|node| self.tier.end_guests(*node)),
            Act::Eclipse { nodes, of } => self.eclipse(nodes, *of),
            act => self.apply(act, true),
        }
        self.acting.insert(fault.id, fault.clone());
    }

    fn end(&mut self, id: u32) {
        let Some(fault) = self.acting.remove(&id) else { return };
        self.links.end(id);
        self.see(None, &What::FaultEnded { fault: id });
        match &fault.act {
            Act::Crash { .. } => {
                for node in self.down.remove(&id).unwrap_or_default() {
                    self.start(node);
                    self.look_at_promises(node);
                }
            }
            act => self.apply(act, false),
        }
    }

    /// What a node has signed for must be on its disk, and what no lease covers any longer must not.
    fn look_at_promises(&self, node: NodeId) {
        let (holdings, now_unix) = (self.tier.holdings(node), Timeline::unix(self.tier.now()).0);
        let missing = self.receipts.missing(node, &holdings, now_unix);
        if let Some(shard) = missing.first() {
            let text = format!("node {node} is without {} shards it has signed for, as {shard:?}", missing.len());
            self.observer.violation("durable", text);
        }
        let overdue = self.receipts.overdue(node, &holdings, now_unix);
        if let Some(shard) = overdue.first() {
            let text = format!("node {node} keeps {} shards whose leases ended long ago, as {shard:?}", overdue.len());
            self.observer.violation("leases", text);
        }
    }

    /// Faults that act on nodes for a while.
    fn apply(&mut self, act: &Act, on: bool) {
        match act {
            Act::Pause { nodes } => {
                for node in nodes {
                    self.see(Some(*node), &What::Paused { paused: on });
                    self.tier.pause(*node, on);
                }
            }
            Act::Skew { nodes, by_s, drift_ppm } => {
                let (by_s, drift_ppm) = if on { (*by_s, *drift_ppm) } else { (0, 0) };
                nodes.iter().for_each(|node| self.tier.skew(*node, by_s, drift_ppm));
            }
            Act::Disk { nodes, how } if on || !is_moment(*how) => {
                nodes.iter().for_each(|node| self.tier.disk(*node, *how, on));
            }
            Act::Byzantine { nodes, how } => {
                nodes.iter().for_each(|node| self.taps.of(*node).behave(on.then_some(*how)));
            }
            _ => {}
        }
    }

    fn eclipse(&mut self, nodes: &[NodeId], of: u32) {
        let Some(stored) = self.operations.stored(of) else { return };
        for (node, key) in eclipse::identities(&self.seed, stored.cid, nodes) {
            self.keys.insert(node, key);
            self.taps.of(node).behave(Some(plan::Conduct::Withholding));
            self.start(node);
        }
    }

    fn calm(&mut self) {
        self.see(None, &What::Calm);
        let ending: Vec<u32> = self
            .acting
            .values()
            .filter(|fault| fault.until_ms.is_some() || !matches!(fault.act, Act::Crash { .. }))
            .map(|fault| fault.id)
            .collect();
        ending.into_iter().for_each(|id| self.end(id));
    }

    /// What all holders have said they forgot must be gone, unless a disk was put back in time.
    fn look_for_remains(&self) {
        for id in self.operations.fully_removed() {
            let gone = self.ledger.shards(id);
            for node in self.up.iter().filter(|node| !self.receipts.is_forgetful(**node)) {
                let left = self.tier.holdings(*node).shards.intersection(&gone).count();
                if left > 0 {
                    let text = format!("#{id} was removed from all holders, but node {node} has {left} shards of it");
                    self.observer.violation("removed", text);
                }
            }
        }
    }

    fn see(&self, node: Option<NodeId>, what: &What) {
        self.observer.see(node, Sight::Run(what));
    }

    fn finish(self) -> (Outcome, Vec<Record>) {
        let outcome = Outcome {
            scenario: self.plan.scenario.clone(),
            seed: self.plan.seed,
            tier: self.plan.tier,
            nodes: self.plan.nodes.len(),
            digest: self.digest.value(),
            events: self.digest.events(),
            virtual_ms: self.tier.now().0 / 1_000_000,
            violations: self.observer.violations(),
            goals: self.observer.goals().into_iter().map(|(goal, at)| (goal.to_owned(), at.0 / 1_000_000)).collect(),
            operations: self.operations.ended(),
        };
        (outcome, self.chronicle.map(|chronicle| chronicle.take()).unwrap_or_default())
    }
}

/// # Panics
/// If the process cannot have a runtime.
fn tier(plan: &Plan, seed: &Seed) -> Box<dyn Tier> {
    match plan.tier {
        TierName::Swarm => {
            let observer = Observer::new(Timeline::default());
            Box::new(Swarm::new(plan, seed, observer, Links::new(plan, seed.derive("links"))))
        }
        TierName::Streams | TierName::Fleet => {
            let identities = plan.nodes.iter().map(|node| (node.id, peer(&key(seed, node.id)))).collect();
            match Fleet::new(plan, identities, fleet::Options::of(plan)) {
                Ok(fleet) => Box::new(fleet),
                Err(error) => panic!("the fleet cannot be started: {error}"),
            }
        }
    }
}

fn peer(key: &[u8; 32]) -> PeerId {
    PeerId(ed25519_dalek::SigningKey::from_bytes(key).verifying_key().to_bytes())
}

/// The secret of a node's identity.
fn key(seed: &Seed, node: NodeId) -> [u8; 32] {
    seed.derive("identity").derive(&node.to_string()).draw().bytes()
}

fn is_moment(how: DiskFault) -> bool {
    matches!(how, DiskFault::Misdirected | DiskFault::Rot { .. })
}
