//! The fleet as a [`Tier`]: what a run asks of it.

use super::{
    Fleet, address,
    node::{FleetNode, Surroundings},
};
use crate::{
    links::Links,
    plan::{DiskFate, DiskFault, Node},
    record::NodeId,
    tap::Taps,
    tier::{Holdings, Tier},
    twins::jobs::Jobs,
};
use bytes::Bytes;
use pangea::node::wiring::Actors;
use pangea_protocols::{Address, time::Time};
use std::path::{Path, PathBuf};

impl Tier for Fleet {
    fn taps(&self) -> Taps {
        self.around.taps.clone()
    }

    fn links(&self) -> Links {
        self.links.clone()
    }

    fn now(&self) -> Time {
        self.around.timeline.now()
    }

    fn run_until(&mut self, until: Time) {
        let wait = until.since(self.now());
        self.tasks.block_on(&self.runtime, async move { tokio::time::sleep(wait).await });
    }

    /// # Panics
    /// If the node cannot listen, which cannot be unless it runs already.
    fn start(&mut self, node: &Node, key: [u8; 32]) {
        let known = self.acquaintances(&node.knows);
        let ip = self.ip(node.id);
        let around: &Surroundings = &self.around;
        let starting = self.nodes.entry(node.id).or_insert_with(|| FleetNode::new(node, key, ip, around));
        let mut routing = Vec::new();
        if starting.lives() == 0 {
            around.observer.introduce(starting.peer(), node.id);
            if let Some(past) = &self.past {
                starting.tap.remember(past.records(node.id, around));
                routing = past.routing(node.id, around);
            }
        }
        if let Err(error) = self.tasks.block_on(&self.runtime, starting.start(around, known, routing)) {
            panic!("node {} cannot be started: {error}", node.id);
        }
    }

    fn crash(&mut self, node: NodeId, disk: DiskFate) {
        let _entered = self.runtime.enter();
        if let Some(node) = self.nodes.get_mut(&node) {
            node.crash(&self.around);
            node.disk.crash(disk);
            node.files.crash();
        }
    }

    fn pause(&mut self, node: NodeId, paused: bool) {
        let _entered = self.runtime.enter();
        if let Some(node) = self.nodes.get(&node) {
            node.pause(&self.around, paused);
        }
    }

    fn skew(&mut self, node: NodeId, by_s: i64, drift_ppm: i64) {
        if let Some(node) = self.nodes.get(&node) {
            node.calendar.set(by_s, drift_ppm);
        }
    }

    fn rebind(&mut self, node: NodeId) {
        self.around.internet.rebind(node);
        if let Some(streams) = &self.around.streams {
            streams.rebound(node);
        }
    }

    fn end_guests(&mut self, node: NodeId) {
        let _entered = self.runtime.enter();
        if let Some(node) = self.nodes.get(&node).filter(|node| node.actors().is_some()) {
            node.guests.end();
        }
    }

    fn disk(&mut self, node: NodeId, fault: DiskFault, on: bool) {
        if let Some(node) = self.nodes.get(&node) {
            node.disk.fault(fault, on);
        }
    }

    fn actors(&self, node: NodeId) -> Option<Actors> {
        self.nodes.get(&node)?.actors().cloned()
    }

    fn jobs(&self, node: NodeId) -> Option<Jobs> {
        Some(self.nodes.get(&node)?.jobs.clone())
    }

    fn write(&mut self, node: NodeId, path: PathBuf, bytes: Bytes) {
        if let Some(node) = self.nodes.get(&node) {
            node.files.write(path, bytes);
        }
    }

    fn read(&self, node: NodeId, path: &Path) -> Option<Bytes> {
        self.nodes.get(&node)?.files.read(path)
    }

    fn holdings(&self, node: NodeId) -> Holdings {
        self.nodes.get(&node).map(|node| node.disk.holdings()).unwrap_or_default()
    }

    fn address(&self, node: NodeId) -> Address {
        address(self.ip(node))
    }
}
