//! One node of the swarm: what outlives its crashes, and the process that runs now.

use super::Config;
use crate::{
    actor::Failure,
    observer::Observer,
    plan,
    record::NodeId,
    tap::{Tap, Taps},
    twins::{
        self, compute, cpu::Cpu, desk::Desk, disk::Disk, files::Files, guests::Guests, jobs::Jobs, network::Network,
    },
    virtual_host::VirtualHost,
    world::World,
};
use ed25519_dalek::SigningKey;
use pangea::{
    drivers::disk::Options as DiskOptions,
    node::{
        hub::HubIn,
        wiring::{Actors, Cores, Drivers, Mailboxes},
    },
};
use pangea_ces::Ces;
use pangea_chunks::ChunkStore;
use pangea_compute::{Coordinator, Worker};
use pangea_kernel::Seed;
use pangea_peers::{PeerManager, api as peers};
use pangea_plugins::Plugins;
use pangea_protocols::{Address, PeerId};
use pangea_sandbox::Sandbox;
use pangea_transfer::{download::Downloader, upload::Uploader};
use std::{sync::Arc, time::Duration};

/// How long a sync of the disk takes.
const SYNC: Duration = Duration::from_millis(2);
/// Workers of a node.
const WORKERS: usize = 2;

/// A node, whether it runs or not.
pub(super) struct SwarmNode {
    pub(super) peer: PeerId,
    pub(super) tap: Tap,
    pub(super) files: Files,
    pub(super) jobs: Jobs,
    desk: Desk,
    pub(super) guests: Guests,
    pub(super) disk: Disk,
    pub(super) was_started: bool,
    pub(super) process: Option<Process>,
    key: Option<SigningKey>,
}

/// From a start to a crash.
pub(super) struct Process {
    pub(super) host: VirtualHost,
    pub(super) actors: Actors,
}

impl SwarmNode {
    pub(super) fn new(id: NodeId, taps: &Taps, seed: &Seed) -> Self {
        let timeline = taps.observer().timeline();
        let disk_seed = seed.derive("disk").derive(&id.to_string());
        Self {
            peer: PeerId([0; 32]),
            tap: taps.of(id),
            files: Files::new(timeline.clone()),
            jobs: Jobs::new(timeline.clone()),
            desk: Desk::new(timeline.clone()),
            guests: Guests::new(timeline.clone()),
            disk: Disk::new(timeline, SYNC).seeded(disk_seed),
            was_started: false,
            process: None,
            key: None,
        }
    }

    /// Gives it its identity and its share of the disk.
    pub(super) fn prepare(&mut self, key: [u8; 32], quota: u64) {
        let key = SigningKey::from_bytes(&key);
        self.peer = PeerId(key.verifying_key().to_bytes());
        self.disk.set_quota(quota);
        self.key = Some(key);
    }

    /// Its process runs, or stands still.
    pub(super) fn is_up(&self) -> bool {
        self.process.as_ref().is_some_and(|process| !process.host.life().is_over())
    }

    pub(super) fn begin(&mut self, process: Process) {
        self.was_started = true;
        self.process = Some(process);
    }
}

impl Process {
    /// Wires a node by production's page and starts it: it remembers what its earlier lives saved.
    pub(super) fn start(
        node: &SwarmNode,
        plan: &plan::Node,
        world: &World,
        network: &Network,
        observer: &Observer,
        config: &Config,
        bootstrap: Vec<(PeerId, Vec<Address>)>,
    ) -> Self {
        let (peer, tap) = (node.peer, &node.tap);
        let mut host = world.node(&name(plan.id));
        if !config.strict {
            host = contained(host, node, plan.id, network, observer);
        }
        let life = host.life().clone();
        let mailboxes = Mailboxes::<VirtualHost>::new(&host);
        let actors = mailboxes.actors();
        let hub = tap.hub();
        let heard = tap.network_events(mailboxes.network_events(hub.clone()));
        let driver = network.join(plan.id, peer, address(plan.id), life.clone(), heard.clone());
        let answers = life.port(tap.disk_events(actors.chunks.map(pangea_chunks::api::In::Disk)));
        let disk = node.disk.open(answers.clone());
        let cpu = Cpu::new(observer.timeline(), WORKERS);
        let sandbox = twins::sandbox::Sandbox::new(observer.timeline(), WORKERS);
        let drivers = Drivers {
            network: tap.network(driver, life.port(heard)),
            disk: tap.disk(disk, answers),
            files: node.files.open(life.port(actors.ces.map(pangea_ces::api::In::Files))),
            cpu: cpu.open(life.port(actors.ces.clone())),
            sandbox: sandbox.open(tap.sandbox(life.port(actors.sandbox.clone()))),
            jobs: tap.jobs(node.jobs.open(life.port(actors.coordinator.clone()))),
            hub,
            guests: node.guests.open(life.port(actors.extensions.plugins.map(pangea_plugins::api::In::Guest))),
            meter: pangea_kernel::Port::new(|_| Ok(())),
            desk: tap.desk(node.desk.open(life.port(actors.extensions.plugins.clone()))),
        };
        let key = node.key.clone().unwrap_or_else(|| SigningKey::from_bytes(&[0; 32]));
        let recipe =
            Recipe(Arc::new(Parts { key, quota: plan.quota, config: config.clone(), bootstrap: bootstrap.clone() }));
        mailboxes.start(&host, peer, drivers, recipe);
        // As the node greets its peer manager in production.
        let _ = actors.peers.send(peers::In::Restored { records: tap.saved_peers() });
        let _ = actors.peers.send(peers::In::Bootstrap { peers: bootstrap });
        node.desk.restore(&actors.extensions.plugins);
        Self { host, actors }
    }
}

/// A panic is shown, and costs what it costs in production.
fn contained(host: VirtualHost, node: &SwarmNode, id: NodeId, network: &Network, observer: &Observer) -> VirtualHost {
    let (peer, hub, network, observer) = (node.peer, node.tap.hub(), network.clone(), observer.clone());
    host.contained(move |Failure { actor, reason, again }| {
        observer.violation("no core panics", format!("node {id}: {actor} panicked: {reason}"));
        if again.is_some() {
            let _ = hub.send(HubIn::Restarted { actor });
        } else {
            network.crash(peer);
        }
    })
}

/// What the world calls a node.
pub(super) fn name(node: NodeId) -> String {
    format!("node-{node}")
}

/// Where a node is: in a /24 of its own, so that nodes fail one by one unless a plan says otherwise.
pub(super) fn address(node: NodeId) -> Address {
    let [_, high, middle, low] = node.to_be_bytes();
    let text = format!("/ip4/{}.{middle}.{low}.1/udp/4411/quic-v1", 11 + high % 100);
    text.parse().unwrap_or_else(|_| unreachable!("an address made of numbers"))
}

/// How the cores of a node are made. Clones are the same recipe: every actor has one.
#[derive(Clone)]
struct Recipe(Arc<Parts>);

struct Parts {
    key: SigningKey,
    quota: u64,
    config: Config,
    bootstrap: Vec<(PeerId, Vec<Address>)>,
}

impl Cores for Recipe {
    fn ces(&self) -> Ces {
        Ces::new()
    }

    fn chunks(&self) -> ChunkStore {
        let maintenance_bytes = DiskOptions::for_quota(self.0.quota).maintenance_bytes();
        let config =
            pangea_chunks::Config { quota_bytes: self.0.quota, maintenance_bytes, ..pangea_chunks::Config::default() };
        ChunkStore::new(self.0.key.clone(), config)
    }

    fn peers(&self) -> PeerManager {
        let config = pangea_peers::Config {
            bootstrap: self.0.bootstrap.clone(),
            known_max: self.0.config.known_max,
            ..pangea_peers::Config::keeping(self.0.config.peers_target)
        };
        PeerManager::new(self.0.key.clone(), config)
    }

    fn uploads(&self) -> Uploader {
        Uploader::new(PeerId(self.0.key.verifying_key().to_bytes()), self.0.key.clone(), Default::default())
    }

    fn downloads(&self) -> Downloader {
        Downloader::new(PeerId(self.0.key.verifying_key().to_bytes()))
    }

    fn coordinator(&self) -> Coordinator {
        compute::coordinator(&self.0.key)
    }

    fn worker(&self) -> Worker {
        compute::worker(&self.0.key)
    }

    fn sandbox(&self) -> Sandbox {
        compute::sandbox()
    }

    fn plugins(&self) -> Plugins {
        Plugins::new(PeerId(self.0.key.verifying_key().to_bytes()))
    }
}
