//! [`Swarm`]: thousands of whole nodes on one event heap. Cores, wiring and workload are production's; network, disk,
//! files and workers are the twins in [`crate::twins`].
//!
//! A node is wired in `node`; what a node is made of survives its crashes there. Everything that passes between its
//! actors and its drivers goes through its [`Tap`].

mod node;

use crate::{
    links::Links,
    observer::Observer,
    plan::{self, DiskFate, DiskFault, Plan},
    record::NodeId,
    tap::{Tap, Taps},
    tier::{Holdings, Tier},
    twins::{
        jobs::Jobs,
        network::{Counts, Network},
    },
    world::World,
};
use bytes::Bytes;
use node::{Process, SwarmNode};
use pangea::node::wiring::Actors;
use pangea_kernel::Seed;
use pangea_protocols::{Address, PeerId, time::Time};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Peers that a node remembers in a network of many: what is known of a peer is most of what a node needs of memory.
const KNOWN_MAX: usize = 128;

/// The tier of many nodes.
pub struct Swarm {
    world: World,
    observer: Observer,
    taps: Taps,
    links: Links,
    network: Network,
    seed: Seed,
    /// Decides who begins connected with whom.
    warmth: u64,
    config: Config,
    nodes: BTreeMap<NodeId, SwarmNode>,
}

/// What holds for all nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Connections that a node keeps by itself.
    pub peers_target: usize,
    /// Peers that a node remembers.
    pub known_max: usize,
    /// Nodes begin connected to as many as they keep.
    pub warm: bool,
    /// A core's panic ends the run instead of costing its node what a panic costs in production.
    pub strict: bool,
}

impl Config {
    /// As a plan says.
    pub fn of(plan: &Plan) -> Self {
        let peers_target = plan.peers_target as usize;
        Self { peers_target, known_max: KNOWN_MAX, warm: plan.warm, strict: false }
    }
}

impl Swarm {
    /// The network of a plan, without nodes. Time is that of the observer's timeline, which is no other tier's.
    pub fn new(plan: &Plan, seed: &Seed, observer: Observer, links: Links) -> Self {
        Self::with(Config::of(plan), seed, observer, links)
    }

    /// As [`Swarm::new`], and as `config` says.
    pub fn with(config: Config, seed: &Seed, observer: Observer, links: Links) -> Self {
        let timeline = observer.timeline();
        let world = World::on(timeline.clone(), seed.derive("world"));
        let network = Network::new(timeline, links.clone(), seed.derive("network"));
        let taps = Taps::new(observer.clone(), seed.derive("taps")).keeping(config.known_max);
        let warmth = seed.derive("warm").draw().u64();
        Self { world, observer, taps, links, network, seed: seed.clone(), warmth, config, nodes: BTreeMap::new() }
    }

    /// What has passed over the network.
    pub fn counts(&self) -> Counts {
        self.network.counts()
    }

    /// Events that have happened.
    pub fn events(&self) -> u64 {
        self.world.events()
    }

    /// The tap of a node that was started.
    pub fn tap(&self, node: NodeId) -> Option<&Tap> {
        self.nodes.get(&node).map(|node| &node.tap)
    }

    /// The identity of a node that was started.
    pub fn peer(&self, node: NodeId) -> Option<PeerId> {
        self.nodes.get(&node).map(|node| node.peer)
    }

    /// Connections of a node.
    pub fn degree(&self, node: NodeId) -> usize {
        self.peer(node).map_or(0, |peer| self.network.degree(peer))
    }

    /// Bytes of the shards that a node's disk holds.
    pub fn body_bytes(&self, node: NodeId) -> u64 {
        self.nodes.get(&node).map_or(0, |node| node.disk.body_bytes())
    }

    /// Removes a file, so that it needs no memory.
    pub fn forget(&mut self, node: NodeId, path: &Path) {
        if let Some(node) = self.nodes.get(&node) {
            node.files.remove(path);
        }
    }

    fn entry(&mut self, node: NodeId) -> &mut SwarmNode {
        let (taps, seed) = (&self.taps, &self.seed);
        self.nodes.entry(node).or_insert_with(|| SwarmNode::new(node, taps, seed))
    }

    fn is_up(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(SwarmNode::is_up)
    }

    /// Connects a node with some that run. Whom is a matter of each pair, so that a node less changes no other pair.
    fn introduce(&self, node: NodeId) {
        let Some(peer) = self.peer(node) else { return };
        let luck = |other: NodeId| mix(self.warmth ^ mix(u64::from(node) << 32 | u64::from(other)));
        let others = self.nodes.iter().filter(|(id, other)| **id != node && other.is_up());
        let mut others: Vec<(u64, PeerId)> = others.map(|(id, other)| (luck(*id), other.peer)).collect();
        // Half of what a node keeps: the other half comes from those that start after it.
        let count = self.config.peers_target.div_ceil(2);
        if count < others.len() {
            others.select_nth_unstable_by_key(count, |(luck, _)| *luck);
            others.truncate(count);
        }
        others.sort_unstable_by_key(|(luck, _)| *luck);
        for (_, other) in others {
            self.network.acquaint(peer, other);
        }
    }
}

/// Scrambles bits (the finaliser of SplitMix64).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

impl Tier for Swarm {
    fn taps(&self) -> Taps {
        self.taps.clone()
    }

    fn links(&self) -> Links {
        self.links.clone()
    }

    fn now(&self) -> Time {
        self.world.now()
    }

    fn run_until(&mut self, until: Time) {
        self.world.run_until(until);
    }

    fn start(&mut self, plan: &plan::Node, key: [u8; 32]) {
        if self.is_up(plan.id) {
            return;
        }
        let known = plan.knows.iter().filter_map(|id| Some((self.nodes.get(id)?.peer, vec![node::address(*id)])));
        let bootstrap = known.collect();
        let again = self.nodes.get(&plan.id).is_some_and(|node| node.was_started);
        self.entry(plan.id).prepare(key, plan.quota);
        let Some(node) = self.nodes.get(&plan.id) else { return };
        let process = Process::start(node, plan, &self.world, &self.network, &self.observer, &self.config, bootstrap);
        self.observer.introduce(node.peer, plan.id);
        self.entry(plan.id).begin(process);
        if self.config.warm && !again {
            self.introduce(plan.id);
        }
    }

    fn crash(&mut self, node: NodeId, disk: DiskFate) {
        let Some(found) = self.nodes.get_mut(&node) else { return };
        if let Some(process) = found.process.take() {
            process.host.crash();
            self.network.crash(found.peer);
        }
        found.disk.crash(disk);
        found.files.crash();
    }

    fn pause(&mut self, node: NodeId, paused: bool) {
        if !self.is_up(node) {
            return;
        }
        let Some(found) = self.nodes.get(&node) else { return };
        if let Some(process) = &found.process {
            process.host.pause(paused);
            self.network.pause(found.peer, paused);
        }
    }

    fn skew(&mut self, node: NodeId, by_s: i64, drift_ppm: i64) {
        self.world.skew(&node::name(node), by_s, drift_ppm);
    }

    fn rebind(&mut self, _node: NodeId) {}

    fn end_guests(&mut self, node: NodeId) {
        if let Some(node) = self.nodes.get(&node).filter(|node| node.is_up()) {
            node.guests.end();
        }
    }

    fn disk(&mut self, node: NodeId, fault: DiskFault, on: bool) {
        self.entry(node).disk.fault(fault, on);
    }

    fn actors(&self, node: NodeId) -> Option<Actors> {
        let node = self.nodes.get(&node).filter(|node| node.is_up())?;
        Some(node.process.as_ref()?.actors.clone())
    }

    fn jobs(&self, node: NodeId) -> Option<Jobs> {
        Some(self.nodes.get(&node)?.jobs.clone())
    }

    fn write(&mut self, node: NodeId, path: PathBuf, bytes: Bytes) {
        self.entry(node).files.write(path, bytes);
    }

    fn read(&self, node: NodeId, path: &Path) -> Option<Bytes> {
        self.nodes.get(&node)?.files.read(path)
    }

    fn holdings(&self, node: NodeId) -> Holdings {
        self.nodes.get(&node).map(|node| node.disk.holdings()).unwrap_or_default()
    }

    fn address(&self, node: NodeId) -> Address {
        node::address(node)
    }
}
