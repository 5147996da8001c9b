//! [`Network`]: carries a case out: takes what is next off the queue, lets it happen to its node, carries out what the
//! node's actor wants, and asks the oracles. Faults are in
//! `faults.rs`, what actors want in `wishes.rs`.

use super::{
    Case, Lab, Member, Note, Outcome, View,
    case::CaseError,
    oracle::Judge,
    outcome::Broken,
    place::Place,
    queue::{Entry, Queue, Step},
    quiet::contain_quietly,
    trail::{Trail, label},
};
use crate::{
    links::Links,
    plan,
    record::{NodeId, What},
};
use pangea_kernel::{Cx, Draw, Effect, Seed};
use pangea_protocols::time::Time;
use std::collections::BTreeMap;

/// Events at one instant before the run is given up as one that will never end.
const EVENTS_PER_INSTANT_MAX: u64 = 1_000_000;
/// Events of a run before it is given up as a flood.
const EVENTS_MAX: u64 = 100_000_000;

/// All nodes of a run, and what is going on between them.
pub(super) struct Network<'a, C: Member> {
    pub(super) case: &'a Case,
    asks: Vec<C::In>,
    pub(super) now: Time,
    pub(super) queue: Queue<C>,
    pub(super) links: Links,
    pub(super) places: Vec<Place<C>>,
    pub(super) index: BTreeMap<NodeId, usize>,
    pub(super) trail: Trail,
    pub(super) notes: Vec<Note<C::Out>>,
    judge: Judge<'a, C>,
    /// Draws what crashes do to disks.
    pub(super) fates: Draw,
    /// Faults that act now, and nodes that each has ended.
    pub(super) acting: BTreeMap<usize, Vec<usize>>,
    broken: Option<Broken>,
}

impl<'a, C: Member> Network<'a, C> {
    /// A network at time zero, in which nothing has happened.
    ///
    /// # Errors
    /// The case tells a node something that it cannot read.
    pub(super) fn new(lab: &'a Lab<C>, case: &'a Case, records: bool) -> Result<Self, CaseError> {
        let seed = root(case.seed).derive("run");
        let nodes: Vec<NodeId> = case.nodes.iter().map(|node| node.id).collect();
        let place = |node: &super::case::Node| {
            let peers = nodes.iter().copied().filter(|peer| *peer != node.id).collect();
            Place::new(node.id, node.region.clone(), peers, seed.derive("node").derive(&node.id.to_string()))
        };
        let mut network = Self {
            case,
            asks: case.events()?,
            now: Time(0),
            queue: Queue::new(),
            links: Links::new(&case.to_plan(), seed.derive("links")),
            places: case.nodes.iter().map(place).collect(),
            index: nodes.iter().enumerate().map(|(at, id)| (*id, at)).collect(),
            trail: Trail::new(records),
            notes: Vec::new(),
            judge: Judge::new(lab),
            fates: seed.derive("fates").draw(),
            acting: BTreeMap::new(),
            broken: None,
        };
        for (at_ms, step) in case.steps() {
            network.queue.add(plan::at(at_ms), Entry::Step(step));
        }
        Ok(network)
    }

    /// Lets everything happen, up to the end or to the first broken promise.
    pub(super) fn run(mut self) -> Outcome {
        let end = plan::at(self.case.end_ms);
        let (mut instant, mut events) = (Time(0), 0);
        while self.broken.is_none() {
            let Some((now, entry)) = self.queue.pop(end) else { break };
            (instant, events) = if now == instant { (instant, events + 1) } else { (now, 1) };
            self.now = now;
            self.happen(entry);
            if events >= EVENTS_PER_INSTANT_MAX {
                self.break_promise("standstill", format!("{events} events at one instant: it will never end"));
            }
            if self.trail.events() >= EVENTS_MAX {
                self.break_promise("flood", format!("{EVENTS_MAX} events: more than any run should need"));
            }
        }
        if self.broken.is_none() {
            self.now = end;
            if let Some(broken) = self.judge.at_end(&view(self.now, None, &self.places, &self.notes, 0)) {
                self.found(broken);
            }
        }
        self.finish()
    }

    fn finish(self) -> Outcome {
        let (lab, seed, nodes) = (self.case.lab.clone(), self.case.seed, self.places.len());
        let (events, goals) = (self.trail.events(), self.judge.goals());
        let (digest, records) = self.trail.finish();
        Outcome {
            lab,
            seed,
            nodes,
            digest,
            events,
            virtual_ms: self.now.0 / 1_000_000,
            broken: self.broken,
            goals,
            records,
        }
    }

    fn happen(&mut self, entry: Entry<C>) {
        match entry {
            Entry::Step(step) => self.on_step(step),
            Entry::Hear { at, .. } | Entry::Timer { at, .. } | Entry::Own { at, .. } | Entry::Synced { at, .. }
                if self.places[at].paused.is_some() =>
            {
                if let Some(waiting) = &mut self.places[at].paused {
                    waiting.push(entry);
                }
            }
            Entry::Hear { at, life, sender, frame, event } => {
                if self.places[at].core.is_none() || life.is_some_and(|life| life != self.places[at].life) {
                    if life.is_some() {
                        self.break_connection(sender, self.places[at].id);
                    }
                    return;
                }
                let bytes = C::bytes(&event);
                let what = || What::Arrived { peer: sender.id, frame, label: label(&event), bytes };
                self.trail.record(self.now, Some(self.places[at].id), what);
                self.deliver(at, b'm', event);
            }
            Entry::Timer { at, life, timer, event } => {
                if self.lives(at, life) && !self.places[at].cancelled.remove(&timer) {
                    self.deliver(at, b't', event);
                }
            }
            Entry::Own { at, life, event } => {
                if self.lives(at, life) {
                    self.deliver(at, b'o', event);
                }
            }
            Entry::Synced { at, life, save, then } => {
                if self.lives(at, life) {
                    self.places[at].disk.synced(save);
                    if let Some(event) = then {
                        self.deliver(at, b's', event);
                    }
                }
            }
        }
    }

    fn lives(&self, at: usize, life: u32) -> bool {
        self.places[at].core.is_some() && self.places[at].life == life
    }

    fn on_step(&mut self, step: Step) {
        match step {
            Step::Start(at) => self.start(at),
            Step::Begin(fault) => self.begin(fault),
            Step::End(fault) => self.end(fault),
            Step::Calm => self.calm(),
            Step::Ask(number) => self.ask(number),
        }
    }

    fn ask(&mut self, number: usize) {
        let (ask, event) = (&self.case.asks[number], self.asks[number].clone());
        let Some(at) = self.index.get(&ask.node).copied() else { return };
        self.trail.record(self.now, Some(ask.node), || What::Asked { operation: ask.id, text: label(&event) });
        let entry = Entry::Own { at, life: self.places[at].life, event };
        self.happen(entry);
    }

    /// Starts the process of a node, for the first time or again.
    pub(super) fn start(&mut self, at: usize) {
        let id = self.places[at].id;
        self.trail.event(self.now, id, b'+', &self.places[at].life);
        let region = self.places[at].region.clone();
        self.trail.record(self.now, Some(id), || What::Started { region });
        match contain_quietly(|| self.places[at].make()) {
            Ok(core) => self.places[at].core = Some(core),
            Err(reason) => return self.panicked(id, &reason),
        }
        self.step(at, |core, cx| core.start(cx));
    }

    fn deliver(&mut self, at: usize, kind: u8, event: C::In) {
        self.trail.event(self.now, self.places[at].id, kind, &event);
        self.step(at, |core, cx| core.on(cx, event));
    }

    /// Lets an actor do something, carries out what it wants, and asks the oracles.
    fn step(&mut self, at: usize, work: impl FnOnce(&mut C, &mut Cx<'_, C>)) {
        let place = &mut self.places[at];
        let (now, unix, id) = (self.now, place.unix(self.now), place.id);
        let Some(core) = &mut place.core else { return };
        if let Err(reason) = contain_quietly(|| work(core, &mut place.state.cx(now, unix))) {
            return self.panicked(id, &reason);
        }
        let noted = self.notes.len();
        let mut effects = place.state.take_effects();
        for effect in effects.drain(..) {
            let life = self.places[at].life;
            match effect {
                Effect::Emit(out) => self.carry_out(at, C::route(id, out)),
                Effect::After { timer, at: due, event } => {
                    self.queue.add(due.max(now), Entry::Timer { at, life, timer, event });
                }
                Effect::Cancel(timer) => {
                    self.places[at].cancelled.insert(timer);
                }
            }
        }
        self.places[at].state.recycle(effects);
        self.look(Some(id), noted);
    }

    /// Asks the oracles.
    pub(super) fn look(&mut self, node: Option<NodeId>, noted: usize) {
        let view = view(self.now, node, &self.places, &self.notes, noted);
        for goal in self.judge.reached(&view) {
            self.trail.record(self.now, node, || What::Reached { goal });
        }
        if let Some(broken) = self.judge.broken(&view) {
            self.found(broken);
        }
    }

    /// The same when nothing has been noted.
    pub(super) fn look_at_network(&mut self) {
        self.look(None, self.notes.len());
    }

    /// What waited for a node that stood still happens now.
    pub(super) fn catch_up(&mut self, waiting: Vec<Entry<C>>) {
        for entry in waiting {
            self.queue.add(self.now, entry);
        }
    }

    fn panicked(&mut self, node: NodeId, reason: &str) {
        self.break_promise("panic", format!("node {node} panicked: {reason}"));
    }

    fn break_promise(&mut self, oracle: &str, text: String) {
        self.found(Broken { at_ns: self.now.0, oracle: oracle.to_owned(), text });
    }

    fn found(&mut self, broken: Broken) {
        let what = || What::Violated { oracle: broken.oracle.clone(), text: broken.text.clone() };
        self.trail.record(self.now, None, what);
        self.broken.get_or_insert(broken);
    }
}

fn view<'a, C: Member>(
    now: Time,
    node: Option<NodeId>,
    places: &'a [Place<C>],
    notes: &'a [Note<C::Out>],
    seen: usize,
) -> View<'a, C> {
    View { now, node, places, notes, seen }
}

/// The root of all chance of a run.
pub(super) fn root(seed: u64) -> Seed {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    Seed::new(bytes)
}
