//! [`Internet`]: who has which address, and what becomes of a packet between two of them.
//!
//! Every node has one IPv4 address. When a packet arrives, how often, or never, is the affair of [`Links`]; through
//! which port it goes that of the node's router. Where it arrives is decided at the arrival: a node that has died or
//! was given another port meanwhile does not hear it.
//!
//! Not here: sockets as QUIC sees them (`udp.rs`). **Invariant.** The lock is never held while a task is woken.

use super::{
    router::Router,
    udp::{Inbox, Packet},
};
use crate::{links::Links, record::NodeId, timeline::Timeline};
use bytes::Bytes;
use pangea_protocols::time::Time;
use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Largest UDP payload: an Ethernet frame without the headers of IPv4 and UDP.
pub const PAYLOAD_BYTES_MAX: usize = 1500 - HEADER_BYTES;
/// Headers of IPv4 and UDP.
pub const HEADER_BYTES: usize = 28;

/// The network between all nodes. Clones are the same one.
#[derive(Clone)]
pub struct Internet {
    timeline: Timeline,
    links: Links,
    state: Arc<Mutex<State>>,
}

struct State {
    hosts: BTreeMap<NodeId, Host>,
    by_ip: BTreeMap<Ipv4Addr, NodeId>,
    digest: Option<blake3::Hasher>,
    counts: Counts,
}

/// A node, as the network knows it.
struct Host {
    ip: Ipv4Addr,
    /// What is bound, by port.
    bound: BTreeMap<u16, Arc<Inbox>>,
    router: Router,
    /// While the node is paused: what it wanted to say.
    held: Option<Vec<Sent>>,
}

/// A packet that leaves a node.
struct Sent {
    port: u16,
    to: SocketAddrV4,
    ecn: Option<quinn::udp::EcnCodepoint>,
    bytes: Bytes,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that left their node.
    pub sent: u64,
    /// Packets that reached a socket.
    pub arrived: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Packets that were larger than the path takes.
    pub too_large: u64,
    /// Packets that came to a full socket.
    pub overflowed: u64,
    /// Packets to addresses and ports where nobody listens, or that a router did not let in.
    pub unheard: u64,
}

impl Internet {
    /// Without nodes. With `digested`, every packet is hashed.
    pub fn new(timeline: Timeline, links: Links, digested: bool) -> Self {
        let digest = digested.then(blake3::Hasher::new);
        let state = State { hosts: BTreeMap::new(), by_ip: BTreeMap::new(), digest, counts: Counts::default() };
        Self { timeline, links, state: Arc::new(Mutex::new(state)) }
    }

    /// Adds a node.
    pub fn add(&self, node: NodeId, ip: Ipv4Addr) {
        let router = Router::new(self.links.nat(node));
        let mut state = self.state();
        state.by_ip.insert(ip, node);
        state.hosts.insert(node, Host { ip, bound: BTreeMap::new(), router, held: None });
    }

    /// The address of a node.
    pub fn ip(&self, node: NodeId) -> Option<Ipv4Addr> {
        Some(self.state().hosts.get(&node)?.ip)
    }

    /// Binds a port of a node, or with 0 any that is free.
    ///
    /// # Errors
    /// The port is taken, or there is no such node.
    pub(super) fn bind(&self, node: NodeId, port: u16, inbox: &Arc<Inbox>) -> io::Result<SocketAddr> {
        let mut state = self.state();
        let host = state.hosts.get_mut(&node).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let port = match port {
            0 => host.router.free_port(),
            port => port,
        };
        if host.bound.contains_key(&port) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        host.bound.insert(port, Arc::clone(inbox));
        Ok(SocketAddr::from((host.ip, port)))
    }

    /// Where a node's port is, for what is no socket; with 0 any port that is free.
    ///
    /// # Errors
    /// There is no such node.
    pub(super) fn claim(&self, node: NodeId, port: u16) -> io::Result<SocketAddr> {
        let mut state = self.state();
        let host = state.hosts.get_mut(&node).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let port = if port == 0 { host.router.free_port() } else { port };
        Ok(SocketAddr::from((host.ip, port)))
    }

    /// Who has an address.
    pub(super) fn at(&self, ip: Ipv4Addr) -> Option<NodeId> {
        self.state().by_ip.get(&ip).copied()
    }

    /// A node sends from a bound port: as whom others see it.
    pub(super) fn outward(&self, node: NodeId, port: u16, to: SocketAddrV4) -> Option<SocketAddrV4> {
        let now = self.timeline.now();
        let mut state = self.state();
        let host = state.hosts.get_mut(&node)?;
        Some(SocketAddrV4::new(host.ip, host.router.outward(now, port, to)))
    }

    /// Something comes for a port that others see: the bound port it goes to, if it gets in.
    pub(super) fn inward(&self, node: NodeId, port: u16, from: SocketAddrV4) -> Option<u16> {
        let now = self.timeline.now();
        self.state().hosts.get(&node)?.router.inward(now, port, from)
    }

    /// Something of so many bytes is sent that is no packet: hashed, if packets are.
    pub(super) fn note(&self, now: Time, from: NodeId, to: NodeId, what: &[u8], bytes: &[u8]) {
        let mut state = self.state();
        state.counts.sent += 1;
        state.counts.bytes += bytes.len() as u64;
        if let Some(digest) = &mut state.digest {
            digest.update(&now.0.to_le_bytes()).update(&from.to_le_bytes()).update(&to.to_le_bytes());
            digest.update(what).update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        }
    }

    /// A socket is gone.
    pub(super) fn unbind(&self, node: NodeId, port: u16, inbox: &Arc<Inbox>) {
        let mut state = self.state();
        let Some(host) = state.hosts.get_mut(&node) else { return };
        let mine = host.bound.get(&port).is_some_and(|bound| Arc::ptr_eq(bound, inbox));
        let removed = if mine { host.bound.remove(&port) } else { None };
        drop(state);
        drop(removed);
    }

    /// Ends the life of a node at this moment: its sockets fail, nothing of it is heard any more.
    pub fn kill(&self, node: NodeId) {
        let mut state = self.state();
        let Some(host) = state.hosts.get_mut(&node) else { return };
        let bound = std::mem::take(&mut host.bound);
        host.held = None;
        drop(state);
        bound.values().for_each(|inbox| inbox.close());
    }

    /// From now on a node neither says nor hears anything; arrivals wait in its sockets, up to their bound.
    pub fn pause(&self, node: NodeId) {
        let mut state = self.state();
        let Some(host) = state.hosts.get_mut(&node) else { return };
        host.held.get_or_insert_default();
        host.bound.values().for_each(|inbox| inbox.pause());
    }

    /// Ends a pause: what was held back is said and heard now.
    pub fn resume(&self, node: NodeId) {
        let mut state = self.state();
        let Some(host) = state.hosts.get_mut(&node) else { return };
        let held = host.held.take();
        let bound: Vec<Arc<Inbox>> = host.bound.values().cloned().collect();
        drop(state);
        bound.iter().for_each(|inbox| inbox.resume());
        for sent in held.into_iter().flatten() {
            self.send(node, sent);
        }
    }

    /// The router in front of a node forgets its mappings.
    pub fn rebind(&self, node: NodeId) {
        if let Some(host) = self.state().hosts.get_mut(&node) {
            host.router.rebind();
        }
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// BLAKE3 over time, addresses and bytes of every packet that was sent, if they are hashed.
    pub fn digest(&self) -> Option<blake3::Hash> {
        self.state().digest.as_ref().map(blake3::Hasher::finalize)
    }

    /// Sends the datagrams of one batch from a bound port.
    pub(super) fn transmit(&self, node: NodeId, port: u16, transmit: &quinn::udp::Transmit<'_>) {
        let SocketAddr::V4(to) = canonical(transmit.destination) else { return };
        let batch = Bytes::copy_from_slice(transmit.contents);
        let segment = transmit.segment_size.unwrap_or(batch.len()).max(1);
        for from in (0..batch.len()).step_by(segment) {
            let bytes = batch.slice(from..batch.len().min(from + segment));
            self.send(node, Sent { port, to, ecn: transmit.ecn, bytes });
        }
    }

    fn send(&self, node: NodeId, sent: Sent) {
        let now = self.timeline.now();
        let mut state = self.state();
        let State { hosts, by_ip, digest, counts } = &mut *state;
        let Some(host) = hosts.get_mut(&node) else { return };
        if let Some(held) = &mut host.held {
            return held.push(sent);
        }
        let Sent { port, to, ecn, bytes } = sent;
        let from = SocketAddrV4::new(host.ip, host.router.outward(now, port, to));
        counts.sent += 1;
        if let Some(digest) = digest {
            digest.update(&now.0.to_le_bytes());
            for end in [from, to] {
                digest.update(&end.ip().octets()).update(&end.port().to_le_bytes());
            }
            digest.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
        }
        if bytes.len() > PAYLOAD_BYTES_MAX {
            counts.too_large += 1;
            return;
        }
        let Some(receiver) = by_ip.get(to.ip()).copied() else {
            counts.unheard += 1;
            return;
        };
        drop(state);
        let arrivals = self.links.packet(now, node, receiver, (bytes.len() + HEADER_BYTES) as u64);
        for at in arrivals.into_iter().flatten() {
            let (internet, packet) = (self.clone(), Packet { from, ecn, bytes: bytes.clone() });
            self.timeline.at(at, move || internet.arrive(receiver, to.port(), packet));
        }
    }

    fn arrive(&self, node: NodeId, port: u16, packet: Packet) {
        let now = self.timeline.now();
        let bytes = packet.bytes.len() as u64;
        let mut state = self.state();
        let inbox = state.hosts.get(&node).and_then(|host| {
            let bound = host.router.inward(now, port, packet.from)?;
            host.bound.get(&bound).cloned()
        });
        let Some(inbox) = inbox else {
            state.counts.unheard += 1;
            return;
        };
        drop(state);
        let taken = inbox.deliver(packet);
        let counts = &mut self.state().counts;
        match taken {
            true => (counts.arrived, counts.bytes) = (counts.arrived + 1, counts.bytes + bytes),
            false => counts.overflowed += 1,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// IPv4 seen through a dual-stack socket is IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
