//! `/pangea/store/1`: give shards to a holder and get a signed receipt once they are durable.
//!
//! ```text
//! uploader                                  holder
//!    │ Reserve {request, bytes, shards} ──────▶ │ quota is taken now, or Refused
//!    │ ◀────────────────── Reserved {grant} │
//!    │ Put {grant, shard, proof} + body ──────▶ │ hash and path verified against the stripe root
//!    │ Put … (in parallel, any order)          │ appended, fdatasync (grouped)
//!    │ ◀────────────────── Stored {receipt} │ one signature over all shards of the group
//!    │ Release {grant} ───────────────────────▶ │ what was reserved and not used is free again
//! ```
//! `Drop` asks to forget shards; only the peer that stored them may.

use crate::{id::ShardId, merkle::StripeProof, receipt::Receipt};
use serde::{Deserialize, Serialize};

/// Messages of the store protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Store {
    /// Ask for room. `request` is chosen by the uploader and returned in the answer.
    Reserve { request: u64, bytes: u64, shards: u32, lease_secs: u64 },
    /// Room is taken until `expires_unix`; unused room is returned at that time.
    Reserved { request: u64, grant: u64, expires_unix: u64 },
    /// No room, or no wish.
    Refused { request: u64, reason: Refusal },
    /// A shard (body) under a grant. The proof ties it to its stripe root.
    Put { grant: u64, shard: ShardId, proof: StripeProof, kind: ShardKind },
    /// These shards are durable at the holder.
    Stored { grant: u64, receipt: Receipt },
    /// This shard was not stored.
    NotStored { grant: u64, shard: ShardId, reason: Refusal },
    /// The uploader needs the rest of its grant no longer.
    Release { grant: u64 },
    /// Forget these shards (at most [`DROP_SHARDS_MAX`]).
    Drop { request: u64, shards: Vec<ShardId> },
    /// How many of them were held for this peer and are forgotten now.
    Dropped { request: u64, count: u32 },
}

/// Most shards in one `Drop`.
pub const DROP_SHARDS_MAX: usize = 1024;

/// What a stored body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShardKind {
    /// A shard of a stripe.
    Data,
    /// A replicated block of a manifest tree.
    Block,
    /// The root block of an object: its holder announces the CID in the DHT.
    Root,
}

/// Why a holder says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The holder's quota for this peer, or in total, is used up.
    #[error("quota used up")]
    Quota,
    /// The holder's disk is full.
    #[error("disk full")]
    DiskFull,
    /// The holder does not store for this peer.
    #[error("not allowed")]
    Denied,
    /// Too much at once: try again later.
    #[error("busy")]
    Busy,
    /// The grant is unknown, expired or too small.
    #[error("no such grant, or it is used up")]
    NoGrant,
    /// The body does not match its proof.
    #[error("shard does not match its proof")]
    BadProof,
    /// The holder's disk failed.
    #[error("disk error at the holder")]
    Io,
}

impl Store {
    pub(super) fn fits(&self) -> bool {
        match self {
            Self::Put { proof, .. } => proof.fits(),
            Self::Stored { receipt, .. } => receipt.fits(),
            Self::Drop { shards, .. } => shards.len() <= DROP_SHARDS_MAX,
            _ => true,
        }
    }
}
