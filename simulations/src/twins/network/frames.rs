//! Frames: queued per peer, sent when there is a connection, acknowledged by the receiver, failed when the connection
//! is lost.

use super::{Network, Number, State, lane::Flying, node::Arrived};
use pangea_protocols::{
    net::{Class, Event, SendError},
    wire::Frame,
};
use std::time::Duration;

/// What does not get through is sent again this often, while the connection lasts.
const RESEND: Duration = Duration::from_millis(500);
/// Bytes of a packet that carries next to nothing.
pub(super) const PACKET: u64 = 60;
/// The actors hear of a round-trip time at most this often per peer.
const RTT_EVERY: Duration = Duration::from_secs(15);

impl Network {
    pub(super) fn send(&self, state: &mut State, me: Number, to: Number, tag: u64, class: Class, frame: Frame) {
        let peer = state.nodes[to].peer;
        let failed = |error| Event::SendFailed { peer, tag, error };
        if me == to {
            return self.tell(state, me, failed(SendError::Unreachable));
        }
        // A frame that breaks its own protocol is a bug here; the driver does not send it either.
        let Ok(head) = frame.head() else { return self.tell(state, me, failed(SendError::Cancelled)) };
        let bytes = head.len() + frame.body.len();
        let (limits, node) = (&self.0.limits, &mut state.nodes[me]);
        let fits = node.queued_bytes + bytes <= limits.send_bytes_max;
        if !fits || !node.lanes.entry(to).or_default().push(limits, tag, class, frame, bytes) {
            return self.tell(state, me, failed(SendError::QueueFull));
        }
        node.queued_bytes += bytes;
        if node.halves.contains_key(&to) {
            self.pump(state, me, to);
        } else {
            self.dial(state, me, to, false);
        }
    }

    /// Sends what waits and may go.
    pub(super) fn pump(&self, state: &mut State, me: Number, to: Number) {
        let now = self.now();
        loop {
            let node = &mut state.nodes[me];
            let Some(half) = node.halves.get_mut(&to) else { return };
            let Some(lane) = node.lanes.get_mut(&to) else { return };
            let Some((id, bytes)) = lane.next(&self.0.limits, now) else { return };
            half.used = now;
            let connection = half.connection;
            self.fly(state, me, to, connection, id, bytes as u64);
        }
    }

    fn fly(&self, state: &State, me: Number, to: Number, connection: u64, id: u64, bytes: u64) {
        let arrival = self.arrival(state, me, to, bytes);
        let at = arrival.unwrap_or(self.now() + RESEND);
        self.later(at, move |network, state| {
            let flies = state.nodes[me].lanes.get(&to).is_some_and(|lane| lane.flies(id));
            if !flies || state.nodes[me].halves.get(&to).is_none_or(|half| half.connection != connection) {
                return;
            }
            if arrival.is_none() {
                return network.fly(state, me, to, connection, id, bytes);
            }
            network.arrive(state, me, to, connection, id, bytes);
        });
    }

    fn arrive(&self, state: &mut State, from: Number, to: Number, connection: u64, id: u64, bytes: u64) {
        let now = self.now();
        let receiver = &mut state.nodes[to];
        let Some(half) = receiver.halves.get_mut(&from).filter(|half| half.connection == connection) else {
            // Whoever does not know the connection does not answer.
            return self.break_in_silence(from, to, connection);
        };
        half.used = now;
        let Some(frame) = state.nodes[from].lanes.get_mut(&to).and_then(|lane| lane.arrive(id)) else { return };
        state.counts.frames += 1;
        state.counts.bytes += bytes;
        self.hand_over(state, to, Arrived { from, connection, id, frame });
        self.pump(state, from, to);
    }

    /// Tells the sender that a frame has arrived.
    pub(super) fn acknowledge(&self, state: &State, from: Number, to: Number, id: u64) {
        let arrival = self.arrival(state, to, from, PACKET);
        let at = arrival.unwrap_or(self.now() + RESEND);
        self.later(at, move |network, state| {
            if arrival.is_some() {
                network.acknowledged(state, from, to, id);
            } else if state.nodes[from].halves.contains_key(&to) {
                network.acknowledge(state, from, to, id);
            }
        });
    }

    fn acknowledged(&self, state: &mut State, me: Number, to: Number, id: u64) {
        let now = self.now();
        let peer = state.nodes[to].peer;
        let node = &mut state.nodes[me];
        let Some(lane) = node.lanes.get_mut(&to) else { return };
        let Some(ended) = lane.end(id) else { return };
        node.queued_bytes -= ended.bytes;
        if lane.is_empty() {
            node.lanes.remove(&to);
        }
        let mut rtt = None;
        if let Some(half) = node.halves.get_mut(&to) {
            half.used = now;
            let due = half.rtt_told.is_none_or(|told| now.since(told) >= RTT_EVERY);
            rtt = ended.round_trip(now).filter(|_| due);
            half.rtt_told = if rtt.is_some() { Some(now) } else { half.rtt_told };
        }
        self.tell(state, me, Event::Sent { peer, tag: ended.tag });
        if let Some(rtt) = rtt {
            self.tell_now_or_never(state, me, Event::Rtt { peer, rtt });
        }
    }

    pub(super) fn cancel(&self, state: &mut State, me: Number, to: Number, tag: u64) {
        let Some(lane) = state.nodes[me].lanes.get_mut(&to) else { return };
        let ended = lane.cancel(tag);
        self.ended(state, me, to, ended, SendError::Cancelled);
        self.pump(state, me, to);
    }

    /// All frames to a peer fail.
    pub(super) fn fail_frames(&self, state: &mut State, me: Number, to: Number, error: SendError) {
        let Some(lane) = state.nodes[me].lanes.get_mut(&to) else { return };
        let ended = lane.fail();
        self.ended(state, me, to, ended, error);
    }

    fn ended(&self, state: &mut State, me: Number, to: Number, ended: Vec<Flying>, error: SendError) {
        let peer = state.nodes[to].peer;
        let node = &mut state.nodes[me];
        node.queued_bytes -= ended.iter().map(|flying| flying.bytes).sum::<usize>();
        if node.lanes.get(&to).is_some_and(super::lane::Lane::is_empty) {
            node.lanes.remove(&to);
        }
        for Flying { tag, .. } in ended {
            self.tell(state, me, Event::SendFailed { peer, tag, error });
        }
    }
}
