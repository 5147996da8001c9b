//! Identities that lie next to an object's name in the DHT: what an attacker does who wants to stand between it and
//! its readers. Closeness is Kademlia's: XOR of SHA-256 hashes.

use crate::record::NodeId;
use libp2p::{
    identity::Keypair,
    kad::{KBucketKey, RecordKey},
};
use pangea_kernel::Seed;
use pangea_protocols::Cid;

/// Identities that an attacker tries for each node: with twelve nodes, the closest of some thousand.
const TRIES: u32 = 400;

/// An identity's secret for each node.
pub fn identities(seed: &Seed, cid: Cid, nodes: &[NodeId]) -> Vec<(NodeId, [u8; 32])> {
    let target = KBucketKey::from(RecordKey::new(&cid.0.0));
    nodes
        .iter()
        .map(|node| {
            let mut draw = seed.derive("eclipse").derive(&node.to_string()).draw();
            let closest = (0..TRIES)
                .filter_map(|_| {
                    let secret: [u8; 32] = draw.bytes();
                    let mut wiped = secret;
                    let peer = Keypair::ed25519_from_bytes(&mut wiped).ok()?.public().to_peer_id();
                    Some((KBucketKey::from(peer).distance(&target), secret))
                })
                .min_by_key(|(distance, _)| *distance);
            (*node, closest.map_or([0; 32], |(_, secret)| secret))
        })
        .collect()
}
