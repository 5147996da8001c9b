//! Which job an answer belongs to: requests, sends and shards that are waited for.
//!
//! Entries are removed when they are answered, and all entries of a job when it ends.

use super::group::GroupId;
use pangea_kernel::planted;
use pangea_protocols::{JobId, PeerId, ShardId};
use std::collections::BTreeMap;

/// What a send was.
#[derive(Clone, Copy, Debug)]
pub enum Tag {
    /// A shard.
    Shard { job: JobId, group: GroupId, slot: usize, peer: PeerId },
    /// A reservation.
    Reserve { job: JobId, holder: usize },
}

#[derive(Debug)]
enum Request {
    Candidates(JobId),
    Reserve { job: JobId, holder: usize, peer: PeerId },
}

/// The tables of all jobs.
#[derive(Debug, Default)]
pub struct Routes {
    next: u64,
    requests: BTreeMap<u64, Request>,
    tags: BTreeMap<u64, Tag>,
    /// Slot of every shard that was sent and not answered. Job and group are part of the key because two objects may
    /// have the same block.
    waiting: BTreeMap<(PeerId, ShardId, JobId, GroupId), usize>,
}

impl Routes {
    /// The first number to use.
    pub fn start_at(&mut self, number: u64) {
        self.next = number;
    }

    /// A number for a request or a send.
    pub fn fresh(&mut self) -> u64 {
        self.next = self.next.wrapping_add(1);
        self.next
    }

    /// Expects `Candidates`.
    pub fn ask_candidates(&mut self, job: JobId) -> u64 {
        let request = self.fresh();
        self.requests.insert(request, Request::Candidates(job));
        request
    }

    /// The job that asked.
    pub fn take_candidates(&mut self, request: u64) -> Option<JobId> {
        match self.requests.get(&request) {
            Some(Request::Candidates(job)) => {
                let job = *job;
                self.requests.remove(&request);
                Some(job)
            }
            _ => None,
        }
    }

    /// Expects `Reserved` or `Refused` from `peer`; the number is also the tag of the send.
    pub fn ask_reserve(&mut self, job: JobId, holder: usize, peer: PeerId) -> u64 {
        let request = self.fresh();
        self.requests.insert(request, Request::Reserve { job, holder, peer });
        self.tags.insert(request, Tag::Reserve { job, holder });
        request
    }

    /// The job and holder of a reservation, if it was made at `peer`.
    pub fn take_reserve(&mut self, request: u64, peer: PeerId) -> Option<(JobId, usize)> {
        match self.requests.get(&request) {
            Some(Request::Reserve { job, holder, peer: asked }) if *asked == peer => {
                let found = (*job, *holder);
                self.forget_request(request);
                Some(found)
            }
            _ => None,
        }
    }

    /// The answer is wanted no longer.
    pub fn forget_request(&mut self, request: u64) {
        self.requests.remove(&request);
        self.tags.remove(&request);
    }

    /// A shard leaves: its tag.
    pub fn depart(&mut self, peer: PeerId, shard: ShardId, job: JobId, group: GroupId, slot: usize) -> u64 {
        let tag = self.fresh();
        self.tags.insert(tag, Tag::Shard { job, group, slot, peer });
        self.waiting.insert((peer, shard, job, group), slot);
        tag
    }

    /// Nothing is expected of this send any more.
    pub fn arrive(&mut self, tag: u64, peer: PeerId, shard: ShardId, job: JobId, group: GroupId) {
        self.tags.remove(&tag);
        self.waiting.remove(&(peer, shard, job, group));
    }

    /// Jobs that wait for this shard's receipt from `peer`.
    pub fn waiting_at(&self, peer: PeerId, shard: ShardId) -> impl Iterator<Item = (JobId, GroupId, usize)> + '_ {
        let loose = planted!("receipt-for-whole-stripe");
        let (first, last) = if loose { (0, u16::MAX) } else { (shard.index, shard.index) };
        let from = (peer, ShardId { index: first, ..shard }, JobId(0), GroupId::Stripe(0));
        let to = (peer, ShardId { index: last, ..shard }, JobId(u64::MAX), GroupId::Block(u64::MAX));
        self.waiting.range(from..=to).map(|((_, _, job, group), slot)| (*job, *group, *slot))
    }

    /// What a send was.
    pub fn tag(&self, tag: u64) -> Option<Tag> {
        self.tags.get(&tag).copied()
    }

    /// The transport has delivered this frame. Shards are kept: their receipt is what counts.
    pub fn forget_control(&mut self, tag: u64) {
        if let Some(Tag::Reserve { .. }) = self.tags.get(&tag) {
            self.tags.remove(&tag);
        }
    }

    /// The job is over.
    pub fn forget_job(&mut self, gone: JobId) {
        self.requests.retain(|_, request| match request {
            Request::Candidates(job) | Request::Reserve { job, .. } => *job != gone,
        });
        self.tags.retain(|_, tag| match tag {
            Tag::Shard { job, .. } | Tag::Reserve { job, .. } => *job != gone,
        });
        self.waiting.retain(|(_, _, job, _), _| *job != gone);
    }

    /// True if nothing is expected.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.tags.is_empty() && self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_protocols::Hash;

    #[test]
    fn two_jobs_with_the_same_block_both_hear_of_its_receipt() {
        let (peer, shard) = (PeerId([1; 32]), ShardId::block(Hash([2; 32])));
        let mut routes = Routes::default();
        let first = routes.depart(peer, shard, JobId(1), GroupId::Block(0), 3);
        routes.depart(peer, shard, JobId(2), GroupId::Block(7), 4);
        let waiting: Vec<_> = routes.waiting_at(peer, shard).collect();
        assert_eq!(waiting, [(JobId(1), GroupId::Block(0), 3), (JobId(2), GroupId::Block(7), 4)]);
        routes.arrive(first, peer, shard, JobId(1), GroupId::Block(0));
        routes.forget_job(JobId(2));
        assert!(routes.is_empty());
    }

    #[test]
    fn an_answer_from_another_peer_than_the_one_asked_is_nobodys() {
        let mut routes = Routes::default();
        let request = routes.ask_reserve(JobId(1), 0, PeerId([1; 32]));
        assert_eq!(routes.take_reserve(request, PeerId([2; 32])), None);
        assert_eq!(routes.take_reserve(request, PeerId([1; 32])), Some((JobId(1), 0)));
        assert!(routes.is_empty());
    }
}
