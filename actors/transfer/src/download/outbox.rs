//! [`Outbox`]: what one event asks of peers, collected so that a holder gets one frame for many shards.

use super::limits::UNSENT_MAX;
use pangea_protocols::{PeerId, wire::fetch::Item};
use std::collections::BTreeMap;

/// Frames to be.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Shards to ask for.
    pub gets: BTreeMap<PeerId, Vec<Item>>,
    /// Requests that are not wanted any more.
    pub cancels: BTreeMap<PeerId, Vec<u64>>,
    unsent: BTreeMap<u64, PeerId>,
}

impl Outbox {
    /// A frame with this tag left for the network.
    pub fn on_emitted(&mut self, tag: u64, peer: PeerId) {
        if self.unsent.len() < UNSENT_MAX {
            self.unsent.insert(tag, peer);
        }
    }

    /// The network is done with it, one way or the other; false if it was not this peer's.
    pub fn on_settled(&mut self, tag: u64, peer: PeerId) -> bool {
        let ours = self.unsent.get(&tag) == Some(&peer);
        if ours {
            self.unsent.remove(&tag);
        }
        ours
    }

    /// Frames that the network has not reported on, for `CancelSend`.
    pub fn take_unsent(&mut self) -> BTreeMap<u64, PeerId> {
        std::mem::take(&mut self.unsent)
    }
}
