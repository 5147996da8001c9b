//! The node's answers as a client sees them: plain data that prints as JSON.
//!
//! Objects and job news need no view: they are [`Stored`](pangea_protocols::job::Stored) and
//! [`News`](crate::node::handle::News) on both sides.

use crate::drivers::jobs::record::{State, Terms};
use pangea_compute::api::Progress;
use pangea_protocols::{Address, Hash, PeerId, job::JobError};
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

/// A computation: [`Record`](crate::drivers::jobs::record::Record) from afar.
#[derive(Clone, Debug, PartialEq)]
pub struct ComputationView {
    /// 12 hexadecimal digits.
    pub name: String,
    /// BLAKE3 of the module.
    pub module: Hash,
    /// What its user calls the module.
    pub module_name: String,
    /// What its user calls the input.
    pub input_name: String,
    /// Bytes of the input.
    pub input_bytes: u64,
    /// Chunks of the input.
    pub chunks: u32,
    /// How it is to run.
    pub terms: Terms,
    /// How it stands.
    pub state: State,
    /// Computations that go first, while it waits.
    pub ahead: Option<u32>,
    /// How far it is.
    pub progress: Progress,
    /// Bytes of the output, once it is there.
    pub output_bytes: u64,
    /// Why there is none.
    pub error: Option<JobError>,
    /// Seconds since 1970.
    pub submitted_unix: u64,
    /// Seconds since 1970.
    pub ended_unix: Option<u64>,
    /// From submission to the end, if the node ran without a break.
    pub took: Option<Duration>,
}
