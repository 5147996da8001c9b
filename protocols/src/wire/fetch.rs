//! `/pangea/fetch/1`: get shards, or ranges of shards, each with a proof against its stripe root.
//!
//! ```text
//! downloader                                holder
//!    │ Get {items: [request, shard, range]} ──▶ │ each item is answered on a stream of its own, in any order
//!    │ ◀──── Found {request, proofs} + body │
//!    │ ◀──── Missing {request, reason}      │
//!    │ Cancel {requests} ─────────────────────▶ │ answers not yet sent are dropped
//! ```
//! A downloader that holds only the stripe root verifies every answer; a wrong one is the holder's to answer for.

use crate::{
    id::ShardId,
    merkle::{RangeProof, StripeProof},
};
use serde::{Deserialize, Serialize};

/// Messages of the fetch protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fetch {
    /// Ask for up to [`ITEMS_MAX`] shards.
    Get { items: Vec<Item> },
    /// The bytes asked for are the body.
    Found { request: u64, shard: ShardId, stripe: StripeProof, range: RangeProof },
    /// They will not come.
    Missing { request: u64, reason: MissingReason },
    /// Answers to these requests are no longer wanted (at most [`ITEMS_MAX`]).
    Cancel { requests: Vec<u64> },
}

/// Most items in one message.
pub const ITEMS_MAX: usize = 64;

/// One shard or range that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Chosen by the downloader, unique per connection.
    pub request: u64,
    /// Which shard.
    pub shard: ShardId,
    /// `None`: the whole shard. `Some((offset, length))`: that range, rounded outwards to 16 KiB groups by the holder.
    pub range: Option<(u32, u32)>,
}

/// Why a shard does not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum MissingReason {
    /// The holder does not have it.
    #[error("not held")]
    NotHeld,
    /// The holder had it, but its own disk returned other bytes: it is gone there.
    #[error("corrupt at the holder")]
    Corrupt,
    /// Too many requests at once.
    #[error("busy")]
    Busy,
    /// The range is outside the shard.
    #[error("range outside the shard")]
    BadRange,
}

impl Fetch {
    pub(super) fn fits(&self) -> bool {
        match self {
            Self::Get { items } => items.len() <= ITEMS_MAX,
            Self::Found { stripe, range, .. } => stripe.fits() && range.fits(),
            Self::Cancel { requests } => requests.len() <= ITEMS_MAX,
            Self::Missing { .. } => true,
        }
    }
}
