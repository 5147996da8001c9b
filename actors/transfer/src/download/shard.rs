//! [`Shard`]: one wanted shard or block, who may have it, and who has been asked.
//!
//! Bookkeeping only. [`super::stripe`] chooses k of many shards, [`super::block`] fetches a single one.

use super::{limits::SHARD_HOLDERS_MAX, source::Sources};
use bytes::Bytes;
use pangea_protocols::{PeerId, time::Time};

/// One shard.
#[derive(Debug, Default)]
pub(super) struct Shard {
    /// Verified bytes.
    pub body: Option<Bytes>,
    /// Peers that are said to have it.
    holders: Vec<PeerId>,
    /// Peers that said no, or sent something else: not asked for it again.
    refused: Vec<PeerId>,
    /// Requests without an answer.
    pub asks: Vec<Ask>,
    /// A holder had it wrong or not at all: if the stripe is whole in the end, it was healed.
    pub failed: bool,
    /// A holder went away with the request: it was healed if others took its place.
    pub gone: bool,
    /// An answer carried a wrong proof.
    pub bad: bool,
}

/// One request for a shard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    /// Of whom.
    pub peer: PeerId,
    /// The request.
    pub id: u64,
    /// Another source is asked beside it.
    pub late: bool,
}

impl Shard {
    /// A shard that this peer is said to hold, if any is.
    pub fn at(holder: Option<PeerId>) -> Self {
        Self { holders: holder.into_iter().collect(), ..Self::default() }
    }

    /// Somebody says that `peer` has it. More than a few holders of one shard are not remembered.
    pub fn found_at(&mut self, peer: PeerId) {
        if !self.holders.contains(&peer) && self.holders.len() < SHARD_HOLDERS_MAX {
            self.holders.push(peer);
        }
    }

    /// `peer` does not have it, or not unharmed.
    pub fn refused_by(&mut self, peer: PeerId) {
        if !self.refused.contains(&peer) {
            self.refused.push(peer);
        }
    }

    /// True if `peer` said no.
    pub fn is_refused_by(&self, peer: PeerId) -> bool {
        self.refused.contains(&peer)
    }

    /// True if an answer is expected in time.
    pub fn is_live(&self) -> bool {
        self.asks.iter().any(|ask| !ask.late)
    }

    /// Forgets the request.
    pub fn settle(&mut self, id: u64) {
        self.asks.retain(|ask| ask.id != id);
    }

    /// Somebody else is asked beside this request.
    pub fn mark_late(&mut self, id: u64) {
        self.asks.iter_mut().filter(|ask| ask.id == id).for_each(|ask| ask.late = true);
    }

    /// Holders that may be asked now, with the seconds until it would be here.
    pub fn offers<'a>(
        &'a self,
        sources: &'a Sources,
        bytes: u32,
        now: Time,
    ) -> impl Iterator<Item = (PeerId, f64)> + 'a {
        let asked = |peer: PeerId| self.asks.iter().any(|ask| ask.peer == peer);
        let open = self.holders.iter().copied().filter(move |peer| !self.is_refused_by(*peer) && !asked(*peer));
        open.filter(move |peer| sources.ready(*peer, bytes, now))
            .map(move |peer| (peer, sources.estimate(peer, bytes, now)))
    }

    /// Holders that have not said no.
    pub fn holders(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.holders.iter().copied().filter(|peer| !self.is_refused_by(*peer))
    }

    /// True if it is here, on its way, or a peer that is up is said to have it.
    pub fn in_sight(&self, sources: &Sources) -> bool {
        let up = |peer| !sources.down(peer) && !sources.excluded(peer);
        self.body.is_some() || !self.asks.is_empty() || self.holders().any(up)
    }

    /// True if it is here, on its way, or could still be asked for without news.
    pub fn in_reach(&self, sources: &Sources) -> bool {
        self.body.is_some() || !self.asks.is_empty() || self.holders().any(|peer| sources.hopeful(peer))
    }
}
