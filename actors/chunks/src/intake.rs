//! Shards on their way to the disk. Those of one grant that become durable together share one receipt.

use crate::{config::Config, grants::Charge};
use pangea_protocols::{PeerId, ShardId, wire::store::ShardKind};
use std::collections::BTreeMap;

/// A shard that the disk was asked to make durable.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Who sent it.
    pub peer: PeerId,
    /// Under which grant.
    pub grant: u64,
    /// Which shard.
    pub shard: ShardId,
    /// As what.
    pub kind: ShardKind,
    /// End of the lease, seconds since 1970.
    pub lease_end: u64,
    /// Bytes of the body.
    pub bytes: usize,
    /// What was charged for it.
    pub charge: Charge,
    /// False if the peer has gone, or wants it forgotten: it is stored, but nobody hears of it.
    pub answered: bool,
}

/// What gets one receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReceiptKey {
    /// To whom.
    pub peer: PeerId,
    /// For which grant.
    pub grant: u64,
    /// End of the lease.
    pub lease_end: u64,
}

/// All shards on their way.
#[derive(Default)]
pub struct Intake {
    pending: BTreeMap<u64, Pending>,
    tags: BTreeMap<(PeerId, u64, ShardId), u64>,
    bytes: usize,
}

impl Intake {
    /// True if a body of `bytes` may join.
    pub fn has_room(&self, config: &Config, bytes: usize) -> bool {
        self.pending.len() < config.appends_max && self.bytes + bytes <= config.append_bytes_max
    }

    /// True if the same shard is on its way under the same grant: its receipt answers this one too.
    pub fn joins(&mut self, peer: PeerId, grant: u64, shard: ShardId) -> bool {
        let tag = self.tags.get(&(peer, grant, shard));
        let pending = tag.and_then(|tag| self.pending.get_mut(tag));
        pending.map(|pending| pending.answered = true).is_some()
    }

    /// One more.
    pub fn insert(&mut self, tag: u64, pending: Pending) {
        self.bytes += pending.bytes;
        self.tags.insert((pending.peer, pending.grant, pending.shard), tag);
        self.pending.insert(tag, pending);
    }

    /// The disk has answered.
    pub fn take(&mut self, tag: u64) -> Option<Pending> {
        let pending = self.pending.remove(&tag)?;
        self.bytes -= pending.bytes;
        self.tags.remove(&(pending.peer, pending.grant, pending.shard));
        Some(pending)
    }

    /// Their owner has asked to forget these while they are being stored: nobody signs for them.
    pub fn withdraw(&mut self, peer: PeerId, shards: &[ShardId]) {
        let meant = |pending: &&mut Pending| pending.peer == peer && shards.contains(&pending.shard);
        self.pending.values_mut().filter(meant).for_each(|pending| pending.answered = false);
    }

    /// Nobody waits for these any more.
    pub fn forget(&mut self, peer: PeerId) {
        self.pending.values_mut().filter(|pending| pending.peer == peer).for_each(|pending| pending.answered = false);
    }
}
