//! What a user of the network driver may set, every limit it keeps, and how it can fail to start.

use pangea_protocols::{Address, PeerId};
use std::{error::Error, io, net::SocketAddr, time::Duration};

/// How the network driver runs.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// UDP addresses to listen on; `[::]:port` is dual stack, port 0 lets the system choose.
    pub listen: Vec<SocketAddr>,
    /// Answer the DHT queries of others and hold their provider records.
    pub kad_server: bool,
    /// Find peers on the local network.
    pub mdns: bool,
    /// Addresses under which others reach this node although it does not listen there (a forwarded port).
    pub external: Vec<Address>,
    /// Peers that the routing table begins with.
    pub routing: Vec<(PeerId, Vec<Address>)>,
    /// Walk through the DHT to fill the routing table, at new peers and every five minutes. Otherwise the table knows
    /// whom this node meets.
    pub walks: bool,
    /// Every bound of the driver.
    pub limits: Limits,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        let any = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0));
        Self {
            listen: vec![any],
            kad_server: true,
            mdns: false,
            external: Vec::new(),
            routing: Vec::new(),
            walks: true,
            limits: Limits::default(),
        }
    }
}

/// The bounds of the driver. What happens at a bound is said at each.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections and handshakes in total; beyond it incoming ones are refused and dials fail.
    pub connections_max: usize,
    /// Connections and handshakes per IPv4 address or IPv6 /64, loopback exempt; beyond it incoming ones are refused.
    pub connections_per_ip_max: usize,
    /// From this many incoming handshakes on, an unproven address must answer a QUIC Retry first.
    pub handshakes_retry_from: usize,
    /// Incoming handshakes at once; beyond it they are refused.
    pub handshakes_max: usize,
    /// A handshake that takes longer fails.
    pub handshake_timeout: Duration,
    /// A connection that nothing has used for this time is closed. Long, because a handshake costs both ends more than
    /// minutes of keeping it: whether there are too many is for the peer manager to say, which trims.
    pub idle_timeout: Duration,
    /// Dials at once; beyond it a dial fails.
    pub dials_max: usize,
    /// Frames queued or unacknowledged per peer; beyond it `SendFailed(QueueFull)`.
    pub send_frames_per_peer_max: usize,
    /// Body bytes queued or unacknowledged per peer; beyond it `SendFailed(QueueFull)`.
    pub send_bytes_per_peer_max: usize,
    /// Body bytes queued or unacknowledged for all peers; beyond it `SendFailed(QueueFull)`.
    pub send_bytes_max: usize,
    /// Frames being written to one peer at once; others wait, the most urgent class first.
    pub send_streams_per_peer_max: usize,
    /// Streams of one connection read at once; others wait in QUIC's flow control.
    pub receive_streams_per_peer_max: usize,
    /// Bytes of frames being read or waiting for their receiver, all peers; others wait, then are refused.
    pub receive_bytes_max: usize,
    /// The part of `receive_bytes_max` that one connection may take.
    pub receive_bytes_per_peer_max: usize,
    /// A stream that moves less than 32 KiB in this time is cut; a frame waits this long for memory or its receiver.
    pub receive_stall: Duration,
    /// Commands that wait; beyond it the port hands them back.
    pub commands_max: usize,
    /// Events that wait for a full receiver; beyond it the driver stops reading commands and connections.
    pub events_backlog_max: usize,
    /// Peers whose addresses are remembered; beyond it the oldest are forgotten.
    pub remembered_peers_max: usize,
    /// Peers of one IPv4 /24 or IPv6 /48 in the routing table, loopback exempt; beyond it they are not inserted.
    pub routing_per_prefix_max: usize,
    /// The same per bucket.
    pub routing_per_prefix_and_bucket_max: usize,
    /// DHT keys held for others; beyond it those farthest from this node are forgotten.
    pub provider_keys_max: usize,
    /// Own DHT keys announced; beyond it `Provide` is ignored and counted.
    pub provided_keys_max: usize,
    /// Provider searches at once; beyond it a search ends at once and empty.
    pub searches_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 512,
            connections_per_ip_max: 16,
            handshakes_retry_from: 32,
            handshakes_max: 256,
            handshake_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(900),
            dials_max: 256,
            send_frames_per_peer_max: 256,
            send_bytes_per_peer_max: 64 << 20,
            send_bytes_max: 256 << 20,
            send_streams_per_peer_max: 32,
            receive_streams_per_peer_max: 56,
            receive_bytes_max: 64 << 20,
            receive_bytes_per_peer_max: 32 << 20,
            receive_stall: Duration::from_secs(30),
            commands_max: 1024,
            events_backlog_max: 4096,
            remembered_peers_max: 4096,
            routing_per_prefix_max: 16,
            routing_per_prefix_and_bucket_max: 4,
            provider_keys_max: 10_000,
            provided_keys_max: 65_536,
            searches_max: 256,
        }
    }
}

/// Why the network could not be started.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Another program has the port.
    #[error("UDP {address} is in use by another program: stop it, or listen on another port (port 0 picks a free one)")]
    AddressInUse { address: SocketAddr },
    /// The address cannot be bound for another reason.
    #[error("cannot listen on UDP {address}: {source}; check that the address belongs to this machine")]
    Listen { address: SocketAddr, source: io::Error },
    /// The identity does not make a certificate.
    #[error("the identity key cannot be used for TLS: {0}")]
    Identity(String),
    /// An address in the configuration is no QUIC address.
    #[error("`{0}` is not an address this node can be reached at, such as /ip4/192.0.2.1/udp/4001/quic-v1")]
    External(String),
    /// Multicast is not available.
    #[error("cannot search the local network: {0}; turn mDNS off")]
    Mdns(io::Error),
    /// There is no tokio runtime to run on.
    #[error("the network driver must be started inside a tokio runtime")]
    NoRuntime,
}

impl NetworkError {
    pub(super) fn identity(error: impl Error) -> Self {
        Self::Identity(error.to_string())
    }

    pub(super) fn listen(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::AddressInUse { address },
            _ => Self::Listen { address, source },
        }
    }
}
