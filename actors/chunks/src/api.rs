//! The whole interface of the chunk store actor on one screen.

use pangea_protocols::{Cid, PeerId, disk, net::Class, wire::Frame};
use serde::{Deserialize, Serialize};

/// What the actor receives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum In {
    /// From the network: store requests, fetch requests, have questions.
    Received { peer: PeerId, frame: Frame },
    /// From the network: its grants stay until they expire; answers to it are dropped.
    Disconnected { peer: PeerId },
    /// From the shard disk.
    Disk(disk::Event),
    /// From the peer manager: whether this node stores for a peer (the default is yes).
    Allow { peer: PeerId, allowed: bool },
    /// From config: bytes on disk that are never exceeded.
    Quota { bytes: u64 },
    /// From the control API: answered by `Status`.
    Status { request: u64 },
    /// An own timer.
    Tick,
}

/// What the actor emits.
#[derive(Clone, Debug)]
pub enum Out {
    /// To the shard disk.
    Disk(disk::Command),
    /// To the network.
    Send { peer: PeerId, class: Class, frame: Frame },
    /// To the network: announce that this node holds an object's root.
    Provide { cid: Cid },
    /// To the network: announce it no longer.
    Unprovide { cid: Cid },
    /// To the peer manager: a provable violation (bad proof, message out of place).
    Violation { peer: PeerId, what: &'static str },
    /// To the control API.
    Status { request: u64, status: Status },
}

/// What the chunk store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// From the disk.
    pub usage: disk::Usage,
    /// Bytes promised to uploaders and not used yet.
    pub reserved_bytes: u64,
    /// The limit.
    pub quota_bytes: u64,
    /// Shards received and verified since start.
    pub stored: u64,
    /// Shards served since start.
    pub served: u64,
    /// Requests refused since start.
    pub refused: u64,
}
