//! Opening: what the index knows is checked against the segment files, what it does not know yet is replayed from
//! them, and a torn end is cut off. With an empty index this rebuilds everything from the segments.
//!
//! After a rebuild, shards that were forgotten long ago may be back until their lease ends, because compaction does
//! not carry their tombstones along. Nothing that is held is lost.

use super::{
    OpenError,
    catalog::Catalog,
    entry::Entry,
    index::Watermark,
    ledger::{Ledger, Segment},
    log::Tail,
    record::{Meta, SEGMENT_HEADER_BYTES},
    segment::{Found, Scanner, Segments},
};
use pangea_protocols::{ShardId, disk::Failure};
use std::{collections::BTreeSet, io};

/// Replayed changes after which the index is committed, so that a rebuild needs little memory.
const COMMIT_CHANGES: usize = 32 << 10;

/// What was found.
pub struct Recovered {
    /// Live and dead bytes of every segment.
    pub ledger: Ledger,
    /// Shards stored as roots.
    pub roots: BTreeSet<ShardId>,
    /// Everything before it is in the catalog.
    pub durable: Watermark,
    /// The segment to go on with.
    pub tail: Option<Tail>,
}

/// Brings the catalog up to date with the segments.
///
/// # Errors
/// [`OpenError::Index`] if the index is not readable, [`OpenError::Io`] if a segment is not.
pub fn recover(catalog: &Catalog, segments: &Segments) -> Result<Recovered, OpenError> {
    let io = |error: io::Error| OpenError::Io { path: segments.volume().path().to_owned(), error };
    let index =
        |failure: Failure| OpenError::Index { path: segments.volume().path().to_owned(), reason: failure.to_string() };
    segments.volume().sync_segment_names().map_err(io)?;
    let files = segments.volume().segments().map_err(io)?;
    let mut recovery = Recovery { catalog, ledger: Ledger::default(), roots: BTreeSet::new() };
    recovery.ledger.segments = files.iter().map(|(number, len)| (*number, Segment { len: *len, live: 0 })).collect();
    recovery.check().map_err(index)?;
    let known = catalog.index().watermark().map_err(index)?;
    let mut durable = known;
    let mut tail = None;
    for (number, len) in files.range(durable.segment..) {
        // A killed process leaves writes that the system has not synced: what is replayed is promised from here on.
        segments.volume().append_segment(*number).and_then(|mut file| file.sync()).map_err(io)?;
        let from = if *number == durable.segment { durable.offset } else { 0 };
        let mut scanner = Scanner::new(segments, *number, from).map_err(io)?;
        let mut end = from.max(SEGMENT_HEADER_BYTES as u32);
        while let Some(found) = scanner.next().map_err(io)? {
            end = found.at.offset.saturating_add(found.at.len);
            recovery.replay(found).map_err(index)?;
            if catalog.uncommitted() >= COMMIT_CHANGES {
                catalog.commit(Watermark { segment: *number, offset: end }).map_err(index)?;
            }
        }
        durable = Watermark { segment: *number, offset: u32::try_from(*len).map_or(end, |len| end.min(len)) };
        tail = scanner.mark().map(|mark| (*number, u64::from(durable.offset), mark));
    }
    // Bytes that the index knows are missing. Records here would be below its watermark, and not be replayed.
    let behind = files.get(&known.segment).is_some_and(|len| *len < u64::from(known.offset));
    let tail = tail.filter(|(number, ..)| !(behind && *number == known.segment));
    if let Some((number, len, _)) = tail {
        cut(segments, number, len).map_err(io)?;
        recovery.ledger.segments.entry(number).or_default().len = len;
    }
    // A segment whose header never became durable has no mark and nothing in it; it is reclaimed as a dead one.
    let tail = tail.filter(|(_, len, _)| *len >= SEGMENT_HEADER_BYTES as u64);
    Ok(Recovered { ledger: recovery.ledger, roots: recovery.roots, durable, tail })
}

/// Cuts off what follows the last intact record, durably.
fn cut(segments: &Segments, number: u32, len: u64) -> io::Result<()> {
    let torn = segments.reader(number)?.bytes()?.saturating_sub(len);
    if torn > 0 {
        tracing::warn!(segment = number, bytes = torn, "cutting off a write that was not finished");
        let mut file = segments.volume().append_segment(number)?;
        file.truncate(len)?;
        file.sync()?;
    }
    Ok(())
}

struct Recovery<'a> {
    catalog: &'a Catalog,
    ledger: Ledger,
    roots: BTreeSet<ShardId>,
}

impl Recovery<'_> {
    /// Counts the index, and drops entries whose bytes are not there.
    fn check(&mut self) -> Result<(), Failure> {
        let mut lost = Vec::new();
        self.catalog.index().each(|shard, entry| match entry {
            Some(entry) if self.ledger.covers(&entry) => {
                self.ledger.change(None, Some(&entry));
                if entry.is_root() {
                    self.roots.insert(shard);
                }
            }
            _ => lost.push(shard),
        })?;
        if !lost.is_empty() {
            tracing::error!(shards = lost.len(), "shards are lost: the index knows them, the segments do not");
        }
        for shard in lost {
            self.catalog.set(shard, None);
        }
        Ok(())
    }

    fn replay(&mut self, found: Found) -> Result<(), Failure> {
        let shard = found.meta.shard();
        let old = self.catalog.get(shard)?;
        let new = match (found.meta, &old) {
            (Meta::Put { claims, .. }, _) => Some(Entry { at: found.at, note: None, claims }),
            (Meta::Claims { claims, .. }, Some(old)) => Some(Entry { at: old.at, note: Some(found.at), claims }),
            (Meta::Claims { .. }, None) | (Meta::Gone { .. }, _) => None,
        };
        self.ledger.change(old.as_ref(), new.as_ref());
        match &new {
            Some(entry) if entry.is_root() => self.roots.insert(shard),
            _ => self.roots.remove(&shard),
        };
        self.catalog.set(shard, new);
        Ok(())
    }
}
