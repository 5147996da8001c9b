//! Frames that come in: one per unidirectional stream.
//!
//! Every stream is read in its own task, within bounds: streams at once per connection, bytes in memory per
//! connection and in total, progress in time. Lengths are checked before anything is allocated.

use super::{
    codes,
    config::Limits,
    connection::{Closed, RecvStream},
    flights::Flights,
    metrics::Counters,
    outbox::Deliveries,
    registry::{Link, Registry},
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::FutureExt;
use pangea_protocols::{
    net::Event,
    wire::{Frame, Message, PRELUDE_BYTES, Prelude, WireError},
};
use std::{pin::Pin, sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Sleep, sleep, timeout},
};

/// Unit of the memory budget.
const BUDGET_UNIT_BYTES: usize = 1 << 10;
/// Least progress of a stream per [`Limits::receive_stall`].
const PROGRESS_BYTES_MIN: usize = 32 << 10;
/// Most bytes that are read before they are asked for.
const READ_AHEAD_BYTES: usize = 4 << 10;
/// Packets' worth of a body that are taken from the connection at once.
const CHUNKS_AT_ONCE: usize = 32;

/// What all incoming streams share.
pub struct Inbound {
    deliveries: Deliveries,
    budget: Arc<Semaphore>,
    limits: Limits,
    counters: Arc<Counters>,
    registry: Arc<Registry>,
}

impl Inbound {
    /// Frames go to `deliveries`.
    pub fn new(deliveries: Deliveries, limits: Limits, counters: Arc<Counters>, registry: Arc<Registry>) -> Self {
        let budget = Arc::new(Semaphore::new(limits.receive_bytes_max / BUDGET_UNIT_BYTES));
        Self { deliveries, budget, limits, counters, registry }
    }

    /// Reads the streams of a connection until it is closed, and looks after the frames that go out; then, when all that
    /// was received is delivered, reports it.
    pub async fn serve(self: Arc<Self>, link: Arc<Link>) {
        let care = Care(Arc::clone(&link.flights));
        let reason = if link.pangea { self.accept(&link).await } else { link.connection.closed().await };
        self.registry.closed(link, reason);
        // Not before: what ends now is sent again over another connection, if there is one.
        care.0.end().await;
    }

    async fn accept(self: &Arc<Self>, link: &Arc<Link>) -> Closed {
        let share = Arc::new(Semaphore::new(self.limits.receive_bytes_per_peer_max / BUDGET_UNIT_BYTES));
        let mut streams = JoinSet::new();
        let reason = loop {
            if streams.len() >= self.limits.receive_streams_per_peer_max {
                link.flights.beside(streams.join_next()).await;
            }
            while streams.try_join_next().is_some() {}
            let stream = match link.flights.beside(link.connection.accept_uni()).await {
                Ok(stream) => stream,
                Err(reason) => break reason,
            };
            let mut frame = Box::pin(Arc::clone(self).receive(Arc::clone(link), stream, Arc::clone(&share)));
            // A small frame is mostly here as a whole: a task is for those that must wait, and looks again at once.
            if frame.as_mut().now_or_never().is_none() {
                streams.spawn(frame);
            }
        };
        while link.flights.beside(streams.join_next()).await.is_some() {}
        reason
    }

    async fn receive(self: Arc<Self>, link: Arc<Link>, stream: Box<dyn RecvStream>, share: Arc<Semaphore>) {
        let _use = link.hold();
        let mut reader = Reader::new(stream, self.limits.receive_stall);
        match self.read(&mut reader, &share).await {
            Ok((frame, memory)) => {
                // Its end takes the lock of the connection, which the receiver's answer will want.
                drop(reader);
                let bytes = frame.body.len() as u64;
                let event = Event::Received { peer: link.peer, frame };
                if self.deliveries.deliver(event, self.limits.receive_stall).await {
                    self.counters.frames_received.add(1);
                    self.counters.bytes_received.add(bytes);
                } else {
                    self.counters.streams_busy.add(1);
                }
                drop(memory);
            }
            Err(fault) => self.on_fault(&link, &mut reader, fault).await,
        }
    }

    async fn read(&self, reader: &mut Reader, share: &Arc<Semaphore>) -> Result<(Frame, Memory), Fault> {
        let mut prelude = [0; PRELUDE_BYTES];
        reader.fill_small(&mut prelude).await?;
        let prelude = Prelude::read(&prelude)?;
        let memory = self.reserve(share, prelude.header_len + prelude.body_len).await?;

        let mut header = vec![0; prelude.header_len];
        reader.fill_small(&mut header).await?;
        let message = Message::read(&prelude, &header)?;
        let body = reader.body(prelude.body_len).await?;
        reader.end().await?;
        Ok((Frame { message, body }, memory))
    }

    /// Takes memory for a frame, first of the connection's share, then of the node's.
    async fn reserve(&self, share: &Arc<Semaphore>, bytes: usize) -> Result<Memory, Fault> {
        let units = u32::try_from(bytes / BUDGET_UNIT_BYTES + 1).unwrap_or(u32::MAX);
        let at_once = Arc::clone(share).try_acquire_many_owned(units).ok();
        let at_once =
            at_once.and_then(|share| Some((share, Arc::clone(&self.budget).try_acquire_many_owned(units).ok()?)));
        if let Some((share, budget)) = at_once {
            return Ok(Memory { _share: share, _budget: budget });
        }
        let both = async {
            let share = Arc::clone(share).acquire_many_owned(units).await.ok()?;
            Some(Memory { _share: share, _budget: Arc::clone(&self.budget).acquire_many_owned(units).await.ok()? })
        };
        timeout(self.limits.receive_stall, both).await.ok().flatten().ok_or(Fault::Busy)
    }

    async fn on_fault(&self, link: &Arc<Link>, reader: &mut Reader, fault: Fault) {
        let (counter, code, reason) = match fault {
            Fault::Garbage(error) => (&self.counters.streams_garbage, codes::GARBAGE, Some(error.to_string())),
            Fault::Stalled => (&self.counters.streams_stalled, codes::STALLED, Some("a stream stood still".to_owned())),
            Fault::Busy => (&self.counters.streams_busy, codes::BUSY, None),
            Fault::Gone => (&self.counters.streams_reset, codes::GARBAGE, None),
        };
        counter.add(1);
        reader.stop(code);
        if let Some(reason) = reason {
            tracing::debug!(peer = %link.peer, %reason, "refused a stream");
            let event = Event::Garbage { peer: link.peer, reason };
            self.deliveries.deliver(event, self.limits.receive_stall).await;
        }
    }
}

/// Of the task that looks after the frames on their way out: if it is dropped, so are they.
struct Care(Arc<Flights>);

impl Drop for Care {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Memory that a frame takes until its receiver has it.
struct Memory {
    _share: OwnedSemaphorePermit,
    _budget: OwnedSemaphorePermit,
}

/// Why a stream gave no frame.
#[derive(Debug)]
enum Fault {
    /// The peer broke the rules.
    Garbage(WireError),
    /// The peer is too slow.
    Stalled,
    /// This node has no room.
    Busy,
    /// The peer gave up, or the connection is lost.
    Gone,
}

impl From<WireError> for Fault {
    fn from(error: WireError) -> Self {
        Self::Garbage(error)
    }
}

/// A stream that must make progress.
struct Reader {
    stream: Box<dyn RecvStream>,
    stall: Duration,
    /// Set when something must be waited for.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Bytes read since the deadline was set.
    progress: usize,
    /// Read, but not yet asked for: at most one packet's worth.
    ahead: Bytes,
}

impl Reader {
    fn new(stream: Box<dyn RecvStream>, stall: Duration) -> Self {
        Self { stream, stall, deadline: None, progress: 0, ahead: Bytes::new() }
    }

    /// Fills `buffer` by way of `ahead`: the first packet of a stream often holds all of it.
    async fn fill_small(&mut self, mut buffer: &mut [u8]) -> Result<(), Fault> {
        loop {
            let taken = self.ahead.len().min(buffer.len());
            self.ahead.copy_to_slice(&mut buffer[..taken]);
            buffer = &mut buffer[taken..];
            if buffer.is_empty() {
                return Ok(());
            }
            // Not even an empty slice is kept: it would keep the whole packet.
            self.ahead = Bytes::new();
            if !self.read_ahead().await? {
                return Err(WireError::Truncated.into());
            }
        }
    }

    /// Reads what follows into memory of its own. Not slices of packets, which would keep whole batches of packets alive
    /// that nobody accounts for; and not by `read`, which copies under the lock of the connection: while it copies a
    /// megabyte, nothing is received or sent.
    async fn body(&mut self, length: usize) -> Result<Bytes, Fault> {
        let mut body = BytesMut::with_capacity(length);
        body.put(self.ahead.split_to(self.ahead.len().min(length)));
        while body.len() < length {
            let mut chunks = [const { Bytes::new() }; CHUNKS_AT_ONCE];
            let read = tokio::select! {
                biased;
                read = self.stream.read_chunks(&mut chunks) => Some(read.map_err(|_| Fault::Gone)?),
                () = passed(&mut self.deadline, self.stall) => None,
            };
            match read {
                Some(Some(count)) => self.append(&mut body, length, &chunks[..count])?,
                Some(None) => return Err(WireError::Truncated.into()),
                None => self.on_deadline()?,
            }
        }
        Ok(body.freeze())
    }

    /// Never grows `body` beyond `length`, which is what memory was reserved for.
    fn append(&mut self, body: &mut BytesMut, length: usize, chunks: &[Bytes]) -> Result<(), Fault> {
        for chunk in chunks {
            if chunk.len() > length - body.len() {
                return Err(WireError::Trailing.into());
            }
            body.extend_from_slice(chunk);
            self.progress += chunk.len();
        }
        Ok(())
    }

    /// The stream must end here.
    async fn end(&mut self) -> Result<(), Fault> {
        if !self.ahead.is_empty() || self.read_ahead().await? {
            return Err(WireError::Trailing.into());
        }
        Ok(())
    }

    /// Reads the next packet's bytes into `ahead`, which is empty; false at the end of the stream.
    async fn read_ahead(&mut self) -> Result<bool, Fault> {
        loop {
            tokio::select! {
                biased;
                read = self.stream.read_chunk(READ_AHEAD_BYTES) => {
                    let Some(chunk) = read.map_err(|_| Fault::Gone)? else { return Ok(false) };
                    self.progress += chunk.len();
                    self.ahead = chunk;
                    return Ok(true);
                }
                () = passed(&mut self.deadline, self.stall) => self.on_deadline()?,
            }
        }
    }

    fn on_deadline(&mut self) -> Result<(), Fault> {
        if self.progress < PROGRESS_BYTES_MIN {
            return Err(Fault::Stalled);
        }
        self.progress = 0;
        self.deadline = None;
        Ok(())
    }

    fn stop(&mut self, code: u32) {
        self.stream.stop(code);
    }
}

/// Waits for a deadline, which is `stall` from now if there is none yet.
async fn passed(deadline: &mut Option<Pin<Box<Sleep>>>, stall: Duration) {
    deadline.get_or_insert_with(|| Box::pin(sleep(stall))).await;
}
