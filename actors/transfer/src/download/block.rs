//! [`Block`]: a replicated block of the manifest is wanted, from any of several peers.
//!
//! Where a block is, the manifest does not say: peers that said they have it come first, then those that are likely
//! to (hints, providers, holders); the others are only asked by `Want`.

use super::{
    shard::{Ask, Shard},
    source::Sources,
};
use pangea_protocols::{PeerId, time::Time};
use std::collections::BTreeSet;

/// A block under way.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// Requests and refusals; its holders are those that said yes.
    pub shard: Shard,
    /// Peers that were asked by `Want`.
    pub questioned: BTreeSet<PeerId>,
    /// Ask everybody by `Want`: the likely ones do not seem to have it.
    pub widened: bool,
}

impl Block {
    /// Whom to ask next, and the seconds until it would be here: who said yes, then who is likely.
    pub fn pick(&self, sources: &Sources, bytes: u32, now: Time) -> Option<(PeerId, f64)> {
        let quickest = |offers: &mut dyn Iterator<Item = (PeerId, f64)>| offers.min_by(|a, b| a.1.total_cmp(&b.1));
        quickest(&mut self.shard.offers(sources, bytes, now)).or_else(|| {
            let open = sources.iter().filter(|(peer, source)| source.likely && self.open(*peer));
            quickest(
                &mut open
                    .filter(|(peer, _)| sources.ready(*peer, bytes, now))
                    .map(|(peer, _)| (peer, sources.estimate(peer, bytes, now))),
            )
        })
    }

    /// True if it could still come from somebody without news.
    pub fn promising(&self, sources: &Sources) -> bool {
        self.shard.in_reach(sources)
            || sources.iter().any(|(peer, source)| source.likely && self.open(peer) && sources.hopeful(peer))
    }

    /// Notes that `peer` was asked by request `id`.
    pub fn asked(&mut self, peer: PeerId, id: u64) {
        self.shard.asks.push(Ask { peer, id, late: false });
    }

    fn open(&self, peer: PeerId) -> bool {
        !self.shard.is_refused_by(peer) && !self.shard.asks.iter().any(|ask| ask.peer == peer)
    }
}
