//! What must be on a disk, may be and must not, after some commands were answered and others were not.

use pangea_protocols::disk::Event;
use std::collections::BTreeMap;

/// Shards there can be.
pub const SHARDS: u64 = 24;
/// Owners there can be.
pub const OWNERS: u8 = 3;

/// One owner's hold on one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    /// It was acknowledged, and nothing has been asked since that could end it.
    surely: bool,
    /// Bounds of the end of the lease.
    earliest: u64,
    latest: u64,
}

/// All holds that there may be. What is not in here must not be on the disk.
#[derive(Clone, Debug, Default)]
pub struct Model(BTreeMap<(u64, u8), Claim>);

impl Model {
    /// An append was answered as stored, or not so: then it may have happened all the same.
    pub fn append(&mut self, number: u64, owner: u8, expires: u64, stored: bool) {
        let fresh = Claim { surely: stored, earliest: expires, latest: expires };
        let claim = self.0.entry((number, owner)).or_insert(fresh);
        claim.earliest = match (claim.surely, stored) {
            (true, true) => claim.earliest.max(expires),
            (true, false) => claim.earliest,
            (false, true) => expires,
            (false, false) => claim.earliest.min(expires),
        };
        claim.latest = claim.latest.max(expires);
        claim.surely |= stored;
    }

    /// A delete was answered as durable, or not so.
    pub fn delete(&mut self, number: u64, owner: u8, durable: bool) {
        if durable {
            self.0.remove(&(number, owner));
        } else if let Some(claim) = self.0.get_mut(&(number, owner)) {
            claim.surely = false;
        }
    }

    /// The leases before `now` were ended, or perhaps so.
    pub fn expire(&mut self, now: u64, durable: bool) {
        self.0.retain(|_, claim| !durable || claim.latest >= now);
        for claim in self.0.values_mut().filter(|claim| claim.earliest < now) {
            claim.surely = false;
        }
    }

    /// Anything may be there beside what must be, as on a disk that has forgotten what was deleted.
    pub fn forgive_deletes(&mut self) {
        for key in (0..SHARDS).flat_map(|number| (0..OWNERS).map(move |owner| (number, owner))) {
            self.0.entry(key).or_insert(Claim { surely: false, earliest: 0, latest: u64::MAX });
        }
    }

    /// Learns from what a shard's read was answered.
    ///
    /// # Errors
    /// What is there must not be, or what must be there is not.
    pub fn observe(&mut self, number: u64, answer: &Event, body: &[u8]) -> Result<(), String> {
        let claims: Vec<(u8, Claim)> =
            (0..OWNERS).filter_map(|owner| self.0.get(&(number, owner)).map(|claim| (owner, *claim))).collect();
        match answer {
            Event::Read { meta, body: found, .. } => {
                if found != body {
                    return Err(format!("shard {number} has other bytes"));
                }
                if !claims.iter().any(|(owner, _)| *owner == meta.owner.0[0]) {
                    return Err(format!("shard {number} is back, of owner {}: {claims:?}", meta.owner.0[0]));
                }
                let sure = claims.iter().filter(|(_, claim)| claim.surely);
                let earliest = sure.map(|(_, claim)| claim.earliest).max().unwrap_or(0);
                let latest = claims.iter().map(|(_, claim)| claim.latest).max().unwrap_or(0);
                if meta.expires_unix < earliest || meta.expires_unix > latest {
                    return Err(format!("shard {number} is leased until {}: {claims:?}", meta.expires_unix));
                }
                Ok(())
            }
            Event::Missing { .. } if claims.iter().any(|(_, claim)| claim.surely) => {
                Err(format!("shard {number} was acknowledged and is lost: {claims:?}"))
            }
            Event::Missing { .. } => {
                self.0.retain(|(of, _), _| *of != number);
                Ok(())
            }
            other => Err(format!("shard {number}: {other:?}")),
        }
    }
}
