//! Beginnings as after a long life: what nodes would know of each other, had they run before.
//!
//! A warm node has a routing table with its nearest neighbours and some others, and remembers peers that served it
//! well. The peer manager dials those at once, as after a restart. Nothing else is pretended: connections are made.

use super::{Surroundings, address};
use crate::{plan::Plan, record::NodeId, timeline::Timeline};
use pangea_peers::{Record, standing::State};
use pangea_protocols::{Address, PeerId};
use ring::digest::{SHA256, digest};
use std::collections::BTreeMap;

/// Remembered for every connection that a node wants: more than enough, as not all answer.
const PER_CONNECTION: u32 = 2;
/// How long ago the earlier life ended.
const AWAY_S: u64 = 60;
/// Neighbours in a routing table: a bucket's worth, so that nothing near is overlooked …
const NEAREST: usize = 20;
/// … and peers anywhere, from which every place is a few steps away.
const ANYWHERE: usize = 20;

/// The earlier life of a fleet.
pub(super) struct Past {
    /// Every node's peer, and its place in the DHT: the hash of its id.
    places: BTreeMap<NodeId, (PeerId, [u8; 32])>,
    remembered: usize,
}

impl Past {
    /// Of all nodes of a plan.
    pub(super) fn of(plan: &Plan, identities: &BTreeMap<NodeId, PeerId>) -> Self {
        let place = |peer: &PeerId| {
            let hash = digest(&SHA256, &peer.to_multihash());
            hash.as_ref().try_into().unwrap_or([0; 32])
        };
        let known = plan.nodes.iter().filter_map(|node| Some((node.id, *identities.get(&node.id)?)));
        let places = known.map(|(node, peer)| (node, (peer, place(&peer)))).collect();
        let remembered = usize::try_from(plan.peers_target.saturating_mul(PER_CONNECTION)).unwrap_or(usize::MAX);
        Self { places, remembered }
    }

    /// The peers that a node remembers.
    pub(super) fn records(&self, node: NodeId, around: &Surroundings) -> Vec<Record> {
        let seen = Timeline::unix(around.timeline.now()).0.saturating_sub(AWAY_S);
        let others = self.others(node, "records", around);
        let remembered = others.into_iter().take(self.remembered);
        remembered.filter_map(|(other, peer)| Some(record(peer, whereabouts(other, around)?, seen))).collect()
    }

    /// A node's routing table.
    pub(super) fn routing(&self, node: NodeId, around: &Surroundings) -> Vec<(PeerId, Vec<Address>)> {
        let Some((_, here)) = self.places.get(&node) else { return Vec::new() };
        let distance = |there: &[u8; 32]| -> [u8; 32] { std::array::from_fn(|at| here[at] ^ there[at]) };
        let mut near: Vec<_> = self.places.iter().filter(|(other, _)| **other != node).collect();
        near.sort_by_cached_key(|(_, (_, there))| distance(there));
        let near = near.into_iter().take(NEAREST).map(|(other, (peer, _))| (*other, *peer));
        let far = self.others(node, "routing", around).into_iter().take(ANYWHERE);
        let table: BTreeMap<NodeId, PeerId> = near.chain(far).collect();
        table.into_iter().filter_map(|(other, peer)| Some((peer, vec![whereabouts(other, around)?]))).collect()
    }

    /// All other nodes in an order of chance.
    fn others(&self, node: NodeId, purpose: &str, around: &Surroundings) -> Vec<(NodeId, PeerId)> {
        let others = self.places.iter().filter(|(other, _)| **other != node);
        let mut others: Vec<(NodeId, PeerId)> = others.map(|(other, (peer, _))| (*other, *peer)).collect();
        around.seed.derive("warm").derive(purpose).derive(&node.to_string()).draw().shuffle(&mut others);
        others
    }
}

fn whereabouts(node: NodeId, around: &Surroundings) -> Option<Address> {
    around.internet.ip(node).map(address)
}

fn record(peer: PeerId, place: Address, seen: u64) -> Record {
    let mut record = Record::new(peer, seen.saturating_sub(30 * 86_400));
    record.last_seen_unix = seen;
    record.state = State::Good;
    record.reason = "served well in an earlier life".into();
    record.reach(&place, seen);
    record
}
