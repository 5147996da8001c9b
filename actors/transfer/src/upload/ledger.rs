//! The manifest in the making: records of retired stripes, full leaves, and the hashes of the tree above them.
//!
//! Memory stays bounded whatever the size of the object: a leaf leaves as soon as its 512 records are complete, and of
//! a block that has left only its hash is kept, until its parent leaves too.

use pangea_protocols::{
    Hash, ShardId,
    manifest::{self, CHILDREN_MAX, Content, ManifestError, Node, RECORDS_MAX, StripeRecord},
};
use std::collections::{BTreeMap, VecDeque};

/// A block that is ready to be stored.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// Its name.
    pub hash: Hash,
    /// Its encoding.
    pub bytes: Vec<u8>,
    /// False if another object may have the very same block (a leaf of nothing but zero frames): it must not be
    /// dropped with this object.
    pub own: bool,
}

/// Hashes of one level that are not yet in a parent, and whether all blocks under them are this object's own.
#[derive(Debug, Default)]
struct Level {
    children: Vec<Hash>,
    own: bool,
}

/// Records and tree of one object.
#[derive(Debug)]
pub struct Ledger {
    /// Retired stripes from `next` on, not yet in a leaf.
    records: BTreeMap<u64, StripeRecord>,
    /// First stripe that is in no leaf.
    next: u64,
    /// Bottom up.
    levels: Vec<Level>,
    /// Blocks made and not yet taken.
    ready: VecDeque<Block>,
    /// Shards of the latest retired stripes with the index of their holder, for `Drop`.
    undo: VecDeque<(Hash, Vec<u8>)>,
    undo_max: usize,
}

impl Ledger {
    /// An empty one that remembers the shards of `undo_max` stripes.
    pub fn new(undo_max: usize) -> Self {
        let (records, levels) = (BTreeMap::new(), Vec::new());
        Self { records, next: 0, levels, ready: VecDeque::new(), undo: VecDeque::new(), undo_max }
    }

    /// Takes the final record of a stripe. A leaf is made once it is complete and a later stripe is known to follow
    /// (`encoded` stripes have been seen), because a small object's records go into its root.
    ///
    /// # Errors
    /// A block that cannot be encoded: a limit of the format was ignored.
    pub fn retire(&mut self, index: u64, record: StripeRecord, encoded: u64) -> Result<(), ManifestError> {
        if !record.placement.is_empty() {
            self.undo.push_back((record.root, record.placement.clone()));
            if self.undo.len() > self.undo_max {
                self.undo.pop_front();
            }
        }
        self.records.insert(index, record);
        self.make_leaves(encoded)
    }

    /// Records that are retired and in no leaf yet.
    pub fn unfiled(&self) -> usize {
        self.records.len()
    }

    /// The next block that is ready.
    pub fn take_block(&mut self) -> Option<Block> {
        self.ready.pop_front()
    }

    /// All stripes are retired. Few records become the content itself if `fits` says that the root can take them; else
    /// the rest of the tree is made (see [`Ledger::take_block`]).
    ///
    /// # Errors
    /// As [`Ledger::retire`].
    pub fn finish(&mut self, stripes: u64, fits: impl Fn(&Content) -> bool) -> Result<Content, ManifestError> {
        if self.levels.is_empty() && self.records.len() <= RECORDS_MAX {
            let content = Content::Stripes(std::mem::take(&mut self.records).into_values().collect());
            if fits(&content) {
                return Ok(content);
            }
            if let Content::Stripes(records) = content {
                self.records = (0..).zip(records).collect();
            }
        }
        while !self.records.is_empty() {
            self.make_leaf()?;
        }
        let mut level = 0;
        while level + 1 < self.levels.len() {
            self.make_inner(level)?;
            level += 1;
        }
        let children = self.levels.pop().map(|top| top.children).unwrap_or_default();
        let height = u8::try_from(level).map_err(|_| ManifestError::Invalid("tree too high"))?;
        Ok(Content::Tree { height, stripes, children })
    }

    /// Shards of retired stripes by the listed index of their holder.
    pub fn undo(&self) -> impl Iterator<Item = (u8, ShardId)> + '_ {
        self.undo.iter().flat_map(|(stripe, placement)| {
            (0u16..).zip(placement).map(|(index, holder)| (*holder, ShardId { stripe: *stripe, index }))
        })
    }

    fn make_leaves(&mut self, encoded: u64) -> Result<(), ManifestError> {
        let leaf = RECORDS_MAX as u64;
        // `next` is always in `records` when the leaf is complete, so the count of keys below its end decides.
        while encoded > self.next + leaf && self.records.range(..self.next + leaf).count() == RECORDS_MAX {
            self.make_leaf()?;
        }
        Ok(())
    }

    fn make_leaf(&mut self) -> Result<(), ManifestError> {
        let rest = self.records.split_off(&(self.next + RECORDS_MAX as u64));
        let records: Vec<_> = std::mem::replace(&mut self.records, rest).into_values().collect();
        self.next += records.len() as u64;
        let own = records.iter().any(|record| !record.placement.is_empty());
        let hash = self.make_block(&Node::Leaf(records), own)?;
        self.add(0, hash, own)
    }

    fn add(&mut self, level: usize, hash: Hash, own: bool) -> Result<(), ManifestError> {
        if self.levels.len() <= level {
            self.levels.push(Level::default());
        }
        if self.levels[level].children.len() == CHILDREN_MAX {
            self.make_inner(level)?;
        }
        self.levels[level].children.push(hash);
        self.levels[level].own |= own;
        Ok(())
    }

    /// Moves what is on `level` into a block one level up.
    fn make_inner(&mut self, level: usize) -> Result<(), ManifestError> {
        let Level { children, own } = std::mem::take(&mut self.levels[level]);
        let hash = self.make_block(&Node::Inner(children), own)?;
        self.add(level + 1, hash, own)
    }

    fn make_block(&mut self, node: &Node, own: bool) -> Result<Hash, ManifestError> {
        let bytes = manifest::encode_node(node)?;
        let hash = Hash::of(&bytes);
        self.ready.push_back(Block { hash, bytes, own });
        Ok(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_protocols::manifest::Codec;

    fn record(index: u64) -> StripeRecord {
        let root = Hash::of(&index.to_le_bytes());
        StripeRecord {
            codec: Codec::Store,
            raw_len: 1 << 20,
            ct_len: 1 << 20,
            shard_len: 1 << 18,
            root,
            placement: vec![0; 8],
        }
    }

    /// Retires `stripes` stripes in pairs swapped, as the network may, and returns the content and all blocks.
    fn build(stripes: u64, fits: bool) -> (Content, BTreeMap<Hash, Vec<u8>>, usize) {
        let mut ledger = Ledger::new(16);
        let mut most_unfiled = 0;
        let mut blocks = BTreeMap::new();
        for index in 0..stripes {
            let swapped = if index ^ 1 < stripes { index ^ 1 } else { index };
            ledger.retire(swapped, record(swapped), (index + 3).min(stripes)).unwrap();
            most_unfiled = most_unfiled.max(ledger.unfiled());
        }
        let content = ledger.finish(stripes, |_| fits).unwrap();
        while let Some(block) = ledger.take_block() {
            blocks.insert(block.hash, block.bytes);
        }
        (content, blocks, most_unfiled)
    }

    fn walk(height: u8, children: &[Hash], blocks: &BTreeMap<Hash, Vec<u8>>, out: &mut Vec<StripeRecord>) {
        for child in children {
            match manifest::open_node(*child, &blocks[child], 8).unwrap() {
                Node::Leaf(records) => {
                    assert_eq!(height, 0);
                    out.extend(records);
                }
                Node::Inner(children) => walk(height - 1, &children, blocks, out),
            }
        }
    }

    #[test]
    fn up_to_512_records_stay_in_the_root_if_they_fit() {
        for stripes in [1, 511, 512] {
            let (content, blocks, _) = build(stripes, true);
            assert!(
                blocks.is_empty() && matches!(content, Content::Stripes(records) if records.len() as u64 == stripes)
            );
        }
        let (content, blocks, _) = build(512, false);
        assert!(matches!(content, Content::Tree { height: 0, stripes: 512, .. }) && blocks.len() == 1);
    }

    #[test]
    fn larger_objects_become_a_tree_that_walks_in_order_and_keeps_few_records() {
        for stripes in [513, 1024, 1025, 5000] {
            let (content, blocks, most_unfiled) = build(stripes, true);
            let Content::Tree { height, children, .. } = content else { panic!("no tree") };
            let mut records = Vec::new();
            walk(height, &children, &blocks, &mut records);
            assert_eq!(records, (0..stripes).map(record).collect::<Vec<_>>());
            assert!(most_unfiled <= RECORDS_MAX + 3, "{most_unfiled}");
        }
    }

    #[test]
    fn a_second_level_is_made_beyond_half_a_tebibyte() {
        let stripes = (RECORDS_MAX * CHILDREN_MAX) as u64 + 1;
        let mut ledger = Ledger::new(0);
        let zero = StripeRecord {
            codec: Codec::Zero,
            raw_len: 1,
            ct_len: 0,
            shard_len: 0,
            root: Hash::default(),
            placement: vec![],
        };
        let mut blocks = BTreeMap::new();
        for index in 0..stripes {
            ledger.retire(index, zero.clone(), (index + 2).min(stripes)).unwrap();
            while let Some(block) = ledger.take_block() {
                assert!(!block.own, "blocks of zero frames may be shared by objects");
                blocks.insert(block.hash, block.bytes);
            }
        }
        let Content::Tree { height, children, .. } = ledger.finish(stripes, |_| true).unwrap() else {
            panic!("no tree")
        };
        while let Some(block) = ledger.take_block() {
            blocks.insert(block.hash, block.bytes);
        }
        assert_eq!((height, children.len()), (1, 2));
        let mut records = Vec::new();
        walk(height, &children, &blocks, &mut records);
        assert_eq!(records.len() as u64, stripes);
    }

    #[test]
    fn only_the_latest_stripes_are_remembered_for_undo() {
        let mut ledger = Ledger::new(2);
        (0..5).for_each(|index| ledger.retire(index, record(index), 5).unwrap());
        let stripes: std::collections::BTreeSet<_> = ledger.undo().map(|(_, shard)| shard.stripe).collect();
        assert_eq!(stripes, [record(3).root, record(4).root].into());
    }
}
