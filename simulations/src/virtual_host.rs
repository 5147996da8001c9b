//! [`VirtualHost`]: one node's place in a [`crate::World`], where cores run without actix.
//!
//! What an actor can see is as in production: a bounded mailbox that hands back, effects carried out in order after
//! the event, messages in order of sending, the same seeds, and after a panic a fresh core behind the same mailbox. See
//! the crate's header for what is left out.

use crate::{
    actor::{Failure, Inbox, Parts, Tell, VirtualActor},
    life::{Calendar, Life},
    timeline::{ActorId, Entry, Timeline},
    world::{Crew, Place},
};
use pangea_kernel::{Core, Host, Options, Port, Rejected, Seed, Slot, supervision::Intensity};
use std::{cell::Cell, cell::RefCell, rc::Rc};

/// Runs the actors of one node, in one life of it.
pub struct VirtualHost {
    pub(crate) node: Rc<str>,
    pub(crate) seed: Seed,
    pub(crate) timeline: Timeline,
    pub(crate) crew: Rc<RefCell<Crew>>,
    pub(crate) life: Life,
    pub(crate) calendar: Rc<Cell<Calendar>>,
    pub(crate) tell: Option<Tell>,
}

impl VirtualHost {
    /// The node's seed: a production host that is given it draws the same.
    pub fn seed(&self) -> Seed {
        self.seed.clone()
    }

    /// As in production, a panic costs the core that panicked what it knew, and the node its life if that happens too
    /// often; `tell` hears of each. Otherwise a panic ends the run.
    pub fn contained(mut self, tell: impl Fn(Failure) + 'static) -> Self {
        self.tell = Some(Rc::new(tell));
        self
    }

    /// The life of the node's process.
    pub fn life(&self) -> &Life {
        &self.life
    }

    /// Ends the process without a word: actors, mailboxes and timers are gone, ports into it are closed.
    pub fn crash(&self) {
        self.life.end();
        self.crew.borrow_mut().forget(&self.node);
    }

    /// Stands still, or goes on: what would have happened meanwhile happens then, in order.
    pub fn pause(&self, paused: bool) {
        self.life.pause(paused);
    }

    /// The calendar is off by this much from now on, and drifts; also in later lives.
    pub fn skew(&self, by_s: i64, drift_ppm: i64) {
        self.calendar.set(Calendar::skewed(self.timeline.now(), by_s, drift_ppm));
    }
}

/// A mailbox without its actor.
pub struct VirtualSlot<C: Core> {
    id: ActorId,
    name: &'static str,
    inbox: Inbox<C::In>,
    timeline: Timeline,
    life: Life,
    options: Options,
}

impl<C: Core> Slot<C> for VirtualSlot<C> {
    fn port(&self) -> Port<C::In> {
        self.port_up_to(self.options.mailbox)
    }

    fn port_up_to(&self, waiting: usize) -> Port<C::In> {
        let (id, queue, timeline, life) = (self.id, self.inbox.clone(), self.timeline.clone(), self.life.clone());
        let places = waiting.min(self.options.mailbox);
        Port::new(move |event| {
            if life.is_over() || timeline.is_closed() {
                return Err(Rejected::Closed(event));
            }
            queue.push(event, places)?;
            timeline.insert(timeline.now(), Entry::Message(id));
            Ok(())
        })
    }
}

impl Host for VirtualHost {
    type Slot<C: Core> = VirtualSlot<C>;

    /// # Panics
    /// If the node has an actor of this name.
    fn slot<C: Core>(&self, name: &'static str, options: Options) -> VirtualSlot<C> {
        let mut crew = self.crew.borrow_mut();
        assert!(!crew.has(&self.node, name), "the wiring of {} has two actors named {name}", self.node);
        let id = crew.add(Place::new(Rc::clone(&self.node), name, self.life.clone()));
        let (timeline, life) = (self.timeline.clone(), self.life.clone());
        VirtualSlot { id, name, inbox: Inbox::default(), timeline, life, options }
    }

    fn start<C: Core>(
        &self,
        slot: VirtualSlot<C>,
        build: impl FnMut() -> C + Send + 'static,
        outlet: impl FnMut(C::Out) + Send + 'static,
    ) {
        let VirtualSlot { id, name, inbox, timeline, life, options } = slot;
        let actor = VirtualActor::new(Parts {
            id,
            node: Rc::clone(&self.node),
            name,
            seed: self.seed.clone(),
            timeline,
            life,
            calendar: Rc::clone(&self.calendar),
            build: Box::new(build),
            outlet: Box::new(outlet),
            inbox,
            intensity: Intensity::new(options.restarts_max, options.restart_window),
            tell: self.tell.clone(),
        });
        self.crew.borrow_mut().hire(id, Rc::new(RefCell::new(actor)));
        self.timeline.insert(self.timeline.now(), Entry::Start(id));
    }
}
