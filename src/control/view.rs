//! The node's answers as a client sees them: plain data that prints as JSON.
//!
//! Objects, job news and computations need no view: they are [`Stored`](pangea_protocols::job::Stored),
//! [`News`](crate::node::handle::News) and [`Computation`](crate::drivers::jobs::record::Computation) on both sides.

use pangea_protocols::{Address, PeerId};
use std::{path::PathBuf, time::Duration};

/// What a node is and does: [`Status`](crate::node::handle::Status) from afar.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusView {
    /// Who.
    pub peer: PeerId,
    /// Version of the program that runs, which may differ from the client's.
    pub version: String,
    /// Where it can be reached.
    pub addresses: Vec<Address>,
    /// Its directory.
    pub home: PathBuf,
    /// Time since start.
    pub uptime: Duration,
    /// Connected Pangea peers.
    pub peers_connected: u32,
    /// Objects in the catalog.
    pub objects: u64,
    /// Jobs that run.
    pub jobs: u32,
    /// The chunk store.
    pub chunks: pangea_chunks::api::Status,
}

/// A peer: [`View`](pangea_peers::api::View) from afar.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerView {
    /// Who.
    pub peer: PeerId,
    /// Connected now?
    pub connected: bool,
    /// Where.
    pub address: Option<Address>,
    /// new, vetting, good, suspect, quarantined, banned.
    pub state: String,
    /// Why it is in that state.
    pub reason: String,
    /// 0 to 1.
    pub score: f64,
    /// Smoothed round-trip time.
    pub rtt: Option<Duration>,
    /// Verified bytes received from it.
    pub bytes_in: u64,
    /// Bytes it signed for.
    pub bytes_out: u64,
    /// Last time it was connected, seconds since 1970.
    pub last_seen_unix: u64,
}
