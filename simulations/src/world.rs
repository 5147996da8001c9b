//! [`World`]: all nodes of a simulation, and the loop that takes events off the heap.

use crate::{
    actor::{Failure, Run},
    life::{Calendar, Life},
    timeline::{ActorId, Entry, Timeline},
    virtual_host::VirtualHost,
};
use pangea_kernel::{Seed, contain, supervision::Verdict};
use pangea_protocols::time::Time;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

/// Events at one instant before the run is given up as one that will never end; in a large world, this many per actor
/// instead: thousands of nodes may start at once.
pub const EVENTS_PER_INSTANT_MAX: u64 = 1_000_000;
const EVENTS_PER_INSTANT_AND_ACTOR_MAX: u64 = 100;

/// A simulation. Dropping it closes all ports into it.
pub struct World {
    seed: Seed,
    timeline: Timeline,
    crew: Rc<RefCell<Crew>>,
    digest: Option<RefCell<blake3::Hasher>>,
    events: Cell<u64>,
}

/// All nodes and their actors.
#[derive(Default)]
pub(crate) struct Crew {
    /// By [`ActorId`]. Those of lives that are over stay as empty places.
    places: Vec<Place>,
    nodes: BTreeMap<Rc<str>, Known>,
}

/// What outlives a node's crashes.
#[derive(Default)]
struct Known {
    lives: u64,
    calendar: Rc<Cell<Calendar>>,
    /// Of the life that it has.
    actors: Vec<ActorId>,
}

/// Where an actor is, or will be.
pub(crate) struct Place {
    node: Rc<str>,
    name: &'static str,
    life: Life,
    actor: Option<Rc<RefCell<dyn Run>>>,
    /// Messages that came before the actor was started.
    early: usize,
    started: bool,
}

impl Place {
    pub(crate) fn new(node: Rc<str>, name: &'static str, life: Life) -> Self {
        Self { node, name, life, actor: None, early: 0, started: false }
    }
}

impl Crew {
    pub(crate) fn has(&self, node: &str, name: &str) -> bool {
        let actors = self.nodes.get(node).map_or(&[][..], |known| &known.actors);
        actors.iter().any(|id| self.places[*id].name == name)
    }

    pub(crate) fn add(&mut self, place: Place) -> ActorId {
        let id = self.places.len();
        self.nodes.entry(Rc::clone(&place.node)).or_default().actors.push(id);
        self.places.push(place);
        id
    }

    pub(crate) fn hire(&mut self, id: ActorId, actor: Rc<RefCell<dyn Run>>) {
        self.places[id].actor = Some(actor);
    }

    /// The node's life is over.
    pub(crate) fn forget(&mut self, node: &str) {
        let Some(known) = self.nodes.get_mut(node) else { return };
        for id in std::mem::take(&mut known.actors) {
            self.places[id].actor = None;
        }
    }
}

impl World {
    /// An empty world at time zero.
    pub fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self::on(Timeline::default(), Seed::new(bytes))
    }

    /// An empty world whose events go onto `timeline`, which is no other world's.
    pub fn on(timeline: Timeline, seed: Seed) -> Self {
        Self { seed, timeline, crew: Rc::default(), digest: None, events: Cell::new(0) }
    }

    /// Hashes every event, see [`World::digest`].
    pub fn digested(mut self) -> Self {
        self.digest = Some(RefCell::default());
        self
    }

    /// A new life of the node `name`, whose last one must be over. Ask once and wire all actors on it.
    pub fn node(&self, name: &str) -> VirtualHost {
        let mut crew = self.crew.borrow_mut();
        let node: Rc<str> = name.into();
        let known = crew.nodes.entry(Rc::clone(&node)).or_default();
        let mut seed = self.seed.derive("node").derive(name);
        if known.lives > 0 {
            seed = seed.derive("life").derive(&known.lives.to_string());
        }
        known.lives += 1;
        VirtualHost {
            node,
            seed,
            timeline: self.timeline.clone(),
            crew: Rc::clone(&self.crew),
            life: Life::new(self.timeline.clone()),
            calendar: Rc::clone(&known.calendar),
            tell: None,
        }
    }

    /// The calendar of a node is off by this much from now on, and drifts; in all its lives.
    pub fn skew(&self, node: &str, by_s: i64, drift_ppm: i64) {
        let mut crew = self.crew.borrow_mut();
        let known = crew.nodes.entry(node.into()).or_default();
        known.calendar.set(Calendar::skewed(self.now(), by_s, drift_ppm));
    }

    /// The seed for a driver's twin; `label` says which, and no two may share one.
    pub fn driver_seed(&self, label: &str) -> Seed {
        self.seed.derive("driver").derive(label)
    }

    /// The clock and the heap, for drivers.
    pub fn timeline(&self) -> Timeline {
        self.timeline.clone()
    }

    /// Now.
    pub fn now(&self) -> Time {
        self.timeline.now()
    }

    /// Events that have happened.
    pub fn events(&self) -> u64 {
        self.events.get()
    }

    /// Lets everything happen up to and including `until`, which then is the time.
    ///
    /// # Panics
    /// If a core panics whose node does not contain it, or if time stands still for [`EVENTS_PER_INSTANT_MAX`] events.
    pub fn run_until(&self, until: Time) {
        self.drain(until);
        self.timeline.move_to(until);
    }

    /// Lets everything happen until nothing is left to happen; true if that was before `limit`. The time is then that
    /// of the last event; otherwise it is `limit`.
    ///
    /// # Panics
    /// As [`World::run_until`].
    pub fn run_until_idle(&self, limit: Time) -> bool {
        self.drain(limit);
        let idle = self.timeline.is_empty();
        if !idle {
            self.timeline.move_to(limit);
        }
        idle
    }

    /// BLAKE3 over time, node, actor, kind and encoding of every event so far, if [`World::digested`].
    pub fn digest(&self) -> Option<blake3::Hash> {
        self.digest.as_ref().map(|digest| digest.borrow().finalize())
    }

    fn drain(&self, until: Time) {
        let (mut instant, mut events) = (self.now(), 0);
        while let Some((now, entry)) = self.timeline.pop(until) {
            events = if now == instant { events + 1 } else { 1 };
            instant = now;
            self.events.set(self.events.get() + 1);
            let whose = entry.whose();
            if let Err(reason) = contain(|| self.happen(now, entry)) {
                self.on_panic(now, whose, reason);
            }
            assert!(
                events < EVENTS_PER_INSTANT_MAX || events < self.most_at_once(),
                "time stands still at {now}, lastly in {}",
                self.subject(whose)
            );
        }
    }

    fn most_at_once(&self) -> u64 {
        EVENTS_PER_INSTANT_AND_ACTOR_MAX * self.crew.borrow().places.len() as u64
    }

    fn happen(&self, now: Time, entry: Entry) {
        let mut digest = self.digest.as_ref().map(RefCell::borrow_mut);
        let digest = digest.as_deref_mut();
        match entry {
            Entry::Call(work) => {
                // A driver's business may be to end a run's step that takes a digest of its own.
                work();
            }
            Entry::Start(id) => self.start(id, now),
            Entry::Message(id) => {
                if let Some(actor) = self.receiver(id, Entry::Message(id)) {
                    actor.borrow_mut().message(now, digest);
                }
            }
            Entry::Timer(id, timer) => {
                if let Some(actor) = self.receiver(id, Entry::Timer(id, timer)) {
                    actor.borrow_mut().timer(now, timer, digest);
                }
            }
        }
    }

    fn start(&self, id: ActorId, now: Time) {
        let (actor, early) = {
            let place = &mut self.crew.borrow_mut().places[id];
            if place.life.is_paused() {
                return place.life.hold(Entry::Start(id));
            }
            place.started = true;
            (place.actor.clone(), std::mem::take(&mut place.early))
        };
        if let Some(actor) = actor {
            actor.borrow_mut().start(now);
        }
        for _ in 0..early {
            self.timeline.insert(now, Entry::Message(id));
        }
    }

    /// The actor, if it has been started; a message that is too early is delivered after the start.
    fn receiver(&self, id: ActorId, entry: Entry) -> Option<Rc<RefCell<dyn Run>>> {
        let place = &mut self.crew.borrow_mut().places[id];
        if place.life.is_paused() {
            place.life.hold(entry);
            return None;
        }
        if !place.started {
            place.early += usize::from(matches!(entry, Entry::Message(_)));
            return None;
        }
        place.actor.clone()
    }

    /// As in production the core is built again after a pause, unless it failed too often.
    fn on_panic(&self, now: Time, whose: Option<ActorId>, reason: String) {
        let subject = || self.subject(whose);
        let actor = whose.and_then(|id| Some((id, self.crew.borrow().places[id].actor.clone()?)));
        let Some((id, actor)) = actor else { panic!("{} panicked at {now}: {reason}", subject()) };
        let buried = actor.borrow_mut().bury(now);
        let Some((verdict, tell)) = buried else { panic!("{} panicked at {now}: {reason}", subject()) };
        let name = self.crew.borrow().places[id].name;
        let again = match verdict {
            Verdict::Restart(pause) => {
                self.crew.borrow_mut().places[id].started = false;
                self.timeline.insert(now + pause, Entry::Start(id));
                Some(pause)
            }
            Verdict::Escalate => {
                let node = Rc::clone(&self.crew.borrow().places[id].node);
                self.crew.borrow_mut().forget(&node);
                None
            }
        };
        tell(Failure { actor: name, reason, again });
    }

    fn subject(&self, whose: Option<ActorId>) -> String {
        whose.map_or_else(
            || "a driver".to_owned(),
            |id| {
                let place = &self.crew.borrow().places[id];
                format!("{}/{}", place.node, place.name)
            },
        )
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.timeline.close();
    }
}
