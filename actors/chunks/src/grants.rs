//! Room: who was promised how much, and what is left of the quota.
//!
//! Promised bytes are the bodies still to come and [`SHARD_OVERHEAD_BYTES`] for each of them. A put moves its part
//! from the grant to the shards in flight; once the disk reports it, it is part of the disk's usage.

use crate::config::Config;
use pangea_kernel::planted;
use pangea_protocols::{
    PeerId, ShardId,
    disk::{SHARD_OVERHEAD_BYTES, Usage},
    time::UnixTime,
    wire::{BODY_BYTES_MAX, store::Refusal},
};
use std::collections::{BTreeMap, BTreeSet};

/// A promise of room.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Whose it is.
    pub peer: PeerId,
    /// When the unused part is free again.
    pub expires: UnixTime,
    /// When the leases of its shards end, seconds since 1970.
    pub lease_end: u64,
    bytes_left: u64,
    shards_left: u32,
    /// Shards that were charged, so that a repetition is not charged again.
    charged: BTreeSet<ShardId>,
}

impl Grant {
    fn promised(&self) -> u64 {
        self.bytes_left.saturating_add(u64::from(self.shards_left) * SHARD_OVERHEAD_BYTES)
    }
}

/// All promises.
#[derive(Default)]
pub struct Grants {
    grants: BTreeMap<u64, Grant>,
    /// Promised by grants, with overhead.
    promised: u64,
    /// On the way to the disk, with overhead.
    in_flight: u64,
}

/// Room that a shard on its way to the disk takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    bytes: u64,
    /// Whether the grant has paid for it.
    first: bool,
}

/// What a peer asks for.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Bytes of all bodies.
    pub bytes: u64,
    /// How many.
    pub shards: u32,
}

impl Grants {
    /// Bytes promised and not yet on disk.
    pub fn reserved(&self) -> u64 {
        self.promised.saturating_add(self.in_flight)
    }

    /// Whether there is room for what `peer` asks.
    ///
    /// # Errors
    /// The reason to give.
    pub fn admit(&self, config: &Config, usage: Usage, peer: PeerId, ask: Ask) -> Result<(), Refusal> {
        let most = u64::from(ask.shards).saturating_mul(BODY_BYTES_MAX as u64);
        if ask.bytes == 0 || ask.bytes > most || ask.shards > config.grant_shards_max {
            return Err(Refusal::Quota);
        }
        let own = || self.grants.values().filter(|grant| grant.peer == peer);
        if self.grants.len() >= config.grants_max || own().count() >= config.grants_per_peer_max {
            return Err(Refusal::Busy);
        }
        let need = ask.bytes.saturating_add(u64::from(ask.shards) * SHARD_OVERHEAD_BYTES);
        let own_promised = own().fold(need, |sum, grant| sum.saturating_add(grant.promised()));
        let taken = self.taken(config, usage).saturating_add(need);
        if own_promised > config.reserved_per_peer_bytes_max || taken > config.quota_bytes {
            return Err(Refusal::Quota);
        }
        let keep = config.free_bytes_min.saturating_add(self.reserved());
        if keep.saturating_add(need) > usage.free_bytes {
            return Err(Refusal::DiskFull);
        }
        Ok(())
    }

    /// Promises room that was admitted. `id` must be new.
    pub fn insert(&mut self, id: u64, peer: PeerId, ask: Ask, expires: UnixTime, lease_end: u64) {
        let (bytes_left, shards_left) = (ask.bytes, ask.shards);
        let grant = Grant { peer, expires, lease_end, bytes_left, shards_left, charged: BTreeSet::new() };
        self.promised = self.promised.saturating_add(grant.promised());
        self.grants.insert(id, grant);
    }

    /// True if the id is taken.
    pub fn contains(&self, id: u64) -> bool {
        self.grants.contains_key(&id)
    }

    /// The lease that a shard of `bytes` gets under a grant of `peer`, if there is enough of it left.
    pub fn covers(&self, id: u64, peer: PeerId, now: UnixTime, shard: ShardId, bytes: u64) -> Option<u64> {
        let grant = self.grants.get(&id).filter(|grant| grant.peer == peer && grant.expires > now)?;
        let enough = grant.bytes_left >= bytes && grant.shards_left > 0;
        (grant.lease_end > now.0 && (enough || grant.charged.contains(&shard))).then_some(grant.lease_end)
    }

    /// Takes a shard's room out of its grant. A repetition costs the grant nothing; but as the disk may have lost the
    /// shard since, it needs room in the quota until the disk has answered.
    ///
    /// # Errors
    /// No room for a repetition.
    pub fn charge(
        &mut self,
        config: &Config,
        usage: Usage,
        id: u64,
        shard: ShardId,
        bytes: u64,
    ) -> Result<Charge, Refusal> {
        let need = bytes.saturating_add(SHARD_OVERHEAD_BYTES);
        let grant = self.grants.get_mut(&id).ok_or(Refusal::NoGrant)?;
        let first = !grant.charged.contains(&shard);
        if first {
            grant.bytes_left = grant.bytes_left.checked_sub(bytes).ok_or(Refusal::NoGrant)?;
            grant.shards_left = grant.shards_left.checked_sub(1).ok_or(Refusal::NoGrant)?;
            grant.charged.insert(shard);
            self.promised = self.promised.saturating_sub(need);
        } else if self.taken(config, usage).saturating_add(need) > config.quota_bytes {
            return Err(Refusal::Quota);
        }
        self.in_flight = self.in_flight.saturating_add(need);
        Ok(Charge { bytes: need, first })
    }

    /// The disk's usage includes the shard now.
    pub fn settle(&mut self, charge: Charge) {
        self.in_flight = self.in_flight.saturating_sub(charge.bytes);
    }

    /// The disk could not store it: the room goes back to the grant, if that is still there.
    pub fn refund(&mut self, id: u64, shard: ShardId, charge: Charge) {
        self.settle(charge);
        let Some(grant) = self.grants.get_mut(&id).filter(|_| charge.first) else { return };
        if grant.charged.remove(&shard) {
            grant.bytes_left += charge.bytes - SHARD_OVERHEAD_BYTES;
            grant.shards_left += 1;
            self.promised += charge.bytes;
        }
    }

    /// Frees what is left of a grant of `peer`.
    pub fn release(&mut self, id: u64, peer: PeerId) {
        self.retain(|other, grant| planted!("grant-never-released") || other != id || grant.peer != peer);
    }

    /// Frees what is left of all grants of `peer`.
    pub fn revoke(&mut self, peer: PeerId) {
        self.retain(|_, grant| grant.peer != peer);
    }

    /// Frees what is left of grants that are over.
    pub fn expire(&mut self, now: UnixTime) {
        self.retain(|_, grant| grant.expires > now);
    }

    /// Bytes of the quota that are on disk, promised, or kept for the disk's own work.
    fn taken(&self, config: &Config, usage: Usage) -> u64 {
        let reserved = if planted!("promises-not-counted") { 0 } else { self.reserved() };
        usage.disk_bytes.saturating_add(reserved).saturating_add(config.maintenance_bytes)
    }

    fn retain(&mut self, keep: impl Fn(u64, &Grant) -> bool) {
        let promised = &mut self.promised;
        self.grants.retain(|id, grant| {
            let kept = keep(*id, grant);
            if !kept {
                *promised = promised.saturating_sub(grant.promised());
            }
            kept
        });
    }
}
