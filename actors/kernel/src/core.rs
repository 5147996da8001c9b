//! [`Core`] is an actor without its surroundings, [`Cx`] is all it may use of them.
//!
//! A core does no I/O, reads no clock, draws no randomness of its own, spawns nothing and blocks on nothing. What it
//! wants done leaves as effects; effects are data, so a test compares lists.

use crate::{
    draw::{Draw, Draws},
    planted,
};
use pangea_protocols::time::{Time, UnixTime};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, time::Duration};

/// What a core can receive: recordable, so that a crash can be replayed.
pub trait Event: Clone + fmt::Debug + Send + Serialize + DeserializeOwned + 'static {}
impl<T: Clone + fmt::Debug + Send + Serialize + DeserializeOwned + 'static> Event for T {}

/// A synchronous state machine.
pub trait Core: Sized + 'static {
    /// Everything it can receive, timers included.
    type In: Event;
    /// Everything it can ask of others.
    type Out: fmt::Debug + Send + 'static;

    /// Handles one event. Effects are carried out after it returns, in their order.
    fn on(&mut self, cx: &mut Cx<'_, Self>, event: Self::In);

    /// Called once before the first event, also after a restart.
    fn start(&mut self, _cx: &mut Cx<'_, Self>) {}
}

/// Names a timer of one core. Never reused while the core lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
pub struct TimerId(pub u64);

/// What a core wants done.
pub enum Effect<C: Core> {
    /// Hand this to whoever the wiring says.
    Emit(C::Out),
    /// Deliver `event` to this core at `at`.
    After { timer: TimerId, at: Time, event: C::In },
    /// Never mind.
    Cancel(TimerId),
}

impl<C: Core> fmt::Debug for Effect<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Emit(out) => write!(f, "Emit({out:?})"),
            Self::After { timer, at, event } => write!(f, "After({timer:?}, {at}, {event:?})"),
            Self::Cancel(timer) => write!(f, "Cancel({timer:?})"),
        }
    }
}

/// State that a [`Cx`] borrows for one event; whoever runs a core owns one.
pub struct CxState<C: Core> {
    draws: Draws,
    next_timer: u64,
    effects: Vec<Effect<C>>,
}

impl<C: Core> CxState<C> {
    /// For one core whose randomness comes from `draws`.
    pub fn new(draws: Draws) -> Self {
        Self { draws, next_timer: 0, effects: Vec::new() }
    }

    /// The door for one event at `now`.
    pub fn cx(&mut self, now: Time, unix: UnixTime) -> Cx<'_, C> {
        Cx { now, unix, state: self }
    }

    /// Takes the effects of the last event, in order. Give the emptied vector back to [`CxState::recycle`].
    pub fn take_effects(&mut self) -> Vec<Effect<C>> {
        if planted!("effects-last-first") {
            self.effects.reverse();
        }
        std::mem::take(&mut self.effects)
    }

    /// Keeps the allocation of a drained effect list for the next event.
    pub fn recycle(&mut self, mut effects: Vec<Effect<C>>) {
        effects.clear();
        self.effects = effects;
    }
}

/// A core's only door to the world while it handles one event.
pub struct Cx<'a, C: Core> {
    now: Time,
    unix: UnixTime,
    state: &'a mut CxState<C>,
}

impl<C: Core> Cx<'_, C> {
    /// Monotonic time, the same during one event.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Calendar time, the same during one event.
    pub fn unix(&self) -> UnixTime {
        self.unix
    }

    /// The stream of randomness for `purpose`. Streams of different purposes do not disturb each other.
    pub fn rng(&mut self, purpose: &'static str) -> &mut Draw {
        self.state.draws.stream(purpose)
    }

    /// Hands `out` to whoever the wiring says.
    pub fn emit(&mut self, out: C::Out) {
        self.state.effects.push(Effect::Emit(out));
    }

    /// Delivers `event` to this core after `duration`.
    pub fn after(&mut self, duration: Duration, event: C::In) -> TimerId {
        let timer = TimerId(self.state.next_timer);
        self.state.next_timer += 1;
        self.state.effects.push(Effect::After { timer, at: self.now + duration, event });
        timer
    }

    /// Cancels a timer; one that has fired already is ignored.
    pub fn cancel(&mut self, timer: TimerId) {
        let timer = if planted!("cancel-next-timer") { TimerId(timer.0 + 1) } else { timer };
        self.state.effects.push(Effect::Cancel(timer));
    }
}
