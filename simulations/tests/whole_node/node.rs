//! A network of whole nodes: production's wiring and actors, the twins of its drivers.

use ed25519_dalek::SigningKey;
use pangea::node::{
    hub::HubIn,
    wiring::{Actors, Cores, Drivers, Mailboxes},
};
use pangea_ces::{Ces, Scratch, work::Work};
use pangea_chunks::ChunkStore;
use pangea_kernel::{Port, Rejected};
use pangea_peers::{PeerManager, api as peers};
use pangea_protocols::{Address, JobId, PeerId, job::JobEvent, time::Time};
use pangea_simulations::{
    Timeline, VirtualHost, World,
    twins::{disk::Disk, files::Files, network::Network},
};
use pangea_transfer::{download::Downloader, upload::Uploader};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// How long a worker is said to need for a frame.
const FRAME_WORK: Duration = Duration::from_millis(8);
/// No job of these tests takes longer.
const LONGEST: Duration = Duration::from_secs(300);

type Heard = Arc<Mutex<Vec<JobEvent>>>;

/// One node.
pub struct Node {
    pub peer: PeerId,
    pub actors: Actors,
    pub files: Files,
    pub disk: Disk,
    heard: Heard,
}

/// All of them.
pub struct Net {
    pub world: World,
    pub network: Network,
    pub nodes: Vec<Node>,
}

impl Net {
    /// `count` nodes that know the first and have had time to find each other.
    pub fn start(world: World, count: usize) -> Self {
        let network = Network::new(&world, Duration::from_millis(5)..=Duration::from_millis(25));
        let first = (key(0), address(0));
        let nodes = (0..count)
            .map(|number| {
                let node = start(&world, &network, number);
                if number > 0 {
                    let known = (PeerId(first.0.verifying_key().to_bytes()), vec![first.1.clone()]);
                    node.actors.peers.send(peers::In::Bootstrap { peers: vec![known] }).unwrap();
                }
                node
            })
            .collect();
        world.run_until(Time(600_000_000_000));
        Self { world, network, nodes }
    }

    /// Kills a node after `delay`.
    pub fn die_within(&self, peer: PeerId, delay: Duration) {
        let network = self.network.clone();
        self.world.timeline().after(delay, move || network.kill(peer));
    }

    /// Runs until `job` of `node` has ended.
    pub fn end_of(&self, node: &Node, job: JobId) -> JobEvent {
        let limit = self.world.now() + LONGEST;
        loop {
            let ended = node.heard.lock().unwrap().iter().find(|event| is_end(event, job)).cloned();
            if let Some(event) = ended {
                return event;
            }
            assert!(self.world.now() < limit, "job {job:?} does not end: {:?}", node.heard.lock().unwrap());
            self.world.run_until(self.world.now() + Duration::from_millis(100));
        }
    }
}

fn is_end(event: &JobEvent, job: JobId) -> bool {
    event.job() == job && matches!(event, JobEvent::Done { .. } | JobEvent::Failed { .. })
}

fn key(number: usize) -> SigningKey {
    SigningKey::from_bytes(&[u8::try_from(number).unwrap() + 1; 32])
}

fn address(number: usize) -> Address {
    format!("/ip4/10.{number}.0.1/udp/4411/quic-v1").parse().unwrap()
}

fn start(world: &World, network: &Network, number: usize) -> Node {
    let key = key(number);
    let peer = PeerId(key.verifying_key().to_bytes());
    let host = world.node(&format!("node-{number}"));
    let mailboxes = Mailboxes::<VirtualHost>::new(&host);
    let actors = mailboxes.actors();
    let heard = Heard::default();
    let hub = hub(Arc::clone(&heard));
    let (files, disk) = (Files::new(world.timeline()), Disk::new(world.timeline(), Duration::from_millis(2)));
    let drivers = Drivers {
        network: network.join(peer, address(number), actors.network_events(hub.clone())),
        disk: disk.open(actors.chunks.map(pangea_chunks::api::In::Disk)),
        files: files.open(actors.ces.map(pangea_ces::api::In::Files)),
        cpu: cpu(world.timeline(), actors.ces.clone()),
        hub,
    };
    mailboxes.start(&host, peer, drivers, Recipe { peer, key });
    Node { peer, actors, files, disk, heard }
}

fn hub(heard: Heard) -> Port<HubIn> {
    Port::new(move |message| {
        if let HubIn::Job(event) = message {
            heard.lock().unwrap().push(event);
        }
        Ok(())
    })
}

/// The work itself is real; the time it takes is modelled.
fn cpu(timeline: Timeline, results: Port<pangea_ces::api::In>) -> Port<Work> {
    Port::new(move |work: Work| {
        let results = results.clone();
        timeline.after(FRAME_WORK, move || {
            let done = work.run(&mut Scratch::new());
            assert!(!matches!(results.send(pangea_ces::api::In::Worked(done)), Err(Rejected::Full(_))));
        });
        Ok(())
    })
}

#[derive(Clone)]
struct Recipe {
    peer: PeerId,
    key: SigningKey,
}

impl Cores for Recipe {
    fn ces(&self) -> Ces {
        Ces::new()
    }

    fn chunks(&self) -> ChunkStore {
        ChunkStore::new(self.key.clone(), pangea_chunks::Config::default())
    }

    fn peers(&self) -> PeerManager {
        PeerManager::new(self.key.clone(), pangea_peers::Config::default())
    }

    fn uploads(&self) -> Uploader {
        Uploader::new(self.peer, self.key.clone(), Default::default())
    }

    fn downloads(&self) -> Downloader {
        Downloader::new()
    }
}
