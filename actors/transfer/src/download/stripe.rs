//! [`Stripe`]: k of n shards of one stripe are wanted, data shards rather than parity, the quickest holders first.
//!
//! Chooses, and counts what it has. Sending and verifying is [`super::fetch`]'s part.

use super::{
    limits::PARITY_PENALTY_S,
    shard::{Ask, Shard},
    source::Sources,
};
use bytes::Bytes;
use pangea_protocols::{PeerId, manifest::StripeRecord, time::Time};
use std::collections::BTreeSet;

/// A stripe under way.
#[derive(Debug)]
pub(super) struct Stripe {
    /// What the manifest says of it.
    pub record: StripeRecord,
    /// Data shards, then parity.
    pub shards: Vec<Shard>,
    /// Peers that were asked by `Want` which of these shards they hold.
    pub questioned: BTreeSet<PeerId>,
    k: usize,
}

/// Who is to be asked for which shard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pick {
    /// Which shard.
    pub shard: u16,
    /// Whom.
    pub peer: PeerId,
    /// Seconds until it would be here.
    pub estimate_s: f64,
}

impl Stripe {
    /// A stripe of which `holders` are named, one place per shard.
    pub fn new(record: StripeRecord, k: usize, holders: impl Iterator<Item = Option<PeerId>>) -> Self {
        Self { record, shards: holders.map(Shard::at).collect(), questioned: BTreeSet::new(), k }
    }

    /// Bytes that k shards take.
    pub fn bytes(&self) -> u64 {
        self.k as u64 * u64::from(self.record.shard_len)
    }

    /// Shards that are here.
    pub fn have(&self) -> usize {
        self.shards.iter().filter(|shard| shard.body.is_some()).count()
    }

    /// True if there are enough.
    pub fn complete(&self) -> bool {
        self.have() >= self.k
    }

    /// Shards that are neither here nor expected in time.
    pub fn lacks(&self) -> usize {
        let covered = self.shards.iter().filter(|shard| shard.body.is_some() || shard.is_live()).count();
        self.k.saturating_sub(covered)
    }

    /// Shards that are here, on their way, or could be asked for without news.
    pub fn in_reach(&self, sources: &Sources) -> usize {
        self.shards.iter().filter(|shard| shard.in_reach(sources)).count()
    }

    /// True if k shards could be had without news.
    pub fn promising(&self, sources: &Sources) -> bool {
        self.in_reach(sources) >= self.k
    }

    /// True if peers that are up are not known to have enough shards.
    pub fn needs_help(&self, sources: &Sources) -> bool {
        self.shards.iter().filter(|shard| shard.in_sight(sources)).count() < self.k
    }

    /// True if the shards that arrived wrong would have made the difference.
    pub fn spoilt(&self) -> bool {
        let bad = self.shards.iter().filter(|shard| shard.bad && shard.body.is_none()).count();
        bad > 0 && self.have() + bad >= self.k
    }

    /// The best request to make next. A shard that is late is asked for again only of another holder.
    pub fn pick(&self, sources: &Sources, now: Time) -> Option<Pick> {
        let mut best: Option<(f64, Pick)> = None;
        for (at, shard) in self.shards.iter().enumerate() {
            if shard.body.is_some() || shard.is_live() {
                continue;
            }
            let penalty = if at < self.k { 0.0 } else { PARITY_PENALTY_S };
            for (peer, estimate_s) in shard.offers(sources, self.record.shard_len, now) {
                let cost = estimate_s + penalty;
                if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                    let shard = u16::try_from(at).unwrap_or(u16::MAX);
                    best = Some((cost, Pick { shard, peer, estimate_s }));
                }
            }
        }
        best.map(|(_, pick)| pick)
    }

    /// Notes that `pick` was sent as request `id`.
    pub fn asked(&mut self, pick: Pick, id: u64) {
        if let Some(shard) = self.shards.get_mut(usize::from(pick.shard)) {
            shard.asks.push(Ask { peer: pick.peer, id, late: false });
        }
    }

    /// Shards that were replaced by others: they failed, or nobody could be asked for a data shard.
    pub fn healed(&self, sources: &Sources) -> u64 {
        let replaced = |(at, shard): &(usize, &Shard)| {
            let unreachable = shard.gone || (*at < self.k && !shard.in_sight(sources));
            shard.failed || (shard.body.is_none() && unreachable)
        };
        self.shards.iter().enumerate().filter(replaced).count() as u64
    }

    /// Takes the verified shards out, in order of their index.
    pub fn take(&mut self) -> Vec<(u16, Bytes)> {
        let indexed = self.shards.iter_mut().enumerate();
        indexed.filter_map(|(at, shard)| Some((u16::try_from(at).ok()?, shard.body.take()?))).collect()
    }

    /// Requests without an answer.
    pub fn asks(&self) -> impl Iterator<Item = Ask> + '_ {
        self.shards.iter().flat_map(|shard| shard.asks.iter().copied())
    }
}
