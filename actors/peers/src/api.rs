//! The whole interface of the peer manager on one screen.

use pangea_protocols::{Address, PeerId, net, wire::Frame};
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub use pangea_protocols::peers::{Candidate, Report};

/// What the actor receives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum In {
    /// From the network: `Connected`, `Disconnected`, `DialFailed`, `Discovered`, `Rtt`, `Listening`, `Garbage`, ….
    Net(net::Event),
    /// From the network: peer exchange frames.
    Pex { peer: PeerId, frame: Frame },
    /// From config and the command line: stay connected to these.
    Bootstrap { peers: Vec<(PeerId, Vec<Address>)> },
    /// From the node store, once at start.
    Restored { records: Vec<crate::record::Record> },
    /// From the uploader: answered by `Candidates`.
    Candidates { request: u64, count: u16, bytes: u64, exclude: Vec<PeerId> },
    /// From the downloader: answered by `Ranked`.
    Rank { request: u64, peers: Vec<PeerId> },
    /// From other actors: what they learned of a peer.
    Report { peer: PeerId, report: Report },
    /// From the control API: answered by `Listed`.
    List { request: u64 },
    /// From the control API: dial and remember.
    Add { peer: PeerId, addresses: Vec<Address> },
    /// From the control API and config: never connect to, store for, or place on a peer; or do so again.
    Ban { peer: PeerId, reason: String },
    /// See `Ban`.
    Unban { peer: PeerId },
    /// An own timer.
    Tick(Tick),
}

/// The actor's timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tick {
    /// Dial, trim and exchange.
    Maintain,
    /// Write changed records.
    Save,
}

/// What the actor emits.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    /// To the network: `Dial`, `Hangup`, `Learn`, `Send` (peer exchange).
    Net(net::Command),
    /// To the uploader, best first.
    Candidates { request: u64, candidates: Vec<Candidate> },
    /// To the downloader, in the order asked.
    Ranked { request: u64, candidates: Vec<Candidate> },
    /// To the chunk store.
    Allow { peer: PeerId, allowed: bool },
    /// To the node store: records that changed.
    Save { records: Vec<crate::record::Record> },
    /// To the control API.
    Listed { request: u64, peers: Vec<View> },
    /// To the control API: how many peers are connected (sent when it changes).
    Connected { count: u32 },
}

/// A peer as the user sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Who.
    pub peer: PeerId,
    /// Connected now?
    pub connected: bool,
    /// Where.
    pub address: Option<Address>,
    /// new, vetting, good, suspect, quarantined, banned.
    pub state: &'static str,
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
