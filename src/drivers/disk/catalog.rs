//! What the disk holds right now: the index, and above it the changes that are durable in the segments but not yet
//! committed to the index. Written by the writer only; readers look things up at any time.

use super::{
    entry::Entry,
    index::{Changes, Index, Watermark},
};
use pangea_protocols::{ShardId, disk::Failure};
use std::sync::{PoisonError, RwLock};

/// Index and overlay.
pub struct Catalog {
    index: Index,
    overlay: RwLock<Changes>,
}

impl Catalog {
    /// Nothing above the index.
    pub fn new(index: Index) -> Self {
        Self { index, overlay: RwLock::default() }
    }

    /// The committed part.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Looks a shard up.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn get(&self, shard: ShardId) -> Result<Option<Entry>, Failure> {
        let changed = self.overlay.read().unwrap_or_else(PoisonError::into_inner).get(&shard).cloned();
        // A commit that comes between the two look-ups moves the change down, so it cannot be missed.
        changed.map_or_else(|| self.index.get(shard), Ok)
    }

    /// Adds a durable change.
    pub fn set(&self, shard: ShardId, entry: Option<Entry>) {
        self.overlay.write().unwrap_or_else(PoisonError::into_inner).insert(shard, entry);
    }

    /// Changes that wait for a commit.
    pub fn uncommitted(&self) -> usize {
        self.overlay.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Moves all changes down into the index. Only one thread may call this and [`Catalog::set`].
    ///
    /// # Errors
    /// The index cannot be written; the changes stay.
    pub fn commit(&self, watermark: Watermark) -> Result<(), Failure> {
        self.index.commit(&self.overlay.read().unwrap_or_else(PoisonError::into_inner), watermark)?;
        self.overlay.write().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }
}
