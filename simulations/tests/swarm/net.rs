//! A network of whole nodes for a story: a plan made in code, the swarm that runs it, and what its users heard.

use pangea::node::hub::HubIn;
use pangea_ces::api as ces;
use pangea_kernel::Seed;
use pangea_protocols::{
    JobId, PeerId,
    encoded::Profile,
    job::{JobEvent, Outcome, Stored},
    time::Time,
};
use pangea_simulations::{
    Timeline,
    links::Links,
    observer::{Findings, Observer, Sight, Watch, Who},
    plan::{Act, Nat, Node, Plan, Region, TierName},
    record::NodeId,
    swarm::{Config, Swarm},
    tier::{Ask, Tier, ask},
};
use pangea_transfer::api::Redundancy;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

pub const SECOND: u64 = 1_000_000_000;
/// No job of these tests takes longer.
const LONGEST: Duration = Duration::from_secs(300);

type Heard = Arc<Mutex<Vec<(NodeId, HubIn)>>>;

/// All of it.
pub struct Net {
    pub swarm: Swarm,
    pub links: Links,
    pub observer: Observer,
    pub plan: Plan,
    seed: Seed,
    heard: Heard,
    jobs: u64,
    faults: u32,
}

/// Remembers what users hear.
struct Ears(Heard);

impl Watch for Ears {
    fn name(&self) -> &'static str {
        "ears"
    }

    fn see(&mut self, _: Time, node: Option<NodeId>, _: &Who, sight: Sight<'_>, _: &mut Findings) {
        if let (Some(node), Sight::Hub(message)) = (node, sight) {
            self.0.lock().unwrap().push((node, message.clone()));
        }
    }
}

/// Nodes `0..count` in one region; all know the first.
pub fn plan(count: u32) -> Plan {
    let region = Region { name: "here".to_owned(), latency_ms: 5.0, jitter_ms: 20.0, loss: 0.0, uplink: None };
    let node = |id: NodeId| Node {
        id,
        region: "here".to_owned(),
        start_ms: Some(0),
        quota: 1 << 30,
        nat: Nat::Open,
        knows: if id == 0 { vec![] } else { vec![0] },
    };
    Plan {
        scenario: "test".to_owned(),
        story: String::new(),
        seed: 0,
        tier: TierName::Swarm,
        warm: false,
        calm_ms: 0,
        end_ms: 0,
        read_back: false,
        harmless: false,
        reads_within_ms: None,
        without: vec![],
        sometimes: vec![],
        peers_target: 32,
        regions: vec![region],
        lines: vec![],
        nodes: (0..count).map(node).collect(),
        operations: vec![],
        faults: vec![],
    }
}

impl Net {
    /// All nodes of a plan, started at time zero; a panic ends the test.
    pub fn of(plan: Plan, seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let seed = Seed::new(bytes);
        let observer = Observer::new(Timeline::default());
        let links = Links::new(&plan, seed.derive("links"));
        let config = Config { strict: true, ..Config::of(&plan) };
        let swarm = Swarm::with(config, &seed, observer.clone(), links.clone());
        let heard = Heard::default();
        observer.add(Ears(Arc::clone(&heard)));
        let mut net = Self { swarm, links, observer, plan, seed, heard, jobs: 0, faults: 0 };
        for node in net.plan.nodes.clone() {
            net.start(node.id);
        }
        net
    }

    /// `count` nodes that have had time to find each other.
    pub fn settled(count: u32, seed: u64) -> Self {
        let mut net = Self::of(plan(count), seed);
        net.run(Duration::from_secs(600));
        net
    }

    /// Starts a node, for the first time or again.
    pub fn start(&mut self, id: NodeId) {
        let node = self.plan.node(id).unwrap().clone();
        let key = self.seed.derive("key").derive(&id.to_string()).draw().bytes();
        self.swarm.start(&node, key);
    }

    pub fn run(&mut self, duration: Duration) {
        let until = self.swarm.now() + duration;
        self.swarm.run_until(until);
    }

    /// A fault of the network begins; returns how to end it.
    pub fn fault(&mut self, act: Act) -> u32 {
        self.faults += 1;
        self.links.begin(self.faults, &act);
        self.faults
    }

    /// Asks a node and returns the name of the job.
    pub fn ask(&mut self, node: NodeId, what: Ask) -> JobId {
        self.jobs += 1;
        let job = JobId(self.jobs);
        assert!(ask(&self.swarm.actors(node).unwrap(), job, what));
        job
    }

    /// Begins to store what is at `path`.
    pub fn begin_put(&mut self, node: NodeId, path: &str) -> JobId {
        let lease = Duration::from_secs(3600);
        let path = PathBuf::from(path);
        self.ask(node, Ask::Put { path, redundancy: Redundancy::Auto, profile: Profile::Fast, lease })
    }

    /// Stores what is at `path`.
    pub fn put(&mut self, node: NodeId, path: &str) -> Stored {
        let job = self.begin_put(node, path);
        match self.end_of(node, job) {
            JobEvent::Done { outcome: Outcome::Put(stored), .. } => stored,
            other => panic!("{other:?}"),
        }
    }

    /// Reads an object to `path`.
    pub fn get(&mut self, node: NodeId, stored: &Stored, path: &str) -> JobEvent {
        let job = self.ask(
            node,
            Ask::Get {
                cid: stored.cid,
                key: stored.key.clone(),
                only: ces::Selection::All,
                path: PathBuf::from(path),
                hints: vec![],
                timeout: Duration::from_secs(30),
            },
        );
        self.end_of(node, job)
    }

    /// Runs until `job` of `node` has ended; its actors are told to let go of it, as the hub does.
    pub fn end_of(&mut self, node: NodeId, job: JobId) -> JobEvent {
        let limit = self.swarm.now() + LONGEST;
        loop {
            let ended = self.heard(node).into_iter().find_map(|message| match message {
                HubIn::Job(event) if is_end(&event, job) => Some(event),
                _ => None,
            });
            if let Some(event) = ended {
                return event;
            }
            assert!(self.swarm.now() < limit, "{job:?} does not end: {:?}", self.heard(node));
            self.run(Duration::from_millis(100));
        }
    }

    /// All that the users of a node heard.
    pub fn heard(&self, node: NodeId) -> Vec<HubIn> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|(at, _)| *at == node).map(|(_, message)| message.clone()).collect()
    }

    /// The node with this identity.
    pub fn node(&self, peer: PeerId) -> NodeId {
        self.observer.node(peer).unwrap()
    }

    pub fn read(&self, node: NodeId, path: &str) -> Option<bytes::Bytes> {
        self.swarm.read(node, Path::new(path))
    }

    pub fn write(&mut self, node: NodeId, path: &str, bytes: bytes::Bytes) {
        self.swarm.write(node, PathBuf::from(path), bytes);
    }
}

fn is_end(event: &JobEvent, job: JobId) -> bool {
    event.job() == job && matches!(event, JobEvent::Done { .. } | JobEvent::Failed { .. })
}

/// Bytes that do not compress and depend on the seed.
pub fn content(seed: u64, length: usize) -> bytes::Bytes {
    let mut bytes = vec![0; length];
    Seed::new([seed as u8; 32]).derive("content").draw().fill(&mut bytes);
    bytes.into()
}
