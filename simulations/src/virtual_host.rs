//! [`VirtualHost`]: one node's place in a [`crate::World`], where cores run without actix.
//!
//! What an actor can see is as in production: a bounded mailbox that hands back, effects carried out in order after
//! the event, messages in order of sending, the same seeds. See the crate's header for what is left out.

use crate::{
    timeline::{ActorId, Entry, Key, Timeline},
    world::{Actors, Place},
};
use pangea_kernel::{
    Core, Effect, Host, Options, Port, Rejected, Seed, Slot, TimerId,
    core::{Cx, CxState},
    draw::Draws,
};
use pangea_protocols::{
    codec::{self, Limit},
    time::Time,
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Runs the actors of one node.
pub struct VirtualHost {
    node: String,
    seed: Seed,
    timeline: Timeline,
    actors: Actors,
}

impl VirtualHost {
    pub(crate) fn new(node: String, seed: Seed, timeline: Timeline, actors: Actors) -> Self {
        Self { node, seed, timeline, actors }
    }

    /// The node's seed: a production host that is given it draws the same.
    pub fn seed(&self) -> Seed {
        self.seed.clone()
    }
}

/// A mailbox without its actor.
pub struct VirtualSlot<C: Core> {
    id: ActorId,
    name: &'static str,
    inbox: Inbox<C::In>,
    timeline: Timeline,
    mailbox: usize,
}

impl<C: Core> Slot<C> for VirtualSlot<C> {
    fn port(&self) -> Port<C::In> {
        self.port_up_to(self.mailbox)
    }

    fn port_up_to(&self, waiting: usize) -> Port<C::In> {
        let (id, queue, timeline) = (self.id, self.inbox.clone(), self.timeline.clone());
        let places = waiting.min(self.mailbox);
        Port::new(move |event| {
            if timeline.is_closed() {
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
        let mut actors = self.actors.borrow_mut();
        let taken = actors.iter().any(|place| place.node == self.node && place.name == name);
        assert!(!taken, "the wiring of {} has two actors named {name}", self.node);
        let id = actors.len();
        actors.push(Place::new(self.node.clone(), name));
        let (timeline, mailbox) = (self.timeline.clone(), options.mailbox);
        VirtualSlot { id, name, inbox: Inbox::default(), timeline, mailbox }
    }

    fn start<C: Core>(
        &self,
        slot: VirtualSlot<C>,
        build: impl FnMut() -> C + Send + 'static,
        outlet: impl FnMut(C::Out) + Send + 'static,
    ) {
        let VirtualSlot { id, name, inbox, timeline, mailbox: _ } = slot;
        let actor = VirtualActor {
            id,
            path: format!("{}/{name}", self.node),
            timeline,
            build: Box::new(build),
            outlet: Box::new(outlet),
            core: None,
            state: CxState::new(Draws::new(self.seed.actor(name, 0))),
            timers: BTreeMap::new(),
            inbox,
        };
        self.actors.borrow_mut()[id].actor = Some(Rc::new(RefCell::new(actor)));
        self.timeline.insert(self.timeline.now(), Entry::Start(id));
    }
}

/// A bounded queue of messages.
struct Inbox<E>(Arc<Mutex<VecDeque<E>>>);

impl<E> Inbox<E> {
    fn push(&self, event: E, places: usize) -> Result<(), Rejected<E>> {
        let mut queue = self.queue();
        if queue.len() >= places {
            return Err(Rejected::Full(event));
        }
        queue.push_back(event);
        Ok(())
    }

    fn pop(&self) -> Option<E> {
        self.queue().pop_front()
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<E>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E> Default for Inbox<E> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<E> Clone for Inbox<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// An actor of any type, as the world sees it.
pub(crate) trait Run {
    fn start(&mut self, now: Time);
    fn message(&mut self, now: Time, digest: Option<&mut blake3::Hasher>);
    fn timer(&mut self, now: Time, timer: TimerId, digest: Option<&mut blake3::Hasher>);
}

struct VirtualActor<C: Core> {
    id: ActorId,
    /// Node and name, for the digest.
    path: String,
    timeline: Timeline,
    build: Box<dyn FnMut() -> C + Send>,
    outlet: Box<dyn FnMut(C::Out) + Send>,
    /// None before the start.
    core: Option<C>,
    state: CxState<C>,
    timers: BTreeMap<TimerId, (Key, C::In)>,
    inbox: Inbox<C::In>,
}

impl<C: Core> VirtualActor<C> {
    fn step(&mut self, now: Time, work: impl FnOnce(&mut C, &mut Cx<'_, C>)) {
        let Some(core) = &mut self.core else { return };
        work(core, &mut self.state.cx(now, Timeline::unix(now)));
        let mut effects = self.state.take_effects();
        for effect in effects.drain(..) {
            match effect {
                Effect::Emit(out) => (self.outlet)(out),
                Effect::After { timer, at, event } => {
                    let key = self.timeline.insert(at, Entry::Timer(self.id, timer));
                    self.timers.insert(timer, (key, event));
                }
                Effect::Cancel(timer) => {
                    if let Some((key, _)) = self.timers.remove(&timer) {
                        self.timeline.remove(key);
                    }
                }
            }
        }
        self.state.recycle(effects);
    }

    fn deliver(&mut self, now: Time, kind: u8, event: C::In, digest: Option<&mut blake3::Hasher>) {
        if let Some(digest) = digest {
            // What cannot be encoded, or is too large, still shows: by how it prints.
            let bytes = codec::encode(&event, Limit::Local).unwrap_or_else(|_| format!("{event:?}").into_bytes());
            digest.update(&now.0.to_le_bytes()).update(&[kind]);
            for part in [self.path.as_bytes(), &bytes] {
                digest.update(&(part.len() as u64).to_le_bytes()).update(part);
            }
        }
        self.step(now, |core, cx| core.on(cx, event));
    }
}

impl<C: Core> Run for VirtualActor<C> {
    fn start(&mut self, now: Time) {
        self.core = Some((self.build)());
        self.step(now, C::start);
    }

    fn message(&mut self, now: Time, digest: Option<&mut blake3::Hasher>) {
        if let Some(event) = self.inbox.pop() {
            self.deliver(now, b'm', event, digest);
        }
    }

    fn timer(&mut self, now: Time, timer: TimerId, digest: Option<&mut blake3::Hasher>) {
        if let Some((_, event)) = self.timers.remove(&timer) {
            self.deliver(now, b't', event, digest);
        }
    }
}
