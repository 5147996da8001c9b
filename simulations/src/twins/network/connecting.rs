//! Dials, connections, and what breaks them.
//!
//! A connection has two sides, each of which believes in it until it learns otherwise: by a goodbye, or by silence. Two
//! nodes that dial each other at the same time keep the connection that the smaller peer id dialled; a node that dials
//! anew replaces the connection that it has forgotten.

use super::{Network, Number, SILENCE, SWEEP, State, frames::PACKET, node::Half};
use pangea_protocols::{
    Address,
    net::{Event, SendError, Source},
    time::Time,
};
use std::time::Duration;

/// Bytes of the first packet of a connection.
const HELLO: u64 = 1200;
/// What the other end of a hang-up hears.
const CLOSED_BY_PEER: &str = "closed by the peer";
/// Two connections this close to each other come from a simultaneous dial.
const SIMULTANEOUS: Duration = Duration::from_secs(10);
/// How often a node looks for connections that nobody uses.
const IDLE_LOOK: Duration = Duration::from_secs(15);

/// An attempt to connect.
pub(super) struct Dial {
    /// Tells it from later ones.
    number: u64,
    /// The DHT is still to be asked.
    ask_dht: bool,
}

impl State {
    /// Somebody says where a peer is; what is not true is no help.
    pub(super) fn learn(&mut self, me: Number, to: Number, addresses: &[Address]) {
        if addresses.contains(&self.nodes[to].address) {
            self.nodes[me].known.insert(to);
        }
    }

    fn dials(&mut self, me: Number, to: Number, dial: u64) -> bool {
        self.nodes[me].dials.get(&to).is_some_and(|known| known.number == dial)
    }
}

impl Network {
    pub(super) fn dial(&self, state: &mut State, me: Number, to: Number, ask_dht: bool) {
        if state.nodes[me].halves.contains_key(&to) {
            return;
        }
        if let Some(dial) = state.nodes[me].dials.get_mut(&to) {
            dial.ask_dht |= ask_dht;
            return;
        }
        let node = &mut state.nodes[me];
        let limits = &self.0.limits;
        if me == to || node.dials.len() >= limits.dials_max || node.halves.len() >= limits.connections_max {
            return self.dial_failed(state, me, to, "this node dials too many peers already");
        }
        let number = state.connections;
        state.connections += 1;
        state.nodes[me].dials.insert(to, Dial { number, ask_dht });
        if state.nodes[me].known.contains(&to) {
            self.knock(state, me, to, number);
        } else {
            self.addresses_failed(state, me, to, number, "no address of it is known");
        }
    }

    /// Sends the first packet; whoever does not answer in time fails the dial.
    fn knock(&self, state: &State, me: Number, to: Number, dial: u64) {
        let begun = self.now();
        let (life, timeout) = (state.nodes[me].life, self.0.limits.handshake_timeout);
        self.later(begun + timeout, move |network, state| {
            if state.nodes[me].life == life && state.dials(me, to, dial) {
                network.addresses_failed(state, me, to, dial, "none of its addresses answers");
            }
        });
        if !self.0.links.can_dial(state.nodes[me].id, state.nodes[to].id) {
            return;
        }
        let Some(hello) = self.arrival(state, me, to, HELLO) else { return };
        self.later(hello, move |network, state| {
            let open = state.nodes[to].is_up() && state.nodes[to].halves.len() < network.0.limits.connections_max;
            let Some(welcome) = network.arrival(state, to, me, 2 * HELLO).filter(|_| open) else { return };
            network.later(welcome, move |network, state| {
                if state.nodes[me].life == life && state.nodes[me].is_up() && state.dials(me, to, dial) {
                    network.welcomed(state, me, to, begun);
                }
            });
        });
    }

    /// The peer has answered: the connection is there for the dialler, and soon for the other.
    fn welcomed(&self, state: &mut State, me: Number, to: Number, begun: Time) {
        let now = self.now();
        state.nodes[me].dials.remove(&to);
        if let Some(half) = state.nodes[me].halves.get(&to) {
            let crossed = half.inbound && now.since(half.since) < SIMULTANEOUS;
            if crossed && state.nodes[to].peer < state.nodes[me].peer {
                return self.pump(state, me, to);
            }
        }
        let connection = state.next_connection();
        // Before any frame leaves: none may be there before the connection is.
        self.confirm(state, me, to, connection);
        self.connected(state, me, to, connection, false);
        let (peer, rtt) = (state.nodes[to].peer, now.since(begun));
        self.tell_now_or_never(state, me, Event::Rtt { peer, rtt });
    }

    /// The dialler's last packet of the handshake: with it the connection is there for the other, too.
    fn confirm(&self, state: &State, me: Number, to: Number, connection: u64) {
        let Some(arrival) = self.arrival(state, me, to, PACKET) else {
            return self.break_in_silence(me, to, connection);
        };
        let life = state.nodes[to].life;
        self.later(arrival, move |network, state| {
            // It may have ended, or the dialler may have hung up again.
            let there = state.nodes[to].life == life && state.nodes[to].door.is_some();
            let wanted = state.nodes[me].halves.get(&to).is_some_and(|half| half.connection == connection);
            if there && wanted {
                network.connected(state, to, me, connection, true);
            } else if wanted {
                network.break_in_silence(me, to, connection);
            }
        });
    }

    /// `me` has a connection. One that it had before is replaced: frames under way take the new one.
    pub(super) fn connected(&self, state: &mut State, me: Number, to: Number, connection: u64, inbound: bool) {
        let now = self.now();
        let half = Half { connection, inbound, since: now, used: now, rtt_told: Some(now) };
        state.nodes[me].dials.remove(&to);
        let replaced = state.nodes[me].halves.insert(to, half).is_some();
        if replaced {
            if let Some(lane) = state.nodes[me].lanes.get_mut(&to) {
                lane.rewind();
            }
        } else {
            let (peer, address) = (state.nodes[to].peer, state.nodes[to].address.clone());
            state.nodes[me].known.insert(to);
            state.nodes[me].met += 1;
            let addresses = vec![address.clone()];
            self.tell(state, me, Event::Connected { peer, address, inbound });
            // What identify says of it.
            self.tell_now_or_never(state, me, Event::Discovered { peer, addresses, source: Source::Identify });
            self.met_somebody(state, me);
        }
        self.pump(state, me, to);
    }

    fn addresses_failed(&self, state: &mut State, me: Number, to: Number, dial: u64, reason: &'static str) {
        let in_dht = state.nodes[me].met > 0;
        let ask = state.nodes[me].dials.get_mut(&to).is_some_and(|dial| std::mem::take(&mut dial.ask_dht));
        if !ask || !in_dht {
            return self.dial_failed(state, me, to, reason);
        }
        let took = self.look_up(state, me, state.nodes[to].place);
        let life = state.nodes[me].life;
        self.later(self.now() + took, move |network, state| {
            if state.nodes[me].life != life || !state.dials(me, to, dial) {
                return;
            }
            // The DHT knows the addresses of those who are part of it.
            if state.nodes[to].door.is_some() && state.nodes[to].met > 0 {
                state.nodes[me].known.insert(to);
                network.knock(state, me, to, dial);
            } else {
                let reason = "none of its addresses answers, and the DHT knows no other";
                network.dial_failed(state, me, to, reason);
            }
        });
    }

    fn dial_failed(&self, state: &mut State, me: Number, to: Number, reason: &str) {
        state.nodes[me].dials.remove(&to);
        if state.nodes[me].halves.contains_key(&to) {
            return;
        }
        let peer = state.nodes[to].peer;
        self.tell(state, me, Event::DialFailed { peer, reason: reason.to_owned() });
        self.fail_frames(state, me, to, SendError::Unreachable);
    }

    /// `me` closes the connection, and says so.
    pub(super) fn hang_up(&self, state: &mut State, me: Number, to: Number, reason: &str) {
        if state.nodes[me].dials.remove(&to).is_some() {
            let peer = state.nodes[to].peer;
            self.tell(state, me, Event::DialFailed { peer, reason: "cancelled by this node".to_owned() });
        }
        let Some(connection) = state.nodes[me].halves.get(&to).map(|half| half.connection) else {
            return self.fail_frames(state, me, to, SendError::ConnectionLost);
        };
        self.part(state, me, to, reason);
        match self.arrival(state, me, to, PACKET) {
            Some(goodbye) => self.later(goodbye, move |network, state| {
                if state.has(to, me, connection) {
                    network.part(state, to, me, CLOSED_BY_PEER);
                } else {
                    // It stands still, and will hear of it by silence.
                    network.break_in_silence(to, me, connection);
                }
            }),
            None => self.break_in_silence(to, me, connection),
        }
    }

    /// `me` has no connection any more.
    pub(super) fn part(&self, state: &mut State, me: Number, to: Number, reason: &str) {
        if state.nodes[me].halves.remove(&to).is_some() {
            let peer = state.nodes[to].peer;
            let dismissed = reason == CLOSED_BY_PEER;
            self.tell(state, me, Event::Disconnected { peer, reason: reason.to_owned(), dismissed });
            self.fail_frames(state, me, to, SendError::ConnectionLost);
        }
    }

    /// `me` gives the connection up when the other has been silent for long enough, unless it is heard of again.
    pub(super) fn break_in_silence(&self, me: Number, to: Number, connection: u64) {
        self.later(self.now() + SILENCE, move |network, state| {
            if state.has(me, to, connection) && !state.has(to, me, connection) {
                network.part(state, me, to, "the peer stopped answering");
            }
        });
    }

    /// The regular look at all lines: connections that are cut break.
    pub(super) fn sweep(&self, state: &mut State) {
        let now = self.now();
        let version = self.0.links.version();
        if std::mem::replace(&mut state.lines_version, version) != version {
            self.look_for_cuts(state, now);
        }
        let silent = state.cut.iter().filter(|(_, since)| now.since(**since) >= SILENCE).map(|(pair, _)| *pair);
        let silent: Vec<(Number, Number)> = silent.collect();
        for (one, other) in silent {
            state.cut.remove(&(one, other));
            self.part(state, one, other, "the peer stopped answering");
            self.part(state, other, one, "the peer stopped answering");
        }
        self.later(now + SWEEP, Self::sweep);
    }

    fn look_for_cuts(&self, state: &mut State, now: Time) {
        let known = std::mem::take(&mut state.cut);
        for (one, node) in state.nodes.iter().enumerate() {
            for other in
                node.halves.keys().filter(|other| one < **other || !state.nodes[**other].halves.contains_key(&one))
            {
                let (a, b) = (node.id, state.nodes[*other].id);
                if self.0.links.is_cut(a, b) || self.0.links.is_cut(b, a) {
                    let pair = (one.min(*other), one.max(*other));
                    state.cut.insert(pair, known.get(&pair).copied().unwrap_or(now));
                }
            }
        }
    }

    /// A node closes connections that nobody uses, for as long as it lives; each at moments of its own.
    pub(super) fn close_idle(&self, state: &mut State, me: Number) {
        let spread = u64::try_from(state.nodes[me].place % IDLE_LOOK.as_nanos()).unwrap_or(0);
        self.close_idle_at(self.now() + Duration::from_nanos(spread), me, state.nodes[me].life);
    }

    fn close_idle_at(&self, at: Time, me: Number, life: u32) {
        self.later(at, move |network, state| {
            let now = network.now();
            let node = &state.nodes[me];
            if node.life != life {
                return;
            }
            network.close_idle_at(now + IDLE_LOOK, me, life);
            let idle = network.0.limits.idle_timeout;
            let unused = |(to, half): &(&Number, &Half)| now.since(half.used) >= idle && !node.lanes.contains_key(*to);
            let unused: Vec<Number> = node.halves.iter().filter(unused).map(|(to, _)| *to).collect();
            for to in unused.into_iter().filter(|_| state.nodes[me].is_up()).collect::<Vec<_>>() {
                network.hang_up(state, me, to, "closed by this node");
            }
        });
    }
}
