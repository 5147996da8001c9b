//! `/pangea/have/1`: which of these shards do you hold?

use crate::id::ShardId;
use serde::{Deserialize, Serialize};

/// Messages of the have/want protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Have {
    /// Ask for up to [`SHARDS_MAX`] shards.
    Want { request: u64, shards: Vec<ShardId> },
    /// Bit `i` (least significant first) of `present` tells whether shard `i` of the question is held.
    Have { request: u64, present: Vec<u8> },
}

/// Most shards in one question.
pub const SHARDS_MAX: usize = 1024;

impl Have {
    pub(super) fn fits(&self) -> bool {
        match self {
            Self::Want { shards, .. } => shards.len() <= SHARDS_MAX,
            Self::Have { present, .. } => present.len() <= SHARDS_MAX.div_ceil(8),
        }
    }
}
