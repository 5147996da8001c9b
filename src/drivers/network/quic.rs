//! QUIC as a [`Carrier`]: what quinn does, in the words of `connection.rs`.

use super::{
    address,
    connection::{
        Carrier, Closed, Connection, DatagramFault, Endpoint, Handshake, Incoming, LinkError, Pair, ReadError,
        RecvStream, SendStream, WriteError,
    },
    endpoint::{Quic, Sockets},
    tls,
};
use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use pangea_protocols::PeerId;
use quinn::VarInt;
use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::{AsyncRead, ReadBuf};

/// One identity on some sockets.
pub struct QuicCarrier {
    quic: Arc<Quic>,
    sockets: Arc<dyn Sockets>,
}

impl QuicCarrier {
    /// With the configurations of an identity.
    pub fn new(quic: Quic, sockets: Arc<dyn Sockets>) -> Self {
        Self { quic: Arc::new(quic), sockets }
    }
}

impl Carrier for QuicCarrier {
    fn bind(&self, address: SocketAddr, listen: bool) -> io::Result<Arc<dyn Endpoint>> {
        let endpoint = self.quic.bind(self.sockets.as_ref(), address, listen)?;
        Ok(Arc::new(QuicEndpoint { endpoint, quic: Arc::clone(&self.quic) }))
    }
}

struct QuicEndpoint {
    endpoint: quinn::Endpoint,
    quic: Arc<Quic>,
}

impl Endpoint for QuicEndpoint {
    fn local_address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    fn accept(&self) -> BoxFuture<'static, Option<Box<dyn Incoming>>> {
        let (endpoint, quic) = (self.endpoint.clone(), Arc::clone(&self.quic));
        async move {
            let incoming = endpoint.accept().await?;
            Some(Box::new(QuicIncoming { incoming, quic }) as Box<dyn Incoming>)
        }
        .boxed()
    }

    fn stop_accepting(&self) {
        self.endpoint.set_server_config(None);
    }

    fn connect(&self, remote: SocketAddr) -> Handshake {
        let (endpoint, config) = (self.endpoint.clone(), self.quic.client_for(remote.ip()));
        async move {
            // The name is not verified: the certificate proves a key, not a name. One letter keeps the packet small.
            let connecting = endpoint.connect_with(config, remote, "l");
            established(connecting.map_err(|error| LinkError::Refused(error.to_string()))?).await
        }
        .boxed()
    }

    fn close(&self, code: u32) {
        self.endpoint.close(VarInt::from_u32(code), b"");
    }

    fn idle(&self) -> BoxFuture<'_, ()> {
        self.endpoint.wait_idle().boxed()
    }
}

struct QuicIncoming {
    incoming: quinn::Incoming,
    quic: Arc<Quic>,
}

impl Incoming for QuicIncoming {
    fn remote_address(&self) -> SocketAddr {
        self.incoming.remote_address()
    }

    fn is_validated(&self) -> bool {
        self.incoming.remote_address_validated()
    }

    fn retry(self: Box<Self>) {
        if let Err(error) = self.incoming.retry() {
            error.into_incoming().refuse();
        }
    }

    fn refuse(self: Box<Self>) {
        self.incoming.refuse();
    }

    fn accept(self: Box<Self>) -> Option<Handshake> {
        let config = self.quic.server_for(self.incoming.remote_address().ip());
        let connecting = self.incoming.accept_with(config).ok()?;
        Some(established(connecting).boxed())
    }
}

async fn established(connecting: quinn::Connecting) -> Result<Arc<dyn Connection>, LinkError> {
    let connection = connecting.await.map_err(Closed::from)?;
    let peer = tls::peer_of(&connection).as_ref().and_then(address::from_libp2p);
    let pangea = tls::speaks_pangea(&connection);
    Ok(Arc::new(QuicConnection { connection, peer, pangea }))
}

struct QuicConnection {
    connection: quinn::Connection,
    peer: Option<PeerId>,
    pangea: bool,
}

impl Connection for QuicConnection {
    fn peer(&self) -> Option<PeerId> {
        self.peer
    }

    fn speaks_pangea(&self) -> bool {
        self.pangea
    }

    fn is_inbound(&self) -> bool {
        self.connection.side() == quinn::Side::Server
    }

    fn remote_address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    fn rtt(&self) -> Duration {
        self.connection.rtt()
    }

    fn heard(&self) -> u64 {
        self.connection.stats().udp_rx.datagrams
    }

    fn close(&self, code: u32) {
        // Closing again would replace the reason that the peer gave.
        if self.connection.close_reason().is_none() {
            self.connection.close(VarInt::from_u32(code), b"");
        }
    }

    fn why_closed(&self) -> Option<Closed> {
        self.connection.close_reason().map(Closed::from)
    }

    fn closed(&self) -> BoxFuture<'_, Closed> {
        self.connection.closed().map(Closed::from).boxed()
    }

    fn open_uni(&self) -> BoxFuture<'_, Result<Box<dyn SendStream>, Closed>> {
        self.connection.open_uni().map(|stream| Ok(Box::new(stream?) as Box<dyn SendStream>)).boxed()
    }

    fn accept_uni(&self) -> BoxFuture<'_, Result<Box<dyn RecvStream>, Closed>> {
        self.connection.accept_uni().map(|stream| Ok(Box::new(stream?) as Box<dyn RecvStream>)).boxed()
    }

    fn open_bi(&self) -> BoxFuture<'_, Result<Pair, Closed>> {
        self.connection.open_bi().map(|pair| Ok(boxed(pair?))).boxed()
    }

    fn accept_bi(&self) -> BoxFuture<'_, Result<Pair, Closed>> {
        self.connection.accept_bi().map(|pair| Ok(boxed(pair?))).boxed()
    }

    fn datagram_bytes_max(&self) -> usize {
        self.connection.max_datagram_size().unwrap_or(0)
    }

    fn datagram_room(&self) -> usize {
        self.connection.datagram_send_buffer_space()
    }

    fn send_datagram(&self, bytes: Bytes) -> Result<(), DatagramFault> {
        Ok(self.connection.send_datagram(bytes)?)
    }

    fn send_datagram_wait(&self, bytes: Bytes) -> BoxFuture<'_, Result<(), DatagramFault>> {
        self.connection.send_datagram_wait(bytes).map(|sent| Ok(sent?)).boxed()
    }

    fn read_datagram(&self) -> BoxFuture<'_, Option<Bytes>> {
        self.connection.read_datagram().map(Result::ok).boxed()
    }

    fn quic(&self) -> Option<quinn::Connection> {
        Some(self.connection.clone())
    }
}

fn boxed((send, receive): (quinn::SendStream, quinn::RecvStream)) -> Pair {
    (Box::new(send), Box::new(receive))
}

// quinn's futures of single reads and writes keep no state: what they wait for is noted in the stream.

impl SendStream for quinn::SendStream {
    fn set_priority(&mut self, priority: i32) {
        // Fails only if the stream is over.
        let _ = quinn::SendStream::set_priority(self, priority);
    }

    fn poll_write_chunks(&mut self, cx: &mut Context<'_>, chunks: &mut [Bytes]) -> Poll<Result<usize, WriteError>> {
        pin!(self.write_chunks(chunks)).poll(cx).map(|written| Ok(written?.chunks))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, WriteError>> {
        pin!(self.write(bytes)).poll(cx).map(|written| Ok(written?))
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        quinn::SendStream::finish(self).map_err(|_| WriteError::Lost)
    }

    fn reset(&mut self, code: u32) {
        // Fails only if everything was acknowledged in the meantime.
        let _ = quinn::SendStream::reset(self, VarInt::from_u32(code));
    }

    fn delivered(&self) -> BoxFuture<'static, Result<(), WriteError>> {
        let stopped = self.stopped();
        async move {
            match stopped.await {
                Ok(None) => Ok(()),
                Ok(Some(_)) => Err(WriteError::Stopped),
                Err(_) => Err(WriteError::Lost),
            }
        }
        .boxed()
    }
}

impl RecvStream for quinn::RecvStream {
    fn poll_read_chunks(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &mut [Bytes],
    ) -> Poll<Result<Option<usize>, ReadError>> {
        pin!(self.read_chunks(chunks)).poll(cx).map_err(|_| ReadError)
    }

    fn poll_read_chunk(&mut self, cx: &mut Context<'_>, bytes_max: usize) -> Poll<Result<Option<Bytes>, ReadError>> {
        let read = pin!(self.read_chunk(bytes_max, true)).poll(cx);
        read.map(|chunk| Ok(chunk.map_err(|_| ReadError)?.map(|chunk| chunk.bytes)))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<Result<usize, ReadError>> {
        let mut buffer = ReadBuf::new(bytes);
        let read = AsyncRead::poll_read(Pin::new(self), cx, &mut buffer);
        read.map(|read| read.map(|()| buffer.filled().len()).map_err(|_| ReadError))
    }

    fn stop(&mut self, code: u32) {
        // Fails only if the stream is over already.
        let _ = quinn::RecvStream::stop(self, VarInt::from_u32(code));
    }
}

impl From<quinn::ConnectionError> for Closed {
    fn from(reason: quinn::ConnectionError) -> Self {
        use quinn::ConnectionError as Reason;
        match reason {
            Reason::LocallyClosed => Self::Here,
            Reason::ApplicationClosed(close) => Self::ByPeer(close.error_code.into_inner()),
            Reason::TimedOut => Self::Silent,
            Reason::Reset => Self::Restarted,
            other => Self::Fault(other.to_string()),
        }
    }
}

impl From<quinn::WriteError> for WriteError {
    fn from(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::Stopped(_) => Self::Stopped,
            _ => Self::Lost,
        }
    }
}

impl From<quinn::SendDatagramError> for DatagramFault {
    fn from(error: quinn::SendDatagramError) -> Self {
        match error {
            quinn::SendDatagramError::TooLarge => Self::TooLarge,
            quinn::SendDatagramError::ConnectionLost(_)
            | quinn::SendDatagramError::UnsupportedByPeer
            | quinn::SendDatagramError::Disabled => Self::Lost,
        }
    }
}
