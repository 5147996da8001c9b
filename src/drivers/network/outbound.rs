//! Frames that go out: a bounded queue per peer, the most urgent class first, one unidirectional stream per frame.
//!
//! A frame is *waiting* (queued), then *flying* (it has a task that writes it and waits for the acknowledgement). Not
//! decided here: whether there is a connection, and what to do without one; that is the driver's (`driver.rs`).

use super::{codes, config::Limits, registry::Link};
use bytes::Bytes;
use pangea_protocols::{
    PeerId,
    net::{Class, SendError},
    wire::Frame,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use tokio::sync::{mpsc, oneshot};

/// Streams that control frames have for themselves, beyond those of all classes.
const CONTROL_STREAMS: usize = 16;

/// All frames on their way out.
pub struct Outbound {
    limits: Limits,
    lanes: BTreeMap<PeerId, Lane>,
    bytes: usize,
    next_id: u64,
    reports: mpsc::UnboundedSender<Report>,
}

/// From the task of a flying frame; two per frame, so bounded by the queues.
pub enum Report {
    /// The frame is in QUIC's hands: the next one may be written.
    Written { peer: PeerId, id: u64 },
    /// The frame is acknowledged or has failed.
    Ended { peer: PeerId, id: u64, link: Arc<Link>, outcome: Result<(), SendError> },
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

/// The frames to one peer.
#[derive(Default)]
struct Lane {
    waiting: BTreeMap<std::cmp::Reverse<Class>, VecDeque<Parcel>>,
    flying: BTreeMap<u64, Flying>,
    frames: usize,
    bytes: usize,
    writing: usize,
}

/// A frame and its name.
#[derive(Clone)]
struct Parcel {
    id: u64,
    tag: u64,
    class: Class,
    head: Bytes,
    body: Bytes,
}

struct Flying {
    parcel: Parcel,
    written: bool,
    cancel: Option<oneshot::Sender<()>>,
}

impl Outbound {
    /// Nothing on its way, and where the tasks report.
    pub fn new(limits: Limits) -> (Self, mpsc::UnboundedReceiver<Report>) {
        let (reports, receiver) = mpsc::unbounded_channel();
        (Self { limits, lanes: BTreeMap::new(), bytes: 0, next_id: 0, reports }, receiver)
    }

    /// Queues a frame.
    ///
    /// # Errors
    /// `QueueFull` at any of the limits; `Cancelled` for a frame that breaks its own protocol, which is a bug here.
    pub fn push(&mut self, peer: PeerId, tag: u64, class: Class, frame: Frame) -> Result<(), SendError> {
        let head = frame.head().map_err(|error| {
            tracing::error!(%error, "a frame of this node breaks its own protocol");
            SendError::Cancelled
        })?;
        let bytes = head.len() + frame.body.len();
        let lane = self.lanes.entry(peer).or_default();
        let full = lane.frames >= self.limits.send_frames_per_peer_max
            || lane.bytes + bytes > self.limits.send_bytes_per_peer_max
            || self.bytes + bytes > self.limits.send_bytes_max;
        if full {
            if lane.frames == 0 {
                self.lanes.remove(&peer);
            }
            return Err(SendError::QueueFull);
        }
        lane.frames += 1;
        lane.bytes += bytes;
        self.bytes += bytes;
        let id = self.next_id;
        self.next_id += 1;
        let parcel = Parcel { id, tag, class, head, body: frame.body };
        lane.waiting.entry(std::cmp::Reverse(class)).or_default().push_back(parcel);
        Ok(())
    }

    /// Gives as many waiting frames as allowed to the connection.
    pub fn pump(&mut self, link: &Arc<Link>) {
        let Some(lane) = self.lanes.get_mut(&link.peer) else { return };
        while let Some(parcel) = lane.next(self.limits.send_streams_per_peer_max) {
            let (cancel, cancelled) = oneshot::channel();
            lane.writing += 1;
            lane.flying.insert(parcel.id, Flying { parcel: parcel.clone(), written: false, cancel: Some(cancel) });
            tokio::spawn(fly(Arc::clone(link), parcel, cancelled, self.reports.clone()));
        }
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
            lane.waiting.entry(std::cmp::Reverse(parcel.class)).or_default().push_front(parcel);
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

/// Writes one frame and waits for its acknowledgement.
async fn fly(
    link: Arc<Link>,
    parcel: Parcel,
    cancelled: oneshot::Receiver<()>,
    reports: mpsc::UnboundedSender<Report>,
) {
    let hold = link.hold();
    let (peer, id) = (link.peer, parcel.id);
    let outcome = send(&link, parcel, cancelled, || {
        // Fails only while the node shuts down; so below.
        let _ = reports.send(Report::Written { peer, id });
    })
    .await;
    drop(hold);
    let _ = reports.send(Report::Ended { peer, id, link, outcome });
}

async fn send(
    link: &Link,
    parcel: Parcel,
    mut cancelled: oneshot::Receiver<()>,
    written: impl FnOnce(),
) -> Result<(), SendError> {
    let mut stream = tokio::select! {
        biased;
        Ok(()) = &mut cancelled => return Err(SendError::Cancelled),
        stream = link.connection.open_uni() => stream.map_err(|_| SendError::ConnectionLost)?,
    };
    let sending = async {
        stream.set_priority(priority(parcel.class)).map_err(|_| SendError::ConnectionLost)?;
        let mut parts = [parcel.head, parcel.body];
        let parts = if parts[1].is_empty() { &mut parts[..1] } else { &mut parts[..] };
        stream.write_all_chunks(parts).await.map_err(|error| match error {
            quinn::WriteError::Stopped(_) => SendError::Refused,
            _ => SendError::ConnectionLost,
        })?;
        stream.finish().map_err(|_| SendError::ConnectionLost)?;
        written();
        match stream.stopped().await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(SendError::Refused),
            Err(_) => Err(SendError::ConnectionLost),
        }
    };
    let outcome = tokio::select! {
        biased;
        outcome = sending => Some(outcome),
        Ok(()) = &mut cancelled => None,
    };
    outcome.unwrap_or_else(|| {
        // Fails only if everything was acknowledged in the meantime.
        let _ = stream.reset(codes::CANCELLED);
        Err(SendError::Cancelled)
    })
}

/// libp2p's own streams are at 0: they must not wait behind shards, nor requests behind them.
fn priority(class: Class) -> i32 {
    match class {
        Class::Background => -2,
        Class::Bulk => -1,
        Class::Control => 1,
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

    fn outbound() -> Outbound {
        let limits = Limits {
            send_frames_per_peer_max: 3,
            send_bytes_per_peer_max: 10_000,
            send_bytes_max: 15_000,
            ..Limits::default()
        };
        Outbound::new(limits).0
    }

    #[test]
    fn a_full_queue_refuses_by_frames_by_bytes_and_by_bytes_of_all_peers() {
        let mut out = outbound();
        for tag in 0..3 {
            assert_eq!(out.push(PEER, tag, Class::Bulk, frame(10)), Ok(()));
        }
        assert_eq!(out.push(PEER, 3, Class::Control, frame(0)), Err(SendError::QueueFull));

        let mut out = outbound();
        assert_eq!(out.push(PEER, 1, Class::Bulk, frame(9_000)), Ok(()));
        assert_eq!(out.push(PEER, 2, Class::Bulk, frame(1_000)), Err(SendError::QueueFull));
        assert_eq!(out.push(PeerId([8; 32]), 3, Class::Bulk, frame(9_000)), Err(SendError::QueueFull));
        assert_eq!(out.push(PeerId([8; 32]), 3, Class::Bulk, frame(5_000)), Ok(()));
        out.fail(PEER, SendError::Unreachable);
        out.fail(PeerId([8; 32]), SendError::Unreachable);
        assert_eq!((out.bytes, out.lanes.len()), (0, 0));
    }

    #[test]
    fn control_goes_before_bulk_and_bulk_before_background_in_the_order_of_arrival() {
        let mut out = outbound();
        for (tag, class) in [(1, Class::Background), (2, Class::Bulk), (3, Class::Control)] {
            out.push(PEER, tag, class, frame(1)).unwrap();
        }
        let lane = out.lanes.get_mut(&PEER).unwrap();
        let order: Vec<_> = std::iter::from_fn(|| lane.next(1)).map(|parcel| parcel.tag).collect();
        assert_eq!(order, [3, 2, 1]);
    }

    #[test]
    fn control_has_streams_that_bulk_cannot_take() {
        let mut out = outbound();
        out.push(PEER, 1, Class::Bulk, frame(1)).unwrap();
        let lane = out.lanes.get_mut(&PEER).unwrap();
        lane.writing = 1;
        assert!(lane.next(1).is_none());
        out.push(PEER, 2, Class::Control, frame(1)).unwrap();
        assert_eq!(out.lanes.get_mut(&PEER).unwrap().next(1).map(|parcel| parcel.tag), Some(2));
    }

    #[test]
    fn a_cancelled_frame_that_waits_is_gone_and_others_stay() {
        let mut out = outbound();
        for tag in [1, 2] {
            out.push(PEER, tag, Class::Bulk, frame(1)).unwrap();
        }
        assert_eq!(out.cancel(PEER, 1), [Ended { tag: 1, bytes: 1, outcome: Err(SendError::Cancelled) }]);
        assert!(out.cancel(PEER, 1).is_empty());
        assert_eq!(out.peers(), [PEER]);
        assert_eq!(out.fail(PEER, SendError::Unreachable).len(), 1);
        assert!(out.peers().is_empty());
    }
}
