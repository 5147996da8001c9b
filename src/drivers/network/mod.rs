//! The network driver: one UDP port that speaks to Pangea nodes and to stock libp2p peers.
//!
//! ```text
//!   actors ── Command ──▶ driver ── Swarm: Kademlia, identify, ping, mDNS ──▶ bidirectional streams ─┐
//!   actors ◀── Event ───    │                                                                        ├─ quinn ── UDP
//!                           ├── outbound: one unidirectional stream per frame ───────────────────────┤
//!                           ├── inbound: the same, read within limits ───────────────────────────────┤
//!                           └── datagrams: media ────────────────────────────────────────────────────┘
//! ```
//!
//! | file | its job |
//! |---|---|
//! | `config.rs` | what a user may set; every limit and what happens at it; errors of the start |
//! | `tls.rs`, `certificate.rs`, `endpoint.rs` | identity, ciphers, sockets, QUIC tuning; [`Sockets`] is where a simulator plugs in |
//! | `connection.rs`, `quic.rs` | what the driver asks of a connection, and QUIC's answer; [`Carrier`] is where a simulator of streams plugs in |
//! | `transport.rs`, `muxer.rs` | the libp2p transport on those |
//! | `registry.rs`, `keep_alive.rs` | which connections exist, their limits, whether they are in use |
//! | `behaviour.rs`, `record_store.rs` | the libp2p protocols, and the bounded store of provider records |
//! | `driver.rs`, `dialing.rs`, `discovery.rs` | the task that owns the swarm |
//! | `outbound.rs`, `lanes.rs`, `flights.rs`, `inbound.rs`, `datagrams.rs` | what moves over a connection |
//! | `outbox.rs` | events on their way to the actors |
//! | `address.rs`, `addresses.rs`, `codes.rs`, `metrics.rs` | names, the address book, error codes, counters |
//!
//! A frame to a connected peer does not pass through the driver's task: the command port writes it from the sender's
//! thread (`outbound.rs`). The driver sees to connections, and to what goes wrong.
//!
//! Peers that negotiate `pangea/1` get unidirectional streams and datagrams; peers that negotiate `libp2p` get the
//! swarm's protocols and nothing else. **Invariant:** nothing a peer sends makes this driver panic or allocate by an
//! unchecked length, and every queue has a bound (`config.rs`).
//!
//! Deliberately absent: relays, hole punching, AutoNAT, UPnP, TCP and Tor. They are transports and behaviours of their own.

// This is a driver: clocks and tasks are what it is for.
#![allow(clippy::disallowed_methods)]

mod address;
mod addresses;
mod behaviour;
mod certificate;
mod codes;
mod config;
mod connection;
mod datagrams;
mod dialing;
mod discovery;
mod driver;
mod endpoint;
mod flights;
mod inbound;
mod keep_alive;
mod lanes;
mod metrics;
mod muxer;
mod outbound;
mod outbox;
mod quic;
mod record_store;
mod registry;
mod tls;
mod transport;

pub use config::{Limits, NetworkConfig, NetworkError};
pub use connection::{
    Carrier, Closed, Connection, DatagramFault, Endpoint, Handshake, Incoming, LinkError, Pair, ReadError, RecvStream,
    SendStream, WriteError,
};
pub use datagrams::{DatagramError, DatagramPort};
pub use endpoint::{Quic, Sockets, SystemSockets};
pub use metrics::Metrics;
pub use tls::{ALPN_LIBP2P, ALPN_PANGEA};

use behaviour::Behaviour;
use driver::{Driver, Parts};
use libp2p::{Swarm, Transport, core::muxing::StreamMuxerBox, identity::Keypair, swarm};
use metrics::Counters;
use outbound::Outbound;
use outbox::Outbox;
use pangea_kernel::{Port, Rejected};
use pangea_protocols::{
    PeerId,
    net::{Command, Event},
};
use quic::QuicCarrier;
use registry::Registry;
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    runtime::Handle,
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot, watch,
    },
    task::JoinHandle,
};
use transport::PangeaTransport;

/// A running network, for whoever started it. The actors use its [`Port<Command>`](Command).
#[derive(Clone)]
pub struct NetworkHandle {
    local: PeerId,
    addresses: Vec<SocketAddr>,
    registry: Arc<Registry>,
    counters: Arc<Counters>,
    shutdown: mpsc::Sender<oneshot::Sender<()>>,
    /// Why the driver's task ended, if it panicked.
    failure: watch::Receiver<Option<String>>,
}

/// Starts the network on the operating system's sockets and the current tokio runtime, of either flavour.
///
/// `secret` is the node's 32-byte Ed25519 secret key (RFC 8032). `events` receives everything that happens. The
/// returned port takes commands; when it is full it hands them back. The network stops when it is told to
/// ([`NetworkHandle::shutdown`]) or when the last clone of the port is dropped.
///
/// # Errors
/// An address cannot be bound, the identity is unusable, or there is no runtime; see [`NetworkError`].
pub async fn start(
    secret: [u8; 32],
    config: NetworkConfig,
    events: Port<Event>,
) -> Result<(NetworkHandle, Port<Command>), NetworkError> {
    start_on(Arc::new(SystemSockets), secret, config, events).await
}

/// As [`start`], on other sockets: a simulator's.
///
/// # Errors
/// As [`start`].
#[allow(clippy::unused_async)]
pub async fn start_on(
    sockets: Arc<dyn Sockets>,
    mut secret: [u8; 32],
    config: NetworkConfig,
    events: Port<Event>,
) -> Result<(NetworkHandle, Port<Command>), NetworkError> {
    // Wipes `secret`.
    let identity = Keypair::ed25519_from_bytes(&mut secret).map_err(NetworkError::identity)?;
    let carrier = QuicCarrier::new(Quic::new(&identity)?, sockets);
    launch(Arc::new(carrier), &identity, config, events)
}

/// As [`start`], on connections that are not QUIC's: a simulator's. The carrier must speak for the same identity.
///
/// # Errors
/// As [`start`].
pub fn start_carried(
    carrier: Arc<dyn Carrier>,
    mut secret: [u8; 32],
    config: NetworkConfig,
    events: Port<Event>,
) -> Result<(NetworkHandle, Port<Command>), NetworkError> {
    // Wipes `secret`.
    let identity = Keypair::ed25519_from_bytes(&mut secret).map_err(NetworkError::identity)?;
    launch(carrier, &identity, config, events)
}

fn launch(
    carrier: Arc<dyn Carrier>,
    identity: &Keypair,
    config: NetworkConfig,
    events: Port<Event>,
) -> Result<(NetworkHandle, Port<Command>), NetworkError> {
    let runtime = Handle::try_current().map_err(|_| NetworkError::NoRuntime)?;
    let local = address::from_libp2p(&identity.public().to_peer_id())
        .ok_or_else(|| NetworkError::Identity("not an Ed25519 key".to_owned()))?;
    let counters = Arc::<Counters>::default();
    let (registry, changes) = Registry::new(config.limits.clone(), Arc::clone(&counters));

    let mut endpoints = Vec::new();
    for address in &config.listen {
        let bound = carrier.bind(*address, true);
        endpoints.push(bound.map_err(|error| NetworkError::listen(*address, error))?);
    }
    let transport =
        PangeaTransport::new(carrier, Arc::clone(&registry), config.limits.handshake_timeout, endpoints.clone());
    let behaviour = Behaviour::new(identity, &config, Arc::clone(&registry))?;
    let tasks = runtime.clone();
    let swarm_config = swarm::Config::with_executor(move |task| {
        tasks.spawn(task);
    })
    .with_idle_connection_timeout(config.limits.idle_timeout);
    let transport = transport.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed();
    let mut swarm = Swarm::new(transport, behaviour, identity.public().to_peer_id(), swarm_config);
    let addresses = listen(&mut swarm, &config, &endpoints)?;

    let (commands, command_queue) = mpsc::channel(config.limits.commands_max);
    let (shutdown, shutdown_queue) = mpsc::channel(1);
    let limits = config.limits.clone();
    let outbox = Outbox::new(events, limits.events_backlog_max, Arc::clone(&counters));
    let (outbound, reports) =
        Outbound::new(limits, Arc::clone(&registry), Arc::clone(&counters), outbox.deliveries(), runtime);
    let port = command_port(commands, &outbound);
    let parts = Parts {
        local,
        config,
        swarm,
        endpoints,
        registry: Arc::clone(&registry),
        counters: Arc::clone(&counters),
        outbox,
        outbound,
        reports,
        commands: command_queue,
        changes,
        shutdown: shutdown_queue,
    };
    let failure = watched(tokio::spawn(Driver::new(parts).run()));
    Ok((NetworkHandle { local, addresses, registry, counters, shutdown, failure }, port))
}

/// Tells of a panic of the driver's task: nobody serves commands or connections any more.
fn watched(driver: JoinHandle<()>) -> watch::Receiver<Option<String>> {
    let (tell, failure) = watch::channel(None);
    tokio::spawn(async move {
        if let Err(error) = driver.await
            && error.is_panic()
        {
            tracing::error!(%error, "the network driver panicked");
            tell.send_replace(Some(error.to_string()));
        }
    });
    failure
}

/// Frames to connected peers go to their connection at once, everything else to the driver.
// A command that is handed back is as large as a command.
#[allow(clippy::result_large_err)]
fn command_port(commands: mpsc::Sender<Command>, outbound: &Arc<Outbound>) -> Port<Command> {
    // Weak: the port lives in actors that the outbound's own events go to.
    let outbound = Arc::downgrade(outbound);
    Port::new(move |command| {
        let command = match (command, outbound.upgrade()) {
            (Command::Send { peer, tag, class, frame }, Some(outbound)) => {
                match outbound.send_now(peer, tag, class, frame) {
                    Ok(()) => return Ok(()),
                    Err(frame) => Command::Send { peer, tag, class, frame },
                }
            }
            (command, _) => command,
        };
        commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(command) => Rejected::Full(command),
            TrySendError::Closed(command) => Rejected::Closed(command),
        })
    })
}

/// Hands the bound endpoints to the swarm and tells it of addresses others were given.
fn listen(
    swarm: &mut Swarm<Behaviour>,
    config: &NetworkConfig,
    endpoints: &[Arc<dyn Endpoint>],
) -> Result<Vec<SocketAddr>, NetworkError> {
    let mut addresses = Vec::new();
    for (endpoint, wanted) in endpoints.iter().zip(&config.listen) {
        let local = endpoint.local_address().map_err(|error| NetworkError::listen(*wanted, error))?;
        swarm
            .listen_on(address::to_multiaddr(local))
            .map_err(|error| NetworkError::listen(*wanted, std::io::Error::other(error)))?;
        addresses.push(local);
    }
    for external in &config.external {
        let address = address::from_address(external);
        swarm.add_external_address(address.ok_or_else(|| NetworkError::External(external.to_string()))?);
    }
    Ok(addresses)
}

impl NetworkHandle {
    /// This node.
    pub fn local_peer(&self) -> PeerId {
        self.local
    }

    /// The sockets this node listens on, with the ports the system chose.
    pub fn listening_on(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Counters at this moment.
    pub fn metrics(&self) -> Metrics {
        self.counters.read()
    }

    /// The QUIC connection to a peer that speaks `pangea/1`, for measurements. Bidirectional streams belong to the swarm.
    pub fn raw_connection(&self, peer: PeerId) -> Option<quinn::Connection> {
        self.registry.link(peer)?.connection.quic()
    }

    /// Takes the datagrams of the connection to a peer; the connection stays open while the port lives.
    ///
    /// # Errors
    /// Not connected, or somebody has them already.
    pub fn datagrams(&self, peer: PeerId) -> Result<DatagramPort, DatagramError> {
        let link = self.registry.link(peer).ok_or(DatagramError::NotConnected)?;
        DatagramPort::open(link, Arc::clone(&self.counters))
    }

    /// Waits for the driver to fail, which is for ever unless it panics; then says why.
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.clone();
        match failure.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
            Ok(Some(reason)) => reason,
            // It was stopped.
            _ => std::future::pending().await,
        }
    }

    /// Closes all connections and stops, within about a second.
    pub async fn shutdown(&self) {
        let (done, stopped) = oneshot::channel();
        if self.shutdown.send(done).await.is_ok() {
            // An error means that it has stopped already; so does a failed send.
            let _ = stopped.await;
        }
    }
}
