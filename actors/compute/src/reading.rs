//! [`Reading`]: a stored input that this node reads itself, from when it is asked for until all of it is here.

use crate::api::ReadNews;
use bytes::{Bytes, BytesMut};
use pangea_protocols::{JobId, stored::StoredInput, time::Time};
use std::time::Duration;

/// Bits of the numbers of what is read: whoever wires the actors tells them from the jobs of users by the first, and those
/// of a coordinator from those of a worker by the second.
const READS: u64 = 1 << 63;
const OF_COORDINATOR: u64 = 1 << 62;
/// What brings nothing for so long does not come: whoever read it has forgotten it.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Is this a job of a worker or a coordinator that reads, rather than of a user?
pub fn is_read(job: JobId) -> bool {
    job.0 & READS != 0
}

/// Does a coordinator read?
pub fn is_coordinators(job: JobId) -> bool {
    job.0 & OF_COORDINATOR != 0
}

pub(crate) fn of_worker(number: u64) -> JobId {
    JobId(READS | number & (OF_COORDINATOR - 1))
}

pub(crate) fn of_coordinator(number: u64) -> JobId {
    JobId(READS | OF_COORDINATOR | number & (OF_COORDINATOR - 1))
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Reading {
    whole: BytesMut,
    len: usize,
    payload: u32,
    shards: u64,
    own_shards: u64,
    since: Time,
    moved: Time,
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Came {
    /// With what stands in front of it.
    pub whole: Bytes,
    /// Of the bytes of the object, those from this node's own disk.
    pub own_bytes: u32,
    /// From the question to the end.
    pub took: Duration,
}

impl Reading {
    /// Nothing of it is here. It takes as much memory as the input announces, which its limits bound.
    pub fn new(input: &StoredInput, now: Time) -> Self {
        let len = input.seen_bytes();
        let mut whole = BytesMut::with_capacity(len);
        whole.extend_from_slice(&input.head);
        Self { whole, len, payload: input.len, shards: 0, own_shards: 0, since: now, moved: now }
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.len
    }

    /// Has nothing happened for too long?
    pub fn is_silent(&self, now: Time) -> bool {
        now.since(self.moved) >= SILENCE_MAX
    }

    /// What comes of it; at the end all of it, or why not.
    pub fn hear(&mut self, news: ReadNews, now: Time) -> Option<Result<Came, String>> {
        self.moved = now;
        match news {
            ReadNews::Bytes(bytes) if self.whole.len() + bytes.len() <= self.len => {
                self.whole.extend_from_slice(&bytes)
            }
            ReadNews::Bytes(_) => return Some(Err("it is longer than was announced".to_owned())),
            ReadNews::Tally { shards, own } => (self.shards, self.own_shards) = (shards, own.min(shards)),
            ReadNews::Done if self.whole.len() == self.len => {
                let own = u64::from(self.payload) * self.own_shards / self.shards.max(1);
                return Some(Ok(Came {
                    whole: std::mem::take(&mut self.whole).freeze(),
                    own_bytes: u32::try_from(own).unwrap_or(u32::MAX),
                    took: now.since(self.since),
                }));
            }
            ReadNews::Done => return Some(Err("it is shorter than was announced".to_owned())),
            ReadNews::Failed(reason) => return Some(Err(reason)),
        }
        None
    }
}
