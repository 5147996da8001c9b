//! Connections between nodes at the level of streams: what QUIC would do for its users, without packets and ciphers.
//!
//! ```text
//!   dial ── hello ──▶ door ── welcome ──▶ dialler ── confirmation ──▶ the connection is there for both
//!   write ── batch of messages ── links: latency, bandwidth, loss as delay ──▶ the other half
//! ```
//!
//! | module | what it defines |
//! |---|---|
//! | here | [`Streams`]: dials, crashes, pauses, and lines that are cut |
//! | `door` | where connections are offered |
//! | `line` | a connection: what passes between its halves, flow control, datagrams |
//! | `half` | one side of it, its streams, and what it hears |
//! | `ends`, `pipes` | doors, connections and streams as the network driver wants them |
//!
//! As QUIC does: bytes arrive in order or not at all; what a cut holds back comes when it ends, within [`SILENCE`], after
//! which both sides give up; a node that was restarted says that it does not know the connection. Not as QUIC does: there
//! is no congestion control, and a cut is noticed to the second.

mod door;
mod ends;
mod half;
mod line;
mod pipes;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]
mod tests;

use super::internet::Internet;
use crate::{links::Links, record::NodeId, timeline::Timeline};
use door::{Answer, Door, Hall, Offer};
use line::{Line, Side};
use pangea::drivers::network::{Carrier, Closed, Endpoint};
use pangea_protocols::{PeerId, time::Time};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{SocketAddr, SocketAddrV4},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::oneshot;

/// A connection over which nothing comes for so long is given up.
const SILENCE: Duration = Duration::from_secs(20);
/// A node that has nothing to say says so this often.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How often lines are looked at, and how soon a dial is repeated that did not get through.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes of the packets that a dial and its answer take.
const HELLO_BYTES: u64 = 1200;
/// Bytes of an answer with certificates.
const WELCOME_BYTES: u64 = 2400;

/// All doors and lines. Clones are the same.
#[derive(Clone)]
pub(super) struct Streams(Arc<Net>);

struct Net {
    timeline: Timeline,
    links: Links,
    internet: Internet,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    doors: BTreeMap<(NodeId, u16), Arc<Door>>,
    lines: BTreeMap<u64, Arc<Line>>,
    next_line: u64,
    paused: BTreeSet<NodeId>,
    /// Lines that nothing passes, and since when.
    cut: BTreeMap<u64, Time>,
    /// Counts pauses and their ends.
    pauses: u64,
    /// The links' version and `pauses` when all lines were last looked at.
    looked_at: Option<(u64, u64)>,
    looking: bool,
}

impl Streams {
    /// Between the nodes of an internet.
    pub(super) fn new(timeline: Timeline, links: Links, internet: Internet) -> Self {
        Self(Arc::new(Net { timeline, links, internet, state: Mutex::default() }))
    }

    /// What the network driver of a node runs on.
    pub(super) fn carrier(&self, node: NodeId, peer: PeerId) -> Arc<dyn Carrier> {
        Arc::new(NodeCarrier { streams: self.clone(), node, peer })
    }

    /// Ends the life of a node at this moment: nothing of it is heard any more.
    pub(super) fn kill(&self, node: NodeId) {
        let mut state = self.state();
        state.paused.remove(&node);
        let doors: Vec<Arc<Door>> = state.doors.extract_if(doors_of(node), |_, _| true).map(|(_, door)| door).collect();
        let lines = state.lines_of(node);
        drop(state);
        for line in lines {
            line.die(line.side_of(node));
            self.0.timeline.after(KEEP_ALIVE, {
                let (streams, line) = (self.clone(), Arc::clone(&line));
                move || streams.miss(&line, node)
            });
        }
        doors.iter().for_each(|door| door.close());
    }

    /// The peer of a dead half sends a keep-alive: if the node runs again, it says that it knows nothing of that.
    fn miss(&self, line: &Arc<Line>, dead: NodeId) {
        let other = line.side_of(dead).other();
        let runs = self.state().doors.range(doors_of(dead)).next().is_some();
        if runs && !self.is_cut(line) {
            return line.end(other, Closed::Restarted);
        }
        let line = Arc::clone(line);
        self.0.timeline.after(SILENCE - KEEP_ALIVE, move || line.end(other, Closed::Silent));
    }

    /// From now on a node neither says nor hears anything.
    pub(super) fn pause(&self, node: NodeId) {
        let mut state = self.state();
        state.paused.insert(node);
        state.pauses += 1;
    }

    /// Ends a pause: what was held back is heard and said now.
    pub(super) fn resume(&self, node: NodeId) {
        let mut state = self.state();
        state.paused.remove(&node);
        state.pauses += 1;
        let doors: Vec<Arc<Door>> = state.doors.range(doors_of(node)).map(|(_, door)| Arc::clone(door)).collect();
        let lines = state.lines_of(node);
        drop(state);
        lines.iter().for_each(|line| line.go_on());
        doors.iter().for_each(|door| door.wake());
    }

    /// The router in front of a node has forgotten its mappings: others see the node elsewhere.
    pub(super) fn rebound(&self, node: NodeId) {
        for line in self.state().lines_of(node) {
            line.move_to(line.side_of(node));
        }
    }

    /// Looks at all lines once in a while, for as long as there are some.
    fn keep_looking(&self) {
        if std::mem::replace(&mut self.state().looking, true) {
            return;
        }
        let streams = self.clone();
        self.0.timeline.after(LOOK, move || streams.look());
    }

    fn look(&self) {
        let now = self.0.timeline.now();
        let mut state = self.state();
        let version = (self.0.links.version(), state.pauses);
        let mut healed = Vec::new();
        if state.looked_at.replace(version) != Some(version) {
            for line in state.lines.values().cloned().collect::<Vec<_>>() {
                if self.passes(&state, &line) {
                    state.cut.remove(&line.id);
                    healed.push(line);
                } else {
                    state.cut.entry(line.id).or_insert(now);
                }
            }
        }
        let silent = state.cut.iter().filter(|(_, since)| now.since(**since) >= SILENCE).map(|(id, _)| *id);
        let silent: Vec<u64> = silent.collect();
        let silent: Vec<Arc<Line>> = silent
            .iter()
            .filter_map(|id| {
                state.cut.remove(id);
                state.lines.get(id).cloned()
            })
            .collect();
        state.looking = !state.lines.is_empty();
        let again = state.looking;
        drop(state);
        healed.iter().for_each(|line| line.go_on());
        for line in &silent {
            line.end(Side::Dialler, Closed::Silent);
            line.end(Side::Listener, Closed::Silent);
        }
        if again {
            let streams = self.clone();
            self.0.timeline.after(LOOK, move || streams.look());
        }
    }

    fn is_cut(&self, line: &Line) -> bool {
        !self.passes(&self.state(), line)
    }

    fn passes(&self, state: &State, line: &Line) -> bool {
        let [a, b] = line.nodes;
        let paused = state.paused.contains(&a) || state.paused.contains(&b);
        !paused && !self.0.links.is_cut(a, b) && !self.0.links.is_cut(b, a)
    }

    fn is_paused(&self, node: NodeId) -> bool {
        let state = self.state();
        !state.paused.is_empty() && state.paused.contains(&node)
    }

    fn is_bound(&self, door: &Arc<Door>) -> bool {
        self.state().doors.get(&(door.node, door.port)).is_some_and(|bound| Arc::ptr_eq(bound, door))
    }

    /// Nobody holds the door any more.
    fn remove(&self, door: &Arc<Door>) {
        if self.is_bound(door) {
            self.state().doors.remove(&(door.node, door.port));
        }
        door.close();
    }

    /// A node says goodbye to everybody.
    fn close_all(&self, node: NodeId, code: u32) {
        let lines = self.state().lines_of(node);
        lines.iter().for_each(|line| line.close(line.side_of(node), code));
    }

    /// Both halves are over.
    fn forget(&self, line: u64) {
        let mut state = self.state();
        let forgotten = state.lines.remove(&line);
        state.cut.remove(&line);
        drop(state);
        drop(forgotten);
    }

    /// Dials from a door; the answer comes, or never.
    async fn dial(self, door: Arc<Door>, to: SocketAddrV4) -> Answer {
        let begun = self.0.timeline.now();
        loop {
            let (answer, answered) = oneshot::channel();
            if self.knock(Offer { dialler: Arc::clone(&door), from: to, to, begun, answer }) {
                // Whoever does not answer drops the other end; the driver's patience ends the wait.
                return match answered.await {
                    Ok(answer) => answer,
                    Err(_) => std::future::pending().await,
                };
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Sends the first packet; false if nothing passes now.
    fn knock(&self, mut offer: Offer) -> bool {
        let (now, node) = (self.0.timeline.now(), offer.dialler.node);
        let Some(from) = self.0.internet.outward(node, offer.dialler.port, offer.to) else { return true };
        offer.from = from;
        let Some(receiver) = self.0.internet.at(*offer.to.ip()) else { return true };
        if self.is_paused(node) {
            return false;
        }
        let Some(arrival) = self.0.links.message(now, node, receiver, HELLO_BYTES) else { return false };
        self.0.internet.note(now, node, receiver, b"hello", &[]);
        let streams = self.clone();
        self.0.timeline.at(arrival, move || {
            let port = streams.0.internet.inward(receiver, offer.to.port(), offer.from);
            let door = port.and_then(|port| streams.state().doors.get(&(receiver, port)).cloned());
            if let Some(door) = door {
                door.offer(offer);
            }
        });
        true
    }

    /// The listener goes on: what it answers makes a line of the offer.
    fn welcome(&self, door: &Arc<Door>, offer: Offer) -> oneshot::Receiver<ends::Handle> {
        let (done, confirmed) = oneshot::channel();
        let now = self.0.timeline.now();
        let (dialler, listener) = (offer.dialler.node, door.node);
        let Some(arrival) = self.0.links.message(now, listener, dialler, WELCOME_BYTES) else { return confirmed };
        self.0.internet.note(now, listener, dialler, b"welcome", &[]);
        let (streams, door) = (self.clone(), Arc::clone(door));
        self.0.timeline.at(arrival, move || {
            let (then, net) = (streams.0.timeline.now(), &streams.0);
            // Either may have died meanwhile, or given up.
            let gone = offer.answer.is_closed() || !streams.is_bound(&offer.dialler) || !streams.is_bound(&door);
            let Some(confirmation) = net.links.message(then, dialler, listener, 0).filter(|_| !gone) else { return };
            net.internet.note(then, dialler, listener, b"confirmation", &[]);
            let line = streams.open([&offer.dialler, &door], [offer.from, offer.to], then.since(offer.begun));
            net.timeline.at(confirmation, {
                let line = Arc::clone(&line);
                move || {
                    // Nobody waits any more: dropping the handle closes the line.
                    let _ = done.send(ends::Handle::new(line, Side::Listener));
                }
            });
            let _ = offer.answer.send(Ok(ends::Handle::new(line, Side::Dialler)));
        });
        confirmed
    }

    /// The listener wants no more connections, and says so.
    fn turn_away(&self, door: &Door, offer: Offer) {
        let now = self.0.timeline.now();
        if let Some(arrival) = self.0.links.message(now, door.node, offer.dialler.node, 0) {
            self.0.internet.note(now, door.node, offer.dialler.node, b"refusal", &[]);
            self.0.timeline.at(arrival, move || {
                let _ = offer.answer.send(Err(Closed::Fault("the peer takes no more connections".to_owned())));
            });
        }
    }

    fn open(&self, doors: [&Door; 2], places: [SocketAddrV4; 2], rtt: Duration) -> Arc<Line> {
        let mut state = self.state();
        let id = state.next_line;
        state.next_line += 1;
        let line = Arc::new(Line::new(
            self.clone(),
            id,
            doors.map(|door| door.node),
            doors.map(|door| door.peer),
            doors.map(|door| door.port),
            places.map(SocketAddr::from),
            rtt,
        ));
        state.lines.insert(id, Arc::clone(&line));
        // A new line may be cut already.
        state.looked_at = None;
        drop(state);
        self.keep_looking();
        line
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn lines_of(&self, node: NodeId) -> Vec<Arc<Line>> {
        self.lines.values().filter(|line| line.nodes.contains(&node)).cloned().collect()
    }
}

fn doors_of(node: NodeId) -> std::ops::RangeInclusive<(NodeId, u16)> {
    (node, 0)..=(node, u16::MAX)
}

/// The carrier of one node.
struct NodeCarrier {
    streams: Streams,
    node: NodeId,
    peer: PeerId,
}

impl Carrier for NodeCarrier {
    fn bind(&self, address: SocketAddr, listen: bool) -> io::Result<Arc<dyn Endpoint>> {
        let local = self.streams.0.internet.claim(self.node, address.port())?;
        let mut state = self.streams.state();
        let key = (self.node, local.port());
        if state.doors.contains_key(&key) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let hall = Mutex::new(Hall { listening: listen, ..Hall::default() });
        let door = Arc::new(Door { node: self.node, peer: self.peer, port: local.port(), local, state: hall });
        state.doors.insert(key, Arc::clone(&door));
        drop(state);
        Ok(Arc::new(ends::BoundDoor::new(self.streams.clone(), door)))
    }
}
