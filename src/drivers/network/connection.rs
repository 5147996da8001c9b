//! What the driver asks of whatever carries its connections: QUIC over UDP (`quic.rs`), or a simulator's network at the
//! level of streams.
//!
//! A [`Carrier`] binds [`Endpoint`]s, which dial and accept [`Connection`]s: encrypted, each to a peer whose key has been
//! proven. A connection carries streams in one or in both directions, in order and reliably, and datagrams, which are
//! neither. **Contract:** dropping a stream that is being written resets it; dropping one that is being read stops it;
//! dropping the last handle on a connection closes it.

use super::codes;
use bytes::Bytes;
use futures::future::BoxFuture;
use pangea_protocols::PeerId;
use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// How a connection has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// By this node.
    #[error("closed by this node")]
    Here,
    /// By the peer, with a code of `codes.rs`.
    #[error("{}", codes::describe(*.0))]
    ByPeer(u64),
    /// Nothing was heard for too long.
    #[error("the peer stopped answering")]
    Silent,
    /// The peer does not know of the connection any more.
    #[error("the peer was restarted")]
    Restarted,
    /// Some other fault, in words.
    #[error("{0}")]
    Fault(String),
}

/// Why a connection did not come about.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The dial was refused locally.
    #[error("{0}")]
    Refused(String),
    /// The handshake failed.
    #[error(transparent)]
    Handshake(#[from] Closed),
    /// The handshake took too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The certificate names no Ed25519 identity.
    #[error("the peer has no Ed25519 identity")]
    Identity,
    /// The node has its fill of connections.
    #[error("this node has reached its limit of connections")]
    TooMany,
}

/// Why a stream takes no more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The reader wants no more.
    Stopped,
    /// The connection is lost.
    Lost,
}

/// The writer gave up, or the connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadError;

/// What was wrong with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramFault {
    /// Larger than the path takes now.
    TooLarge,
    /// The connection is lost, or the peer takes no datagrams.
    Lost,
}

/// Makes endpoints of one identity.
pub trait Carrier: Send + Sync + 'static {
    /// An endpoint at `address`; with `listen`, connections that come are offered by [`Endpoint::accept`].
    ///
    /// # Errors
    /// As the system's `bind`.
    fn bind(&self, address: SocketAddr, listen: bool) -> io::Result<Arc<dyn Endpoint>>;
}

/// A connection on its way.
pub type Handshake = BoxFuture<'static, Result<Arc<dyn Connection>, LinkError>>;

/// Where connections begin and arrive.
pub trait Endpoint: Send + Sync {
    /// Where it is bound.
    ///
    /// # Errors
    /// The socket is gone.
    fn local_address(&self) -> io::Result<SocketAddr>;
    /// The next connection that somebody offers; `None` when the endpoint is closed.
    fn accept(&self) -> BoxFuture<'static, Option<Box<dyn Incoming>>>;
    /// Takes no more connections.
    fn stop_accepting(&self);
    /// Dials.
    fn connect(&self, remote: SocketAddr) -> Handshake;
    /// Closes all its connections.
    fn close(&self, code: u32);
    /// Waits until the last of them has said goodbye.
    fn idle(&self) -> BoxFuture<'_, ()>;
}

/// A connection that is offered, before any cryptography.
pub trait Incoming: Send {
    /// Who claims to send from there.
    fn remote_address(&self) -> SocketAddr;
    /// Whether that is proven.
    fn is_validated(&self) -> bool;
    /// Has it proven first.
    fn retry(self: Box<Self>);
    /// Turns it away.
    fn refuse(self: Box<Self>);
    /// Goes on; `None` if it has gone.
    fn accept(self: Box<Self>) -> Option<Handshake>;
}

/// A stream in both directions.
pub type Pair = (Box<dyn SendStream>, Box<dyn RecvStream>);

/// A connection with a finished handshake.
pub trait Connection: Send + Sync {
    /// Whose key was proven; `None` if it is not an Ed25519 key.
    fn peer(&self) -> Option<PeerId>;
    /// Both sides speak `pangea/1`.
    fn speaks_pangea(&self) -> bool;
    /// The peer dialled.
    fn is_inbound(&self) -> bool;
    /// Where the peer is now.
    fn remote_address(&self) -> SocketAddr;
    /// How long the way there and back takes.
    fn rtt(&self) -> Duration;
    /// Packets that came over it.
    fn heard(&self) -> u64;
    /// Closes it, unless it is closed already.
    fn close(&self, code: u32);
    /// How it ended, if it has.
    fn why_closed(&self) -> Option<Closed>;
    /// Waits for its end.
    fn closed(&self) -> BoxFuture<'_, Closed>;
    /// Opens a stream to be written, as soon as the peer allows one more.
    fn open_uni(&self) -> BoxFuture<'_, Result<Box<dyn SendStream>, Closed>>;
    /// The next stream that the peer writes.
    fn accept_uni(&self) -> BoxFuture<'_, Result<Box<dyn RecvStream>, Closed>>;
    /// Opens a stream in both directions.
    fn open_bi(&self) -> BoxFuture<'_, Result<Pair, Closed>>;
    /// The next stream in both directions that the peer opens.
    fn accept_bi(&self) -> BoxFuture<'_, Result<Pair, Closed>>;
    /// Most bytes of a datagram at present; 0 if the peer takes none.
    fn datagram_bytes_max(&self) -> usize;
    /// Room for datagrams that wait to leave, in bytes.
    fn datagram_room(&self) -> usize;
    /// Sends a datagram; without room the oldest that waits is dropped.
    ///
    /// # Errors
    /// See [`DatagramFault`].
    fn send_datagram(&self, bytes: Bytes) -> Result<(), DatagramFault>;
    /// Sends a datagram as soon as there is room.
    fn send_datagram_wait(&self, bytes: Bytes) -> BoxFuture<'_, Result<(), DatagramFault>>;
    /// The next datagram; `None` once the connection is closed.
    fn read_datagram(&self) -> BoxFuture<'_, Option<Bytes>>;
    /// The QUIC connection, if it is one, for measurements.
    fn quic(&self) -> Option<quinn::Connection> {
        None
    }
}

/// The end of a stream that writes.
pub trait SendStream: Send {
    /// Streams with a larger one go first; 0 at the beginning.
    fn set_priority(&mut self, priority: i32);
    /// Takes as much of the chunks as there is room for, and leaves the rest in them; returns how many are written whole.
    fn poll_write_chunks(&mut self, cx: &mut Context<'_>, chunks: &mut [Bytes]) -> Poll<Result<usize, WriteError>>;
    /// Takes as many bytes as there is room for.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, WriteError>>;
    /// Nothing more will be written.
    ///
    /// # Errors
    /// The stream is over already.
    fn finish(&mut self) -> Result<(), WriteError>;
    /// Gives up, unless all has arrived.
    fn reset(&mut self, code: u32);
    /// Waits until all has arrived, or the reader wants no more.
    fn delivered(&self) -> BoxFuture<'static, Result<(), WriteError>>;
}

/// The end of a stream that reads.
pub trait RecvStream: Send {
    /// Takes bytes that have arrived: fills as many places of `chunks` as it can and returns their number; `None` at the
    /// end of the stream.
    fn poll_read_chunks(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &mut [Bytes],
    ) -> Poll<Result<Option<usize>, ReadError>>;
    /// As [`RecvStream::poll_read_chunks`], one chunk of at most `bytes_max`.
    fn poll_read_chunk(&mut self, cx: &mut Context<'_>, bytes_max: usize) -> Poll<Result<Option<Bytes>, ReadError>>;
    /// Copies bytes that have arrived; 0 at the end of the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<Result<usize, ReadError>>;
    /// Wants no more.
    fn stop(&mut self, code: u32);
}

impl dyn SendStream {
    /// Writes all of the chunks.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn write_all_chunks(&mut self, mut chunks: &mut [Bytes]) -> Result<(), WriteError> {
        while !chunks.is_empty() {
            let written = poll_fn(|cx| self.poll_write_chunks(cx, chunks)).await?;
            chunks = &mut chunks[written..];
        }
        Ok(())
    }
}

impl dyn RecvStream {
    /// See [`RecvStream::poll_read_chunks`].
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_chunks(&mut self, chunks: &mut [Bytes]) -> Result<Option<usize>, ReadError> {
        poll_fn(|cx| self.poll_read_chunks(cx, chunks)).await
    }

    /// See [`RecvStream::poll_read_chunk`].
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_chunk(&mut self, bytes_max: usize) -> Result<Option<Bytes>, ReadError> {
        poll_fn(|cx| self.poll_read_chunk(cx, bytes_max)).await
    }
}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped => Self::new(io::ErrorKind::ConnectionReset, "the peer wants no more of the stream"),
            WriteError::Lost => Self::new(io::ErrorKind::NotConnected, "the connection is lost"),
        }
    }
}

impl From<ReadError> for io::Error {
    fn from(_: ReadError) -> Self {
        Self::new(io::ErrorKind::ConnectionReset, "the peer gave the stream up, or the connection is lost")
    }
}
