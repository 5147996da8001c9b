//! The fleet tier: whole nodes as users run them, on one thread, under tokio's paused clock, on a virtual network.
//!
//! ```text
//!   node: actix shells, production's wiring
//!            │ tap                │ tap, gate
//!         the real network      the real disk code, on a virtual volume
//!         driver: quinn, libp2p twins: files, cpu
//!            │ datagrams              │
//!         udp ── internet ── links    │
//!            └────────── timeline ────┘  tokio's clock
//! ```
//!
//! | module | what it defines |
//! |---|---|
//! | [`internet`], `router` | addresses, address translation, and what becomes of a packet |
//! | [`udp`], [`runtime`] | sockets, timers and tasks as QUIC sees them; the paused runtime |
//! | `streams` | connections without QUIC, for large fleets |
//! | `node` | a node, its lives, crashes and restarts |
//! | `disk` | the shard disk on a virtual volume, with faults |
//! | `gate`, `calendar` | what makes a node stand still, and believe in another date |
//! | `warm` | beginnings as after a long life |
//!
//! What is real: the node, except for the operating system's sockets, volumes and threads. What is not: time, which does
//! not pass while an event is handled, and the twins of users' files and of the workers.
//!
//! A run repeats only in a process whose clock and entropy are virtual: the binary `pangea-sim`. Elsewhere a fleet
//! works, but certificates, connection ids and whatever reads the machine's clock differ from run to run.

mod calendar;
mod disk;
mod gate;
pub mod internet;
mod node;
mod router;
pub mod runtime;
mod streams;
mod tier;
pub mod udp;
mod warm;

pub use node::PORT;

use crate::{
    links::Links,
    observer::Observer,
    plan::{Plan, TierName},
    record::NodeId,
    tap::Taps,
    timeline::Timeline,
};
use internet::Internet;
use node::{FleetNode, Surroundings};
use pangea::drivers::network::{Limits, NetworkConfig, NetworkHandle};
use pangea_kernel::Seed;
use pangea_protocols::{Address, PeerId};
use std::{collections::BTreeMap, io, net::Ipv4Addr};
use streams::Streams;
use tokio::{runtime::Runtime, task::LocalSet};
use warm::Past;

/// /24 networks of 198.18.0.0/15, the block for measurements (RFC 2544), that one region has.
const SUBNETS_PER_REGION: usize = 64;
/// Regions that have networks of their own.
const REGIONS_MAX: usize = 8;

/// Addresses of a /24 that a machine can have.
const HOSTS_PER_SUBNET: usize = 254;
/// Odd, so that nodes in a row come to different networks.
const STRIDE: usize = 29;

/// What carries the connections between nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// QUIC, as in production, over virtual UDP.
    #[default]
    Packets,
    /// Streams that arrive as QUIC would have them arrive, at a fraction of the work.
    Streams,
}

/// What is not said by a plan.
#[derive(Clone, Debug)]
pub struct Options {
    /// What carries the connections.
    pub level: Level,
    /// Hash every packet, see [`Internet::digest`].
    pub digested: bool,
    /// The limits of the nodes' network drivers.
    pub limits: Limits,
    /// Nodes walk through the DHT by themselves. A large warm fleet need not.
    pub walks: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { level: Level::default(), digested: false, limits: Limits::default(), walks: true }
    }
}

impl Options {
    /// What suits a plan: production's settings, except that the nodes of a warm fleet do not walk through the DHT by
    /// themselves, which makes a large one affordable: they have found whom they want.
    pub fn of(plan: &Plan) -> Self {
        let level = if plan.tier == TierName::Streams { Level::Streams } else { Level::Packets };
        Self { level, walks: !plan.warm, ..Self::default() }
    }
}

/// A running fleet. Dropping it ends all nodes.
pub struct Fleet {
    nodes: BTreeMap<NodeId, FleetNode>,
    /// Who is who, of all nodes of the plan.
    identities: BTreeMap<NodeId, PeerId>,
    /// For a warm beginning.
    past: Option<Past>,
    links: Links,
    around: Surroundings,
    tasks: LocalSet,
    runtime: Runtime,
}

impl Fleet {
    /// The fleet of a plan at time zero; no node runs yet. `identities` says who the plan's nodes are, so that nodes
    /// can know each other before they run.
    ///
    /// # Errors
    /// The runtime cannot be made.
    pub fn new(plan: &Plan, identities: BTreeMap<NodeId, PeerId>, options: Options) -> io::Result<Self> {
        let runtime = runtime::paused()?;
        let entered = runtime.enter();
        let timeline = Timeline::on_tokio();
        drop(entered);
        let tasks = LocalSet::new();
        tasks.spawn_local(timeline.drive());
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&plan.seed.to_le_bytes());
        let seed = Seed::new(bytes);
        let links = Links::new(plan, seed.derive("links"));
        let internet = Internet::new(timeline.clone(), links.clone(), options.digested);
        for node in &plan.nodes {
            let region = plan.regions.iter().position(|region| region.name == node.region).unwrap_or(0);
            internet.add(node.id, ip(region, node.id));
        }
        let target = usize::try_from(plan.peers_target).unwrap_or(usize::MAX);
        let observer = Observer::new(timeline.clone());
        let streams =
            (options.level == Level::Streams).then(|| Streams::new(timeline.clone(), links.clone(), internet.clone()));
        let around = Surroundings {
            internet,
            streams,
            taps: Taps::new(observer.clone(), seed.derive("taps")),
            observer,
            timeline,
            network: NetworkConfig { limits: options.limits, walks: options.walks, ..NetworkConfig::default() },
            peers: pangea_peers::Config::keeping(target),
            seed,
        };
        let past = plan.warm.then(|| Past::of(plan, &identities));
        Ok(Self { nodes: BTreeMap::new(), identities, past, links, around, tasks, runtime })
    }

    /// Everything that nodes do is shown to it.
    pub fn observer(&self) -> Observer {
        self.around.observer.clone()
    }

    /// The lines between the nodes.
    pub fn links(&self) -> Links {
        self.links.clone()
    }

    /// The clock and the agenda.
    pub fn timeline(&self) -> Timeline {
        self.around.timeline.clone()
    }

    /// The network between the nodes.
    pub fn internet(&self) -> &Internet {
        &self.around.internet
    }

    /// Tasks that have not ended, of all nodes: those of the dead end by themselves.
    pub fn tasks_alive(&self) -> usize {
        self.runtime.metrics().num_alive_tasks()
    }

    /// A node's tap, once it has been started.
    pub fn tap(&self, node: NodeId) -> Option<&crate::tap::Tap> {
        self.nodes.get(&node).map(|node| &node.tap)
    }

    /// The network driver of a node that runs.
    pub fn network(&self, node: NodeId) -> Option<&NetworkHandle> {
        self.nodes.get(&node).and_then(FleetNode::network)
    }

    /// Where a node is; a node that is not of the plan is nowhere.
    fn ip(&self, node: NodeId) -> Ipv4Addr {
        self.around.internet.ip(node).unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    /// Whom a node knows from the beginning, and where.
    fn acquaintances(&self, known: &[NodeId]) -> Vec<(PeerId, Vec<Address>)> {
        let place = |node: &NodeId| Some((*self.identities.get(node)?, vec![address(self.ip(*node))]));
        known.iter().filter_map(place).collect()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _entered = self.runtime.enter();
        for node in self.nodes.values_mut() {
            node.crash(&self.around);
        }
        self.around.timeline.close();
    }
}

/// A function of the node alone, so that others may be taken out of the plan. Nodes are spread over the networks of
/// their region, also if every so many of them are in one region, so that they fail apart.
fn ip(region: usize, node: NodeId) -> Ipv4Addr {
    let number = usize::try_from(node).unwrap_or(0);
    let row = number / SUBNETS_PER_REGION;
    let subnet = region % REGIONS_MAX * SUBNETS_PER_REGION + (number * STRIDE + row) % SUBNETS_PER_REGION;
    let octet = |value: usize| u8::try_from(value % 256).unwrap_or(0);
    Ipv4Addr::new(198, 18 + octet(subnet / 256), octet(subnet), octet(1 + row % HOSTS_PER_SUBNET))
}

fn address(ip: Ipv4Addr) -> Address {
    let text = format!("/ip4/{ip}/udp/{PORT}/quic-v1");
    match text.parse() {
        Ok(address) => address,
        Err(error) => panic!("{text} is an address: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_thousand_nodes_in_four_regions_have_addresses_of_their_own_in_many_networks() {
        let all: BTreeSet<Ipv4Addr> = (0..1000).map(|node| ip(node as usize % 4, node)).collect();
        assert_eq!(all.len(), 1000);
        let mut networks = BTreeMap::<[u8; 3], usize>::new();
        for [a, b, c, _] in all.iter().map(Ipv4Addr::octets) {
            assert!(a == 198 && (b == 18 || b == 19));
            *networks.entry([a, b, c]).or_default() += 1;
        }
        assert!(networks.len() == 256 && networks.values().all(|nodes| *nodes <= 8), "{networks:?}");
    }
}
