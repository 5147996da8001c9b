//! How many bytes of every segment are alive, and how many shards there are. Plain arithmetic on entries.

use super::entry::{Entry, Location};
use std::collections::BTreeMap;

/// One segment file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Bytes of the file.
    pub len: u64,
    /// Bytes of records that the index points to.
    pub live: u64,
}

impl Segment {
    /// Bytes that compaction would free.
    pub fn dead(&self) -> u64 {
        self.len.saturating_sub(self.live)
    }
}

/// All segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// By number.
    pub segments: BTreeMap<u32, Segment>,
    /// Entries of the index.
    pub shards: u64,
}

impl Ledger {
    /// An entry has become another one; `None` is no entry.
    pub fn change(&mut self, old: Option<&Entry>, new: Option<&Entry>) {
        for at in locations(old) {
            if let Some(segment) = self.segments.get_mut(&at.segment) {
                segment.live = segment.live.saturating_sub(u64::from(at.len));
            }
        }
        for at in locations(new) {
            if let Some(segment) = self.segments.get_mut(&at.segment) {
                segment.live += u64::from(at.len);
            }
        }
        self.shards = (self.shards + u64::from(new.is_some())).saturating_sub(u64::from(old.is_some()));
    }

    /// Bytes of all segment files.
    pub fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.len).sum()
    }

    /// True if the file has the bytes that `entry` points to.
    pub fn covers(&self, entry: &Entry) -> bool {
        let end = u64::from(entry.at.offset) + u64::from(entry.at.len);
        self.segments.get(&entry.at.segment).is_some_and(|segment| end <= segment.len)
    }
}

fn locations(entry: Option<&Entry>) -> impl Iterator<Item = Location> {
    entry.into_iter().flat_map(|entry| [Some(entry.at), entry.note]).flatten()
}
