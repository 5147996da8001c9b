//! Doors, halves of lines and streams as the network driver wants them.

use super::{
    Streams,
    door::{Door, Offer},
    half::{Kind, StreamId},
    line::{Line, Side},
    pipes::{Reader, Writer},
};
use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use pangea::drivers::network::{
    Closed, Connection, DatagramFault, Endpoint, Handshake, Incoming, Pair, RecvStream, SendStream,
};
use pangea_protocols::PeerId;
use std::{future::poll_fn, io, net::SocketAddr, sync::Arc, task::Poll, time::Duration};

/// Most bytes of a datagram: what QUIC carries on a path of 1,280 bytes.
const DATAGRAM_BYTES_MAX: usize = 1200;

/// An endpoint of a node.
pub(super) struct BoundDoor {
    streams: Streams,
    door: Arc<Door>,
}

impl BoundDoor {
    pub(super) fn new(streams: Streams, door: Arc<Door>) -> Self {
        Self { streams, door }
    }
}

impl Drop for BoundDoor {
    fn drop(&mut self) {
        self.streams.remove(&self.door);
    }
}

impl Endpoint for BoundDoor {
    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(self.door.local)
    }

    fn accept(&self) -> BoxFuture<'static, Option<Box<dyn Incoming>>> {
        let (streams, door) = (self.streams.clone(), Arc::clone(&self.door));
        poll_fn(move |cx| {
            let paused = streams.is_paused(door.node);
            let mut hall = door.hall();
            if hall.closed {
                return Poll::Ready(None);
            }
            match hall.offers.pop_front().filter(|_| !paused) {
                Some(offer) => {
                    drop(hall);
                    let (streams, door) = (streams.clone(), Arc::clone(&door));
                    Poll::Ready(Some(Box::new(Offered { streams, door, offer }) as Box<dyn Incoming>))
                }
                None => {
                    hall.acceptor = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .boxed()
    }

    fn stop_accepting(&self) {
        self.door.hall().listening = false;
    }

    fn connect(&self, remote: SocketAddr) -> Handshake {
        let (streams, door) = (self.streams.clone(), Arc::clone(&self.door));
        let SocketAddr::V4(remote) = SocketAddr::new(remote.ip().to_canonical(), remote.port()) else {
            return std::future::pending().boxed();
        };
        async move { Ok(Arc::new(streams.dial(door, remote).await?) as Arc<dyn Connection>) }.boxed()
    }

    fn close(&self, code: u32) {
        self.door.close();
        self.streams.close_all(self.door.node, code);
    }

    fn idle(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}

/// A connection that somebody offers.
struct Offered {
    streams: Streams,
    door: Arc<Door>,
    offer: Offer,
}

impl Incoming for Offered {
    fn remote_address(&self) -> SocketAddr {
        self.offer.from.into()
    }

    fn is_validated(&self) -> bool {
        // Nobody can lie about an address here.
        true
    }

    fn retry(self: Box<Self>) {
        self.refuse();
    }

    fn refuse(self: Box<Self>) {
        self.streams.turn_away(&self.door, self.offer);
    }

    fn accept(self: Box<Self>) -> Option<Handshake> {
        let confirmed = self.streams.welcome(&self.door, self.offer);
        let handshake = async move {
            match confirmed.await {
                Ok(handle) => Ok(Arc::new(handle) as Arc<dyn Connection>),
                // The dialler has gone, without a word.
                Err(_) => std::future::pending().await,
            }
        };
        Some(handshake.boxed())
    }
}

/// A half of a line. Dropping it closes the half.
pub(super) struct Handle {
    line: Arc<Line>,
    side: Side,
}

impl Handle {
    pub(super) fn new(line: Arc<Line>, side: Side) -> Self {
        Self { line, side }
    }

    fn open(&self, kind: Kind) -> impl Future<Output = Result<StreamId, Closed>> + Send + '_ {
        poll_fn(move |cx| match self.line.open(self.side, kind, cx) {
            Ok(Some(id)) => Poll::Ready(Ok(id)),
            Ok(None) => Poll::Pending,
            Err(reason) => Poll::Ready(Err(reason)),
        })
    }

    fn accept(&self, kind: Kind) -> impl Future<Output = Result<StreamId, Closed>> + Send + '_ {
        poll_fn(move |cx| {
            self.line.with(self.side, |half| match (half.offered[kind as usize].pop_front(), &half.closed) {
                (Some(id), _) => Poll::Ready(Ok(id)),
                (None, Some(reason)) => Poll::Ready(Err(reason.clone())),
                (None, None) => {
                    half.accepting[kind as usize].add(cx);
                    Poll::Pending
                }
            })
        })
    }

    fn writer(&self, id: StreamId) -> Box<dyn SendStream> {
        Box::new(Writer::new(&self.line, self.side, id))
    }

    fn reader(&self, id: StreamId) -> Box<dyn RecvStream> {
        Box::new(Reader::new(&self.line, self.side, id))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.line.close(self.side, 0);
    }
}

impl Connection for Handle {
    fn peer(&self) -> Option<PeerId> {
        Some(self.line.peers[self.side.other() as usize])
    }

    fn speaks_pangea(&self) -> bool {
        true
    }

    fn is_inbound(&self) -> bool {
        self.side == Side::Listener
    }

    fn remote_address(&self) -> SocketAddr {
        self.line.remote_of(self.side)
    }

    fn rtt(&self) -> Duration {
        self.line.rtt
    }

    fn heard(&self) -> u64 {
        self.line.heard(self.side)
    }

    fn close(&self, code: u32) {
        self.line.close(self.side, code);
    }

    fn why_closed(&self) -> Option<Closed> {
        self.line.with(self.side, |half| half.closed.clone())
    }

    fn closed(&self) -> BoxFuture<'_, Closed> {
        poll_fn(|cx| {
            self.line.with(self.side, |half| match &half.closed {
                Some(reason) => Poll::Ready(reason.clone()),
                None => {
                    half.waiters.add(cx);
                    Poll::Pending
                }
            })
        })
        .boxed()
    }

    fn open_uni(&self) -> BoxFuture<'_, Result<Box<dyn SendStream>, Closed>> {
        async { Ok(self.writer(self.open(Kind::Uni).await?)) }.boxed()
    }

    fn accept_uni(&self) -> BoxFuture<'_, Result<Box<dyn RecvStream>, Closed>> {
        async { Ok(self.reader(self.accept(Kind::Uni).await?)) }.boxed()
    }

    fn open_bi(&self) -> BoxFuture<'_, Result<Pair, Closed>> {
        let pair = |id| (self.writer(id), self.reader(id));
        self.open(Kind::Bi).map(move |id| id.map(pair)).boxed()
    }

    fn accept_bi(&self) -> BoxFuture<'_, Result<Pair, Closed>> {
        let pair = |id| (self.writer(id), self.reader(id));
        self.accept(Kind::Bi).map(move |id| id.map(pair)).boxed()
    }

    fn datagram_bytes_max(&self) -> usize {
        DATAGRAM_BYTES_MAX
    }

    fn datagram_room(&self) -> usize {
        // The queue stands in the uplink, which drops what it has no room for.
        usize::MAX
    }

    fn send_datagram(&self, bytes: Bytes) -> Result<(), DatagramFault> {
        if self.why_closed().is_some() {
            return Err(DatagramFault::Lost);
        }
        if bytes.len() > DATAGRAM_BYTES_MAX {
            return Err(DatagramFault::TooLarge);
        }
        self.line.send_datagram(self.side, bytes);
        Ok(())
    }

    fn send_datagram_wait(&self, bytes: Bytes) -> BoxFuture<'_, Result<(), DatagramFault>> {
        std::future::ready(self.send_datagram(bytes)).boxed()
    }

    fn read_datagram(&self) -> BoxFuture<'_, Option<Bytes>> {
        poll_fn(|cx| {
            self.line.with(self.side, |half| {
                if let Some(bytes) = half.pop_datagram() {
                    return Poll::Ready(Some(bytes));
                }
                if half.closed.is_some() {
                    return Poll::Ready(None);
                }
                half.waiters.add(cx);
                Poll::Pending
            })
        })
        .boxed()
    }
}
