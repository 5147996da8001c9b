//! Looking up and reading. It never waits for the writer, so a slow sync does not hold up a read.

use super::{entry::Location, opening::Shared, queue::Weighed, record::Meta as Record};
use pangea_kernel::contain;
use pangea_protocols::{
    ShardId,
    disk::{Event, Failure},
};
use std::io;

/// How often a record is looked up again that has moved while it was being read.
const MOVES_MAX: usize = 4;

/// What the reader does.
pub enum Request {
    /// Read a shard.
    Read { tag: u64, shard: ShardId },
    /// Tell which shards are there.
    Contains { tag: u64, shards: Vec<ShardId> },
}

impl Weighed for Request {
    fn bytes(&self) -> usize {
        match self {
            Self::Read { .. } => 0,
            Self::Contains { shards, .. } => shards.len() * size_of::<ShardId>(),
        }
    }
}

/// A record whose bytes are not those that were written. The writer takes it out of the index and answers.
pub struct Damage {
    pub tag: u64,
    pub shard: ShardId,
    pub at: Location,
}

/// Answers a request.
///
/// # Errors
/// The writer must answer.
pub fn serve(shared: &Shared, request: Request) -> Result<Event, Damage> {
    // The database may panic on damaged pages: every request is answered all the same.
    match request {
        Request::Read { tag, shard } => contain(|| read(shared, tag, shard))
            .unwrap_or_else(|panic| Ok(Event::ReadFailed { tag, error: Failure::Io(panic) })),
        Request::Contains { tag, shards } => {
            let none = |_| Event::Contains { tag, present: vec![0; shards.len().div_ceil(8)] };
            Ok(contain(|| contains(shared, tag, &shards)).unwrap_or_else(none))
        }
    }
}

fn read(shared: &Shared, tag: u64, shard: ShardId) -> Result<Event, Damage> {
    for _ in 0..MOVES_MAX {
        let entry = match shared.catalog.get(shard) {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(Event::Missing { tag }),
            Err(error) => return Ok(Event::ReadFailed { tag, error }),
        };
        match shared.segments.read(entry.at) {
            Ok(Some((Record::Put { shard: found, proof, .. }, body))) if found == shard => {
                let failed = || Event::ReadFailed { tag, error: Failure::Io("entry without an owner".to_owned()) };
                return Ok(entry.meta(proof).map_or_else(failed, |meta| Event::Read { tag, meta, body }));
            }
            // Compaction may have moved the record and unlinked the segment: look again. If the entry still points
            // there, the segment is gone for good.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if matches!(shared.catalog.get(shard), Ok(Some(again)) if again.at == entry.at) {
                    return Err(Damage { tag, shard, at: entry.at });
                }
            }
            Err(error) => {
                let error = super::failure(&shared.segments.path(entry.at.segment), &error);
                return Ok(Event::ReadFailed { tag, error });
            }
            Ok(_) => return Err(Damage { tag, shard, at: entry.at }),
        }
    }
    Ok(Event::ReadFailed { tag, error: Failure::Io("the record keeps moving".to_owned()) })
}

fn contains(shared: &Shared, tag: u64, shards: &[ShardId]) -> Event {
    let mut present = vec![0u8; shards.len().div_ceil(8)];
    for (at, shard) in shards.iter().enumerate() {
        // A shard that cannot be looked up is not promised.
        if matches!(shared.catalog.get(*shard), Ok(Some(_))) {
            present[at / 8] |= 1 << (at % 8);
        }
    }
    Event::Contains { tag, present }
}
