//! [`World`]: all nodes of a simulation, and the loop that takes events off the heap.

use crate::{
    timeline::{ActorId, Entry, Timeline},
    virtual_host::{Run, VirtualHost},
};
use pangea_kernel::{Seed, contain};
use pangea_protocols::time::Time;
use std::{cell::RefCell, rc::Rc};

/// Events at one instant before the run is given up as one that will never end.
pub const EVENTS_PER_INSTANT_MAX: u64 = 1_000_000;

/// A simulation. Dropping it closes all ports into it.
pub struct World {
    seed: Seed,
    timeline: Timeline,
    actors: Actors,
    digest: Option<RefCell<blake3::Hasher>>,
}

/// The actors of all nodes, by [`ActorId`].
pub(crate) type Actors = Rc<RefCell<Vec<Place>>>;

/// Where an actor is, or will be.
pub(crate) struct Place {
    pub(crate) node: String,
    pub(crate) name: &'static str,
    pub(crate) actor: Option<Rc<RefCell<dyn Run>>>,
    /// Messages that came before the actor was started.
    early: usize,
    started: bool,
}

impl Place {
    pub(crate) fn new(node: String, name: &'static str) -> Self {
        Self { node, name, actor: None, early: 0, started: false }
    }
}

impl World {
    /// An empty world at time zero.
    pub fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self { seed: Seed::new(bytes), timeline: Timeline::default(), actors: Actors::default(), digest: None }
    }

    /// Hashes every event, see [`World::digest`].
    pub fn digested(mut self) -> Self {
        self.digest = Some(RefCell::default());
        self
    }

    /// The host of the node `name`. Ask once per node and wire all its actors on it.
    pub fn node(&self, name: &str) -> VirtualHost {
        let seed = self.seed.derive("node").derive(name);
        VirtualHost::new(name.to_owned(), seed, self.timeline.clone(), Rc::clone(&self.actors))
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

    /// Lets everything happen up to and including `until`, which then is the time.
    ///
    /// # Panics
    /// If a core panics, or if time stands still for [`EVENTS_PER_INSTANT_MAX`] events.
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
            let whose = entry.whose();
            if let Err(reason) = contain(|| self.happen(now, entry)) {
                panic!("{} panicked at {now}: {reason}", self.subject(whose));
            }
            assert!(events < EVENTS_PER_INSTANT_MAX, "time stands still at {now}, lastly in {}", self.subject(whose));
        }
    }

    fn happen(&self, now: Time, entry: Entry) {
        let mut digest = self.digest.as_ref().map(RefCell::borrow_mut);
        let digest = digest.as_deref_mut();
        match entry {
            Entry::Call(work) => work(),
            Entry::Start(id) => self.start(id, now),
            Entry::Message(id) => {
                if let Some(actor) = self.receiver(id) {
                    actor.borrow_mut().message(now, digest);
                }
            }
            Entry::Timer(id, timer) => {
                if let Some(actor) = self.receiver(id) {
                    actor.borrow_mut().timer(now, timer, digest);
                }
            }
        }
    }

    fn start(&self, id: ActorId, now: Time) {
        let (actor, early) = {
            let place = &mut self.actors.borrow_mut()[id];
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
    fn receiver(&self, id: ActorId) -> Option<Rc<RefCell<dyn Run>>> {
        let place = &mut self.actors.borrow_mut()[id];
        if !place.started {
            place.early += 1;
            return None;
        }
        place.actor.clone()
    }

    fn subject(&self, whose: Option<ActorId>) -> String {
        whose.map_or_else(
            || "a driver".to_owned(),
            |id| {
                let place = &self.actors.borrow()[id];
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
