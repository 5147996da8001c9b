//! What the index knows of a shard: where its record is and who holds it. See [`super::index`].

use pangea_protocols::{
    PeerId, ShardId,
    disk::{Failure, Meta},
    merkle::StripeProof,
    wire::store::ShardKind,
};
use serde::{Deserialize, Serialize};

/// Most owners of one shard. Content is public ciphertext, so several peers may store the same; none of them can make
/// the disk forget what another one stored.
pub const CLAIMS_MAX: usize = 8;

/// A record: its segment, its first byte and its whole length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Location {
    /// Segment number.
    pub segment: u32,
    /// Byte in the segment.
    pub offset: u32,
    /// Bytes with header and meta data.
    pub len: u32,
}

/// One owner's hold on a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Who stored it.
    pub owner: PeerId,
    /// As what.
    pub kind: ShardKind,
    /// Until when, seconds since 1970.
    pub expires_unix: u64,
}

/// An index entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The record with the body.
    pub at: Location,
    /// The record with the claims, if they have changed since.
    pub note: Option<Location>,
    /// At least one, at most [`CLAIMS_MAX`], one per owner.
    pub claims: Vec<Claim>,
}

impl Entry {
    /// True if someone stored it as the root of an object.
    pub fn is_root(&self) -> bool {
        self.claims.iter().any(|claim| claim.kind == ShardKind::Root)
    }

    /// What the chunk store sees: the oldest owner, the longest lease.
    pub fn meta(&self, proof: StripeProof) -> Option<Meta> {
        let first = self.claims.first()?;
        let kind = if self.is_root() { ShardKind::Root } else { first.kind };
        let expires_unix = self.claims.iter().map(|claim| claim.expires_unix).max()?;
        Some(Meta { owner: first.owner, kind, expires_unix, proof })
    }
}

/// The claims after `claim` was added. A lease is never shortened, as a receipt may have been signed for it, and a
/// root stays one.
///
/// # Errors
/// [`Failure::Io`] if the shard has [`CLAIMS_MAX`] other owners.
pub fn add_claim(claims: &[Claim], claim: Claim) -> Result<Vec<Claim>, Failure> {
    let mut claims = claims.to_vec();
    if let Some(old) = claims.iter_mut().find(|old| old.owner == claim.owner) {
        old.expires_unix = old.expires_unix.max(claim.expires_unix);
        old.kind = if old.kind == ShardKind::Root { old.kind } else { claim.kind };
    } else if claims.len() < CLAIMS_MAX {
        claims.push(claim);
    } else {
        return Err(Failure::Io(format!("the shard has {CLAIMS_MAX} owners already")));
    }
    Ok(claims)
}

/// The key of a shard in the index: stripe, then index, big endian, so that a stripe's shards are neighbours.
pub fn key(shard: ShardId) -> [u8; 34] {
    let mut key = [0; 34];
    key[..32].copy_from_slice(&shard.stripe.0);
    key[32..].copy_from_slice(&shard.index.to_be_bytes());
    key
}

/// The shard of a key; `None` if it has the wrong length.
pub fn shard_of(key: &[u8]) -> Option<ShardId> {
    let (stripe, index) = key.split_first_chunk::<32>()?;
    Some(ShardId { stripe: pangea_protocols::Hash(*stripe), index: u16::from_be_bytes(index.try_into().ok()?) })
}
