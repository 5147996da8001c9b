//! Proofs: a shard belongs to a stripe, and a range of bytes belongs to a shard.
//!
//! - **Stripe tree.** Leaves are the BLAKE3 hashes of the shards; a node is keyed BLAKE3 of its two children, so that
//!   a node is never a shard hash; an odd node moves up unchanged. One leaf is its own root.
//! - **Range proof.** A shard's hash is plain BLAKE3, which is itself a tree. The proof lists the chaining values of
//!   the subtrees left and right of the range, in groups of 16 KiB (BLAKE3 specification, section 2.1 and 5.1).

use crate::id::{Hash, ShardId};
use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Bytes of the smallest unit that a range proof can prove.
pub const GROUP_BYTES: usize = 16 << 10;
/// Most leaves of a stripe tree: k + m is below 2^16, and in practice below 256.
const PATH_MAX: usize = 16;
/// Most subtrees beside a range: two per level.
const SIBLINGS_MAX: usize = 32;

/// Why bytes are not what they claim to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The shard is not the leaf of the stripe that it claims to be.
    #[error("shard does not belong to its stripe")]
    Stripe,
    /// The bytes are not that range of the shard.
    #[error("bytes do not belong to the shard")]
    Range,
    /// The proof has the wrong shape for the claimed position.
    #[error("proof has the wrong shape")]
    Shape,
}

/// The path from one leaf to the root of the stripe tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StripeProof {
    /// Leaves of the stripe: k + m, or 1 for a block.
    pub total: u16,
    /// Siblings from the leaf upwards; levels where the node has no sibling are skipped.
    pub path: Vec<Hash>,
}

impl StripeProof {
    /// The proof of a block, which is its own root.
    pub fn block() -> Self {
        Self { total: 1, path: Vec::new() }
    }

    pub(crate) fn fits(&self) -> bool {
        self.path.len() <= PATH_MAX
    }

    /// Checks that a shard with hash `leaf` is shard `id.index` of the stripe `id.stripe`.
    ///
    /// # Errors
    /// [`ProofError::Shape`] or [`ProofError::Stripe`].
    pub fn verify(&self, id: ShardId, leaf: Hash) -> Result<(), ProofError> {
        let (mut index, mut width, mut node) = (id.index, self.total, leaf);
        let mut path = self.path.iter();
        if index >= width {
            return Err(ProofError::Shape);
        }
        while width > 1 {
            if index ^ 1 < width {
                let sibling = path.next().ok_or(ProofError::Shape)?;
                node = if index & 1 == 0 { parent(&node, sibling) } else { parent(sibling, &node) };
            }
            index /= 2;
            width = width.div_ceil(2);
        }
        match (path.next(), node == id.stripe) {
            (Some(_), _) => Err(ProofError::Shape),
            (None, true) => Ok(()),
            (None, false) => Err(ProofError::Stripe),
        }
    }
}

/// The stripe tree over the hashes of its shards.
#[derive(Clone, Debug)]
pub struct StripeTree {
    levels: Vec<Vec<Hash>>,
}

impl StripeTree {
    /// Builds the tree; `leaves` must not be empty.
    pub fn new(leaves: Vec<Hash>) -> Self {
        assert!(!leaves.is_empty(), "a stripe has at least one shard");
        let mut levels = vec![leaves];
        while let Some(last) = levels.last().filter(|level| level.len() > 1) {
            let next = last
                .chunks(2)
                .map(|pair| match pair {
                    [left, right] => parent(left, right),
                    single => single[0],
                })
                .collect();
            levels.push(next);
        }
        Self { levels }
    }

    /// The stripe root.
    pub fn root(&self) -> Hash {
        self.levels[self.levels.len() - 1][0]
    }

    /// The proof for leaf `index`.
    pub fn proof(&self, index: u16) -> StripeProof {
        let mut at = usize::from(index);
        let mut path = Vec::new();
        for level in &self.levels[..self.levels.len() - 1] {
            path.extend(level.get(at ^ 1));
            at /= 2;
        }
        StripeProof { total: u16::try_from(self.levels[0].len()).unwrap_or(u16::MAX), path }
    }
}

fn parent(left: &Hash, right: &Hash) -> Hash {
    /// `blake3::derive_key("pangea 2026 stripe tree node", "")`, computed once.
    static KEY: std::sync::LazyLock<[u8; 32]> =
        std::sync::LazyLock::new(|| blake3::derive_key("pangea 2026 stripe tree node", b""));
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&left.0);
    bytes[32..].copy_from_slice(&right.0);
    Hash(*blake3::keyed_hash(&KEY, &bytes).as_bytes())
}

/// What surrounds a range inside its shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeProof {
    /// Bytes of the whole shard.
    pub shard_len: u32,
    /// Where the body starts in the shard; a multiple of [`GROUP_BYTES`].
    pub offset: u32,
    /// Chaining values of the subtrees outside the range, left to right.
    pub siblings: Vec<Hash>,
}

impl RangeProof {
    /// The proof of a whole shard: nothing lies outside.
    pub fn whole(shard_len: u32) -> Self {
        Self { shard_len, offset: 0, siblings: Vec::new() }
    }

    pub(crate) fn fits(&self) -> bool {
        self.siblings.len() <= SIBLINGS_MAX
    }

    /// Makes the proof for `range` of `shard`, and the range rounded outwards to whole groups.
    ///
    /// # Errors
    /// [`ProofError::Shape`] if the range is empty or outside the shard.
    pub fn make(shard: &[u8], range: Range<u32>) -> Result<(Self, Range<u32>), ProofError> {
        let shard_len = u32::try_from(shard.len()).map_err(|_| ProofError::Shape)?;
        if range.is_empty() || range.end > shard_len {
            return Err(ProofError::Shape);
        }
        let group = GROUP_BYTES as u32;
        let start = range.start / group * group;
        let end = range.end.div_ceil(group).saturating_mul(group).min(shard_len);
        let mut siblings = Vec::new();
        collect(shard, 0, &(start as usize..end as usize), &mut siblings);
        Ok((Self { shard_len, offset: start, siblings }, start..end))
    }

    /// The hash of the shard of which `body` is the range described by this proof.
    ///
    /// # Errors
    /// [`ProofError::Shape`] if the body cannot be that range.
    pub fn shard_hash(&self, body: &[u8]) -> Result<Hash, ProofError> {
        let (len, start) = (self.shard_len as usize, self.offset as usize);
        let end = start.checked_add(body.len()).filter(|end| *end <= len).ok_or(ProofError::Shape)?;
        if start == 0 && end == len {
            return if self.siblings.is_empty() { Ok(Hash::of(body)) } else { Err(ProofError::Shape) };
        }
        let aligned = start.is_multiple_of(GROUP_BYTES) && (end.is_multiple_of(GROUP_BYTES) || end == len);
        if !aligned || body.is_empty() {
            return Err(ProofError::Shape);
        }
        let mut siblings = self.siblings.iter();
        let split = split_at(len);
        let left = rebuild(0..split, start..end, body, &mut siblings)?;
        let right = rebuild(split..len, start..end, body, &mut siblings)?;
        if siblings.next().is_some() {
            return Err(ProofError::Shape);
        }
        Ok(Hash(*merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()))
    }
}

/// Checks a whole answer: `body` is the range `range` of shard `id`.
///
/// # Errors
/// See [`ProofError`].
pub fn verify(id: ShardId, stripe: &StripeProof, range: &RangeProof, body: &[u8]) -> Result<(), ProofError> {
    stripe.verify(id, range.shard_hash(body)?)
}

/// The left subtree of `len` bytes holds the largest power of two of groups that leaves something to the right.
fn split_at(len: usize) -> usize {
    let groups = len.div_ceil(GROUP_BYTES);
    (groups.next_power_of_two() / 2).max(1) * GROUP_BYTES
}

/// The chaining value of `bytes`, a complete subtree that starts at byte `at` of the shard.
fn chaining_value(bytes: &[u8], at: usize) -> ChainingValue {
    blake3::Hasher::new().set_input_offset(at as u64).update(bytes).finalize_non_root()
}

/// Appends the values of the largest subtrees of `bytes` (at `at`) that lie outside `range`.
fn collect(bytes: &[u8], at: usize, range: &Range<usize>, out: &mut Vec<Hash>) {
    let end = at + bytes.len();
    if range.start <= at && end <= range.end {
        return;
    }
    if end <= range.start || range.end <= at {
        out.push(Hash(chaining_value(bytes, at)));
        return;
    }
    let (left, right) = bytes.split_at(split_at(bytes.len()));
    collect(left, at, range, out);
    collect(right, at + left.len(), range, out);
}

/// The chaining value of the subtree `node`, from the body where it covers it and from the siblings elsewhere.
fn rebuild<'a>(
    node: Range<usize>,
    range: Range<usize>,
    body: &[u8],
    siblings: &mut impl Iterator<Item = &'a Hash>,
) -> Result<ChainingValue, ProofError> {
    if range.start <= node.start && node.end <= range.end {
        return Ok(chaining_value(&body[node.start - range.start..node.end - range.start], node.start));
    }
    if node.end <= range.start || range.end <= node.start {
        return Ok(siblings.next().ok_or(ProofError::Shape)?.0);
    }
    let middle = node.start + split_at(node.len());
    let left = rebuild(node.start..middle, range.clone(), body, siblings)?;
    let right = rebuild(middle..node.end, range, body, siblings)?;
    Ok(merge_subtrees_non_root(&left, &right, Mode::Hash))
}
