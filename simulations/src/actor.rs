//! A core on the virtual clock: what the shell is in production. See [`crate::virtual_host`].

use crate::{
    life::{Calendar, Life},
    timeline::{ActorId, Entry, Key, Timeline},
};
use pangea_kernel::{
    Core, Effect, Rejected, Seed, TimerId,
    core::{Cx, CxState},
    draw::Draws,
    supervision::{Intensity, Verdict},
};
use pangea_protocols::{
    codec::{self, Limit},
    time::{Time, UnixTime},
};
use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Room of an empty mailbox that is kept; what a burst needed beyond it is given back.
const INBOX_KEPT: usize = 4;
/// The same of the list of an event's effects.
const EFFECTS_KEPT: usize = 8;

/// A core has panicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which actor.
    pub actor: &'static str,
    /// The panic's message.
    pub reason: String,
    /// When it is built again; `None` if it failed too often: the node has ended.
    pub again: Option<Duration>,
}

/// Hears of panics.
pub(crate) type Tell = Rc<dyn Fn(Failure)>;

/// An actor of any type, as the world sees it.
pub(crate) trait Run {
    fn start(&mut self, now: Time);
    fn message(&mut self, now: Time, digest: Option<&mut blake3::Hasher>);
    fn timer(&mut self, now: Time, timer: TimerId, digest: Option<&mut blake3::Hasher>);
    /// Its core has panicked: what it knew is gone, its mailbox stays. `None` if nobody shall survive a panic here.
    fn bury(&mut self, now: Time) -> Option<(Verdict, Tell)>;
}

/// A bounded queue of messages.
pub(crate) struct Inbox<E>(Arc<Mutex<VecDeque<E>>>);

impl<E> Inbox<E> {
    pub(crate) fn push(&self, event: E, places: usize) -> Result<(), Rejected<E>> {
        let mut queue = self.queue();
        if queue.len() >= places {
            return Err(Rejected::Full(event));
        }
        queue.push_back(event);
        Ok(())
    }

    fn pop(&self) -> Option<E> {
        let mut queue = self.queue();
        let event = queue.pop_front();
        if queue.is_empty() && queue.capacity() > INBOX_KEPT {
            queue.shrink_to(INBOX_KEPT);
        }
        event
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

/// What an actor is made of.
pub(crate) struct Parts<C: Core> {
    pub(crate) id: ActorId,
    pub(crate) node: Rc<str>,
    pub(crate) name: &'static str,
    /// The node's, in this life.
    pub(crate) seed: Seed,
    pub(crate) timeline: Timeline,
    pub(crate) life: Life,
    pub(crate) calendar: Rc<Cell<Calendar>>,
    pub(crate) build: Box<dyn FnMut() -> C + Send>,
    pub(crate) outlet: Box<dyn FnMut(C::Out) + Send>,
    pub(crate) inbox: Inbox<C::In>,
    pub(crate) intensity: Intensity,
    pub(crate) tell: Option<Tell>,
}

/// An actor of one node.
pub(crate) struct VirtualActor<C: Core> {
    parts: Parts<C>,
    /// Cores built so far.
    built: u64,
    /// None before the start, and between a panic and the restart.
    core: Option<(C, CxState<C>)>,
    /// Boxed: few are set at a time, and messages are large.
    timers: BTreeMap<TimerId, (Key, Box<C::In>)>,
}

impl<C: Core> VirtualActor<C> {
    pub(crate) fn new(parts: Parts<C>) -> Self {
        Self { parts, built: 0, core: None, timers: BTreeMap::new() }
    }

    fn step(&mut self, now: Time, work: impl FnOnce(&mut C, &mut Cx<'_, C>)) {
        let unix: UnixTime = self.parts.calendar.get().unix(now);
        let Some((core, state)) = &mut self.core else { return };
        work(core, &mut state.cx(now, unix));
        let mut effects = state.take_effects();
        for effect in effects.drain(..) {
            match effect {
                Effect::Emit(out) => (self.parts.outlet)(out),
                Effect::After { timer, at, event } => {
                    let key = self.parts.timeline.insert(at, Entry::Timer(self.parts.id, timer));
                    self.timers.insert(timer, (key, Box::new(event)));
                }
                Effect::Cancel(timer) => {
                    if let Some((key, _)) = self.timers.remove(&timer) {
                        self.parts.timeline.remove(key);
                    }
                }
            }
        }
        if let Some((_, state)) = &mut self.core {
            effects.shrink_to(EFFECTS_KEPT);
            state.recycle(effects);
        }
    }

    fn deliver(&mut self, now: Time, kind: u8, event: C::In, digest: Option<&mut blake3::Hasher>) {
        if let Some(digest) = digest {
            // What cannot be encoded, or is too large, still shows: by how it prints.
            let bytes = codec::encode(&event, Limit::Local).unwrap_or_else(|_| format!("{event:?}").into_bytes());
            digest.update(&now.0.to_le_bytes()).update(&[kind]);
            for part in [self.parts.node.as_bytes(), b"/", self.parts.name.as_bytes(), &bytes] {
                digest.update(&(part.len() as u64).to_le_bytes()).update(part);
            }
        }
        self.step(now, |core, cx| core.on(cx, event));
    }
}

impl<C: Core> Run for VirtualActor<C> {
    fn start(&mut self, now: Time) {
        let draws = Draws::new(self.parts.seed.actor(self.parts.name, self.built));
        self.built += 1;
        self.core = Some(((self.parts.build)(), CxState::new(draws)));
        self.step(now, C::start);
    }

    fn message(&mut self, now: Time, digest: Option<&mut blake3::Hasher>) {
        if let Some(event) = self.parts.inbox.pop() {
            self.deliver(now, b'm', event, digest);
        }
    }

    fn timer(&mut self, now: Time, timer: TimerId, digest: Option<&mut blake3::Hasher>) {
        if let Some((_, event)) = self.timers.remove(&timer) {
            self.deliver(now, b't', *event, digest);
        }
    }

    fn bury(&mut self, now: Time) -> Option<(Verdict, Tell)> {
        let tell = self.parts.tell.clone()?;
        self.core = None;
        for (key, _) in std::mem::take(&mut self.timers).into_values() {
            self.parts.timeline.remove(key);
        }
        let verdict = self.parts.intensity.failed(now);
        if verdict == Verdict::Escalate {
            self.parts.life.end();
        }
        Some((verdict, tell))
    }
}
