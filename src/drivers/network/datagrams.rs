//! Datagrams on the connection to a peer: for media, where late is worse than lost.
//!
//! Not reliable and not ordered. One port per connection; while it lives, the connection is held open. Both ends need
//! one: what arrives where there is none stays in QUIC's buffer, which drops the oldest.

use super::{
    connection::DatagramFault,
    metrics::Counters,
    registry::{Link, Use},
};
use bytes::Bytes;
use pangea_protocols::PeerId;
use std::sync::Arc;

/// Why no datagram could be sent, or no port opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DatagramError {
    /// There is no `pangea/1` connection to the peer.
    #[error("not connected to this peer: dial it first")]
    NotConnected,
    /// Somebody else has the datagrams of this connection.
    #[error("the datagrams of this connection are already in use")]
    Taken,
    /// The send buffer is full; the datagram was dropped and counted.
    #[error("the connection is full: send less")]
    Full,
    /// Larger than the path allows.
    #[error("a datagram of {bytes} bytes is over the {limit} that this path carries")]
    TooLarge { bytes: usize, limit: usize },
    /// The connection is gone.
    #[error("connection lost")]
    ConnectionLost,
}

/// Sends and receives the datagrams of one connection.
pub struct DatagramPort {
    link: Arc<Link>,
    counters: Arc<Counters>,
    _use: Use,
}

impl DatagramPort {
    pub(super) fn open(link: Arc<Link>, counters: Arc<Counters>) -> Result<Self, DatagramError> {
        if !link.take_datagrams() {
            return Err(DatagramError::Taken);
        }
        let hold = link.hold();
        Ok(Self { link, counters, _use: hold })
    }

    /// Who is at the other end.
    pub fn peer(&self) -> PeerId {
        self.link.peer
    }

    /// Most bytes of a datagram at present; at least 1,150 on any path QUIC works on.
    pub fn bytes_max(&self) -> usize {
        self.link.connection.datagram_bytes_max()
    }

    /// Sends if there is room now; never blocks, never pushes out an older datagram.
    ///
    /// # Errors
    /// See [`DatagramError`].
    pub fn send(&self, bytes: Bytes) -> Result<(), DatagramError> {
        let needed = bytes.len();
        self.check(needed)?;
        // The space is asked for first: sending would drop the oldest datagram without a word.
        if self.link.connection.datagram_room() < needed {
            self.counters.datagrams_dropped.add(1);
            return Err(DatagramError::Full);
        }
        self.link.connection.send_datagram(bytes).map_err(|error| self.error(error, needed))
    }

    /// Sends as soon as there is room.
    ///
    /// # Errors
    /// See [`DatagramError`].
    pub async fn send_wait(&self, bytes: Bytes) -> Result<(), DatagramError> {
        let needed = bytes.len();
        self.check(needed)?;
        self.link.connection.send_datagram_wait(bytes).await.map_err(|error| self.error(error, needed))
    }

    /// The next datagram; `None` once the connection is closed.
    pub async fn receive(&self) -> Option<Bytes> {
        self.link.connection.read_datagram().await
    }

    fn check(&self, bytes: usize) -> Result<(), DatagramError> {
        let limit = self.bytes_max();
        if bytes <= limit { Ok(()) } else { Err(DatagramError::TooLarge { bytes, limit }) }
    }

    fn error(&self, fault: DatagramFault, bytes: usize) -> DatagramError {
        match fault {
            DatagramFault::TooLarge => DatagramError::TooLarge { bytes, limit: self.bytes_max() },
            DatagramFault::Lost => DatagramError::ConnectionLost,
        }
    }
}

impl Drop for DatagramPort {
    fn drop(&mut self) {
        self.link.return_datagrams();
    }
}
