//! What the network knows of one node, and the queue of events to it: in order, never lost while the node lives, and
//! waiting while the node stands still or its actors have no room.

use super::{Network, Number, State, lane::Lane};
use crate::{life::Life, record::NodeId};
use pangea_kernel::{Port, Rejected};
use pangea_protocols::{Address, Cid, PeerId, net::Event, time::Time, wire::Frame};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    hash::{BuildHasher, Hasher},
    time::Duration,
};

/// Until an event is offered again to a receiver that was full; doubles …
const RETRY_MIN: Duration = Duration::from_millis(1);
/// … up to this.
const RETRY_MAX: Duration = Duration::from_millis(50);

/// A node.
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) peer: PeerId,
    pub(super) address: Address,
    /// Its place in the DHT.
    pub(super) place: u128,
    /// Counts its lives.
    pub(super) life: u32,
    /// None while its process does not run.
    pub(super) door: Option<Door>,
    /// Its side of every connection.
    pub(super) halves: BTreeMap<Number, Half>,
    pub(super) lanes: BTreeMap<Number, Lane>,
    /// Bytes in all lanes.
    pub(super) queued_bytes: usize,
    pub(super) dials: BTreeMap<Number, super::connecting::Dial>,
    /// Whose address it knows.
    pub(super) known: BTreeSet<Number>,
    /// Connections that it has had in this life: without one it is no part of the DHT.
    pub(super) met: u32,
    pub(super) provided: BTreeSet<Cid>,
    /// It has something to announce, and will soon.
    pub(super) announcing: bool,
    pub(super) lookups: u64,
    /// When its last life ended.
    pub(super) gone: Option<Time>,
    waiting: VecDeque<Item>,
    flushing: bool,
}

/// Where events go.
pub(super) struct Door {
    pub(super) events: Port<Event>,
    pub(super) life: Life,
}

/// One side of a connection.
pub(super) struct Half {
    pub(super) connection: u64,
    pub(super) inbound: bool,
    pub(super) since: Time,
    /// When a frame last passed.
    pub(super) used: Time,
    /// When the actors last heard of its round-trip time.
    pub(super) rtt_told: Option<Time>,
}

/// Something that waits for the node.
enum Item {
    Event(Event),
    Frame(Arrived),
}

/// A frame that is at its receiver; it is acknowledged when the receiver has taken it.
pub(super) struct Arrived {
    pub(super) from: Number,
    pub(super) connection: u64,
    pub(super) id: u64,
    pub(super) frame: Frame,
}

impl Node {
    pub(super) fn unknown(peer: PeerId) -> Self {
        Self {
            id: NodeId::MAX,
            peer,
            address: nowhere(),
            place: super::dht::place(&peer.to_multihash()),
            life: 0,
            door: None,
            halves: BTreeMap::new(),
            lanes: BTreeMap::new(),
            queued_bytes: 0,
            dials: BTreeMap::new(),
            known: BTreeSet::new(),
            met: 0,
            provided: BTreeSet::new(),
            announcing: false,
            lookups: 0,
            gone: None,
            waiting: VecDeque::new(),
            flushing: false,
        }
    }

    pub(super) fn begin(&mut self, id: NodeId, address: Address, door: Door) {
        let life = self.life + 1;
        *self = Self { id, address, life, door: Some(door), ..Self::unknown(self.peer) };
    }

    /// The process is gone; returns who was connected to it.
    pub(super) fn end(&mut self, now: Time) -> BTreeMap<Number, Half> {
        let (id, life) = (self.id, self.life + 1);
        let address = std::mem::replace(&mut self.address, nowhere());
        let gone = std::mem::replace(self, Self { id, address, life, gone: Some(now), ..Self::unknown(self.peer) });
        gone.halves
    }

    /// It runs and does not stand still.
    pub(super) fn is_up(&self) -> bool {
        self.door.as_ref().is_some_and(|door| !door.life.is_over() && !door.life.is_paused())
    }
}

/// The address of somebody who has none.
#[allow(clippy::expect_used, reason = "a constant that is an address")]
fn nowhere() -> Address {
    "/dns4/nowhere.invalid/udp/1".to_owned().try_into().expect("an address")
}

impl Network {
    /// Delivers an event, now or when there is room.
    pub(super) fn tell(&self, state: &mut State, to: Number, event: Event) {
        if let Some(item) = self.offer(state, to, Item::Event(event)) {
            self.wait(state, to, item);
        }
    }

    /// Delivers an event, now or never.
    pub(super) fn tell_now_or_never(&self, state: &mut State, to: Number, event: Event) {
        let _ = self.offer(state, to, Item::Event(event));
    }

    /// Delivers a frame, and has it acknowledged.
    pub(super) fn hand_over(&self, state: &mut State, to: Number, arrived: Arrived) {
        if let Some(item) = self.offer(state, to, Item::Frame(arrived)) {
            self.wait(state, to, item);
        }
    }

    /// What waits is offered again.
    pub(super) fn flush(&self, state: &mut State, to: Number) {
        if !state.nodes[to].flushing {
            self.flush_after(state, to, Duration::ZERO);
        }
    }

    /// Gives the item back if it has to wait.
    fn offer(&self, state: &mut State, to: Number, item: Item) -> Option<Item> {
        let node = &mut state.nodes[to];
        if node.door.is_some() && (!node.waiting.is_empty() || !node.is_up()) {
            return Some(item);
        }
        self.deliver(state, to, item)
    }

    fn deliver(&self, state: &mut State, to: Number, item: Item) -> Option<Item> {
        let Some(door) = &state.nodes[to].door else { return None };
        match item {
            Item::Event(event) => match door.events.send(event) {
                Err(Rejected::Full(event)) => Some(Item::Event(event)),
                _ => None,
            },
            Item::Frame(Arrived { from, connection, id, frame }) => {
                let peer = state.nodes[from].peer;
                match door.events.send(Event::Received { peer, frame }) {
                    Err(Rejected::Full(Event::Received { frame, .. })) => {
                        Some(Item::Frame(Arrived { from, connection, id, frame }))
                    }
                    Ok(()) => {
                        self.acknowledge(state, from, to, id);
                        None
                    }
                    _ => None,
                }
            }
        }
    }

    fn wait(&self, state: &mut State, to: Number, item: Item) {
        let node = &mut state.nodes[to];
        let paused = node.door.as_ref().is_none_or(|door| door.life.is_paused());
        node.waiting.push_back(item);
        if !node.flushing && !paused {
            self.flush_after(state, to, RETRY_MIN);
        }
    }

    fn flush_after(&self, state: &mut State, to: Number, pause: Duration) {
        let node = &mut state.nodes[to];
        node.flushing = true;
        let life = node.life;
        self.later(self.now() + pause, move |network, state| {
            if state.nodes[to].life != life {
                return;
            }
            state.nodes[to].flushing = false;
            while state.nodes[to].is_up()
                && let Some(item) = state.nodes[to].waiting.pop_front()
            {
                if let Some(item) = network.deliver(state, to, item) {
                    state.nodes[to].waiting.push_front(item);
                    return network.flush_after(state, to, (pause * 2).clamp(RETRY_MIN, RETRY_MAX));
                }
            }
        });
    }
}

/// Hashes peer ids, which are random already, by their first bytes.
#[derive(Clone, Copy, Default)]
pub(super) struct ShortHash;

impl BuildHasher for ShortHash {
    type Hasher = Short;

    fn build_hasher(&self) -> Short {
        Short(0)
    }
}

pub(super) struct Short(u64);

impl Hasher for Short {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 ^= u64::from_le_bytes(*first);
        }
    }
}
