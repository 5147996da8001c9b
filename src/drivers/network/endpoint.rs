//! Sockets and QUIC configuration.
//!
//! [`Sockets`] is the seam for the simulator: it brings its own UDP and its own clock. [`Quic`] holds the
//! configurations of one identity. Next: `transport.rs` accepts and dials with them.

use super::{address, config::NetworkError, tls};
use libp2p::identity::Keypair;
use quinn::{
    VarInt,
    congestion::{BbrConfig, CubicConfig},
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// Kernel buffers of a UDP socket: a burst at full speed must not be lost while the node does something else.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// Flow control window of one stream.
const STREAM_WINDOW_BYTES: u32 = 32 << 20;
/// Flow control window of a connection, in each direction.
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;
/// Largest packet where the path takes it, on loopback and on LANs with jumbo frames: 10 of them, which is what quinn
/// hands to the system at once, must fit into the 64 KiB of one send.
const NEAR_PACKET_BYTES_MAX: u16 = 6500;
/// Datagrams that wait to be read.
const DATAGRAM_BUFFER_BYTES: usize = 4 << 20;
/// Unidirectional streams that a peer may have open at once. Many, because credit for more is announced whenever an
/// eighth of it is used, in a packet of its own. Bytes are bounded by the windows, streams that are read at once by
/// [`super::Limits`]; all of those, full, fit into the window of the connection (see the test below), and a sender ends
/// the frames that it has begun before it begins others: what waits here for memory keeps no data from what has it.
const UNI_STREAMS_MAX: u32 = 448;
/// Streams of libp2p protocols that a peer may have open at once.
const BIDI_STREAMS_MAX: u32 = 256;
/// A silent connection is given up.
const SILENCE_MAX: VarInt = VarInt::from_u32(20_000);
/// Keeps mappings of routers alive: the shortest in use are 30 s. A keep-alive that is lost is repeated by QUIC itself.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Where UDP sockets, timers and tasks of QUIC come from.
pub trait Sockets: Send + Sync + 'static {
    /// Timers and tasks.
    fn runtime(&self) -> Arc<dyn quinn::Runtime>;

    /// A socket bound to `address`; `[::]` is dual stack.
    ///
    /// # Errors
    /// As the system's `bind`.
    fn bind(&self, address: SocketAddr) -> io::Result<Arc<dyn quinn::AsyncUdpSocket>>;
}

/// The operating system's sockets on the current tokio runtime.
#[derive(Debug, Default)]
pub struct SystemSockets;

impl Sockets for SystemSockets {
    fn runtime(&self) -> Arc<dyn quinn::Runtime> {
        Arc::new(quinn::TokioRuntime)
    }

    fn bind(&self, address: SocketAddr) -> io::Result<Arc<dyn quinn::AsyncUdpSocket>> {
        let socket = match bind_socket(address) {
            // A machine without IPv6: "everywhere" is then everywhere in IPv4.
            Err(error) if address.is_ipv6() && address.ip().is_unspecified() && lacks_ipv6(&error) => {
                bind_socket(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))?
            }
            other => other?,
        };
        self.runtime().wrap_udp_socket(socket.into())
    }
}

fn bind_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // The system may grant less (net.core.rmem_max); that costs speed, not correctness.
    if let Err(error) =
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES).and(socket.set_send_buffer_size(SOCKET_BUFFER_BYTES))
    {
        tracing::debug!(%error, "UDP buffers keep their default size");
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

/// QUIC configurations of one identity: near (loopback and LAN, Cubic) and far (WAN, BBR).
pub struct Quic {
    endpoint: quinn::EndpointConfig,
    server: [Arc<quinn::ServerConfig>; 2],
    client: [quinn::ClientConfig; 2],
}

impl Quic {
    /// Speaks `pangea/1` and, with stock peers, `libp2p`.
    ///
    /// # Errors
    /// The identity is unusable.
    pub fn new(identity: &Keypair) -> Result<Self, NetworkError> {
        Self::with_alpn(identity, &[tls::ALPN_PANGEA, tls::ALPN_LIBP2P])
    }

    /// Speaks `alpn` only, in this order.
    ///
    /// # Errors
    /// The identity is unusable.
    pub fn with_alpn(identity: &Keypair, alpn: &[&[u8]]) -> Result<Self, NetworkError> {
        let (client, server) = tls::configs(identity, alpn)?;
        let client = Arc::new(QuicClientConfig::try_from(client).map_err(NetworkError::identity)?);
        let server = Arc::new(QuicServerConfig::try_from(server).map_err(NetworkError::identity)?);
        let transports = [Arc::new(near_transport()), Arc::new(far_transport())];
        let server_with = |transport: &Arc<quinn::TransportConfig>| {
            let mut config = quinn::ServerConfig::with_crypto(server.clone());
            config.transport_config(Arc::clone(transport));
            config.max_incoming(1024).incoming_buffer_size(64 << 10).incoming_buffer_size_total(8 << 20);
            Arc::new(config)
        };
        let client_with = |transport: &Arc<quinn::TransportConfig>| {
            let mut config = quinn::ClientConfig::new(client.clone());
            config.transport_config(Arc::clone(transport));
            config
        };
        let secret = identity
            .derive_secret(b"pangea quic stateless reset")
            .ok_or_else(|| NetworkError::Identity("no secret can be derived from it".to_owned()))?;
        // The same key after a restart: peers learn at once that their old connections are gone.
        let mut endpoint = quinn::EndpointConfig::new(Arc::new(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret)));
        endpoint.supported_versions(vec![1]);
        endpoint.max_udp_payload_size(NEAR_PACKET_BYTES_MAX).map_err(NetworkError::identity)?;
        Ok(Self {
            endpoint,
            server: [server_with(&transports[0]), server_with(&transports[1])],
            client: [client_with(&transports[0]), client_with(&transports[1])],
        })
    }

    /// An endpoint on its own socket; with `listen`, incoming connections are offered by `accept`.
    ///
    /// # Errors
    /// The socket cannot be bound.
    pub fn bind(&self, sockets: &dyn Sockets, address: SocketAddr, listen: bool) -> io::Result<quinn::Endpoint> {
        let server = listen.then(|| quinn::ServerConfig::clone(&self.server[0]));
        quinn::Endpoint::new_with_abstract_socket(
            self.endpoint.clone(),
            server,
            sockets.bind(address)?,
            sockets.runtime(),
        )
    }

    /// For a connection from `remote`.
    pub fn server_for(&self, remote: IpAddr) -> Arc<quinn::ServerConfig> {
        Arc::clone(&self.server[usize::from(!address::is_near(remote))])
    }

    /// For a connection to `remote`.
    pub fn client_for(&self, remote: IpAddr) -> quinn::ClientConfig {
        self.client[usize::from(!address::is_near(remote))].clone()
    }
}

/// Cubic: BBR's pacing caps a loopback connection at a fraction of what it can do.
fn near_transport() -> quinn::TransportConfig {
    let mut transport = transport();
    transport.congestion_controller_factory(Arc::new(CubicConfig::default()));
    let mut discovery = quinn::MtuDiscoveryConfig::default();
    discovery.upper_bound(NEAR_PACKET_BYTES_MAX);
    transport.mtu_discovery_config(Some(discovery));
    transport
}

/// BBR: on a buffered uplink it keeps the queue short, so that media beside bulk stays in time.
fn far_transport() -> quinn::TransportConfig {
    let mut transport = transport();
    transport.congestion_controller_factory(Arc::new(BbrConfig::default()));
    transport
}

fn transport() -> quinn::TransportConfig {
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_concurrent_uni_streams(UNI_STREAMS_MAX.into())
        .max_concurrent_bidi_streams(BIDI_STREAMS_MAX.into())
        // One frame after the other: the first is whole, and out of the receiver's memory, as early as can be.
        .send_fairness(false)
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        .receive_window(CONNECTION_WINDOW_BYTES.into())
        .send_window(CONNECTION_WINDOW_BYTES.into())
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(quinn::IdleTimeout::from(SILENCE_MAX)))
        .enable_segmentation_offload(true)
        .allow_spin(false);
    transport
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_protocols::{
        codec::Limit,
        wire::{BODY_BYTES_MAX, PRELUDE_BYTES},
    };

    #[test]
    fn all_streams_that_are_read_or_written_at_once_fit_into_the_window_of_their_connection() {
        let frame_max = PRELUDE_BYTES + Limit::Message.bytes() + BODY_BYTES_MAX;
        let limits = super::super::Limits::default();
        for streams in [limits.receive_streams_per_peer_max, limits.send_streams_per_peer_max] {
            assert!(streams * frame_max <= CONNECTION_WINDOW_BYTES as usize && streams < UNI_STREAMS_MAX as usize);
        }
        assert!(frame_max <= STREAM_WINDOW_BYTES as usize);
    }

    #[test]
    fn loopback_and_lan_are_near_and_the_rest_is_far() {
        for (ip, near) in [
            ("127.0.0.1", true),
            ("10.1.2.3", true),
            ("::ffff:192.168.0.1", true),
            ("fd00::1", true),
            ("192.0.2.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(address::is_near(ip.parse().unwrap()), near, "{ip}");
        }
    }
}
