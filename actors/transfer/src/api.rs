//! The whole interface of the two transfer actors: [`upload`] and [`download`].
//!
//! What both transfer and other actors need is in `pangea_protocols`: actors do not see each other.

use bytes::Bytes;
use pangea_protocols::{
    Address, Cid, JobId, PeerId,
    encoded::{EncodedEnd, Profile},
    files::Source,
    job::JobEvent,
    manifest::{RootBody, StripeRecord},
    merkle::StripeProof,
    net::{self, Class},
    wire::Frame,
};
use serde::{Deserialize, Serialize};
use std::{ops::Range, time::Duration};

pub use pangea_protocols::peers::{Candidate, Report};

/// How many shards, and of them how many parity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Redundancy {
    /// 20 shards per stripe, of which as many are parity as survive the loss of any holder, and at least 4.
    #[default]
    Auto,
    /// As the user says.
    Fixed { k: u8, m: u8 },
}

/// The uploader.
pub mod upload {
    use super::*;

    /// What it receives.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub enum In {
        /// Store a source. `profile` is passed through to CES.
        Put { job: JobId, source: Source, redundancy: Redundancy, profile: Profile, lease: Duration },
        /// The user gave up: release grants, drop what was stored, answer `Failed(Interrupted)`.
        Cancel { job: JobId },
        /// From the peer manager, best first.
        Candidates { request: u64, candidates: Vec<Candidate> },
        /// From CES.
        Encoded { job: JobId, index: u64, record: StripeRecord, shards: Vec<(Bytes, StripeProof)> },
        /// From CES.
        EncodedAll { job: JobId, end: EncodedEnd },
        /// From CES or files: it cannot go on.
        SourceFailed { job: JobId },
        /// From the network: store protocol answers only.
        Received { peer: PeerId, frame: Frame },
        /// From the network.
        Sent { peer: PeerId, tag: u64 },
        /// From the network.
        SendFailed { peer: PeerId, tag: u64, error: net::SendError },
        /// From the network.
        Disconnected { peer: PeerId },
        /// An own timer.
        Timer(Timer),
    }

    /// The uploader's timers.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub enum Timer {
        /// Look for slow holders of this job.
        Hedge { job: JobId },
        /// No candidates, grants or receipts for too long.
        Stalled { job: JobId },
    }

    /// What it emits.
    #[derive(Clone, Debug)]
    pub enum Out {
        /// To the peer manager: up to `count` peers that may hold `bytes` each, none of `exclude`.
        Candidates { request: u64, count: u16, bytes: u64, exclude: Vec<PeerId> },
        /// To CES.
        Encode { job: JobId, source: Source, k: u8, m: u8, profile: Profile },
        /// To CES.
        Credit { job: JobId, stripes: u32 },
        /// To CES.
        CancelEncode { job: JobId },
        /// To the network.
        Send { peer: PeerId, tag: u64, class: Class, frame: Frame },
        /// To the network.
        CancelSend { peer: PeerId, tag: u64 },
        /// To the peer manager.
        Report { peer: PeerId, report: Report },
        /// To the control API and the catalog.
        Job(JobEvent),
    }
}

/// The downloader.
pub mod download {
    use super::*;

    /// What it receives.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub enum In {
        /// Find and open an object: emits `Root`.
        Open { job: JobId, cid: Cid, hints: Vec<(PeerId, Address)>, timeout: Duration },
        /// The same for a part of an object of which others will be read soon: its root block is remembered.
        OpenPart { job: JobId, cid: Cid, hints: Vec<(PeerId, Address)>, timeout: Duration },
        /// Find an object and read its manifest only: answered by `Surveyed`.
        Survey { job: JobId, cid: Cid, hints: Vec<(PeerId, Address)>, timeout: Duration },
        /// From CES: fetch these stripes; the window decides how many at once.
        Need { job: JobId, stripes: Range<u64> },
        /// From CES: a stripe's memory is free.
        Consumed { job: JobId, index: u64 },
        /// Find an object and ask its holders to forget it: ends with `Done(Removed)`.
        Remove { job: JobId, cid: Cid, hints: Vec<(PeerId, Address)> },
        /// The job has ended, well or not: cancel what is under way.
        Close { job: JobId },
        /// From the peer manager: what is known of peers asked for with `Rank`.
        Ranked { job: JobId, candidates: Vec<Candidate> },
        /// From the network: fetch and have protocol answers, and `Dropped`.
        Received { peer: PeerId, frame: Frame },
        /// From the network.
        Connected { peer: PeerId },
        /// From the network.
        Disconnected { peer: PeerId },
        /// From the network.
        DialFailed { peer: PeerId },
        /// From the network.
        Sent { peer: PeerId, tag: u64 },
        /// From the network.
        SendFailed { peer: PeerId, tag: u64, error: net::SendError },
        /// From the network.
        Providers { query: u64, providers: Vec<(PeerId, Vec<Address>)>, done: bool },
        /// An own timer.
        Timer(Timer),
    }

    /// The downloader's timers.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub enum Timer {
        /// Is a request late enough for a hedge?
        Hedge { job: JobId },
        /// Nothing has happened for too long.
        Stalled { job: JobId },
    }

    /// What it emits.
    #[derive(Clone, Debug)]
    pub enum Out {
        /// To CES: the verified manifest.
        Root { job: JobId, root: RootBody },
        /// To CES: k or more verified shards of a stripe, data shards preferred.
        Stripe { job: JobId, index: u64, record: StripeRecord, shards: Vec<(u16, Bytes)> },
        /// To CES: the job failed here.
        CancelDecode { job: JobId },
        /// To the peer manager: what is known of these peers.
        Rank { job: JobId, peers: Vec<PeerId> },
        /// To the network (`Dial`, `Send`, `CancelSend`, `FindProviders`, `Learn`).
        Net(net::Command),
        /// To the peer manager.
        Report { peer: PeerId, report: Report },
        /// The whole manifest is here: its root, and for every data shard of every stripe in their order the place of its
        /// holder in the root, or [`pangea_protocols::manifest::NO_HOLDER`]. The job is over.
        Surveyed { job: JobId, root: Box<RootBody>, placement: Vec<u8> },
        /// How many shards were verified, healed and hedged so far, and how many came from this node itself: the control API
        /// adds it to CES's progress.
        Tally { job: JobId, shards: u64, healed: u64, hedged: u64, own: u64 },
        /// To the control API.
        Job(JobEvent),
    }
}
