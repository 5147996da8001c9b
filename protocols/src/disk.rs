//! The messages of the shard disk (`src/drivers/disk` in production, a virtual disk in simulations).
//!
//! The disk keeps bodies with their meta data, keyed by [`ShardId`]. It appends, syncs in groups and verifies nothing
//! but its own checksums: quota, proofs and owners are the chunk store's (`actors/chunks`).

use crate::{
    id::{PeerId, ShardId},
    merkle::StripeProof,
    wire::store::ShardKind,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What the chunk store asks of the disk. Every command but `Delete` and `Scan` is answered once, with its tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Make a shard durable. Answered by `Appended` after it is synced, or by `AppendFailed`.
    /// If the shard is there already, only its meta data is replaced.
    Append { tag: u64, shard: ShardId, meta: Meta, body: Bytes },
    /// Read a shard. Answered by `Read`, `Missing` or `Corrupt`.
    Read { tag: u64, shard: ShardId },
    /// Which of these are there? Answered by `Contains`.
    Contains { tag: u64, shards: Vec<ShardId> },
    /// Forget shards that `owner` stored; others stay. Answered by `Deleted` once it is durable.
    Delete { tag: u64, owner: PeerId, shards: Vec<ShardId> },
    /// Forget all shards whose lease ended before `now_unix`. Answered by `Deleted` once it is durable.
    Expire { tag: u64, now_unix: u64 },
}

/// What is kept beside the body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// For whom.
    pub owner: PeerId,
    /// Shard, block or root.
    pub kind: ShardKind,
    /// End of the lease, seconds since 1970.
    pub expires_unix: u64,
    /// Where the shard hangs in its stripe.
    pub proof: StripeProof,
}

/// What the disk answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The store is open: what it holds, and the root blocks to announce.
    Opened { usage: Usage },
    /// Root blocks found while opening, in portions.
    Roots { shards: Vec<ShardId> },
    /// These appends are durable; `usage` is the state after them.
    Appended { tags: Vec<u64>, usage: Usage },
    /// This one is not.
    AppendFailed { tag: u64, error: Failure },
    /// A shard, verified against its checksum.
    Read { tag: u64, meta: Meta, body: Bytes },
    /// No such shard.
    Missing { tag: u64 },
    /// The bytes on disk are not those that were written. The record has been taken out of the index.
    Corrupt { tag: u64 },
    /// Reading failed.
    ReadFailed { tag: u64, error: Failure },
    /// Bit `i` (least significant first): is shard `i` there?
    Contains { tag: u64, present: Vec<u8> },
    /// Forgotten and durable: how many, which roots among them, and the state after it.
    Deleted { tag: u64, count: u32, roots: Vec<ShardId>, usage: Usage },
    /// Nothing was forgotten, or not durably so: the shards are still there.
    DeleteFailed { tag: u64, error: Failure },
}

/// Bytes that [`Usage::disk_bytes`] counts for the index of an empty store.
pub const INDEX_BYTES_MIN: u64 = 4 << 20;
/// Bytes that [`Usage::disk_bytes`] counts for a shard's place in the index: more than it takes, as the index file
/// grows in steps.
pub const INDEX_BYTES_PER_SHARD: u64 = 1280;
/// Most bytes by which [`Usage::disk_bytes`] grows with one append, beside the body: index, record header and meta
/// data. What is promised to an uploader includes this for every shard.
pub const SHARD_OVERHEAD_BYTES: u64 = 2560;

/// What the store occupies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Shards and blocks.
    pub shards: u64,
    /// Bytes on disk, with record headers, free space inside segments and the index.
    pub disk_bytes: u64,
    /// Bytes free on the file system.
    pub free_bytes: u64,
}

/// Why the disk could not do it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    /// No space left.
    #[error("disk full")]
    Full,
    /// Anything else, in the system's words.
    #[error("{0}")]
    Io(String),
}
