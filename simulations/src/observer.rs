//! [`Observer`]: everything that nodes do to the outside passes by here, and whoever wants to know watches: oracles,
//! goals, the digest, traces. Watching changes nothing: a run with a trace is the run without it.

use crate::{
    record::{NodeId, What},
    timeline::Timeline,
};
use pangea::node::hub::HubIn;
use pangea_compute::api::coordinator;
use pangea_protocols::{PeerId, disk, net, time::Time, wire::Frame};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Violations that are kept; a broken oracle breaks often.
const VIOLATIONS_MAX: usize = 32;

/// One thing that can be seen.
#[derive(Clone, Copy, Debug)]
pub enum Sight<'a> {
    /// A frame goes out to a peer.
    Send { to: PeerId, frame: &'a Frame },
    /// A frame has come in.
    Receive { from: PeerId, frame: &'a Frame },
    /// Another command to the network.
    Network(&'a net::Command),
    /// Another event of the network.
    Heard(&'a net::Event),
    /// A command to the disk.
    Disk(&'a disk::Command),
    /// An answer of the disk.
    DiskSaid(&'a disk::Event),
    /// What actors tell the user.
    Hub(&'a HubIn),
    /// What the coordinator tells the jobs driver.
    Jobs(&'a coordinator::Out),
    /// What the plugins actor tells users, and has kept.
    Plugins(&'a pangea_plugins::api::Out),
    /// What the run itself does: starts, crashes, faults, operations.
    Run(&'a What),
}

/// What a watch has to say of what it saw.
#[derive(Default)]
pub struct Findings {
    violations: Vec<String>,
    goals: Vec<&'static str>,
}

impl Findings {
    /// A promise is broken.
    pub fn violation(&mut self, text: impl Into<String>) {
        self.violations.push(text.into());
    }

    /// An interesting state is reached.
    pub fn goal(&mut self, goal: &'static str) {
        self.goals.push(goal);
    }
}

/// Somebody who watches.
pub trait Watch: Send {
    /// For violations.
    fn name(&self) -> &'static str;

    /// Sees one thing; `node` is where.
    fn see(&mut self, at: Time, node: Option<NodeId>, who: &Who, sight: Sight<'_>, findings: &mut Findings);

    /// The run is over.
    fn end(&mut self, _at: Time, _findings: &mut Findings) {}
}

/// Which node a peer is.
#[derive(Default)]
pub struct Who(BTreeMap<PeerId, NodeId>);

impl Who {
    /// The node with this identity.
    pub fn node(&self, peer: PeerId) -> Option<NodeId> {
        self.0.get(&peer).copied()
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Violation {
    /// When, in virtual nanoseconds.
    pub at_ns: u64,
    /// Which promise.
    pub oracle: String,
    /// What happened.
    pub text: String,
}

/// The one place that all of a run passes. Clones are the same observer.
#[derive(Clone)]
pub struct Observer {
    timeline: Timeline,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    watches: Vec<Box<dyn Watch>>,
    who: Who,
    violations: Vec<Violation>,
    goals: BTreeMap<&'static str, Time>,
}

impl Observer {
    /// Nobody watches yet.
    pub fn new(timeline: Timeline) -> Self {
        Self { timeline, state: Arc::default() }
    }

    /// The clock of the run.
    pub fn timeline(&self) -> Timeline {
        self.timeline.clone()
    }

    /// From now on `watch` sees everything.
    pub fn add(&self, watch: impl Watch + 'static) {
        self.state().watches.push(Box::new(watch));
    }

    /// This peer is that node.
    pub fn introduce(&self, peer: PeerId, node: NodeId) {
        self.state().who.0.insert(peer, node);
    }

    /// Which node a peer is.
    pub fn node(&self, peer: PeerId) -> Option<NodeId> {
        self.state().who.node(peer)
    }

    /// Shows something to all who watch.
    pub fn see(&self, node: Option<NodeId>, sight: Sight<'_>) {
        let at = self.timeline.now();
        let state = &mut *self.state();
        let mut reached = Vec::new();
        let mut broken = Vec::new();
        for watch in &mut state.watches {
            let mut findings = Findings::default();
            watch.see(at, node, &state.who, sight, &mut findings);
            broken.extend(findings.violations.into_iter().map(|text| (watch.name(), text)));
            reached.extend(findings.goals);
        }
        state.note(at, node, reached, broken);
    }

    /// The run is over: those who watch say what only the end can tell.
    pub fn end(&self) {
        let at = self.timeline.now();
        let state = &mut *self.state();
        let mut broken = Vec::new();
        for watch in &mut state.watches {
            let mut findings = Findings::default();
            watch.end(at, &mut findings);
            broken.extend(findings.violations.into_iter().map(|text| (watch.name(), text)));
        }
        state.note(at, None, Vec::new(), broken);
    }

    /// A promise is broken, as somebody found who does not watch.
    pub fn violation(&self, oracle: &'static str, text: impl Into<String>) {
        let at = self.timeline.now();
        self.state().note(at, None, Vec::new(), vec![(oracle, text.into())]);
    }

    /// An interesting state is reached, as somebody found who does not watch.
    pub fn goal(&self, goal: &'static str) {
        let at = self.timeline.now();
        self.state().note(at, None, vec![goal], Vec::new());
    }

    /// All violations so far.
    pub fn violations(&self) -> Vec<Violation> {
        self.state().violations.clone()
    }

    /// All goals reached so far, and when first.
    pub fn goals(&self) -> BTreeMap<&'static str, Time> {
        self.state().goals.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(
        &mut self,
        at: Time,
        node: Option<NodeId>,
        reached: Vec<&'static str>,
        broken: Vec<(&'static str, String)>,
    ) {
        for goal in reached {
            if !self.goals.contains_key(goal) {
                self.goals.insert(goal, at);
                self.show(at, node, &What::Reached { goal: goal.to_owned() });
            }
        }
        for (oracle, text) in broken {
            self.show(at, node, &What::Violated { oracle: oracle.to_owned(), text: text.clone() });
            if self.violations.len() < VIOLATIONS_MAX {
                self.violations.push(Violation { at_ns: at.0, oracle: oracle.to_owned(), text });
            }
        }
    }

    /// Tells those who watch what others of them found; what they find in that is not asked for.
    fn show(&mut self, at: Time, node: Option<NodeId>, what: &What) {
        for watch in &mut self.watches {
            watch.see(at, node, &self.who, Sight::Run(what), &mut Findings::default());
        }
    }
}
