//! The libp2p protocols of a node: Kademlia, identify, ping, mDNS; and the limits the swarm keeps itself.
//!
//! What their events mean to the node is decided in `discovery.rs`.

use super::{
    config::{Limits, NetworkConfig, NetworkError},
    keep_alive::KeepAlive,
    record_store::ProviderStore,
    registry::Registry,
};
use libp2p::{
    StreamProtocol, connection_limits, identify,
    identity::Keypair,
    kad, mdns, ping,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
};
use std::{sync::Arc, time::Duration};

/// Pangea's DHT is its own: records of other networks are not ours to hold.
pub const KAD_PROTOCOL: StreamProtocol = StreamProtocol::new("/pangea/kad/1.0.0");
const IDENTIFY_PROTOCOL: &str = "/pangea/1.0.0";
/// A provider record lives this long without being repeated.
const PROVIDER_TTL: Duration = Duration::from_secs(24 * 3600);
/// Provider records of this node are repeated this often.
const PROVIDER_REPUBLISH: Duration = Duration::from_secs(6 * 3600);
const QUERY_TIMEOUT: Duration = Duration::from_secs(30);
/// How often round trips are measured, beside the beginning. That a peer is alive, QUIC's own keep-alive tells.
const PING_INTERVAL: Duration = Duration::from_secs(300);
/// A routing table is refreshed this often, by a search in each of its buckets.
const REFRESH_INTERVAL: Duration = Duration::from_secs(600);
/// Largest DHT message: 20 peers with 8 addresses each fit several times.
const KAD_PACKET_BYTES_MAX: usize = 16 << 10;
/// Connections to one peer: two after a simultaneous dial, and one that comes before the old one is known to be dead.
const CONNECTIONS_PER_PEER_MAX: u32 = 3;

/// All protocols of the swarm.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p::swarm::derive_prelude")]
pub struct Behaviour {
    limits: connection_limits::Behaviour,
    keep_alive: KeepAlive,
    /// The DHT: who holds what, and who is where.
    pub kad: kad::Behaviour<ProviderStore>,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
}

impl Behaviour {
    /// The protocols of one identity.
    ///
    /// # Errors
    /// mDNS is wanted and multicast not available.
    pub fn new(identity: &Keypair, config: &NetworkConfig, registry: Arc<Registry>) -> Result<Self, NetworkError> {
        let public = identity.public();
        let peer = public.to_peer_id();
        let identify = identify::Config::new(IDENTIFY_PROTOCOL.to_owned(), public)
            .with_agent_version(concat!("pangea/", env!("CARGO_PKG_VERSION")).to_owned())
            .with_push_listen_addr_updates(true)
            .with_cache_size(0);
        let mdns = match config.mdns {
            true => Some(mdns::tokio::Behaviour::new(mdns::Config::default(), peer).map_err(NetworkError::Mdns)?),
            false => None,
        };
        Ok(Self {
            limits: connection_limits::Behaviour::new(connection_limits(&config.limits)),
            keep_alive: KeepAlive::new(registry),
            kad: kademlia(peer, config),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL)),
            mdns: mdns.into(),
        })
    }
}

fn connection_limits(limits: &Limits) -> connection_limits::ConnectionLimits {
    let count = |limit: usize| Some(u32::try_from(limit).unwrap_or(u32::MAX));
    connection_limits::ConnectionLimits::default()
        .with_max_established(count(limits.connections_max))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX))
        .with_max_pending_incoming(count(limits.handshakes_max))
        .with_max_pending_outgoing(count(limits.dials_max))
}

fn kademlia(peer: libp2p::PeerId, config: &NetworkConfig) -> kad::Behaviour<ProviderStore> {
    let mut kad = kad::Config::new(KAD_PROTOCOL);
    kad.disjoint_query_paths(true)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        // Peers are inserted by hand, so that no prefix fills a bucket.
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_provider_record_ttl(Some(PROVIDER_TTL))
        .set_provider_publication_interval(Some(PROVIDER_REPUBLISH))
        .set_query_timeout(QUERY_TIMEOUT)
        .set_max_packet_size(KAD_PACKET_BYTES_MAX);
    kad.set_periodic_bootstrap_interval(config.walks.then_some(REFRESH_INTERVAL));
    let store = ProviderStore::new(peer, config.limits.provider_keys_max, config.limits.provided_keys_max);
    let mut kad = kad::Behaviour::with_config(peer, store, kad);
    kad.set_mode(Some(if config.kad_server { kad::Mode::Server } else { kad::Mode::Client }));
    kad
}
