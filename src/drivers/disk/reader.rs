//! The threads that look up and read. They never wait for the writer, so a slow sync does not hold up a read.

use super::{
    Shared,
    queue::{Queue, Taken, Weighed},
    record::Meta as Record,
    writer::Job,
};
use pangea_kernel::contain;
use pangea_protocols::{
    ShardId,
    disk::{Event, Failure},
};
use std::{io, time::Duration};

/// How often a record is looked up again that has moved while it was being read.
const MOVES_MAX: usize = 4;
/// Readers wake up for nothing else, so this only bounds one wait.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What a reader does.
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

/// Works until the queue is closed and empty.
pub fn run(shared: &Shared, requests: &Queue<Request>, jobs: &Queue<Job>) {
    while let Taken::Items(taken) = requests.take(1, usize::MAX, PATIENCE) {
        for request in taken {
            match request {
                Request::Read { tag, shard } => {
                    // The database may panic on damaged pages: every request is answered all the same.
                    let read = contain(|| read(shared, jobs, tag, shard));
                    let failed = |panic| Some(Event::ReadFailed { tag, error: Failure::Io(panic) });
                    if let Some(event) = read.unwrap_or_else(failed) {
                        shared.emit(event);
                    }
                }
                Request::Contains { tag, shards } => {
                    let none = |_| Event::Contains { tag, present: vec![0; shards.len().div_ceil(8)] };
                    shared.emit(contain(|| contains(shared, tag, &shards)).unwrap_or_else(none));
                }
            }
        }
    }
}

/// The answer, or `None` if the writer gives it.
fn read(shared: &Shared, jobs: &Queue<Job>, tag: u64, shard: ShardId) -> Option<Event> {
    for _ in 0..MOVES_MAX {
        let entry = match shared.catalog.get(shard) {
            Ok(Some(entry)) => entry,
            Ok(None) => return Some(Event::Missing { tag }),
            Err(error) => return Some(Event::ReadFailed { tag, error }),
        };
        match shared.segments.read(entry.at) {
            Ok(Some((Record::Put { shard: found, proof, .. }, body))) if found == shard => {
                let failed = || Event::ReadFailed { tag, error: Failure::Io("entry without an owner".to_owned()) };
                return Some(entry.meta(proof).map_or_else(failed, |meta| Event::Read { tag, meta, body }));
            }
            // Compaction may have moved the record and unlinked the segment: look again. If the entry still points
            // there, the segment is gone for good.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if matches!(shared.catalog.get(shard), Ok(Some(again)) if again.at == entry.at) {
                    return damaged(jobs, Job::Damaged { tag, shard, at: entry.at }, tag);
                }
            }
            Err(error) => {
                let error = super::failure(&shared.segments.path(entry.at.segment), &error);
                return Some(Event::ReadFailed { tag, error });
            }
            Ok(_) => return damaged(jobs, Job::Damaged { tag, shard, at: entry.at }, tag),
        }
    }
    Some(Event::ReadFailed { tag, error: Failure::Io("the record keeps moving".to_owned()) })
}

/// The writer takes the record out of the index and answers; a closing one does not, then the answer is given here.
fn damaged(jobs: &Queue<Job>, job: Job, tag: u64) -> Option<Event> {
    if jobs.push_own(job) { None } else { Some(Event::Corrupt { tag }) }
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
