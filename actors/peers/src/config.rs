//! [`Config`]: the limits of the peer manager, with their defaults.

use pangea_protocols::{Address, PeerId};
use std::collections::BTreeSet;

/// What the node's configuration says about peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Peers are dialled until this many are connected.
    pub target: usize,
    /// Above this many, connections are trimmed, half of the way down to `target`. Never below `target`.
    pub max: usize,
    /// Peers to stay connected to.
    pub bootstrap: Vec<(PeerId, Vec<Address>)>,
    /// If not empty, all other peers are refused.
    pub allow: BTreeSet<PeerId>,
    /// Always refused.
    pub deny: BTreeSet<PeerId>,
    /// Peers in the database.
    pub known_max: usize,
    /// Connections to one /24 (IPv4) or /48 (IPv6) of public addresses.
    pub per_prefix_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self::keeping(32)
    }
}

impl Config {
    /// A node that dials until `target` peers are connected, and trims when there are three times as many: others need
    /// it, too, and a node that trimmed sooner would be dialled again at once.
    pub fn keeping(target: usize) -> Self {
        Self {
            target,
            max: target.saturating_mul(3),
            bootstrap: Vec::new(),
            allow: BTreeSet::new(),
            deny: BTreeSet::new(),
            known_max: 10_000,
            per_prefix_max: 8,
        }
    }

    /// False for peers that the operator refuses.
    pub fn allows(&self, peer: PeerId) -> bool {
        !self.deny.contains(&peer) && (self.allow.is_empty() || self.allow.contains(&peer))
    }

    /// Connections above which inbound newcomers are refused at once: between `max` and this, trimming decides. Wide,
    /// because searches of the DHT make many connections that are needed for a moment only.
    pub fn hard_max(&self) -> usize {
        self.max.max(self.target).saturating_mul(2)
    }

    /// How many connections trimming leaves. Not `target`: those let go would lack peers themselves, and fill up others
    /// who then would trim.
    pub fn trimmed(&self) -> usize {
        self.target.midpoint(self.max.max(self.target))
    }
}
