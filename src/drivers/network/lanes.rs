//! The queues of frames that go out: one lane per peer, bounded, the most urgent class first.
//!
//! Only the bookkeeping; who writes the frames is `outbound.rs`. A frame is *waiting*, then *flying*: being written
//! (its stream counts against the limit of the peer), then waiting for its acknowledgement.

use super::config::Limits;
use bytes::Bytes;
use pangea_protocols::{
    PeerId,
    net::{Class, SendError},
    wire::Frame,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
};
use tokio::sync::oneshot;

/// Streams that control frames have for themselves, beyond those of all classes.
const CONTROL_STREAMS: usize = 16;

/// The frames to all peers.
pub struct Lanes {
    limits: Limits,
    lanes: BTreeMap<PeerId, Lane>,
    bytes: usize,
    next_id: u64,
}

/// A frame that has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// What the sender called it.
    pub tag: u64,
    /// Bytes of its body.
    pub bytes: u64,
    /// How it went.
    pub outcome: Result<(), SendError>,
}

/// A frame and its name.
#[derive(Clone)]
pub struct Parcel {
    /// Names the frame within this node.
    pub id: u64,
    /// What the sender calls it; need not be unique.
    pub tag: u64,
    /// How urgent it is.
    pub class: Class,
    /// Prelude and header.
    pub head: Bytes,
    /// The rest.
    pub body: Bytes,
}

/// The frames to one peer.
#[derive(Default)]
struct Lane {
    waiting: BTreeMap<Reverse<Class>, VecDeque<Parcel>>,
    flying: BTreeMap<u64, Flying>,
    frames: usize,
    bytes: usize,
    writing: usize,
    /// Somebody is taking frames out. One at a time does, so that frames start in order.
    pumped: bool,
}

struct Flying {
    parcel: Parcel,
    written: bool,
    cancel: Option<oneshot::Sender<()>>,
}

impl Lanes {
    /// Nothing on its way.
    pub fn new(limits: Limits) -> Self {
        Self { limits, lanes: BTreeMap::new(), bytes: 0, next_id: 0 }
    }

    /// Queues a frame.
    ///
    /// # Errors
    /// The frame, with `QueueFull` at any of the limits, or `Cancelled` if it breaks its own protocol, which is a bug here.
    pub fn push(&mut self, peer: PeerId, tag: u64, class: Class, frame: Frame) -> Result<(), (SendError, Frame)> {
        let head = match frame.head() {
            Ok(head) => head,
            Err(error) => {
                tracing::error!(%error, "a frame of this node breaks its own protocol");
                return Err((SendError::Cancelled, frame));
            }
        };
        let bytes = head.len() + frame.body.len();
        let lane = self.lanes.entry(peer).or_default();
        let full = lane.frames >= self.limits.send_frames_per_peer_max
            || lane.bytes + bytes > self.limits.send_bytes_per_peer_max
            || self.bytes + bytes > self.limits.send_bytes_max;
        if full {
            if lane.frames == 0 {
                self.lanes.remove(&peer);
            }
            return Err((SendError::QueueFull, frame));
        }
        lane.frames += 1;
        lane.bytes += bytes;
        self.bytes += bytes;
        let id = self.next_id;
        self.next_id += 1;
        let parcel = Parcel { id, tag, class, head, body: frame.body };
        lane.waiting.entry(Reverse(class)).or_default().push_back(parcel);
        Ok(())
    }

    /// Claims the right to take frames out. False if somebody else has it, and takes those that wait now too.
    pub fn begin(&mut self, peer: PeerId) -> bool {
        self.lanes.get_mut(&peer).is_some_and(|lane| !std::mem::replace(&mut lane.pumped, true))
    }

    /// The next frame that may be written, and what tells of its cancellation. With none the claim is over.
    pub fn next(&mut self, peer: PeerId) -> Option<(Parcel, oneshot::Receiver<()>)> {
        let lane = self.lanes.get_mut(&peer)?;
        let Some(parcel) = lane.next(self.limits.send_streams_per_peer_max) else {
            lane.pumped = false;
            return None;
        };
        let (cancel, cancelled) = oneshot::channel();
        lane.writing += 1;
        lane.flying.insert(parcel.id, Flying { parcel: parcel.clone(), written: false, cancel: Some(cancel) });
        Some((parcel, cancelled))
    }

    /// Ends the claim although frames wait; true if some do.
    pub fn release(&mut self, peer: PeerId) -> bool {
        self.lanes.get_mut(&peer).is_some_and(|lane| {
            lane.pumped = false;
            lane.waiting.values().any(|queue| !queue.is_empty())
        })
    }

    /// A frame has been written.
    pub fn on_written(&mut self, peer: PeerId, id: u64) {
        if let Some(lane) = self.lanes.get_mut(&peer) {
            lane.written(id);
        }
    }

    /// A frame has ended. With `retry`, a frame that was lost with its connection is queued again, in front.
    pub fn on_ended(&mut self, peer: PeerId, id: u64, outcome: Result<(), SendError>, retry: bool) -> Option<Ended> {
        let lane = self.lanes.get_mut(&peer)?;
        lane.written(id);
        let Flying { parcel, .. } = lane.flying.remove(&id)?;
        if retry && outcome == Err(SendError::ConnectionLost) {
            lane.waiting.entry(Reverse(parcel.class)).or_default().push_front(parcel);
            return None;
        }
        Some(self.end(peer, &parcel, outcome))
    }

    /// Drops the frames with this tag; those that fly end by a report, the others are returned.
    pub fn cancel(&mut self, peer: PeerId, tag: u64) -> Vec<Ended> {
        let Some(lane) = self.lanes.get_mut(&peer) else { return Vec::new() };
        for flying in lane.flying.values_mut().filter(|flying| flying.parcel.tag == tag) {
            if let Some(cancel) = flying.cancel.take() {
                // Fails only if the frame has just ended.
                let _ = cancel.send(());
            }
        }
        let mut cancelled: Vec<VecDeque<Parcel>> = Vec::new();
        for queue in lane.waiting.values_mut() {
            let (gone, kept) = std::mem::take(queue).into_iter().partition(|parcel| parcel.tag == tag);
            *queue = kept;
            cancelled.push(gone);
        }
        cancelled.iter().flatten().map(|parcel| self.end(peer, parcel, Err(SendError::Cancelled))).collect()
    }

    /// Ends all waiting frames to a peer; those that fly end by themselves.
    pub fn fail(&mut self, peer: PeerId, error: SendError) -> Vec<Ended> {
        let Some(lane) = self.lanes.get_mut(&peer) else { return Vec::new() };
        let waiting: Vec<_> = std::mem::take(&mut lane.waiting).into_values().flatten().collect();
        waiting.iter().map(|parcel| self.end(peer, parcel, Err(error))).collect()
    }

    /// Peers that frames wait for or fly to.
    pub fn peers(&self) -> Vec<PeerId> {
        self.lanes.keys().copied().collect()
    }

    fn end(&mut self, peer: PeerId, parcel: &Parcel, outcome: Result<(), SendError>) -> Ended {
        let bytes = parcel.head.len() + parcel.body.len();
        self.bytes -= bytes;
        if let Some(lane) = self.lanes.get_mut(&peer) {
            lane.frames -= 1;
            lane.bytes -= bytes;
            if lane.frames == 0 {
                self.lanes.remove(&peer);
            }
        }
        Ended { tag: parcel.tag, bytes: parcel.body.len() as u64, outcome }
    }
}

impl Lane {
    /// The next frame that may be written: control frames have streams that others cannot take.
    fn next(&mut self, streams_max: usize) -> Option<Parcel> {
        let class = self.waiting.iter().find(|(_, queue)| !queue.is_empty()).map(|(class, _)| *class)?;
        let allowed = if class.0 == Class::Control { streams_max + CONTROL_STREAMS } else { streams_max };
        if self.writing >= allowed {
            return None;
        }
        self.waiting.get_mut(&class)?.pop_front()
    }

    fn written(&mut self, id: u64) {
        if let Some(flying) = self.flying.get_mut(&id).filter(|flying| !flying.written) {
            flying.written = true;
            self.writing -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_protocols::wire::{Message, have::Have};

    const PEER: PeerId = PeerId([7; 32]);

    fn frame(bytes: usize) -> Frame {
        Frame { message: Message::Have(Have::Have { request: 1, present: vec![] }), body: vec![0; bytes].into() }
    }

    fn push(lanes: &mut Lanes, peer: PeerId, tag: u64, class: Class, frame: Frame) -> Result<(), SendError> {
        lanes.push(peer, tag, class, frame).map_err(|(error, _)| error)
    }

    fn lanes() -> Lanes {
        let limits = Limits {
            send_frames_per_peer_max: 3,
            send_bytes_per_peer_max: 10_000,
            send_bytes_max: 15_000,
            ..Limits::default()
        };
        Lanes::new(limits)
    }

    #[test]
    fn a_full_queue_refuses_by_frames_by_bytes_and_by_bytes_of_all_peers() {
        let mut out = lanes();
        for tag in 0..3 {
            assert_eq!(push(&mut out, PEER, tag, Class::Bulk, frame(10)), Ok(()));
        }
        assert_eq!(push(&mut out, PEER, 3, Class::Control, frame(0)), Err(SendError::QueueFull));

        let mut out = lanes();
        assert_eq!(push(&mut out, PEER, 1, Class::Bulk, frame(9_000)), Ok(()));
        assert_eq!(push(&mut out, PEER, 2, Class::Bulk, frame(1_000)), Err(SendError::QueueFull));
        assert_eq!(push(&mut out, PeerId([8; 32]), 3, Class::Bulk, frame(9_000)), Err(SendError::QueueFull));
        assert_eq!(push(&mut out, PeerId([8; 32]), 3, Class::Bulk, frame(5_000)), Ok(()));
        out.fail(PEER, SendError::Unreachable);
        out.fail(PeerId([8; 32]), SendError::Unreachable);
        assert_eq!((out.bytes, out.lanes.len()), (0, 0));
    }

    #[test]
    fn control_goes_before_bulk_and_bulk_before_background_in_the_order_of_arrival() {
        let mut out = lanes();
        for (tag, class) in [(1, Class::Background), (2, Class::Bulk), (3, Class::Control)] {
            push(&mut out, PEER, tag, class, frame(1)).unwrap();
        }
        let lane = out.lanes.get_mut(&PEER).unwrap();
        let order: Vec<_> = std::iter::from_fn(|| lane.next(1)).map(|parcel| parcel.tag).collect();
        assert_eq!(order, [3, 2, 1]);
    }

    #[test]
    fn control_has_streams_that_bulk_cannot_take() {
        let mut out = lanes();
        push(&mut out, PEER, 1, Class::Bulk, frame(1)).unwrap();
        let lane = out.lanes.get_mut(&PEER).unwrap();
        lane.writing = 1;
        assert!(lane.next(1).is_none());
        push(&mut out, PEER, 2, Class::Control, frame(1)).unwrap();
        assert_eq!(out.lanes.get_mut(&PEER).unwrap().next(1).map(|parcel| parcel.tag), Some(2));
    }

    #[test]
    fn a_cancelled_frame_that_waits_is_gone_and_others_stay() {
        let mut out = lanes();
        for tag in [1, 2] {
            push(&mut out, PEER, tag, Class::Bulk, frame(1)).unwrap();
        }
        assert_eq!(out.cancel(PEER, 1), [Ended { tag: 1, bytes: 1, outcome: Err(SendError::Cancelled) }]);
        assert!(out.cancel(PEER, 1).is_empty());
        assert_eq!(out.peers(), [PEER]);
        assert_eq!(out.fail(PEER, SendError::Unreachable).len(), 1);
        assert!(out.peers().is_empty());
    }

    #[test]
    fn one_at_a_time_takes_frames_out_and_sees_those_that_came_meanwhile() {
        let mut out = lanes();
        push(&mut out, PEER, 1, Class::Bulk, frame(1)).unwrap();
        assert!(out.begin(PEER));
        push(&mut out, PEER, 2, Class::Bulk, frame(1)).unwrap();
        assert!(!out.begin(PEER), "two take frames out at once");
        assert_eq!(out.next(PEER).map(|(parcel, _)| parcel.tag), Some(1));
        assert_eq!(out.next(PEER).map(|(parcel, _)| parcel.tag), Some(2));
        assert!(out.next(PEER).is_none());
        assert!(out.begin(PEER), "the claim was not given up");
        assert!(!out.release(PEER));
    }
}
