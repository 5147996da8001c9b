//! Nodes on loopback for the tests of the network driver: real sockets, waits that end with an event.

// Every test file uses a part of it.
#![allow(dead_code)]

use bytes::Bytes;
use libp2p::identity::Keypair;
use pangea::drivers::network::{self, NetworkConfig, NetworkHandle, Quic, SystemSockets};
use pangea_kernel::{Port, Rejected};
use pangea_protocols::{
    Address, PeerId,
    net::{Class, Command, Event},
    wire::{Frame, Message, have::Have},
};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::timeout,
};

/// No wait of a test is longer; only a failing test waits that long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One running network driver and what it has said.
pub struct Node {
    pub handle: NetworkHandle,
    pub port: Port<Command>,
    pub events: mpsc::Receiver<Event>,
    /// Events that no wait has asked for yet.
    pub seen: Vec<Event>,
}

/// A configuration on a free loopback port.
pub fn config() -> NetworkConfig {
    NetworkConfig { listen: vec![loopback()], ..NetworkConfig::default() }
}

pub fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A key that no other node of this process has.
pub fn fresh_secret() -> [u8; 32] {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    [NEXT.fetch_add(1, Ordering::Relaxed); 32]
}

pub async fn node() -> Node {
    node_with(config(), 4096).await
}

pub async fn node_with(config: NetworkConfig, mailbox: usize) -> Node {
    let (sender, events) = mpsc::channel(mailbox);
    let events_port = Port::new(move |event| {
        sender.try_send(event).map_err(|error| match error {
            TrySendError::Full(event) => Rejected::Full(event),
            TrySendError::Closed(event) => Rejected::Closed(event),
        })
    });
    let (handle, port) = network::start(fresh_secret(), config, events_port).await.unwrap();
    Node { handle, port, events, seen: Vec::new() }
}

impl Node {
    pub fn id(&self) -> PeerId {
        self.handle.local_peer()
    }

    pub fn socket(&self) -> SocketAddr {
        self.handle.listening_on()[0]
    }

    pub fn address(&self) -> Address {
        address_of(self.socket())
    }

    pub fn ask(&self, command: Command) {
        self.port.send(command).unwrap();
    }

    pub fn dial(&self, other: &Node) {
        self.ask(Command::Dial { peer: other.id(), addresses: vec![other.address()] });
    }

    pub fn send(&self, peer: PeerId, tag: u64, frame: Frame) {
        self.ask(Command::Send { peer, tag, class: Class::Bulk, frame });
    }

    /// The first event, heard before or from now on, that `pick` takes.
    pub async fn until<T>(&mut self, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        if let Some(at) = self.seen.iter().position(|event| pick(event).is_some()) {
            let event = self.seen.remove(at);
            return pick(&event).unwrap();
        }
        loop {
            let next = timeout(PATIENCE, self.events.recv()).await;
            let Ok(Some(event)) = next else { panic!("{:?} never heard: {what}; but {:?}", self.id(), self.seen) };
            match pick(&event) {
                Some(picked) => return picked,
                None => self.seen.push(event),
            }
        }
    }

    pub async fn connected(&mut self, other: PeerId) {
        self.until("connected", |event| matches!(event, Event::Connected { peer, .. } if *peer == other).then_some(()))
            .await;
    }

    pub async fn disconnected(&mut self, other: PeerId) -> String {
        self.until("disconnected", |event| match event {
            Event::Disconnected { peer, reason, .. } if *peer == other => Some(reason.clone()),
            _ => None,
        })
        .await
    }

    pub async fn received(&mut self) -> (PeerId, Frame) {
        self.until("received", |event| match event {
            Event::Received { peer, frame } => Some((*peer, frame.clone())),
            _ => None,
        })
        .await
    }

    pub async fn sent(&mut self, tag: u64) {
        self.until("sent", |event| matches!(event, Event::Sent { tag: sent, .. } if *sent == tag).then_some(())).await;
    }

    pub async fn failed(&mut self, tag: u64) -> pangea_protocols::net::SendError {
        self.until("send failed", |event| match event {
            Event::SendFailed { tag: failed, error, .. } if *failed == tag => Some(*error),
            _ => None,
        })
        .await
    }

    pub async fn garbage(&mut self, from: PeerId) -> String {
        self.until("garbage", |event| match event {
            Event::Garbage { peer, reason } if *peer == from => Some(reason.clone()),
            _ => None,
        })
        .await
    }
}

/// Two nodes, the first of which has dialled the second.
pub async fn pair() -> (Node, Node) {
    let (mut one, mut two) = (node().await, node().await);
    one.dial(&two);
    one.connected(two.id()).await;
    two.connected(one.id()).await;
    (one, two)
}

pub fn address_of(socket: SocketAddr) -> Address {
    format!("/ip4/{}/udp/{}/quic-v1", socket.ip(), socket.port()).parse().unwrap()
}

/// A frame with a name and a body of `bytes`.
pub fn frame(request: u64, bytes: usize) -> Frame {
    let body = (0..bytes).map(|at| (at as u64 ^ request) as u8).collect::<Vec<_>>();
    Frame { message: Message::Have(Have::Have { request, present: vec![1, 2, 3] }), body: Bytes::from(body) }
}

pub fn request_of(frame: &Frame) -> u64 {
    match &frame.message {
        Message::Have(Have::Have { request, .. }) => *request,
        other => panic!("unexpected {other:?}"),
    }
}

/// A peer that is nothing but QUIC with a valid certificate: it can misbehave.
pub struct Raw {
    pub id: PeerId,
    pub quic: Quic,
    pub endpoint: quinn::Endpoint,
}

impl Raw {
    pub fn new(alpn: &[&[u8]], listen: bool) -> Self {
        let identity = Keypair::ed25519_from_bytes(fresh_secret()).unwrap();
        let id = PeerId::from_multihash(&identity.public().to_peer_id().to_bytes()).unwrap();
        let quic = Quic::with_alpn(&identity, alpn).unwrap();
        let endpoint = quic.bind(&SystemSockets, loopback(), listen).unwrap();
        Self { id, quic, endpoint }
    }

    pub async fn connect(&self, to: SocketAddr) -> quinn::Connection {
        self.endpoint.connect_with(self.quic.client_for(to.ip()), to, "l").unwrap().await.unwrap()
    }

    /// Accepts one connection with the given flow control; it must be kept, and nothing is read from it.
    pub async fn accept_deaf(&self, uni_streams: u32, stream_window: u32) -> quinn::Connection {
        let incoming = self.endpoint.accept().await.unwrap();
        let mut server = quinn::ServerConfig::clone(&self.quic.server_for(loopback().ip()));
        let mut transport = quinn::TransportConfig::default();
        transport.max_concurrent_uni_streams(uni_streams.into()).stream_receive_window(stream_window.into());
        server.transport_config(Arc::new(transport));
        incoming.accept_with(Arc::new(server)).unwrap().await.unwrap()
    }
}

/// Polls a condition that no event announces.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(PATIENCE, wait).await.is_ok(), "never: {what}");
}
