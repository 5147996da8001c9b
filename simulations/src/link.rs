//! [`Link`]: the simulated twin of a connection's one direction, as a driver would offer it.
//!
//! Messages arrive in order, each after a latency drawn from the link's own stream, so that other links and other
//! nodes do not change it. The number in flight is bounded; a full link hands back as a full port does. Nothing is
//! lost on the way, but a receiver whose mailbox is full at the arrival refuses: that is counted.

use crate::{timeline::Timeline, world::World};
use pangea_kernel::{Draw, Port, Rejected};
use pangea_protocols::time::Time;
use std::{
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// A one-way stream of messages between two nodes. Clones are the same link.
#[derive(Clone)]
pub struct Link {
    timeline: Timeline,
    latency: RangeInclusive<Duration>,
    in_flight_max: usize,
    state: Arc<Mutex<State>>,
}

struct State {
    draw: Draw,
    in_flight: usize,
    refused: u64,
    last_arrival: Time,
}

impl Link {
    /// A link whose latencies are uniform within `latency`, to the nanosecond. There is one per pair of `from` and
    /// `to`: a second one would draw the same latencies.
    pub fn new(world: &World, from: &str, to: &str, latency: RangeInclusive<Duration>, in_flight_max: usize) -> Self {
        let draw = world.driver_seed("link").derive(from).derive(to).draw();
        let state = State { draw, in_flight: 0, refused: 0, last_arrival: Time(0) };
        Self { timeline: world.timeline(), latency, in_flight_max, state: Arc::new(Mutex::new(state)) }
    }

    /// A port whose messages cross the link before they reach `to`. All ports of a link share its order and bound.
    pub fn port<M: Send + 'static>(&self, to: Port<M>) -> Port<M> {
        let link = self.clone();
        Port::new(move |message| link.send(&to, message))
    }

    /// Messages that arrived and were refused by their receiver.
    pub fn refused(&self) -> u64 {
        self.state().refused
    }

    fn send<M: Send + 'static>(&self, to: &Port<M>, message: M) -> Result<(), Rejected<M>> {
        if self.timeline.is_closed() {
            return Err(Rejected::Closed(message));
        }
        let arrival = {
            let mut state = self.state();
            if state.in_flight >= self.in_flight_max {
                return Err(Rejected::Full(message));
            }
            let spread = self.latency.end().saturating_sub(*self.latency.start());
            let nanos = u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX);
            let jitter = Duration::from_nanos(state.draw.below(nanos.saturating_add(1)));
            state.in_flight += 1;
            state.last_arrival = state.last_arrival.max(self.timeline.now() + *self.latency.start() + jitter);
            state.last_arrival
        };
        let (link, to) = (self.clone(), to.clone());
        self.timeline.at(arrival, move || {
            link.state().in_flight -= 1;
            if to.send(message).is_err() {
                link.state().refused += 1;
            }
        });
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
