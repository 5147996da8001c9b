//! What the DHT, identify, ping and mDNS say, and what this node says to the DHT.
//!
//! Everything heard here is hearsay: addresses are filtered and bounded before they are remembered, peers enter the
//! routing table by hand and with a cap per prefix, provider records pass the limits of `record_store.rs`.

use super::{
    address::{self, Prefix},
    behaviour::{BehaviourEvent, KAD_PROTOCOL},
    config::NetworkConfig,
    driver::Driver,
};
use libp2p::{
    Multiaddr,
    core::Endpoint,
    identify, kad, mdns,
    swarm::{ConnectionId, NetworkBehaviour},
};
use pangea_protocols::{
    Address, Cid, PeerId,
    net::{Event, Source},
};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

/// Most providers reported of one search.
const PROVIDERS_MAX: usize = 64;
/// A small routing table knows too few peers: what was announced is announced again when it grows.
const ROUTING_SMALL: usize = 20;
/// Pause after a new peer, so that a starting node announces once and not once per peer.
const ANNOUNCE_AFTER: Duration = Duration::from_secs(2);
/// Pause between two batches of announcements.
const ANNOUNCE_PACE: Duration = Duration::from_millis(250);
/// Announcements at once; each is a search and up to 20 messages.
const ANNOUNCE_BATCH: usize = 16;

/// Searches and announcements under way.
pub(super) struct Discovery {
    /// This node listens on loopback only: then loopback is where its peers are.
    on_loopback: bool,
    searches: HashMap<kad::QueryId, Search>,
    announcements: VecDeque<Cid>,
    announce_at: Option<tokio::time::Instant>,
}

struct Search {
    query: u64,
    cid: Cid,
    found: BTreeSet<PeerId>,
}

impl Discovery {
    pub(super) fn new(config: &NetworkConfig) -> Self {
        let on_loopback = !config.listen.is_empty() && config.listen.iter().all(|address| address.ip().is_loopback());
        Self { on_loopback, searches: HashMap::new(), announcements: VecDeque::new(), announce_at: None }
    }

    /// Whether loopback addresses of others mean anything here.
    pub(super) fn believes_loopback(&self) -> bool {
        self.on_loopback
    }

    pub(super) fn next_announcement(&self) -> Option<tokio::time::Instant> {
        self.announce_at
    }
}

impl Driver {
    pub(super) fn on_provide(&mut self, cid: Cid) {
        if self.swarm.behaviour_mut().kad.start_providing(kad::RecordKey::new(&cid.0.0)).is_err() {
            self.counters.provides_refused.add(1);
            tracing::warn!(%cid, "not announced: this node announces its limit of objects already");
        }
    }

    pub(super) fn on_unprovide(&mut self, cid: Cid) {
        self.swarm.behaviour_mut().kad.stop_providing(&kad::RecordKey::new(&cid.0.0));
        self.discovery.announcements.retain(|waiting| *waiting != cid);
    }

    pub(super) fn on_find_providers(&mut self, query: u64, cid: Cid) {
        if self.discovery.searches.len() >= self.config.limits.searches_max {
            return self.outbox.push(Event::Providers { query, providers: Vec::new(), done: true });
        }
        let id = self.swarm.behaviour_mut().kad.get_providers(kad::RecordKey::new(&cid.0.0));
        self.discovery.searches.insert(id, Search { query, cid, found: BTreeSet::new() });
    }

    pub(super) fn on_announcement_due(&mut self) {
        for _ in 0..ANNOUNCE_BATCH {
            let Some(cid) = self.discovery.announcements.pop_front() else { break };
            self.on_provide(cid);
        }
        let more = !self.discovery.announcements.is_empty();
        self.discovery.announce_at = more.then(|| tokio::time::Instant::now() + ANNOUNCE_PACE);
    }

    pub(super) fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Kad(event) => self.on_kad(event),
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.on_identify(peer_id, info)
            }
            BehaviourEvent::Ping(event) => {
                if let (Some(peer), Ok(rtt)) = (address::from_libp2p(&event.peer), event.result) {
                    self.outbox.push_lossy(Event::Rtt { peer, rtt });
                }
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => self.on_mdns(found),
            BehaviourEvent::Identify(_) | BehaviourEvent::Mdns(_) => {}
            BehaviourEvent::Limits(never) => match never {},
            BehaviourEvent::KeepAlive(never) => match never {},
        }
    }

    fn on_kad(&mut self, event: kad::Event) {
        match event {
            kad::Event::InboundRequest { request: kad::InboundRequest::AddProvider { record: Some(record) } } => {
                self.on_provider_record(record);
            }
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => match result {
                kad::QueryResult::GetProviders(result) => self.on_providers(id, result, step.last),
                kad::QueryResult::GetClosestPeers(result) if step.last => {
                    let peers = match result {
                        Ok(found) => found.peers,
                        Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
                    };
                    self.on_closest_peers(id, &peers);
                }
                _ => {}
            },
            kad::Event::RoutingUpdated { peer, is_new_peer: true, addresses, .. } => {
                self.on_routable(&peer, addresses.into_vec());
            }
            _ => {}
        }
    }

    /// Another peer says that it holds an object. Few nodes know for certain where they can be dialled, so that most
    /// records come without an address: where the peer has connected from, and what it listens on, complete it.
    fn on_provider_record(&mut self, mut record: kad::ProviderRecord) {
        let Some(peer) = address::from_libp2p(&record.provider) else { return };
        let remote = self.remote_of(peer);
        let prefix = remote.and_then(|remote| Prefix::of(remote.ip()));
        let said = record.addresses.into_iter().chain(remote.map(address::to_multiaddr));
        let all = said.chain(self.book.of(peer).iter().cloned());
        record.addresses = address::believable(all, self.discovery.on_loopback);
        let store = self.swarm.behaviour_mut().kad.store_mut();
        match store.offer(record, prefix, Instant::now()) {
            Ok(()) => self.counters.provider_records.add(1),
            Err(reason) => {
                self.counters.provider_records_refused.add(1);
                tracing::debug!(%peer, %reason, "provider record refused");
            }
        }
    }

    fn on_providers(&mut self, id: kad::QueryId, result: kad::GetProvidersResult, last: bool) {
        let Some(mut search) = self.discovery.searches.remove(&id) else { return };
        let mut providers = Vec::new();
        if let Ok(kad::GetProvidersOk::FoundProviders { providers: found, .. }) = result {
            // In the order of the peer ids: that of a hash set depends on the machine.
            let found: BTreeSet<_> = found.into_iter().collect();
            for target in found {
                let Some(peer) = address::from_libp2p(&target) else { continue };
                if search.found.len() < PROVIDERS_MAX && search.found.insert(peer) {
                    providers.push((peer, self.addresses_of(peer, &target, search.cid)));
                }
            }
        }
        let full = search.found.len() >= PROVIDERS_MAX;
        if full && let Some(mut query) = self.swarm.behaviour_mut().kad.query_mut(&id) {
            query.finish();
        }
        let done = last || full;
        if done || !providers.is_empty() {
            self.outbox.push(Event::Providers { query: search.query, providers, done });
        }
        if !done {
            self.discovery.searches.insert(id, search);
        }
    }

    /// What is known of a provider's addresses: from its record, the routing table, running searches and the book.
    fn addresses_of(&mut self, peer: PeerId, target: &libp2p::PeerId, cid: Cid) -> Vec<Address> {
        let kad = &mut self.swarm.behaviour_mut().kad;
        let key = kad::RecordKey::new(&cid.0.0);
        let records = kad::store::RecordStore::providers(kad.store_mut(), &key);
        let recorded =
            records.into_iter().filter(|record| record.provider == *target).flat_map(|record| record.addresses);
        // The behaviour tells the addresses it has learned only to somebody who is about to dial.
        let nobody = ConnectionId::new_unchecked(0);
        let learned = kad.handle_pending_outbound_connection(nobody, Some(*target), &[], Endpoint::Dialer);
        let known = self.book.of(peer).to_vec();
        let all: Vec<_> = recorded.chain(learned.unwrap_or_default()).chain(known).collect();
        let all = address::believable(all, self.discovery.on_loopback);
        self.book.learn(peer, all.iter().cloned());
        to_addresses(&all)
    }

    fn on_identify(&mut self, target: libp2p::PeerId, info: identify::Info) {
        let Some(peer) = address::from_libp2p(&target) else { return };
        let addresses = address::believable(info.listen_addrs, self.discovery.on_loopback);
        if info.protocols.contains(&KAD_PROTOCOL) {
            self.insert_in_routing_table(&target, &addresses);
        }
        self.discovered(peer, addresses, Source::Identify);
    }

    fn on_mdns(&mut self, found: Vec<(libp2p::PeerId, Multiaddr)>) {
        for (target, found) in found {
            let Some(peer) = address::from_libp2p(&target) else { continue };
            let addresses = address::believable([found], self.discovery.on_loopback);
            self.discovered(peer, addresses, Source::Mdns);
        }
    }

    /// A peer is new in the routing table.
    fn on_routable(&mut self, target: &libp2p::PeerId, addresses: Vec<Multiaddr>) {
        let Some(peer) = address::from_libp2p(target) else { return };
        let addresses = address::believable(addresses, self.discovery.on_loopback);
        self.discovered(peer, addresses, Source::Dht);
        let kad = &mut self.swarm.behaviour_mut().kad;
        let peers: usize = kad.kbuckets().map(|bucket| bucket.num_entries()).sum();
        if peers <= ROUTING_SMALL && self.discovery.announce_at.is_none() {
            let provided = kad.store_mut().provided_keys();
            let cids =
                provided.filter_map(|key| key.as_ref().try_into().ok().map(|hash| Cid(pangea_protocols::Hash(hash))));
            self.discovery.announcements = cids.collect();
            let some = !self.discovery.announcements.is_empty();
            self.discovery.announce_at = some.then(|| tokio::time::Instant::now() + ANNOUNCE_AFTER);
        }
    }

    fn discovered(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, source: Source) {
        if addresses.is_empty() {
            return;
        }
        let event = Event::Discovered { peer, addresses: to_addresses(&addresses), source };
        self.book.learn(peer, addresses);
        self.outbox.push_lossy(event);
    }

    /// Begins with the peers that the configuration names.
    pub(super) fn fill_routing_table(&mut self) {
        for (peer, addresses) in std::mem::take(&mut self.config.routing) {
            let Some(target) = address::to_libp2p(peer) else { continue };
            let addresses = addresses.iter().filter_map(address::from_address);
            let addresses = address::believable(addresses, self.discovery.on_loopback);
            self.insert_in_routing_table(&target, &addresses);
        }
    }

    /// Ends the walks that Kademlia begins by itself whenever its table has a new peer, which it cannot be told not to.
    pub(super) fn end_walks(&mut self) {
        for mut query in self.swarm.behaviour_mut().kad.iter_queries_mut() {
            if matches!(query.info(), kad::QueryInfo::Bootstrap { .. }) {
                query.finish();
            }
        }
    }

    /// Inserts a peer unless its prefix has its share of the table or of its bucket.
    fn insert_in_routing_table(&mut self, target: &libp2p::PeerId, addresses: &[Multiaddr]) {
        let limits = &self.config.limits;
        let (table_max, bucket_max) = (limits.routing_per_prefix_max, limits.routing_per_prefix_and_bucket_max);
        let kad = &mut self.swarm.behaviour_mut().kad;
        let range = kad.kbucket(*target).map(|bucket| bucket.range());
        let mut refused = 0;
        for address in addresses {
            let fits = Prefix::of_multiaddr(address).is_none_or(|prefix| {
                let (mut in_table, mut in_bucket) = (0, 0);
                for bucket in kad.kbuckets() {
                    let others = bucket.iter().filter(|entry| entry.node.key.preimage() != target);
                    let same = others.filter(|entry| has_prefix(entry.node.value, prefix)).count();
                    in_table += same;
                    in_bucket += if Some(bucket.range()) == range { same } else { 0 };
                }
                in_table < table_max && in_bucket < bucket_max
            });
            if fits {
                kad.add_address(target, address.clone());
            } else {
                refused += 1;
            }
        }
        self.counters.routing_refused.add(refused);
    }
}

fn has_prefix(addresses: &kad::Addresses, prefix: Prefix) -> bool {
    addresses.iter().any(|address| Prefix::of_multiaddr(address) == Some(prefix))
}

fn to_addresses(addresses: &[Multiaddr]) -> Vec<Address> {
    addresses.iter().filter_map(address::to_address).collect()
}
