//! Dialling a peer: what is known of its addresses first, then the DHT.
//!
//! One attempt per peer at a time. An attempt for frames alone does not ask the DHT. A search costs dozens of
//! connections, and whoever starts after a power failure dials many that are not back yet: a peer is searched for only if
//! no address of it is known, or if it was missed before, and then not again for a while.

use super::{address, driver::Driver};
use libp2p::{
    kad,
    swarm::{
        ConnectionId, DialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use pangea_protocols::{
    Address, PeerId,
    net::{Event, SendError},
};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// A peer that was searched for is not searched for again within this time.
const SEARCH_PAUSE: Duration = Duration::from_secs(600);
/// Searches at once; beyond it peers that were missed are not searched for. Those without an address still are.
const SEARCHES_MAX: usize = 4;
/// Missed peers that are remembered; beyond it the oldest are forgotten.
const MISSED_MAX: usize = 1024;

/// Attempts under way, and peers that were not where they should be.
#[derive(Default)]
pub(super) struct Dials {
    under_way: BTreeMap<PeerId, Dial>,
    missed: BTreeMap<PeerId, Missed>,
}

struct Missed {
    last: Instant,
    searched: Option<Instant>,
}

impl Dials {
    /// Notes that no known address of a peer answers: may the DHT be asked for others?
    fn miss(&mut self, peer: PeerId, known: bool, now: Instant) -> bool {
        if self.missed.len() >= MISSED_MAX
            && !self.missed.contains_key(&peer)
            && let Some(oldest) = self.missed.iter().min_by_key(|(_, missed)| missed.last).map(|(peer, _)| *peer)
        {
            self.missed.remove(&oldest);
        }
        let searching = self.under_way.values().filter(|dial| matches!(dial.stage, Stage::Asking(_))).count();
        let again = self.missed.contains_key(&peer);
        let missed = self.missed.entry(peer).or_insert(Missed { last: now, searched: None });
        missed.last = now;
        let rested = missed.searched.is_none_or(|at| now - at >= SEARCH_PAUSE);
        let due = !known || again && rested && searching < SEARCHES_MAX;
        if due {
            missed.searched = Some(now);
        }
        due
    }
}

struct Dial {
    stage: Stage,
    /// The DHT is still to be asked.
    ask_dht: bool,
}

enum Stage {
    /// Addresses are being tried.
    Trying(ConnectionId),
    /// The DHT is being asked.
    Asking(kad::QueryId),
}

impl Driver {
    pub(super) fn on_dial(&mut self, peer: PeerId, addresses: Vec<Address>) {
        let addresses = address::believable(addresses.iter().filter_map(address::from_address), true);
        self.book.learn(peer, addresses);
        if self.is_connected(peer) {
            return;
        }
        if self.is_stock(peer) {
            return self.on_stock_peer_dialled(peer);
        }
        self.dial(peer, true);
    }

    pub(super) fn dial_for_frames(&mut self, peer: PeerId) {
        self.dial(peer, false);
    }

    fn dial(&mut self, peer: PeerId, ask_dht: bool) {
        if let Some(dial) = self.dials.under_way.get_mut(&peer) {
            dial.ask_dht |= ask_dht && matches!(dial.stage, Stage::Trying(_));
            return;
        }
        if self.dials.under_way.len() >= self.config.limits.dials_max {
            return self.dial_failed(peer, "this node dials too many peers already".to_owned());
        }
        self.try_addresses(peer, ask_dht);
    }

    fn try_addresses(&mut self, peer: PeerId, ask_dht: bool) {
        let Some(target) = address::to_libp2p(peer) else {
            return self.dial_failed(peer, "not a valid peer id".to_owned());
        };
        // Even if another behaviour dials this peer: it may know other addresses than we were given.
        let options = DialOpts::peer_id(target)
            .condition(PeerCondition::Always)
            .addresses(self.book.of(peer).to_vec())
            .extend_addresses_through_behaviour()
            .build();
        let stage = Stage::Trying(options.connection_id());
        match self.swarm.dial(options) {
            Ok(()) => {
                self.dials.under_way.insert(peer, Dial { stage, ask_dht });
            }
            Err(error) => self.addresses_failed(peer, ask_dht, &error),
        }
    }

    pub(super) fn on_dial_error(&mut self, peer: &libp2p::PeerId, connection: ConnectionId, error: &DialError) {
        let Some(peer) = address::from_libp2p(peer) else { return };
        let ours = |dial: &Dial| matches!(dial.stage, Stage::Trying(trying) if trying == connection);
        if let Some(dial) = self.dials.under_way.get(&peer).filter(|dial| ours(dial)) {
            let ask_dht = dial.ask_dht;
            self.addresses_failed(peer, ask_dht, error);
        }
    }

    fn addresses_failed(&mut self, peer: PeerId, ask_dht: bool, error: &DialError) {
        let reachable = self.swarm.behaviour_mut().kad.kbuckets().any(|bucket| !bucket.is_empty());
        let known = !self.book.of(peer).is_empty();
        match address::to_libp2p(peer).filter(|_| ask_dht && reachable && self.dials.miss(peer, known, Instant::now()))
        {
            Some(target) => {
                let query = self.swarm.behaviour_mut().kad.get_closest_peers(target);
                self.dials.under_way.insert(peer, Dial { stage: Stage::Asking(query), ask_dht: false });
            }
            None => self.dial_failed(peer, describe(error)),
        }
    }

    /// The DHT has answered a search for the peers nearest to some key; true if it was for a dial.
    pub(super) fn on_closest_peers(&mut self, query: kad::QueryId, peers: &[kad::PeerInfo]) -> bool {
        let asking = |dial: &Dial| matches!(dial.stage, Stage::Asking(asking) if asking == query);
        let Some(peer) = self.dials.under_way.iter().find(|(_, dial)| asking(dial)).map(|(peer, _)| *peer) else {
            return false;
        };
        let target = address::to_libp2p(peer);
        let found = peers.iter().filter(|info| Some(info.peer_id) == target).flat_map(|info| info.addrs.clone());
        let found = address::believable(found, self.discovery.believes_loopback());
        if found.is_empty() {
            self.dial_failed(peer, "none of its addresses answers, and the DHT knows no other".to_owned());
        } else {
            self.book.learn(peer, found);
            self.try_addresses(peer, false);
        }
        true
    }

    pub(super) fn dial_succeeded(&mut self, peer: PeerId) {
        self.dials.missed.remove(&peer);
        self.dials.under_way.remove(&peer);
    }

    /// The attempt is no longer wanted; whatever still comes of it is an ordinary connection.
    pub(super) fn give_up_dial(&mut self, peer: PeerId) {
        if self.dials.under_way.remove(&peer).is_some() {
            self.outbox.push(Event::DialFailed { peer, reason: "cancelled by this node".to_owned() });
        }
    }

    /// A peer without `pangea/1` has connected: nothing can be sent to it.
    pub(super) fn on_stock_peer(&mut self, peer: PeerId) {
        if self.is_connected(peer) {
            return;
        }
        if self.dials.under_way.remove(&peer).is_some() {
            self.on_stock_peer_dialled(peer);
        }
        self.fail_waiting(peer, SendError::NotPangea);
    }

    fn on_stock_peer_dialled(&mut self, peer: PeerId) {
        let reason = "it speaks libp2p, but not pangea/1".to_owned();
        self.outbox.push(Event::DialFailed { peer, reason });
    }

    fn dial_failed(&mut self, peer: PeerId, reason: String) {
        self.dials.under_way.remove(&peer);
        if self.is_connected(peer) {
            return;
        }
        tracing::debug!(%peer, %reason, "dial failed");
        self.outbox.push(Event::DialFailed { peer, reason });
        self.fail_waiting(peer, SendError::Unreachable);
    }
}

fn describe(error: &DialError) -> String {
    match error {
        DialError::NoAddresses => "no address of it is known".to_owned(),
        DialError::LocalPeerId { .. } => "that is this node itself".to_owned(),
        DialError::WrongPeerId { obtained, address } => format!("{address} is another peer, {obtained}"),
        DialError::Transport(errors) => {
            let tried: Vec<_> =
                errors.iter().map(|(address, error)| format!("{address}: {}", innermost(error))).collect();
            format!("none of its addresses answers ({})", tried.join("; "))
        }
        other => other.to_string(),
    }
}

/// The last cause is the one that says something; those around it repeat "other error".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u16) -> PeerId {
        let mut bytes = [7; 32];
        bytes[..2].copy_from_slice(&n.to_le_bytes());
        PeerId(bytes)
    }

    #[test]
    fn a_peer_is_searched_for_when_it_was_missed_twice_and_then_not_for_ten_minutes() {
        let (mut dials, start) = (Dials::default(), Instant::now());
        let miss = |dials: &mut Dials, after_s: u64| dials.miss(peer(1), true, start + Duration::from_secs(after_s));
        let searched: Vec<bool> =
            [0, 300, 301, 899, 900, 901].into_iter().map(|after_s| miss(&mut dials, after_s)).collect();
        assert_eq!(searched, [false, true, false, false, true, false]);
    }

    #[test]
    fn a_peer_without_an_address_is_searched_for_at_once_and_the_table_is_bounded() {
        let (mut dials, start) = (Dials::default(), Instant::now());
        assert!(dials.miss(peer(0), false, start));
        for n in 1..=MISSED_MAX as u16 {
            assert!(!dials.miss(peer(n), true, start + Duration::from_secs(n.into())));
        }
        assert_eq!(dials.missed.len(), MISSED_MAX);
        assert!(!dials.missed.contains_key(&peer(0)), "the oldest is forgotten");
    }
}
