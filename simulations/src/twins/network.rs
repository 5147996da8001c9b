//! Connections, frames and provider records between virtual nodes.
//!
//! Frames of one direction of a connection arrive in order, each after a latency drawn from that direction's own
//! stream. A node that is killed says nothing more: its peers notice after [`SILENCE`], as with QUIC's idle timeout.

use crate::{timeline::Timeline, world::World};
use pangea_kernel::{Draw, Port, Rejected, Seed};
use pangea_protocols::{
    Address, Cid, PeerId,
    net::{Command, Event, SendError},
    time::Time,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Until a connection to a dead node is given up.
pub const SILENCE: Duration = Duration::from_secs(10);
/// Until a dial of a dead node is given up.
pub const DIAL_PATIENCE: Duration = Duration::from_secs(5);
/// Until an event is offered again to a receiver that was full.
const RETRY: Duration = Duration::from_millis(1);

/// The network between all nodes of a world. Clones are the same network.
#[derive(Clone)]
pub struct Network {
    timeline: Timeline,
    seed: Seed,
    latency: RangeInclusive<Duration>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    nodes: BTreeMap<PeerId, Node>,
    /// Both orders of every connected pair.
    connected: BTreeSet<(PeerId, PeerId)>,
    directions: BTreeMap<(PeerId, PeerId), Direction>,
    providers: BTreeMap<Cid, BTreeSet<PeerId>>,
    frames: u64,
}

struct Node {
    address: Address,
    events: Port<Event>,
    alive: bool,
}

struct Direction {
    draw: Draw,
    last_arrival: Time,
}

impl Network {
    /// A network without nodes whose one-way latencies lie within `latency`.
    pub fn new(world: &World, latency: RangeInclusive<Duration>) -> Self {
        Self { timeline: world.timeline(), seed: world.driver_seed("network"), latency, state: Arc::default() }
    }

    /// Adds a node that can be reached at `address`.
    pub fn join(&self, me: PeerId, address: Address, events: Port<Event>) -> Port<Command> {
        self.state().nodes.insert(me, Node { address: address.clone(), events, alive: true });
        self.tell(me, self.timeline.now(), Event::Listening { address });
        let network = self.clone();
        Port::new(move |command| {
            if network.timeline.is_closed() {
                return Err(Rejected::Closed(command));
            }
            network.on_command(me, command);
            Ok(())
        })
    }

    /// Takes a node off the network, for good and without a word.
    pub fn kill(&self, peer: PeerId) {
        let mut state = self.state();
        if let Some(node) = state.nodes.get_mut(&peer) {
            node.alive = false;
        }
        let bereft: Vec<PeerId> = state.connected.iter().filter(|(a, _)| *a == peer).map(|(_, b)| *b).collect();
        state.providers.values_mut().for_each(|peers| {
            peers.remove(&peer);
        });
        drop(state);
        for other in bereft {
            let network = self.clone();
            self.timeline.after(SILENCE, move || network.part(other, peer, "timed out"));
        }
    }

    /// Frames that arrived.
    pub fn frames(&self) -> u64 {
        self.state().frames
    }

    fn on_command(&self, me: PeerId, command: Command) {
        match command {
            Command::Dial { peer, .. } => self.on_dial(me, peer),
            Command::Hangup { peer } => {
                self.part(me, peer, "hung up");
                self.part(peer, me, "hung up");
            }
            Command::Send { peer, tag, frame, .. } => {
                if !self.state().connected.contains(&(me, peer)) {
                    let error = SendError::Unreachable;
                    return self.tell(me, self.timeline.now(), Event::SendFailed { peer, tag, error });
                }
                let arrival = self.arrival(me, peer);
                let network = self.clone();
                self.timeline.at(arrival, move || network.on_arrival(me, peer, tag, frame));
            }
            Command::Provide { cid } => {
                self.state().providers.entry(cid).or_default().insert(me);
            }
            Command::Unprovide { cid } => {
                if let Some(peers) = self.state().providers.get_mut(&cid) {
                    peers.remove(&me);
                }
            }
            Command::FindProviders { query, cid } => {
                let state = self.state();
                let found = state.providers.get(&cid).into_iter().flatten().filter(|peer| **peer != me);
                let providers =
                    found.filter_map(|peer| Some((*peer, vec![state.nodes.get(peer)?.address.clone()]))).collect();
                drop(state);
                let answer = self.timeline.now() + *self.latency.end() * 2;
                self.tell(me, answer, Event::Providers { query, providers, done: true });
            }
            // Addresses never change here, and a frame under way cannot be called back.
            Command::Learn { .. } | Command::CancelSend { .. } => {}
        }
    }

    fn on_dial(&self, me: PeerId, peer: PeerId) {
        let mut state = self.state();
        let both_alive = [me, peer].iter().all(|peer| state.nodes.get(peer).is_some_and(|node| node.alive));
        if !both_alive {
            drop(state);
            let reason = "nobody answers".to_owned();
            return self.tell(me, self.timeline.now() + DIAL_PATIENCE, Event::DialFailed { peer, reason });
        }
        if !state.connected.insert((me, peer)) {
            return;
        }
        state.connected.insert((peer, me));
        let address = |peer: &PeerId| state.nodes.get(peer).map(|node| node.address.clone());
        let (Some(mine), Some(theirs)) = (address(&me), address(&peer)) else { return };
        drop(state);
        let at = self.arrival(me, peer).max(self.arrival(peer, me));
        self.tell(me, at, Event::Connected { peer, address: theirs, inbound: false });
        self.tell(peer, at, Event::Connected { peer: me, address: mine, inbound: true });
    }

    fn on_arrival(&self, from: PeerId, to: PeerId, tag: u64, frame: pangea_protocols::wire::Frame) {
        let mut state = self.state();
        let alive = state.nodes.get(&to).is_some_and(|node| node.alive);
        if !alive || !state.connected.contains(&(from, to)) {
            drop(state);
            let (at, error) = (self.timeline.now() + SILENCE, SendError::ConnectionLost);
            return self.tell(from, at, Event::SendFailed { peer: to, tag, error });
        }
        state.frames += 1;
        drop(state);
        self.tell(to, self.timeline.now(), Event::Received { peer: from, frame });
        let acknowledged = self.arrival(to, from);
        self.tell(from, acknowledged, Event::Sent { peer: to, tag });
    }

    /// Ends `me`'s side of a connection.
    fn part(&self, me: PeerId, peer: PeerId, reason: &str) {
        if self.state().connected.remove(&(me, peer)) {
            self.tell(me, self.timeline.now(), Event::Disconnected { peer, reason: reason.to_owned() });
        }
    }

    /// When something that leaves now arrives: never before what left earlier.
    fn arrival(&self, from: PeerId, to: PeerId) -> Time {
        let spread = self.latency.end().saturating_sub(*self.latency.start());
        let nanos = u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX);
        let mut state = self.state();
        let direction = state.directions.entry((from, to)).or_insert_with(|| Direction {
            draw: self.seed.derive(&from.to_string()).derive(&to.to_string()).draw(),
            last_arrival: Time(0),
        });
        let jitter = Duration::from_nanos(direction.draw.below(nanos.saturating_add(1)));
        direction.last_arrival = direction.last_arrival.max(self.timeline.now() + *self.latency.start() + jitter);
        direction.last_arrival
    }

    /// Delivers an event at `at`, later if the receiver is full then, never if it is dead.
    fn tell(&self, to: PeerId, at: Time, event: Event) {
        let network = self.clone();
        self.timeline.at(at, move || {
            let node = network.state().nodes.get(&to).filter(|node| node.alive).map(|node| node.events.clone());
            if let Some(Err(Rejected::Full(event))) = node.map(|events| events.send(event)) {
                network.tell(to, network.timeline.now() + RETRY, event);
            }
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
