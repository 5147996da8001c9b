//! [`Line`]: a connection, and what passes between its two halves.
//!
//! What a half sends at one moment travels together, as in a packet: one arrival, and the receiver's tasks are woken
//! once. **Invariant.** Nobody is woken, and nothing is dropped that may call back, while the lock is held.

use super::{
    Streams,
    half::{Batch, Half, Kind, Message, Reading, StreamId, Writing},
};
use crate::record::NodeId;
use bytes::Bytes;
use pangea::drivers::network::Closed;
use pangea_protocols::PeerId;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
    time::Duration,
};

/// Bytes that may be under way or unread in one direction of a line.
pub(super) const WINDOW_BYTES: usize = 64 << 20;
/// Unidirectional streams that one side may have open.
pub(super) const UNI_STREAMS_MAX: usize = 448;
/// Bidirectional streams that one side may have open.
pub(super) const BI_STREAMS_MAX: usize = 256;
/// What is sent at one moment travels together up to so many bytes.
const BATCH_BYTES: usize = 1200;
/// What a message takes beside its bytes.
const MESSAGE_BYTES: usize = 40;

/// The two sides of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// It began the line.
    Dialler,
    /// It was dialled.
    Listener,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Listener,
            Self::Listener => Self::Dialler,
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}

/// A connection.
pub(super) struct Line {
    pub(super) id: u64,
    pub(super) nodes: [NodeId; 2],
    pub(super) peers: [PeerId; 2],
    /// How long the dial took.
    pub(super) rtt: Duration,
    /// Where the halves' nodes are bound.
    ports: [u16; 2],
    streams: Streams,
    state: Mutex<[Half; 2]>,
}

impl Line {
    pub(super) fn new(
        streams: Streams,
        id: u64,
        nodes: [NodeId; 2],
        peers: [PeerId; 2],
        ports: [u16; 2],
        addresses: [SocketAddr; 2],
        rtt: Duration,
    ) -> Self {
        Self { id, nodes, peers, rtt, ports, streams, state: Mutex::new(addresses.map(Half::new)) }
    }

    pub(super) fn side_of(&self, node: NodeId) -> Side {
        if self.nodes[0] == node { Side::Dialler } else { Side::Listener }
    }

    /// Where a side sees the other.
    pub(super) fn remote_of(&self, side: Side) -> SocketAddr {
        self.halves()[side.other().index()].address
    }

    /// Batches that a side has heard, as keep-alives in between would make them.
    pub(super) fn heard(&self, side: Side) -> u64 {
        let silent = self.halves()[side.other().index()].dead;
        let heard = self.halves()[side.index()].heard;
        // A living peer says something every now and then.
        if silent { heard } else { heard + self.streams.0.timeline.now().0 / super::KEEP_ALIVE.as_nanos() as u64 }
    }

    /// Others see this side elsewhere, from the next packet on.
    pub(super) fn move_to(&self, side: Side) {
        let SocketAddr::V4(remote) = self.remote_of(side) else { return };
        let (node, port) = (self.nodes[side.index()], self.ports[side.index()]);
        if let Some(seen) = self.streams.0.internet.outward(node, port, remote) {
            self.halves()[side.index()].address = seen.into();
        }
    }

    /// What a half sees and does, under the lock; wakers that come back are woken after it.
    pub(super) fn with<R>(&self, side: Side, work: impl FnOnce(&mut Half) -> R) -> R {
        work(&mut self.halves()[side.index()])
    }

    /// Opens a stream if one more is allowed; `None` if not, and then the task is woken when one is.
    pub(super) fn open(&self, side: Side, kind: Kind, cx: &Context<'_>) -> Result<Option<StreamId>, Closed> {
        let mut halves = self.halves();
        let half = &mut halves[side.index()];
        if let Some(reason) = &half.closed {
            return Err(reason.clone());
        }
        let most = [UNI_STREAMS_MAX, BI_STREAMS_MAX][kind as usize];
        if half.open[kind as usize] >= most {
            half.waiters.add(cx);
            return Ok(None);
        }
        half.open[kind as usize] += 1;
        let number = half.opened[kind as usize];
        half.opened[kind as usize] += 1;
        let id = StreamId { kind, opener: side as u8, number };
        half.writing.insert(id, Writing::default());
        if kind == Kind::Bi {
            half.reading.insert(id, Reading::default());
        }
        Ok(Some(id))
    }

    /// Sends bytes of a stream.
    pub(super) fn write(self: &Arc<Self>, side: Side, id: StreamId, bytes: Bytes) {
        self.halves()[side.index()].unread += bytes.len();
        self.send(side, Message::Bytes(id, bytes));
    }

    /// The stream is whole.
    pub(super) fn finish(self: &Arc<Self>, side: Side, id: StreamId) {
        self.send(side, Message::Fin(id));
    }

    /// The writer is done with the stream: gives it up if it is not finished, or `at_any_rate` unless all has arrived.
    pub(super) fn leave_writing(self: &Arc<Self>, side: Side, id: StreamId, at_any_rate: bool) {
        let gone = self.halves()[side.index()].writing.remove(&id);
        if gone.is_some_and(|writing| !writing.finished || at_any_rate && !writing.delivered) {
            self.send(side, Message::Reset(id));
        }
    }

    /// The reader gives up, or is done with the stream.
    pub(super) fn leave_reading(self: &Arc<Self>, side: Side, id: StreamId) {
        let mut halves = self.halves();
        let gone = halves[side.index()].reading.remove(&id);
        let Some(reading) = gone else { return };
        let unread: usize = reading.chunks.iter().map(Bytes::len).sum();
        let blocked = self.make_room(&mut halves, side, unread, Some(id));
        drop(halves);
        if reading.end.is_none() {
            self.send(side, Message::Stop(id));
        }
        if blocked {
            self.send(side, Message::Credit);
        }
    }

    /// Bytes have been read.
    pub(super) fn was_read(self: &Arc<Self>, side: Side, bytes: usize) {
        let mut halves = self.halves();
        let blocked = self.make_room(&mut halves, side, bytes, None);
        drop(halves);
        if blocked {
            self.send(side, Message::Credit);
        }
    }

    /// True if the other side may wait for the room.
    fn make_room(&self, halves: &mut [Half; 2], side: Side, bytes: usize, ended: Option<StreamId>) -> bool {
        let other = &mut halves[side.other().index()];
        let was_full = other.unread >= WINDOW_BYTES;
        other.unread = other.unread.saturating_sub(bytes);
        let mut blocked = was_full && other.unread < WINDOW_BYTES;
        if let Some(id) = ended.filter(|id| id.opener == side.other() as u8) {
            let most = [UNI_STREAMS_MAX, BI_STREAMS_MAX][id.kind as usize];
            let open = &mut other.open[id.kind as usize];
            blocked |= *open >= most;
            *open = open.saturating_sub(1);
        }
        blocked
    }

    /// Closes a half, and says so.
    pub(super) fn close(self: &Arc<Self>, side: Side, code: u32) {
        if self.halves()[side.index()].closed.is_some() {
            return;
        }
        self.send(side, Message::Close(code));
        self.end(side, Closed::Here);
    }

    /// A half is over, without a word to the other.
    pub(super) fn end(&self, side: Side, reason: Closed) {
        let mut halves = self.halves();
        if halves[side.index()].closed.is_some() {
            return;
        }
        let wakers = halves[side.index()].close(reason);
        let over = halves.iter().all(|half| half.closed.is_some());
        drop(halves);
        if over {
            self.streams.forget(self.id);
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The node of a half is dead: nothing that it still says is heard.
    pub(super) fn die(&self, side: Side) {
        {
            let half = &mut self.halves()[side.index()];
            half.dead = true;
            half.held.clear();
        }
        self.end(side, Closed::Fault("this node is dead".to_owned()));
    }

    fn send(self: &Arc<Self>, side: Side, message: Message) {
        let (from, to) = (self.nodes[side.index()], self.nodes[side.other().index()]);
        let (net, now) = (&self.streams.0, self.streams.0.timeline.now());
        let paused = self.streams.is_paused(from);
        let mut halves = self.halves();
        let half = &mut halves[side.index()];
        if half.dead || half.closed.is_some() {
            return;
        }
        if !paused {
            net.internet.note(now, from, to, message.name(), message.bytes());
        }
        let size = message.bytes().len() + MESSAGE_BYTES;
        let last = if half.held.is_empty() { half.flying.back_mut() } else { half.held.back_mut() };
        if let Some(batch) = last.filter(|batch| batch.left == now && batch.bytes + size <= BATCH_BYTES) {
            batch.bytes += size;
            return batch.messages.push(message);
        }
        let batch = Batch { left: now, bytes: size, messages: vec![message] };
        let passes = half.held.is_empty() && !paused;
        self.launch(&mut halves, side, batch, passes);
    }

    /// Puts a batch on its way if the line `passes`, else among the held.
    fn launch(self: &Arc<Self>, halves: &mut [Half; 2], side: Side, batch: Batch, passes: bool) -> bool {
        let (from, to) = (self.nodes[side.index()], self.nodes[side.other().index()]);
        let now = self.streams.0.timeline.now();
        let arrival = if passes { self.streams.0.links.message(now, from, to, batch.bytes as u64) } else { None };
        let Some(arrival) = arrival else {
            halves[side.index()].held.push_back(batch);
            return false;
        };
        halves[side.index()].flying.push_back(batch);
        let line = Arc::clone(self);
        self.streams.0.timeline.at(arrival, move || line.arrive(side));
        true
    }

    /// The oldest batch that `side` has sent is there.
    fn arrive(self: &Arc<Self>, side: Side) {
        let paused = self.streams.is_paused(self.nodes[side.other().index()]);
        let mut halves = self.halves();
        let Some(batch) = halves[side.index()].flying.pop_front() else { return };
        let receiver = &mut halves[side.other().index()];
        if receiver.closed.is_some() {
            drop(halves);
            return drop(batch);
        }
        if paused || !receiver.waiting.is_empty() {
            return receiver.waiting.push_back(batch);
        }
        drop(halves);
        self.take_in(side.other(), batch);
    }

    /// A half hears a batch.
    fn take_in(self: &Arc<Self>, side: Side, batch: Batch) {
        let mut wakers = Vec::new();
        let (mut closed, mut delivered, mut late) = (None, Vec::new(), 0);
        let mut halves = self.halves();
        let half = &mut halves[side.index()];
        half.heard += 1;
        for message in batch.messages {
            match message {
                Message::Bytes(id, _) | Message::Fin(id) | Message::Reset(id)
                    if id.opener != side as u8 && half.is_new(id) =>
                {
                    half.begin(id, &mut wakers);
                    late += half.hear(message, &mut delivered, &mut wakers);
                }
                Message::Close(code) => closed = Some(code),
                message => late += half.hear(message, &mut delivered, &mut wakers),
            }
        }
        if late > 0 {
            self.make_room(&mut halves, side, late, None);
        }
        drop(halves);
        for id in delivered {
            self.send(side, Message::Delivered(id));
        }
        wakers.into_iter().for_each(Waker::wake);
        if let Some(code) = closed {
            self.end(side, Closed::ByPeer(code.into()));
        }
    }

    /// What was held up gets through: what was to be heard, then what was to be said.
    pub(super) fn go_on(self: &Arc<Self>) {
        for side in [Side::Dialler, Side::Listener] {
            if self.streams.is_paused(self.nodes[side.index()]) {
                continue;
            }
            let waiting = std::mem::take(&mut self.halves()[side.index()].waiting);
            for batch in waiting {
                self.take_in(side, batch);
            }
            let mut halves = self.halves();
            let mut held = std::mem::take(&mut halves[side.index()].held);
            while let Some(batch) = held.pop_front() {
                if !self.launch(&mut halves, side, batch, true) {
                    halves[side.index()].held.extend(held);
                    break;
                }
            }
        }
    }

    /// Sends a datagram: it comes once, twice or never.
    pub(super) fn send_datagram(self: &Arc<Self>, side: Side, bytes: Bytes) {
        let (from, to) = (self.nodes[side.index()], self.nodes[side.other().index()]);
        let (net, now) = (&self.streams.0, self.streams.0.timeline.now());
        if self.streams.is_paused(from) {
            return;
        }
        net.internet.note(now, from, to, b"datagram", &bytes);
        for at in net.links.packet(now, from, to, (bytes.len() + MESSAGE_BYTES) as u64).into_iter().flatten() {
            let (line, bytes) = (Arc::clone(self), bytes.clone());
            net.timeline.at(at, move || line.take_datagram(side.other(), bytes));
        }
    }

    fn take_datagram(&self, side: Side, bytes: Bytes) {
        let mut wakers = Vec::new();
        let mut halves = self.halves();
        let half = &mut halves[side.index()];
        if half.closed.is_none() {
            half.push_datagram(bytes);
            half.waiters.take(&mut wakers);
        }
        drop(halves);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn halves(&self) -> MutexGuard<'_, [Half; 2]> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
