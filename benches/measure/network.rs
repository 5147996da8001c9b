//! A network driver on loopback, alone: what the benches of frames start, send with and listen to.

use bytes::Bytes;
use pangea::drivers::network::{self, NetworkConfig, NetworkHandle};
use pangea_kernel::{Port, Rejected};
use pangea_protocols::{
    PeerId,
    net::{self, Class, Command},
    wire::{Frame, Message, have::Have},
};
use tokio::sync::mpsc::{self, error::TrySendError};

/// A running driver.
pub struct Node {
    pub handle: NetworkHandle,
    pub port: Port<Command>,
    pub events: mpsc::Receiver<net::Event>,
}

impl Node {
    /// Starts one whose key is `identity` repeated, on a port that the system chooses.
    pub async fn start(identity: u8) -> Self {
        let (sender, events) = mpsc::channel(4096);
        let port = Port::new(move |event| {
            sender.try_send(event).map_err(|error| match error {
                TrySendError::Full(event) => Rejected::Full(event),
                TrySendError::Closed(event) => Rejected::Closed(event),
            })
        });
        let config = NetworkConfig { listen: vec!["127.0.0.1:0".parse().unwrap()], ..NetworkConfig::default() };
        let (handle, port) = network::start([identity; 32], config, port).await.unwrap();
        Self { handle, port, events }
    }

    /// Connects to `peer` at `address`, which is an IPv4 socket address.
    pub async fn connect(&mut self, peer: PeerId, address: &str) {
        let (ip, port) = address.rsplit_once(':').unwrap();
        let addresses = vec![format!("/ip4/{ip}/udp/{port}/quic-v1").parse().unwrap()];
        assert!(self.port.send(Command::Dial { peer, addresses }).is_ok());
        self.connected().await;
    }

    /// Waits for a connection; with whom.
    pub async fn connected(&mut self) -> PeerId {
        loop {
            if let net::Event::Connected { peer, .. } = self.events.recv().await.unwrap() {
                return peer;
            }
        }
    }

    /// Waits for a frame.
    pub async fn received(&mut self) -> Frame {
        loop {
            if let net::Event::Received { frame, .. } = self.events.recv().await.unwrap() {
                return frame;
            }
        }
    }

    /// Waits until the connection is over.
    pub async fn disconnected(&mut self) {
        while !matches!(self.events.recv().await, None | Some(net::Event::Disconnected { .. })) {}
    }

    /// Sends a frame.
    pub fn send(&self, peer: PeerId, tag: u64, class: Class, frame: Frame) {
        assert!(self.port.send(Command::Send { peer, tag, class, frame }).is_ok());
    }
}

/// A frame of the smallest message, with a body.
pub fn frame(body: &Bytes) -> Frame {
    Frame { message: Message::Have(Have::Have { request: 1, present: Vec::new() }), body: body.clone() }
}
