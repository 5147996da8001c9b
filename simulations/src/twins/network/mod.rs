//! Connections, frames and provider records between virtual nodes, as the network driver has them. What is on the lines
//! between nodes is [`Links`]' business; what the driver makes of it is here.
//!
//! | file | what it does |
//! |---|---|
//! | `node` | what the network knows of one node, and the queue of events to it |
//! | `connecting` | dials, connections, what breaks them |
//! | `frames` | frames on their way, acknowledgements, cancellation |
//! | `lane` | the bounded queue of frames to one peer |
//! | `dht` | provider records and the way to them |
//!
//! Not modelled: streams that are garbage, datagrams, mDNS, and pings: round-trip times are those of small frames.
//! A connection without frames is closed after a minute, as in production.

mod connecting;
mod dht;
mod frames;
mod lane;
mod node;
#[cfg(test)]
mod tests;

use crate::{life::Life, links::Links, record::NodeId, timeline::Timeline};
use node::{Door, Node, ShortHash};
use pangea::drivers::network::Limits;
use pangea_kernel::{Port, Rejected, Seed};
use pangea_protocols::{
    Address, Cid, PeerId,
    net::{Command, Event},
    time::Time,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Until a silent connection is given up, as QUIC is configured in production.
pub const SILENCE: Duration = Duration::from_secs(20);
/// How often the lines are looked at for cuts.
const SWEEP: Duration = Duration::from_millis(500);

/// A node's number in this network.
type Number = usize;

/// The network between all nodes. Clones are the same network.
#[derive(Clone)]
pub struct Network(Arc<Inner>);

struct Inner {
    timeline: Timeline,
    links: Links,
    limits: Limits,
    seed: Seed,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    nodes: Vec<Node>,
    /// Looked up, never walked through: its order is not that of a run.
    numbers: HashMap<PeerId, Number, ShortHash>,
    records: BTreeMap<Cid, Vec<dht::Record>>,
    connections: u64,
    /// Connected pairs between which nothing passes, and since when.
    cut: BTreeMap<(Number, Number), Time>,
    lines_version: u64,
    sweeping: bool,
    counts: Counts,
}

/// What has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that arrived.
    pub frames: u64,
    /// Their bytes, with headers.
    pub bytes: u64,
    /// Connections that came about.
    pub connections: u64,
    /// Provider searches.
    pub lookups: u64,
}

impl Network {
    /// A network without nodes.
    pub fn new(timeline: Timeline, links: Links, seed: Seed) -> Self {
        let state = Mutex::default();
        Self(Arc::new(Inner { timeline, links, limits: Limits::default(), seed, state }))
    }

    /// Adds a node in a new life of it, which others reach at `address`. What happens to it goes to `events`.
    pub fn join(&self, id: NodeId, peer: PeerId, address: Address, life: Life, events: Port<Event>) -> Port<Command> {
        let mut state = self.state();
        let me = state.number(peer);
        state.nodes[me].begin(id, address.clone(), Door { events, life: life.clone() });
        self.tell(&mut state, me, Event::Listening { address });
        self.close_idle(&mut state, me);
        if !std::mem::replace(&mut state.sweeping, true) {
            self.later(self.now() + SWEEP, Self::sweep);
        }
        drop(state);
        self.republish_later(me);
        let network = self.clone();
        Port::new(move |command| {
            if life.is_over() || network.0.timeline.is_closed() {
                return Err(Rejected::Closed(command));
            }
            network.on_command(me, command);
            Ok(())
        })
    }

    /// A node ends without a word: its peers notice when the silence has lasted.
    pub fn crash(&self, peer: PeerId) {
        let mut state = self.state();
        let me = state.number(peer);
        let bereft = state.nodes[me].end(self.now());
        for (other, half) in bereft {
            self.break_in_silence(other, me, half.connection);
        }
    }

    /// A node stands still (its peers notice likewise), or has gone on.
    pub fn pause(&self, peer: PeerId, paused: bool) {
        let mut state = self.state();
        let me = state.number(peer);
        let halves: Vec<_> = state.nodes[me].halves.iter().map(|(other, half)| (*other, half.connection)).collect();
        for (other, connection) in halves {
            if paused {
                self.break_in_silence(other, me, connection);
            } else if !state.has(other, me, connection) {
                self.part(&mut state, me, other, "the peer stopped answering");
            }
        }
        if !paused {
            self.flush(&mut state, me);
        }
    }

    /// Connects two nodes that run, as if one had dialled the other a while ago: who can dial whom, `one` rather than
    /// `other`. Nothing happens if they are connected, or if neither can.
    pub fn acquaint(&self, one: PeerId, other: PeerId) {
        let mut state = self.state();
        let (one, other) = (state.number(one), state.number(other));
        let alive = |number: Number| state.nodes[number].is_up();
        if one == other || !alive(one) || !alive(other) || state.nodes[one].halves.contains_key(&other) {
            return;
        }
        let reaches = |from: Number, to: Number| self.0.links.can_dial(state.nodes[from].id, state.nodes[to].id);
        let (dialler, dialled) = match (reaches(one, other), reaches(other, one)) {
            (true, _) => (one, other),
            (false, true) => (other, one),
            (false, false) => return,
        };
        let connection = state.next_connection();
        self.connected(&mut state, dialler, dialled, connection, false);
        self.connected(&mut state, dialled, dialler, connection, true);
    }

    /// Connections of a node.
    pub fn degree(&self, peer: PeerId) -> usize {
        let mut state = self.state();
        let me = state.number(peer);
        state.nodes[me].halves.len()
    }

    /// What has passed so far.
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    fn on_command(&self, me: Number, command: Command) {
        let state = &mut *self.state();
        match command {
            Command::Dial { peer, addresses } => {
                let to = state.number(peer);
                state.learn(me, to, &addresses);
                self.dial(state, me, to, true);
            }
            Command::Hangup { peer } => {
                let to = state.number(peer);
                self.hang_up(state, me, to, "closed by this node");
            }
            Command::Send { peer, tag, class, frame } => {
                let to = state.number(peer);
                self.send(state, me, to, tag, class, frame);
            }
            Command::CancelSend { peer, tag } => {
                let to = state.number(peer);
                self.cancel(state, me, to, tag);
            }
            Command::Provide { cid } => self.provide(state, me, cid),
            Command::Unprovide { cid } => {
                state.nodes[me].provided.remove(&cid);
            }
            Command::FindProviders { query, cid } => self.find_providers(state, me, query, cid),
            Command::WhoIsConnected => {
                let halves: Vec<_> = state.nodes[me].halves.iter().map(|(to, half)| (*to, half.inbound)).collect();
                for (to, inbound) in halves {
                    let (peer, address) = (state.nodes[to].peer, state.nodes[to].address.clone());
                    self.tell(state, me, Event::Connected { peer, address, inbound });
                }
            }
            Command::Learn { peer, addresses } => {
                let to = state.number(peer);
                state.learn(me, to, &addresses);
            }
        }
    }

    fn now(&self) -> Time {
        self.0.timeline.now()
    }

    fn later(&self, at: Time, work: impl FnOnce(&Self, &mut State) + Send + 'static) {
        let network = self.clone();
        self.0.timeline.at(at, move || work(&network, &mut network.state()));
    }

    /// When a message from one node is at the other.
    fn arrival(&self, state: &State, from: Number, to: Number, bytes: u64) -> Option<Time> {
        self.0.links.message(self.now(), state.nodes[from].id, state.nodes[to].id, bytes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The number of a peer; one that nobody has met yet gets one, and answers nothing.
    fn number(&mut self, peer: PeerId) -> Number {
        if let Some(number) = self.numbers.get(&peer) {
            return *number;
        }
        let number = self.nodes.len();
        self.nodes.push(Node::unknown(peer));
        self.numbers.insert(peer, number);
        number
    }

    /// Does `me` hold this connection to `other`, and live and move?
    fn has(&self, me: Number, other: Number, connection: u64) -> bool {
        let node = &self.nodes[me];
        node.is_up() && node.halves.get(&other).is_some_and(|half| half.connection == connection)
    }

    fn next_connection(&mut self) -> u64 {
        self.connections += 1;
        self.counts.connections += 1;
        self.connections
    }
}
