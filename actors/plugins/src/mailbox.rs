//! [`Mailbox`]: what waits for one plugin.
//!
//! | from | bound | at it |
//! |---|---|---|
//! | a peer | a quarter of the places; all peers: three quarters, and [`BYTES_MAX`] | the newest is dropped, and counted |
//! | a user | the places | handed back: the user hears so |
//! | the node: answers, timers | what the plugin asked for, which is bounded | |
//! | the network: connected, disconnected | one per peer: a newer one replaces an older one | |

use crate::extension::In;
use pangea_protocols::PeerId;
use std::collections::{BTreeMap, VecDeque};

/// Most bytes of messages of peers.
const BYTES_MAX: usize = 4 << 20;

/// A bounded queue.
pub struct Mailbox {
    places: usize,
    queue: VecDeque<In>,
    /// Messages of each peer in it.
    of_peers: BTreeMap<PeerId, usize>,
    messages: usize,
    bytes: usize,
    dropped: u64,
}

impl Mailbox {
    /// With so many places.
    pub fn new(places: usize) -> Self {
        Self { places, queue: VecDeque::new(), of_peers: BTreeMap::new(), messages: 0, bytes: 0, dropped: 0 }
    }

    /// A new version may have another number of places; what waits stays.
    pub fn resize(&mut self, places: usize) {
        self.places = places;
    }

    /// Events that wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Messages that were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds an event; false if there is no place for it.
    pub fn push(&mut self, event: In) -> bool {
        match &event {
            In::Message { peer, bytes } => {
                let of_peer = self.of_peers.get(peer).copied().unwrap_or_default();
                let fits = self.queue.len() < self.places
                    && self.messages < (self.places * 3 / 4).max(1)
                    && of_peer < (self.places / 4).max(1)
                    && self.bytes + bytes.len() <= BYTES_MAX;
                if !fits {
                    self.dropped += 1;
                    return false;
                }
                self.of_peers.insert(*peer, of_peer + 1);
                self.messages += 1;
                self.bytes += bytes.len();
            }
            In::Ask { .. } if self.queue.len() >= self.places => return false,
            In::Connected { peer } | In::Disconnected { peer } => {
                let peer = *peer;
                self.queue.retain(
                    |other| !matches!(other, In::Connected { peer: p } | In::Disconnected { peer: p } if *p == peer),
                );
            }
            _ => {}
        }
        self.queue.push_back(event);
        true
    }

    /// The next event.
    pub fn pop(&mut self) -> Option<In> {
        let event = self.queue.pop_front()?;
        if let In::Message { peer, bytes } = &event {
            self.messages -= 1;
            self.bytes -= bytes.len();
            if let Some(count) = self.of_peers.get_mut(peer) {
                *count -= 1;
                if *count == 0 {
                    self.of_peers.remove(peer);
                }
            }
        }
        Some(event)
    }

    /// Takes out what is for one instance only: who is connected it hears when it starts, and timers and answers are
    /// those that it asked for.
    pub fn take_own(&mut self) -> Vec<In> {
        let own = |event: &In| !matches!(event, In::Message { .. } | In::Ask { .. });
        let (taken, left): (VecDeque<In>, VecDeque<In>) = std::mem::take(&mut self.queue).into_iter().partition(own);
        self.queue = left;
        Vec::from(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn message(peer: u8, bytes: usize) -> In {
        In::Message { peer: PeerId([peer; 32]), bytes: vec![0; bytes].into() }
    }

    fn ask(request: u64) -> In {
        In::Ask { request, bytes: Bytes::new() }
    }

    #[test]
    fn a_flood_of_one_peer_leaves_room_for_others_and_one_of_all_for_users() {
        let mut mailbox = Mailbox::new(16);
        let taken = |mailbox: &mut Mailbox, peer| (0..100).filter(|_| mailbox.push(message(peer, 1))).count();
        assert_eq!([1, 2, 3, 4].map(|peer| taken(&mut mailbox, peer)), [4, 4, 4, 0]);
        assert_eq!(mailbox.dropped(), 388);
        assert_eq!((0..9).filter(|request| mailbox.push(ask(*request))).count(), 4);
        assert!(mailbox.push(In::Timer { id: 1 }), "what the plugin asked for always has a place");
        let order: Vec<In> = std::iter::from_fn(|| mailbox.pop()).collect();
        assert_eq!((order.len(), &order[0], &order[16]), (17, &message(1, 1), &In::Timer { id: 1 }));
        assert_eq!(taken(&mut mailbox, 4), 4, "places are given back");
    }

    #[test]
    fn large_messages_are_bounded_by_their_bytes() {
        let mut mailbox = Mailbox::new(1024);
        let taken = (0u8..200).filter(|peer| mailbox.push(message(*peer, 64 << 10))).count();
        assert_eq!(taken, 64);
    }

    #[test]
    fn the_last_word_about_a_peer_is_kept() {
        let mut mailbox = Mailbox::new(4);
        let (a, b) = (PeerId([1; 32]), PeerId([2; 32]));
        for _ in 0..100 {
            assert!(mailbox.push(In::Connected { peer: a }));
            assert!(mailbox.push(In::Connected { peer: b }));
            assert!(mailbox.push(In::Disconnected { peer: a }));
        }
        assert_eq!(mailbox.len(), 2);
        mailbox.push(ask(1));
        assert_eq!(mailbox.take_own(), [In::Connected { peer: b }, In::Disconnected { peer: a }]);
        assert_eq!((mailbox.pop(), mailbox.pop()), (Some(ask(1)), None));
    }
}
