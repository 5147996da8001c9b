//! [`Tree`]: from the number of a stripe to its record, through the blocks of the manifest.
//!
//! Holds the root and a few recent blocks. Fetches nothing: it says which block it lacks. Every block that is put in
//! has been checked against its hash by `manifest::open_node`; what is checked here is that it has the place in the
//! tree that the root gives it.

use super::limits::CACHE_BLOCKS;
use pangea_protocols::{
    Hash, PeerId,
    manifest::{CHILDREN_MAX, Codec, Content, NO_HOLDER, Node, RECORDS_MAX, RootBody, StripeRecord},
};
use std::collections::BTreeMap;

/// An open manifest.
#[derive(Debug)]
pub(super) struct Tree {
    root: RootBody,
    cache: BTreeMap<Hash, (u64, Node)>,
    uses: u64,
}

/// Where a stripe's record is.
#[derive(Debug, PartialEq)]
pub(super) enum Located {
    /// Here.
    Record(StripeRecord),
    /// In, or below, this block.
    Lacks(Hash),
    /// The object has no such stripe.
    Outside,
}

/// Blocks that carry the right hashes, but contradict each other: the object was damaged when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TreeError {
    /// A leaf where an inner block belongs, or the reverse, or one with the wrong number of entries.
    #[error("a manifest block does not fit its place in the tree")]
    Misplaced,
    /// Shard length and ciphertext length contradict each other.
    #[error("shard lengths do not fit the ciphertext")]
    Lengths,
}

impl Tree {
    /// A verified root.
    pub fn new(root: RootBody) -> Self {
        Self { root, cache: BTreeMap::new(), uses: 0 }
    }

    /// The root.
    pub fn root(&self) -> &RootBody {
        &self.root
    }

    /// Stripes that have a record: none for empty and inline objects.
    pub fn stripes(&self) -> u64 {
        match &self.root.content {
            Content::Empty | Content::Inline { .. } => 0,
            Content::Stripes(records) => records.len() as u64,
            Content::Tree { stripes, .. } => *stripes,
        }
    }

    /// The holder that the manifest names for shard `index` of a stripe.
    pub fn holder(&self, record: &StripeRecord, index: usize) -> Option<PeerId> {
        let at = *record.placement.get(index).filter(|at| **at != NO_HOLDER)?;
        self.root.holders.get(usize::from(at)).map(|holder| holder.peer)
    }

    /// Puts a verified block in; the one used longest ago makes room.
    pub fn insert(&mut self, hash: Hash, node: Node) {
        self.uses += 1;
        self.cache.insert(hash, (self.uses, node));
        if self.cache.len() > CACHE_BLOCKS
            && let Some(oldest) = self.cache.iter().min_by_key(|(_, (used, _))| *used).map(|(hash, _)| *hash)
        {
            self.cache.remove(&oldest);
        }
    }

    /// Finds the record of stripe `index`.
    ///
    /// # Errors
    /// [`TreeError`] if a block on the way does not fit.
    pub fn locate(&mut self, index: u64) -> Result<Located, TreeError> {
        let leaf = match self.path(index)? {
            Path::Outside => return Ok(Located::Outside),
            Path::Root => None,
            Path::Lacks(hash) => return Ok(Located::Lacks(hash)),
            Path::Leaf(blocks) => blocks.last().copied(),
        };
        let at = usize::try_from(index % RECORDS_MAX as u64).unwrap_or(usize::MAX);
        let records = match (leaf, &self.root.content) {
            (None, Content::Stripes(records)) => records,
            (Some(hash), _) => match self.cache.get(&hash) {
                Some((_, Node::Leaf(records))) => records,
                _ => return Err(TreeError::Misplaced),
            },
            _ => return Err(TreeError::Misplaced),
        };
        let record = records.get(at).ok_or(TreeError::Misplaced)?;
        self.check(record)?;
        Ok(Located::Record(record.clone()))
    }

    /// The blocks, from the first level down to the leaf, below which stripe `index` is the last. For a removal, which
    /// drops a block after all that is below it.
    ///
    /// # Errors
    /// [`TreeError`] if a block on the way does not fit.
    pub fn blocks_ending_at(&mut self, index: u64) -> Result<Vec<Hash>, TreeError> {
        let Content::Tree { height, stripes, .. } = self.root.content else { return Ok(Vec::new()) };
        let Path::Leaf(blocks) = self.path(index)? else { return Ok(Vec::new()) };
        let next = index + 1;
        let ends = |level: usize| {
            let below = u32::from(height).saturating_sub(u32::try_from(level).unwrap_or(u32::MAX));
            next == stripes || next.is_multiple_of(RECORDS_MAX as u64 * (CHILDREN_MAX as u64).pow(below))
        };
        Ok(blocks.into_iter().enumerate().filter(|(level, _)| ends(*level)).map(|(_, hash)| hash).collect())
    }

    /// The first stripe that is not below the block which `index` lacks: for a removal that skips lost subtrees.
    ///
    /// # Errors
    /// [`TreeError`] if a block on the way does not fit.
    pub fn skip_lacking(&mut self, index: u64) -> Result<u64, TreeError> {
        let Content::Tree { height, stripes, .. } = self.root.content else { return Ok(index + 1) };
        let mut span = RECORDS_MAX as u64 * (CHILDREN_MAX as u64).pow(u32::from(height));
        let mut hash = self.child_of_root(index / span)?;
        while let Some((_, Node::Inner(children))) = self.cache.get(&hash) {
            let inside = index % span;
            span /= CHILDREN_MAX as u64;
            let at = usize::try_from(inside / span.max(1)).unwrap_or(usize::MAX);
            hash = *children.get(at).ok_or(TreeError::Misplaced)?;
        }
        let span = span.max(RECORDS_MAX as u64);
        Ok((index / span + 1).saturating_mul(span).min(stripes))
    }

    fn path(&mut self, index: u64) -> Result<Path, TreeError> {
        if index >= self.stripes() {
            return Ok(Path::Outside);
        }
        let Content::Tree { height, stripes, .. } = self.root.content else { return Ok(Path::Root) };
        let mut span = RECORDS_MAX as u64 * (CHILDREN_MAX as u64).pow(u32::from(height));
        let mut hash = self.child_of_root(index / span)?;
        let mut blocks = Vec::new();
        loop {
            self.uses += 1;
            let Some((used, node)) = self.cache.get_mut(&hash) else { return Ok(Path::Lacks(hash)) };
            *used = self.uses;
            blocks.push(hash);
            let first = index / span * span;
            let below = span.min(stripes - first);
            match node {
                Node::Leaf(records) if span == RECORDS_MAX as u64 && records.len() as u64 == below => {
                    return Ok(Path::Leaf(blocks));
                }
                Node::Inner(children) if span > RECORDS_MAX as u64 => {
                    let child_span = span / CHILDREN_MAX as u64;
                    if children.len() as u64 != below.div_ceil(child_span) {
                        return Err(TreeError::Misplaced);
                    }
                    let at = usize::try_from((index - first) / child_span).unwrap_or(usize::MAX);
                    hash = *children.get(at).ok_or(TreeError::Misplaced)?;
                    span = child_span;
                }
                _ => return Err(TreeError::Misplaced),
            }
        }
    }

    fn child_of_root(&self, at: u64) -> Result<Hash, TreeError> {
        let Content::Tree { children, .. } = &self.root.content else { return Err(TreeError::Misplaced) };
        usize::try_from(at).ok().and_then(|at| children.get(at)).copied().ok_or(TreeError::Misplaced)
    }

    /// A record announces how much memory a stripe takes: it may not announce much more than its ciphertext.
    fn check(&self, record: &StripeRecord) -> Result<(), TreeError> {
        if record.codec == Codec::Zero {
            return Ok(());
        }
        let (k, ct_len) = (u64::from(self.root.k), u64::from(record.ct_len));
        let data = k * u64::from(record.shard_len);
        if (ct_len..=ct_len + 128 * k).contains(&data) { Ok(()) } else { Err(TreeError::Lengths) }
    }
}

enum Path {
    Outside,
    Root,
    Lacks(Hash),
    Leaf(Vec<Hash>),
}
