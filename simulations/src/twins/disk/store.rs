//! What a disk holds: shards with their owners, and whether their bytes are those that were written.

use super::log::{Location, Log, claims_len, gone_len, put_len};
use bytes::Bytes;
use pangea::drivers::disk::{Claim, add_claim};
use pangea_protocols::{
    PeerId, ShardId,
    disk::{Failure, Meta},
    merkle::StripeProof,
    time::Time,
    wire::store::ShardKind,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Forgotten shards that an old backup may still have.
const GRAVES_MAX: usize = 8;

/// A shard.
#[derive(Clone)]
pub(super) struct Kept {
    claims: Vec<Claim>,
    proof: StripeProof,
    body: Bytes,
    at: Location,
    note: Option<Location>,
    pub(super) intact: bool,
    pub(super) appended: Time,
}

impl Kept {
    fn is_root(&self) -> bool {
        self.claims.iter().any(|claim| claim.kind == ShardKind::Root)
    }

    /// The oldest owner, the longest lease, as the driver tells it.
    fn meta(&self) -> Option<Meta> {
        let first = self.claims.first()?;
        let kind = if self.is_root() { ShardKind::Root } else { first.kind };
        let expires_unix = self.claims.iter().map(|claim| claim.expires_unix).max()?;
        Some(Meta { owner: first.owner, kind, expires_unix, proof: self.proof.clone() })
    }
}

/// All shards.
pub(super) struct Store {
    shards: BTreeMap<ShardId, Kept>,
    pub(super) log: Log,
    /// What was forgotten lately, and when.
    graves: VecDeque<(Time, ShardId, Kept)>,
    /// While syncs lie: what was there before each change, in order.
    undo: Option<Vec<(ShardId, Option<Kept>)>>,
}

impl Store {
    pub(super) fn new(segment_bytes: u32) -> Self {
        let log = Log::new(segment_bytes);
        Self { shards: BTreeMap::new(), log, graves: VecDeque::new(), undo: None }
    }

    pub(super) fn len(&self) -> usize {
        self.shards.len()
    }

    pub(super) fn body_bytes(&self) -> u64 {
        self.shards.values().map(|kept| kept.body.len() as u64).sum()
    }

    pub(super) fn intact(&self) -> BTreeSet<ShardId> {
        self.shards.iter().filter(|(_, kept)| kept.intact).map(|(shard, _)| *shard).collect()
    }

    pub(super) fn roots(&self) -> Vec<ShardId> {
        self.shards.iter().filter(|(_, kept)| kept.is_root()).map(|(shard, _)| *shard).collect()
    }

    pub(super) fn body_len(&self, shard: ShardId) -> usize {
        self.shards.get(&shard).map_or(0, |kept| kept.body.len())
    }

    /// The shard; `Some(None)` if its bytes are damaged.
    pub(super) fn read(&self, shard: ShardId) -> Option<Option<(Meta, Bytes)>> {
        let kept = self.shards.get(&shard)?;
        Some(kept.meta().filter(|_| kept.intact).map(|meta| (meta, kept.body.clone())))
    }

    pub(super) fn contains(&self, shards: &[ShardId]) -> Vec<u8> {
        let mut present = vec![0u8; shards.len().div_ceil(8)];
        for (at, _) in shards.iter().enumerate().filter(|(_, shard)| self.shards.contains_key(shard)) {
            present[at / 8] |= 1 << (at % 8);
        }
        present
    }

    /// Does any lease end before then?
    pub(super) fn ends(&self, now_unix: u64) -> bool {
        self.shards.values().any(|kept| kept.claims.iter().any(|claim| claim.expires_unix < now_unix))
    }

    pub(super) fn append(&mut self, now: Time, shard: ShardId, meta: &Meta, body: &Bytes) -> Result<(), Failure> {
        let claim = Claim { owner: meta.owner, kind: meta.kind, expires_unix: meta.expires_unix };
        let old = self.shards.get(&shard);
        let claims = match old {
            Some(kept) => add_claim(&kept.claims, claim)?,
            None => vec![claim],
        };
        match old.filter(|kept| kept.intact) {
            Some(kept) if kept.claims == claims => {}
            Some(_) => self.set_claims(shard, claims),
            None => {
                let at = self.log.append(put_len(shard, &claims, &meta.proof, body.len()));
                // A copy: the bytes that came may be a small part of a large buffer.
                let (proof, body) = (meta.proof.clone(), Bytes::copy_from_slice(body));
                let kept = Kept { claims, proof, body, at, note: None, intact: true, appended: now };
                self.replace(now, shard, Some(kept));
            }
        }
        Ok(())
    }

    /// Takes away the claims for which `ends` is true: how many shards lost one, and roots that are none any more.
    pub(super) fn release(
        &mut self,
        now: Time,
        shards: Option<&[ShardId]>,
        ends: impl Fn(&Claim) -> bool,
    ) -> (u32, Vec<ShardId>) {
        let meant: Vec<ShardId> = match shards {
            Some(shards) => shards.to_vec(),
            None => self.shards.iter().filter(|(_, k)| k.claims.iter().any(&ends)).map(|(shard, _)| *shard).collect(),
        };
        let (mut count, mut roots) = (0, Vec::new());
        for shard in meant {
            let Some(kept) = self.shards.get(&shard).filter(|kept| kept.claims.iter().any(&ends)) else { continue };
            let was_root = kept.is_root();
            let left: Vec<Claim> = kept.claims.iter().filter(|claim| !ends(claim)).copied().collect();
            if left.is_empty() {
                let tombstone = self.log.append(gone_len(shard));
                self.log.kill(tombstone);
                self.replace(now, shard, None);
            } else {
                self.set_claims(shard, left);
            }
            count += 1;
            if was_root && !self.shards.get(&shard).is_some_and(Kept::is_root) {
                roots.push(shard);
            }
        }
        (count, roots)
    }

    /// Takes a damaged record out of the index.
    pub(super) fn drop_damaged(&mut self, now: Time, shard: ShardId) {
        if self.shards.get(&shard).is_some_and(|kept| !kept.intact) {
            self.replace(now, shard, None);
            self.graves.retain(|(_, grave, _)| *grave != shard);
        }
    }

    fn set_claims(&mut self, shard: ShardId, claims: Vec<Claim>) {
        let note = self.log.append(claims_len(shard, &claims));
        let Some(kept) = self.shards.get_mut(&shard) else { return };
        if let Some(undo) = &mut self.undo {
            undo.push((shard, Some(kept.clone())));
        }
        kept.claims = claims;
        if let Some(old) = kept.note.replace(note) {
            self.log.kill(old);
        }
    }

    pub(super) fn replace(&mut self, now: Time, shard: ShardId, new: Option<Kept>) {
        let old = match new {
            Some(kept) => self.shards.insert(shard, kept),
            None => self.shards.remove(&shard),
        };
        if let Some(undo) = &mut self.undo {
            undo.push((shard, old.clone()));
        }
        if let Some(old) = old {
            self.log.kill(old.at);
            old.note.into_iter().for_each(|note| self.log.kill(note));
            if !self.shards.contains_key(&shard) && old.intact {
                self.graves.push_back((now, shard, old));
                while self.graves.len() > GRAVES_MAX {
                    self.graves.pop_front();
                }
            }
        }
    }

    /// Gets space back as the driver does, at once.
    pub(super) fn compact(&mut self) {
        while let Some(victim) = self.log.victim() {
            self.log.seal(victim);
            for kept in self.shards.values_mut() {
                if kept.at.segment == victim {
                    kept.at = self.log.append(u64::from(kept.at.len));
                }
                if let Some(note) = kept.note.as_mut().filter(|note| note.segment == victim) {
                    *note = self.log.append(u64::from(note.len));
                }
            }
            self.log.unlink(victim);
        }
    }

    /// From now on syncs do nothing, or do what they say, also with what came before.
    pub(super) fn set_lying(&mut self, lying: bool) {
        self.undo = if lying { Some(self.undo.take().unwrap_or_default()) } else { None };
    }

    /// Takes back what was never synced, or as much of it as `lost` says, last things first.
    pub(super) fn take_back(&mut self, now: Time, mut lost: impl FnMut() -> bool) {
        let Some(undo) = self.undo.take() else { return };
        for (shard, old) in undo.into_iter().rev() {
            if lost() {
                self.restore(now, shard, old);
            }
        }
        self.undo = Some(Vec::new());
    }

    /// As it was at `then`: what came later is not there, what was forgotten later is.
    pub(super) fn go_back_to(&mut self, now: Time, then: Time) {
        let newer: Vec<ShardId> = self.shards.iter().filter(|(_, k)| k.appended > then).map(|(s, _)| *s).collect();
        for shard in newer {
            self.replace(now, shard, None);
        }
        for (gone, shard, kept) in std::mem::take(&mut self.graves) {
            if kept.appended <= then && then < gone && !self.shards.contains_key(&shard) {
                self.restore(now, shard, Some(kept));
            }
        }
    }

    fn restore(&mut self, now: Time, shard: ShardId, old: Option<Kept>) {
        let old = old.map(|mut kept| {
            kept.at = self.log.append(u64::from(kept.at.len));
            kept.note = kept.note.map(|note| self.log.append(u64::from(note.len)));
            kept
        });
        self.replace(now, shard, old);
    }

    /// The bytes of the shard at this place in the order of ids are no longer those that were written.
    pub(super) fn damage(&mut self, at: usize) {
        if let Some(kept) = self.shards.values_mut().nth(at) {
            kept.intact = false;
        }
    }

    /// The bytes of the shard that was appended last land elsewhere.
    pub(super) fn damage_last(&mut self) {
        if let Some(kept) = self.shards.values_mut().max_by_key(|kept| kept.appended) {
            kept.intact = false;
        }
    }

    /// A new disk.
    pub(super) fn wipe(&mut self, segment_bytes: u32) {
        *self = Self::new(segment_bytes);
    }
}

/// Is it this owner's?
pub(super) fn owned_by(owner: PeerId) -> impl Fn(&Claim) -> bool {
    move |claim| claim.owner == owner
}
