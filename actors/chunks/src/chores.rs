//! Questions that only the disk can answer, and who waits for the answer.

use crate::config::Config;
use pangea_protocols::PeerId;
use std::collections::BTreeMap;

/// What the disk was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chore {
    /// For a `Want`.
    Want { peer: PeerId, request: u64 },
    /// For a `Drop`.
    Drop { peer: PeerId, request: u64 },
    /// For a peer that is gone.
    Orphan,
}

impl Chore {
    fn peer(self) -> Option<PeerId> {
        match self {
            Self::Want { peer, .. } | Self::Drop { peer, .. } => Some(peer),
            Self::Orphan => None,
        }
    }
}

/// All open questions.
#[derive(Default)]
pub struct Chores {
    open: BTreeMap<u64, Chore>,
}

impl Chores {
    /// True if one more question of `peer` may be asked.
    pub fn has_room(&self, config: &Config, peer: PeerId) -> bool {
        let own = self.open.values().filter(|chore| chore.peer() == Some(peer)).count();
        self.open.len() < config.questions_max && own < config.questions_per_peer_max
    }

    /// One more.
    pub fn insert(&mut self, tag: u64, chore: Chore) {
        self.open.insert(tag, chore);
    }

    /// The disk has answered.
    pub fn take(&mut self, tag: u64) -> Option<Chore> {
        self.open.remove(&tag)
    }

    /// Nobody waits for these any more.
    pub fn forget(&mut self, peer: PeerId) {
        self.open.values_mut().filter(|chore| chore.peer() == Some(peer)).for_each(|chore| *chore = Chore::Orphan);
    }
}
