//! UDP as QUIC sees it: sockets of one node on the [`Internet`], with a bounded queue of arrivals.
//!
//! A node's life ends when the internet kills it: its sockets then report an error, which ends the tasks of
//! QUIC, and take what is sent without sending it.

use super::{internet::Internet, runtime::VirtualRuntime};
use crate::record::NodeId;
use bytes::Bytes;
use pangea::drivers::network::Sockets;
use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{EcnCodepoint, RecvMeta, Transmit},
};
use std::{
    collections::VecDeque,
    fmt,
    io::{self, IoSliceMut},
    net::{SocketAddr, SocketAddrV4},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// Bytes that may wait in a socket, as the driver asks of the operating system; what comes beyond is dropped.
const QUEUE_BYTES_MAX: usize = 4 << 20;
/// Datagrams in one batch of a sender, as Linux allows at least.
const SEGMENTS_MAX: usize = 64;

/// A datagram that has arrived.
pub(super) struct Packet {
    pub(super) from: SocketAddrV4,
    pub(super) ecn: Option<EcnCodepoint>,
    pub(super) bytes: Bytes,
}

/// Where the sockets of one node come from.
pub struct VirtualSockets {
    internet: Internet,
    node: NodeId,
}

impl VirtualSockets {
    /// For this node.
    pub fn new(internet: Internet, node: NodeId) -> Self {
        Self { internet, node }
    }
}

impl Sockets for VirtualSockets {
    fn runtime(&self) -> Arc<dyn quinn::Runtime> {
        Arc::new(VirtualRuntime)
    }

    fn bind(&self, address: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let inbox = Arc::<Inbox>::default();
        let local = self.internet.bind(self.node, address.port(), &inbox)?;
        Ok(Arc::new(VirtualSocket { internet: self.internet.clone(), node: self.node, local, inbox }))
    }
}

/// A socket.
struct VirtualSocket {
    internet: Internet,
    node: NodeId,
    local: SocketAddr,
    inbox: Arc<Inbox>,
}

impl fmt::Debug for VirtualSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VirtualSocket({})", self.local)
    }
}

impl AsyncUdpSocket for VirtualSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if !self.inbox.is_closed() {
            self.internet.transmit(self.node, self.local.port(), transmit);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inbox.poll_recv(cx, self.local, buffers, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn max_transmit_segments(&self) -> usize {
        SEGMENTS_MAX
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

impl Drop for VirtualSocket {
    fn drop(&mut self) {
        self.internet.unbind(self.node, self.local.port(), &self.inbox);
    }
}

/// A virtual network card takes everything at once: queues stand in the carrier.
#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What has arrived at a socket.
#[derive(Default)]
pub(super) struct Inbox(Mutex<Arrived>);

#[derive(Default)]
struct Arrived {
    packets: VecDeque<Packet>,
    bytes: usize,
    waker: Option<Waker>,
    /// The node does not run: nobody looks.
    paused: bool,
    closed: bool,
}

impl Inbox {
    /// False if there is no room.
    pub(super) fn deliver(&self, packet: Packet) -> bool {
        let mut arrived = self.arrived();
        if arrived.closed || arrived.bytes + packet.bytes.len() > QUEUE_BYTES_MAX {
            return false;
        }
        arrived.bytes += packet.bytes.len();
        arrived.packets.push_back(packet);
        let waker = if arrived.paused { None } else { arrived.waker.take() };
        drop(arrived);
        waker.into_iter().for_each(Waker::wake);
        true
    }

    pub(super) fn close(&self) {
        let mut arrived = self.arrived();
        arrived.closed = true;
        let (packets, waker) = (std::mem::take(&mut arrived.packets), arrived.waker.take());
        drop(arrived);
        drop(packets);
        waker.into_iter().for_each(Waker::wake);
    }

    pub(super) fn pause(&self) {
        self.arrived().paused = true;
    }

    pub(super) fn resume(&self) {
        let mut arrived = self.arrived();
        arrived.paused = false;
        let waker = arrived.waker.take();
        drop(arrived);
        waker.into_iter().for_each(Waker::wake);
    }

    fn is_closed(&self) -> bool {
        self.arrived().closed
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        local: SocketAddr,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut arrived = self.arrived();
        if arrived.closed {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let mut count = 0;
        let places = if arrived.paused { 0 } else { buffers.len().min(meta.len()) };
        while count < places {
            let Some(packet) = arrived.packets.pop_front() else { break };
            arrived.bytes -= packet.bytes.len();
            let Some(place) = buffers[count].get_mut(..packet.bytes.len()) else { continue };
            place.copy_from_slice(&packet.bytes);
            meta[count] = RecvMeta::default();
            meta[count].addr = packet.from.into();
            meta[count].len = packet.bytes.len();
            meta[count].stride = packet.bytes.len();
            meta[count].ecn = packet.ecn;
            meta[count].dst_ip = Some(local.ip());
            count += 1;
        }
        if count > 0 {
            return Poll::Ready(Ok(count));
        }
        let before = arrived.waker.replace(cx.waker().clone());
        drop(arrived);
        drop(before);
        Poll::Pending
    }

    fn arrived(&self) -> MutexGuard<'_, Arrived> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
