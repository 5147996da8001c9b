//! Where peers may be reached, as far as this node was told: bounded, newest first.

use super::address::ADDRESSES_MAX;
use libp2p::Multiaddr;
use pangea_protocols::PeerId;
use std::collections::{BTreeMap, VecDeque};

/// Addresses of a bounded number of peers.
pub struct AddressBook {
    peers_max: usize,
    peers: BTreeMap<PeerId, Vec<Multiaddr>>,
    /// In the order in which peers were first heard of: the first is forgotten first.
    order: VecDeque<PeerId>,
}

impl AddressBook {
    /// Knows nobody.
    pub fn new(peers_max: usize) -> Self {
        Self { peers_max, peers: BTreeMap::new(), order: VecDeque::new() }
    }

    /// Remembers addresses; of more than [`ADDRESSES_MAX`] the ones heard of first are forgotten.
    pub fn learn(&mut self, peer: PeerId, addresses: impl IntoIterator<Item = Multiaddr>) {
        let mut addresses = addresses.into_iter().peekable();
        if addresses.peek().is_none() {
            return;
        }
        if !self.peers.contains_key(&peer) {
            if self.order.len() >= self.peers_max
                && let Some(oldest) = self.order.pop_front()
            {
                self.peers.remove(&oldest);
            }
            self.order.push_back(peer);
        }
        let known = self.peers.entry(peer).or_default();
        for address in addresses {
            known.retain(|other| *other != address);
            known.insert(0, address);
        }
        known.truncate(ADDRESSES_MAX);
    }

    /// What is known of a peer, newest first.
    pub fn of(&self, peer: PeerId) -> &[Multiaddr] {
        self.peers.get(&peer).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: usize) -> Multiaddr {
        format!("/ip4/192.0.2.1/udp/{port}/quic-v1").parse().unwrap()
    }

    #[test]
    fn peers_and_their_addresses_are_bounded_and_the_newest_stay() {
        let mut book = AddressBook::new(2);
        for peer in 1..=3 {
            book.learn(PeerId([peer; 32]), (1..=20).map(address));
        }
        book.learn(PeerId([4; 32]), []);
        assert!(book.of(PeerId([1; 32])).is_empty());
        assert_eq!(book.of(PeerId([2; 32])), (13..=20).rev().map(address).collect::<Vec<_>>());
        book.learn(PeerId([2; 32]), [address(13)]);
        assert_eq!(book.of(PeerId([2; 32]))[0], address(13));
        assert_eq!(book.of(PeerId([2; 32])).len(), ADDRESSES_MAX);
    }
}
