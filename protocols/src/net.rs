//! The messages of the network driver (`src/drivers/network` in production, a virtual network in simulations).

use crate::{
    id::{Address, Cid, PeerId},
    wire::Frame,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What an actor asks of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Connect to a peer; with no addresses, those the driver has learned are tried, then the DHT.
    /// Answered by `Connected` or `DialFailed`. Asking again while a dial runs, or when connected, does nothing.
    Dial { peer: PeerId, addresses: Vec<Address> },
    /// Close all connections to a peer.
    Hangup { peer: PeerId },
    /// Send a frame; answered by `Sent` or `SendFailed` with the same tag. Dials first if not connected.
    Send { peer: PeerId, tag: u64, class: Class, frame: Frame },
    /// Drop the frame with this tag if its stream is not finished.
    CancelSend { peer: PeerId, tag: u64 },
    /// Announce that this node holds the root block of an object; repeated until `Unprovide`.
    Provide { cid: Cid },
    /// Announce it no longer.
    Unprovide { cid: Cid },
    /// Look for peers that hold the root block of an object. Answered by one or more `Providers`.
    FindProviders { query: u64, cid: Cid },
    /// Answered by `Connected` for every peer that is: for an actor that was restarted and does not know.
    WhoIsConnected,
    /// Remember where a peer may be reached.
    Learn { peer: PeerId, addresses: Vec<Address> },
}

/// Which traffic goes first when a connection is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Repair and other work that nobody waits for.
    Background,
    /// Shards.
    Bulk,
    /// Requests, receipts, small answers.
    Control,
}

/// What the network tells the actors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// This node can be reached here.
    Listening { address: Address },
    /// This node can no longer be reached here.
    NotListening { address: Address },
    /// A peer that speaks `pangea/1` is connected. Sent once per peer, not per connection.
    Connected { peer: PeerId, address: Address, inbound: bool },
    /// The last connection to it is gone. `dismissed`: the peer ended it on purpose and goes on, because it has no room
    /// or no use for this node, and does not want to be dialled again at once.
    Disconnected { peer: PeerId, reason: String, dismissed: bool },
    /// No connection came about.
    DialFailed { peer: PeerId, reason: String },
    /// A whole frame has arrived.
    Received { peer: PeerId, frame: Frame },
    /// A peer sent bytes that are no frame; the stream was refused.
    Garbage { peer: PeerId, reason: String },
    /// The frame with this tag has been acknowledged by the peer's transport.
    Sent { peer: PeerId, tag: u64 },
    /// It has not.
    SendFailed { peer: PeerId, tag: u64, error: SendError },
    /// Peers found so far; `done` on the last one of a query.
    Providers { query: u64, providers: Vec<(PeerId, Vec<Address>)>, done: bool },
    /// Addresses of a peer, from identify, mDNS or the DHT; not connected yet.
    Discovered { peer: PeerId, addresses: Vec<Address>, source: Source },
    /// Round-trip time of a ping.
    Rtt { peer: PeerId, rtt: Duration },
}

/// Where an address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Source {
    /// The local network.
    Mdns,
    /// The peer itself.
    Identify,
    /// The routing table.
    Dht,
}

/// Why a frame did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum SendError {
    /// No connection, and none could be made.
    #[error("not reachable")]
    Unreachable,
    /// The connection broke while the frame was under way.
    #[error("connection lost")]
    ConnectionLost,
    /// The peer refused the stream: it is over its limits.
    #[error("refused by the peer")]
    Refused,
    /// This node's own queue is full: slow down.
    #[error("too much is queued for this peer")]
    QueueFull,
    /// Cancelled by the sender.
    #[error("cancelled")]
    Cancelled,
    /// The peer speaks libp2p, but not `pangea/1`.
    #[error("not a Pangea peer")]
    NotPangea,
}
