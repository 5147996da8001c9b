//! One node of a fleet: what outlives its crashes, and its lives.
//!
//! A life is production's wiring on production's host: the mailboxes and cores in actix shells, the network driver on
//! virtual sockets, the shard disk on a virtual volume, and the twins of the other drivers, behind the node's tap. Its actors run on a `LocalSet` of
//! their own, which a crash drops and a pause leaves unpolled.

use super::{
    calendar::Calendar,
    disk::ShardDisk,
    gate::{Gate, Gated},
    internet::Internet,
    streams::Streams,
    udp::VirtualSockets,
};
use crate::{
    observer::Observer,
    plan,
    record::NodeId,
    tap::{Tap, Taps},
    timeline::Timeline,
    twins::{self, compute, cpu::Cpu, desk::Desk, files::Files, guests::Guests, jobs::Jobs},
};
use ed25519_dalek::SigningKey;
use pangea::{
    drivers::{
        disk,
        network::{self, NetworkConfig, NetworkError, NetworkHandle},
    },
    node::wiring::{Actors, Cores, Drivers, Mailboxes},
};
use pangea_ces::Ces;
use pangea_chunks::ChunkStore;
use pangea_compute::{Coordinator, Worker};
use pangea_kernel::{ActixHost, HostConfig, Seed};
use pangea_peers::{PeerManager, api as peers};
use pangea_plugins::Plugins;
use pangea_protocols::{Address, PeerId};
use pangea_sandbox::Sandbox;
use pangea_transfer::{download::Downloader, upload::Uploader};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};
use tokio::task::{AbortHandle, LocalSet};

/// The port that every node listens on.
pub const PORT: u16 = 4411;
/// Workers of a node.
const WORKERS: usize = 2;

/// What all nodes of a fleet share.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) internet: Internet,
    /// What carries connections, unless QUIC does.
    pub(super) streams: Option<Streams>,
    pub(super) timeline: Timeline,
    pub(super) taps: Taps,
    pub(super) observer: Observer,
    pub(super) network: NetworkConfig,
    pub(super) peers: pangea_peers::Config,
    pub(super) seed: Seed,
}

/// A node, alive or dead.
pub(super) struct FleetNode {
    id: NodeId,
    key: SigningKey,
    quota: u64,
    address: SocketAddr,
    seed: Seed,
    pub(super) files: Files,
    pub(super) jobs: Jobs,
    desk: Desk,
    pub(super) guests: Guests,
    pub(super) disk: ShardDisk,
    pub(super) tap: Tap,
    pub(super) calendar: Calendar,
    lives: u64,
    life: Option<Life>,
}

/// From a start to a crash.
struct Life {
    actors: Actors,
    network: NetworkHandle,
    tasks: AbortHandle,
    gate: Gate,
}

impl FleetNode {
    /// A node that has not been started.
    pub(super) fn new(node: &plan::Node, key: [u8; 32], ip: Ipv4Addr, around: &Surroundings) -> Self {
        let seed = around.seed.derive("node").derive(&node.id.to_string());
        let disk = ShardDisk::new(around.timeline.clone(), &seed.derive("disk"), node.quota);
        Self {
            id: node.id,
            key: SigningKey::from_bytes(&key),
            quota: node.quota,
            address: SocketAddr::from((ip, PORT)),
            files: Files::new(around.timeline.clone()),
            jobs: Jobs::new(around.timeline.clone()),
            desk: Desk::new(around.timeline.clone()),
            guests: Guests::new(around.timeline.clone()),
            disk,
            tap: around.taps.of(node.id),
            calendar: Calendar::new(around.timeline.clone()),
            seed,
            lives: 0,
            life: None,
        }
    }

    /// Who.
    pub(super) fn peer(&self) -> PeerId {
        PeerId(self.key.verifying_key().to_bytes())
    }

    /// How often it has been started.
    pub(super) fn lives(&self) -> u64 {
        self.lives
    }

    /// Its actors, while it lives.
    pub(super) fn actors(&self) -> Option<&Actors> {
        self.life.as_ref().map(|life| &life.actors)
    }

    /// Its network driver, while it lives.
    pub(super) fn network(&self) -> Option<&NetworkHandle> {
        self.life.as_ref().map(|life| &life.network)
    }

    /// Brings it up on the current runtime and `LocalSet`: it remembers the peers of its earlier lives, knows
    /// `bootstrap`, and has the routing table `routing`.
    pub(super) async fn start(
        &mut self,
        around: &Surroundings,
        bootstrap: Vec<(PeerId, Vec<Address>)>,
        routing: Vec<(PeerId, Vec<Address>)>,
    ) -> Result<(), NetworkError> {
        let seed = self.seed.derive("life").derive(&self.lives.to_string());
        self.lives += 1;
        let calendar = self.calendar.clone();
        let calendar = pangea_kernel::Calendar::Told(Arc::new(move |_| calendar.read()));
        let host = ActixHost::new(HostConfig::new(seed).calendar(calendar));
        let mailboxes = Mailboxes::<ActixHost>::new(&host);
        let (actors, gate, hub) = (mailboxes.actors(), Gate::default(), self.tap.hub());
        let config = NetworkConfig { listen: vec![self.address], mdns: false, routing, ..around.network.clone() };
        let events = gate.door(self.tap.network_events(mailboxes.network_events(hub.clone())));
        let secret = self.key.to_bytes();
        let (network, port) = match &around.streams {
            Some(streams) => {
                network::start_carried(streams.carrier(self.id, self.peer()), secret, config, events.clone())?
            }
            None => {
                let sockets = Arc::new(VirtualSockets::new(around.internet.clone(), self.id));
                network::start_on(sockets, secret, config, events.clone()).await?
            }
        };
        let disk_events = self.tap.disk_events(gate.port(actors.chunks.map(pangea_chunks::api::In::Disk)));
        let drivers = Drivers {
            network: self.tap.network(port, events),
            disk: self.tap.disk(self.disk.open(disk_events.clone()), disk_events),
            files: self.files.open(gate.port(actors.ces.map(pangea_ces::api::In::Files))),
            cpu: Cpu::new(around.timeline.clone(), WORKERS).open(gate.port(actors.ces.clone())),
            sandbox: twins::sandbox::Sandbox::new(around.timeline.clone(), WORKERS)
                .open(self.tap.sandbox(gate.port(actors.sandbox.clone()))),
            jobs: self.tap.jobs(self.jobs.open(gate.port(actors.coordinator.clone()))),
            hub,
            guests: self.guests.open(gate.port(actors.extensions.plugins.map(pangea_plugins::api::In::Guest))),
            meter: pangea_kernel::Port::new(|_| Ok(())),
            desk: self.tap.desk(self.desk.open(gate.port(actors.extensions.plugins.clone()))),
        };
        let tasks = LocalSet::new();
        let entered = tasks.enter();
        mailboxes.start(&host, self.peer(), drivers, self.recipe(around, &bootstrap));
        drop(entered);
        // A mailbox that nothing has been sent to yet has room.
        let _ = actors.peers.send(peers::In::Restored { records: self.tap.saved_peers() });
        let _ = actors.peers.send(peers::In::Bootstrap { peers: bootstrap });
        self.desk.restore(&actors.extensions.plugins);
        let tasks = tokio::task::spawn_local(Gated::new(tasks, gate.clone())).abort_handle();
        self.life = Some(Life { actors, network, tasks, gate });
        Ok(())
    }

    fn recipe(&self, around: &Surroundings, bootstrap: &[(PeerId, Vec<Address>)]) -> Recipe {
        let peers = pangea_peers::Config { bootstrap: bootstrap.to_vec(), ..around.peers.clone() };
        let chunks = pangea_chunks::Config {
            quota_bytes: self.quota,
            maintenance_bytes: disk::Options::for_quota(self.quota).maintenance_bytes(),
            ..pangea_chunks::Config::default()
        };
        Recipe { peer: self.peer(), key: self.key.clone(), peers, chunks }
    }

    /// Ends its life at this moment, without a word.
    pub(super) fn crash(&mut self, around: &Surroundings) {
        // First the network: what the actors' end would make it say must not get out.
        around.internet.kill(self.id);
        around.streams.iter().for_each(|streams| streams.kill(self.id));
        if let Some(life) = self.life.take() {
            life.gate.close();
            life.tasks.abort();
        }
    }

    /// Stops it where it stands, or lets it go on.
    pub(super) fn pause(&self, around: &Surroundings, paused: bool) {
        let Some(life) = &self.life else { return };
        if paused {
            around.internet.pause(self.id);
            around.streams.iter().for_each(|streams| streams.pause(self.id));
            life.gate.shut();
        } else {
            around.internet.resume(self.id);
            around.streams.iter().for_each(|streams| streams.resume(self.id));
            life.gate.open();
        }
    }
}

/// How the cores of a node are made.
#[derive(Clone)]
struct Recipe {
    peer: PeerId,
    key: SigningKey,
    peers: pangea_peers::Config,
    chunks: pangea_chunks::Config,
}

impl Cores for Recipe {
    fn ces(&self) -> Ces {
        Ces::new()
    }

    fn chunks(&self) -> ChunkStore {
        ChunkStore::new(self.key.clone(), self.chunks)
    }

    fn peers(&self) -> PeerManager {
        PeerManager::new(self.key.clone(), self.peers.clone())
    }

    fn uploads(&self) -> Uploader {
        Uploader::new(self.peer, self.key.clone(), Default::default())
    }

    fn downloads(&self) -> Downloader {
        Downloader::new(PeerId(self.key.verifying_key().to_bytes()))
    }

    fn coordinator(&self) -> Coordinator {
        compute::coordinator(&self.key)
    }

    fn worker(&self) -> Worker {
        compute::worker(&self.key)
    }

    fn sandbox(&self) -> Sandbox {
        compute::sandbox()
    }

    fn plugins(&self) -> Plugins {
        Plugins::new(self.peer)
    }
}
