//! Frames that go out, one unidirectional stream each.
//!
//! A frame to a connected peer is written by whoever sends it, from the sender's own thread: no task stands between an
//! actor and the connection. What cannot be done at once, which is waiting for room in the stream and for the
//! acknowledgement, is parked in `flights.rs`. The queues and their limits are in `lanes.rs`. Not decided here: what to
//! do without a connection, or when one is lost; that is the driver's, which hears of it by a [`Report`].

use super::{
    codes,
    config::Limits,
    connection::WriteError,
    lanes::{Ended, Lanes, Parcel},
    metrics::Counters,
    outbox::Deliveries,
    registry::{Link, Registry},
};
use pangea_protocols::{
    PeerId,
    net::{Class, Event, SendError},
    wire::Frame,
};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};

/// All frames on their way out; shared by the driver, the command port and the tasks of the frames.
pub struct Outbound {
    lanes: Mutex<Lanes>,
    registry: Arc<Registry>,
    counters: Arc<Counters>,
    deliveries: Deliveries,
    reports: mpsc::UnboundedSender<Report>,
    runtime: Handle,
    closing: AtomicBool,
}

/// What the driver must see to. One per frame at most, so bounded by the queues.
pub enum Report {
    /// A frame has ended otherwise than well, or while the driver waits for the last one.
    Ended { peer: PeerId, id: u64, link: Arc<Link>, outcome: Result<(), SendError> },
    /// The actors could not take this.
    Untold(Event),
    /// Frames wait, and there is no connection any more.
    Stranded { peer: PeerId },
}

impl Outbound {
    /// Nothing on its way, and where it reports. Tasks run on `runtime`.
    pub fn new(
        limits: Limits,
        registry: Arc<Registry>,
        counters: Arc<Counters>,
        deliveries: Deliveries,
        runtime: Handle,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Report>) {
        let (reports, receiver) = mpsc::unbounded_channel();
        let lanes = Mutex::new(Lanes::new(limits));
        let closing = AtomicBool::new(false);
        (Arc::new(Self { lanes, registry, counters, deliveries, reports, runtime, closing }), receiver)
    }

    /// Queues a frame.
    ///
    /// # Errors
    /// See [`Lanes::push`].
    pub fn push(&self, peer: PeerId, tag: u64, class: Class, frame: Frame) -> Result<(), SendError> {
        self.lanes().push(peer, tag, class, frame).map_err(|(error, _)| error)
    }

    /// Sends a frame if nothing stands in the way; from any thread. Otherwise it is for the driver to decide.
    ///
    /// # Errors
    /// The frame: there is no connection, a queue is full, the actors do not take events, or the node shuts down.
    pub fn send_now(self: &Arc<Self>, peer: PeerId, tag: u64, class: Class, frame: Frame) -> Result<(), Frame> {
        let Some(link) = self.registry.link(peer).filter(|_| !self.deliveries.must_wait()) else { return Err(frame) };
        let mut lanes = self.lanes();
        // Under the lock: the driver fails what waits after it has closed.
        if self.closing.load(Ordering::Acquire) {
            return Err(frame);
        }
        lanes.push(peer, tag, class, frame).map_err(|(_, frame)| frame)?;
        drop(lanes);
        if !self.pump_from(peer, Some(link)) {
            self.report(Report::Stranded { peer });
        }
        Ok(())
    }

    /// Gives as many waiting frames as allowed to the connection; false if some wait and there is none.
    pub fn pump(self: &Arc<Self>, peer: PeerId) -> bool {
        self.pump_from(peer, None)
    }

    /// As [`Outbound::pump`], beginning with a connection that was just looked up.
    fn pump_from(self: &Arc<Self>, peer: PeerId, mut known: Option<Arc<Link>>) -> bool {
        if !self.lanes().begin(peer) {
            return true;
        }
        loop {
            let link = known.take().filter(|link| !link.is_retiring()).or_else(|| self.registry.link(peer));
            let Some(link) = link else { return !self.lanes().release(peer) };
            // The lock is not held while the frame is written: others may queue theirs.
            let next = self.lanes().next(peer);
            let Some((parcel, cancelled)) = next else { return true };
            // Mostly there is room and the frame is written here.
            let flight = Box::pin(Arc::clone(self).fly(Arc::clone(&link), parcel, cancelled));
            link.flights.launch(flight, &self.runtime);
            known = Some(link);
        }
    }

    /// Ends a frame that the driver was told of.
    pub fn on_ended(&self, peer: PeerId, id: u64, outcome: Result<(), SendError>, retry: bool) -> Option<Ended> {
        self.lanes().on_ended(peer, id, outcome, retry)
    }

    /// Drops the frames with this tag; those that fly end by a report, the others are returned.
    pub fn cancel(&self, peer: PeerId, tag: u64) -> Vec<Ended> {
        self.lanes().cancel(peer, tag)
    }

    /// Ends all waiting frames to a peer; those that fly end by themselves.
    pub fn fail(&self, peer: PeerId, error: SendError) -> Vec<Ended> {
        self.lanes().fail(peer, error)
    }

    /// Peers that frames wait for or fly to.
    pub fn peers(&self) -> Vec<PeerId> {
        self.lanes().peers()
    }

    /// From now on the driver hears of every end, and nobody else sends.
    pub fn close(&self) {
        let _lanes = self.lanes();
        self.closing.store(true, Ordering::Release);
    }

    /// Writes one frame and waits for its acknowledgement.
    async fn fly(self: Arc<Self>, link: Arc<Link>, parcel: Parcel, cancelled: oneshot::Receiver<()>) {
        let hold = link.hold();
        let (peer, id) = (link.peer, parcel.id);
        let written = || {
            self.lanes().on_written(peer, id);
            // If this frame was itself written by `pump`, that one goes on.
            self.pump(peer);
        };
        let outcome = send(&link, parcel, cancelled, written).await;
        drop(hold);
        self.finish(link, id, outcome);
    }

    /// The usual end is told to the actors right here; all others are the driver's.
    fn finish(&self, link: Arc<Link>, id: u64, outcome: Result<(), SendError>) {
        let peer = link.peer;
        let mut lanes = self.lanes();
        if outcome.is_err() || self.closing.load(Ordering::Acquire) {
            drop(lanes);
            return self.report(Report::Ended { peer, id, link, outcome });
        }
        let ended = lanes.on_ended(peer, id, outcome, false);
        drop(lanes);
        if let Some(Ended { tag, bytes, .. }) = ended {
            self.counters.frames_sent.add(1);
            self.counters.bytes_sent.add(bytes);
            if let Err(event) = self.deliveries.try_deliver(Event::Sent { peer, tag }) {
                self.report(Report::Untold(event));
            }
        }
    }

    fn report(&self, report: Report) {
        // Fails only while the node shuts down.
        let _ = self.reports.send(report);
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        // No code that panics runs under this lock; a poisoned one still holds consistent counts.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        stream.set_priority(priority(parcel.class));
        let mut parts = [parcel.head, parcel.body];
        let parts = if parts[1].is_empty() { &mut parts[..1] } else { &mut parts[..] };
        stream.write_all_chunks(parts).await?;
        stream.finish()?;
        written();
        stream.delivered().await?;
        Ok::<_, WriteError>(())
    };
    let outcome = tokio::select! {
        biased;
        outcome = sending => Some(outcome),
        Ok(()) = &mut cancelled => None,
    };
    match outcome {
        Some(Ok(())) => Ok(()),
        Some(Err(WriteError::Stopped)) => Err(SendError::Refused),
        Some(Err(WriteError::Lost)) => Err(SendError::ConnectionLost),
        None => {
            stream.reset(codes::CANCELLED);
            Err(SendError::Cancelled)
        }
    }
}

/// libp2p's own streams are at 0: they must not wait behind shards, nor requests behind them.
fn priority(class: Class) -> i32 {
    match class {
        Class::Background => -2,
        Class::Bulk => -1,
        Class::Control => 1,
    }
}
