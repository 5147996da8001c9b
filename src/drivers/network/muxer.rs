//! One connection as the swarm sees it: bidirectional streams only.
//!
//! Unidirectional streams and datagrams of the same connection are moved elsewhere (`outbound.rs`, `inbound.rs`,
//! `datagrams.rs`). **Invariant:** bidirectional streams are opened here and nowhere else, because the muxer of the
//! other side takes every one it sees.

use super::{
    address, codes,
    connection::{Closed, Connection, Pair, RecvStream, SendStream},
    registry::{Established, Registry},
};
use futures::{FutureExt, future::BoxFuture, ready};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

type Opening = BoxFuture<'static, Result<Pair, Closed>>;

/// A connection with a finished handshake.
pub struct Muxer {
    connection: Arc<dyn Connection>,
    registry: Arc<Registry>,
    /// Until the swarm has taken the connection on.
    established: Option<Established>,
    inbound: Option<Opening>,
    outbound: Option<Opening>,
    closing: Option<BoxFuture<'static, Closed>>,
    remote: SocketAddr,
}

impl Muxer {
    pub(super) fn new(established: Established, registry: Arc<Registry>) -> Self {
        let connection = Arc::clone(&established.connection);
        let remote = connection.remote_address();
        Self {
            connection,
            registry,
            established: Some(established),
            inbound: None,
            outbound: None,
            closing: None,
            remote,
        }
    }
}

impl Drop for Muxer {
    fn drop(&mut self) {
        // The registry holds clones of the connection, so that dropping this one alone would not close it.
        self.connection.close(codes::CLOSED);
    }
}

impl StreamMuxer for Muxer {
    type Substream = Substream;
    type Error = Closed;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Substream, Self::Error>> {
        let connection = Arc::clone(&self.connection);
        let opening = self.inbound.get_or_insert_with(|| async move { connection.accept_bi().await }.boxed());
        let pair = ready!(opening.poll_unpin(cx));
        self.inbound = None;
        Poll::Ready(pair.map(Substream::new))
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Substream, Self::Error>> {
        let connection = Arc::clone(&self.connection);
        let opening = self.outbound.get_or_insert_with(|| async move { connection.open_bi().await }.boxed());
        let pair = ready!(opening.poll_unpin(cx));
        self.outbound = None;
        Poll::Ready(pair.map(Substream::new))
    }

    /// The swarm polls a muxer only once all limits have let the connection pass: the first call means "taken on".
    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        if let Some(established) = self.established.take() {
            self.registry.adopt(established);
        }
        let remote = self.connection.remote_address();
        if remote == self.remote {
            return Poll::Pending;
        }
        self.remote = remote;
        Poll::Ready(Ok(StreamMuxerEvent::AddressChange(address::to_multiaddr(remote))))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let connection = Arc::clone(&self.connection);
        let closing = self.closing.get_or_insert_with(|| {
            connection.close(codes::CLOSED);
            async move { connection.closed().await }.boxed()
        });
        Poll::Ready(match ready!(closing.poll_unpin(cx)) {
            Closed::Here => Ok(()),
            error => Err(error),
        })
    }
}

/// One bidirectional stream.
pub struct Substream {
    send: Box<dyn SendStream>,
    receive: Box<dyn RecvStream>,
    /// How closing went: libp2p may close twice, QUIC finishes once.
    closed: Option<Result<(), io::ErrorKind>>,
}

impl Substream {
    fn new((send, receive): Pair) -> Self {
        Self { send, receive, closed: None }
    }
}

impl futures::AsyncRead for Substream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        self.receive.poll_read(cx, bytes).map_err(Into::into)
    }
}

impl futures::AsyncWrite for Substream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.send.poll_write(cx, bytes).map_err(Into::into)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // QUIC sends on its own.
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(outcome) = self.closed {
            return Poll::Ready(outcome.map_err(Into::into));
        }
        let outcome = self.send.finish().map_err(io::Error::from);
        self.closed = Some(match &outcome {
            Ok(()) => Ok(()),
            Err(error) => Err(error.kind()),
        });
        Poll::Ready(outcome)
    }
}
