//! What the shards occupy: segments that are appended to, with live and dead bytes, counted as the driver counts them.

use pangea::drivers::disk::Claim;
use pangea_protocols::{
    ShardId,
    codec::{self, Limit},
    disk::{INDEX_BYTES_MIN, INDEX_BYTES_PER_SHARD},
    merkle::StripeProof,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Bytes before the first record of a segment.
const SEGMENT_HEADER_BYTES: u64 = 32;
/// Bytes of a record before its meta data.
const RECORD_HEADER_BYTES: u64 = 28;
/// Dead bytes below which a segment is not worth compacting.
const COMPACT_BYTES_MIN: u64 = 1 << 20;

/// A record's segment and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) segment: u32,
    pub(super) len: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Segment {
    len: u64,
    live: u64,
}

/// All segments.
#[derive(Debug)]
pub(super) struct Log {
    segment_bytes: u64,
    segments: BTreeMap<u32, Segment>,
    active: Option<u32>,
    last: u32,
}

impl Log {
    pub(super) fn new(segment_bytes: u32) -> Self {
        Self { segment_bytes: u64::from(segment_bytes), segments: BTreeMap::new(), active: None, last: 0 }
    }

    pub(super) fn set_segment_bytes(&mut self, segment_bytes: u32) {
        self.segment_bytes = u64::from(segment_bytes);
    }

    /// What `shards` shards and all segments occupy.
    pub(super) fn occupied(&self, shards: u64) -> u64 {
        let segments: u64 = self.segments.values().map(|segment| segment.len).sum();
        segments + INDEX_BYTES_MIN + shards * INDEX_BYTES_PER_SHARD
    }

    /// Appends a record of `len` bytes whose bytes count as live.
    pub(super) fn append(&mut self, len: u64) -> Location {
        let number = match self.active {
            Some(number) if self.segments.get(&number).is_some_and(|s| s.len + len <= self.segment_bytes) => number,
            _ => self.roll(),
        };
        let segment = self.segments.entry(number).or_default();
        segment.len += len;
        segment.live += len;
        Location { segment: number, len: u32::try_from(len).unwrap_or(u32::MAX) }
    }

    /// A record is no longer pointed to.
    pub(super) fn kill(&mut self, at: Location) {
        if let Some(segment) = self.segments.get_mut(&at.segment) {
            segment.live = segment.live.saturating_sub(u64::from(at.len));
        }
    }

    /// The segment that compaction would copy now, if any is worth it.
    pub(super) fn victim(&self) -> Option<u32> {
        let worth = |number: u32, segment: &Segment| {
            let dead = segment.len.saturating_sub(segment.live);
            let emptied = segment.live == 0 && self.active != Some(number);
            emptied || (dead > segment.len / 2 && dead >= COMPACT_BYTES_MIN)
        };
        let worthy = self.segments.iter().filter(|(number, segment)| worth(**number, segment));
        worthy.max_by_key(|(_, segment)| segment.len - segment.live).map(|(number, _)| *number)
    }

    /// Appends nothing more to this segment.
    pub(super) fn seal(&mut self, number: u32) {
        self.active = self.active.filter(|active| *active != number);
    }

    /// The segment is copied and gone.
    pub(super) fn unlink(&mut self, number: u32) {
        self.segments.remove(&number);
    }

    fn roll(&mut self) -> u32 {
        self.last += 1;
        self.segments.insert(self.last, Segment { len: SEGMENT_HEADER_BYTES, live: 0 });
        self.active = Some(self.last);
        self.last
    }
}

/// Bytes of a record that stores a shard.
pub(super) fn put_len(shard: ShardId, claims: &[Claim], proof: &StripeProof, body: usize) -> u64 {
    record_len(&(shard, claims, proof)) + body as u64
}

/// Bytes of a record that changes a shard's owners.
pub(super) fn claims_len(shard: ShardId, claims: &[Claim]) -> u64 {
    record_len(&(shard, claims))
}

/// Bytes of a record that forgets a shard.
pub(super) fn gone_len(shard: ShardId) -> u64 {
    record_len(&shard)
}

/// Header, the kind of the record in one byte, and its meta data.
fn record_len(meta: &impl Serialize) -> u64 {
    RECORD_HEADER_BYTES + 1 + codec::encode(meta, Limit::Message).map_or(0, |bytes| bytes.len() as u64)
}
