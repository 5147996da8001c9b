//! Receipts: a holder signs only for what its disk has synced and what is what its name says, and has it after any
//! crash until the lease ends. Soon after that it is gone.

use super::{forgetful, misbehaving};
use crate::{
    observer::{Findings, Sight, Watch, Who},
    plan::{Act, Plan},
    record::{NodeId, What},
    tier::Holdings,
};
use pangea_protocols::{
    PeerId, ShardId, disk,
    merkle::{self, RangeProof},
    time::Time,
    wire::{Message, store::Store},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What every node has promised. Clones are the same.
#[derive(Clone)]
pub struct Receipts(Arc<Mutex<State>>);

struct State {
    /// Nodes whose receipts mean nothing.
    excused: BTreeSet<NodeId>,
    /// Nodes whose disks may lose what was synced.
    forgetful: BTreeSet<NodeId>,
    nodes: BTreeMap<NodeId, Holder>,
    /// By how much a calendar may be wrong, seconds.
    wrong_by_s: u64,
}

/// Within this time a lease that has ended is noticed, seconds.
const NOTICED_S: u64 = 900;

#[derive(Default)]
struct Holder {
    /// Appends and deletions that the disk has not answered.
    appending: BTreeMap<u64, (ShardId, PeerId)>,
    deleting: BTreeMap<u64, (PeerId, Vec<ShardId>)>,
    /// Synced, by whom it is for.
    synced: BTreeMap<ShardId, BTreeSet<PeerId>>,
    /// Signed for, by whom it is for, and until when.
    promised: BTreeMap<ShardId, BTreeMap<PeerId, u64>>,
    /// The latest end of a lease that its disk was told of.
    leases: BTreeMap<ShardId, u64>,
}

impl Receipts {
    /// Of all nodes of a plan.
    pub fn new(plan: &Plan) -> Self {
        let skewed = plan.faults.iter().filter_map(|fault| match fault.act {
            Act::Skew { by_s, .. } => Some(by_s.unsigned_abs()),
            _ => None,
        });
        // Beside the step there is drift: as much again is more than enough.
        let wrong_by_s = 2 * skewed.max().unwrap_or(0) + 60;
        let (excused, forgetful) = (misbehaving(plan), forgetful(plan));
        Self(Arc::new(Mutex::new(State { excused, forgetful, nodes: BTreeMap::new(), wrong_by_s })))
    }

    /// What a node has signed for and does not have, though the lease lasts.
    pub fn missing(&self, node: NodeId, holdings: &Holdings, now_unix: u64) -> Vec<ShardId> {
        let state = self.state();
        if state.excused.contains(&node) || state.forgetful.contains(&node) {
            return Vec::new();
        }
        let lasts = |until: &u64| *until > now_unix + state.wrong_by_s;
        let promised = state.nodes.get(&node).into_iter().flat_map(|holder| &holder.promised);
        let promised = promised.filter(|(_, owners)| owners.values().any(lasts)).map(|(shard, _)| *shard);
        promised.filter(|shard| !holdings.shards.contains(shard)).collect()
    }

    /// What a node still has though every lease ended long ago.
    pub fn overdue(&self, node: NodeId, holdings: &Holdings, now_unix: u64) -> Vec<ShardId> {
        let state = self.state();
        let over = |until: u64| until + NOTICED_S + state.wrong_by_s < now_unix;
        let leases = state.nodes.get(&node).into_iter().flat_map(|holder| &holder.leases);
        leases
            .filter(|(shard, until)| over(**until) && holdings.shards.contains(shard))
            .map(|(shard, _)| *shard)
            .collect()
    }

    /// Its disk may bring back what was, or has never followed the protocol.
    pub fn is_forgetful(&self, node: NodeId) -> bool {
        let state = self.state();
        state.forgetful.contains(&node) || state.excused.contains(&node)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Receipts {
    fn name(&self) -> &'static str {
        "receipts"
    }

    fn see(&mut self, _: Time, node: Option<NodeId>, _: &Who, sight: Sight<'_>, findings: &mut Findings) {
        let Some(node) = node else { return };
        let state = &mut *self.state();
        let holder = state.nodes.entry(node).or_default();
        match sight {
            Sight::Disk(command) => holder.on_command(node, command, findings),
            Sight::DiskSaid(event) => holder.on_event(event),
            Sight::Send { to, frame } => {
                if let Message::Store(Store::Stored { receipt, .. }) = &frame.message
                    && !state.excused.contains(&node)
                {
                    for shard in &receipt.shards {
                        holder.on_receipt(node, to, *shard, receipt.expires_unix, findings);
                    }
                }
            }
            Sight::Run(What::Crashed { disk }) => holder.on_crash(disk, findings),
            _ => {}
        }
    }
}

impl Holder {
    fn on_command(&mut self, node: NodeId, command: &disk::Command, findings: &mut Findings) {
        match command {
            disk::Command::Append { tag, shard, meta, body } => {
                let whole = u32::try_from(body.len()).map(RangeProof::whole);
                if !whole.is_ok_and(|whole| merkle::verify(*shard, &meta.proof, &whole, body).is_ok()) {
                    findings.violation(format!("node {node} keeps bytes as {shard:?} that are not that shard"));
                }
                let until = self.leases.entry(*shard).or_default();
                *until = meta.expires_unix.max(*until);
                self.appending.insert(*tag, (*shard, meta.owner));
            }
            disk::Command::Delete { tag, owner, shards } => {
                // From the moment that it is asked for nothing is promised any more.
                self.withdraw(*owner, shards);
                self.deleting.insert(*tag, (*owner, shards.clone()));
            }
            // What ends with it, the receipts tell.
            disk::Command::Expire { .. } | disk::Command::Read { .. } | disk::Command::Contains { .. } => {}
        }
    }

    fn on_event(&mut self, event: &disk::Event) {
        match event {
            disk::Event::Appended { tags, .. } => {
                for (shard, owner) in tags.iter().filter_map(|tag| self.appending.remove(tag)) {
                    self.synced.entry(shard).or_default().insert(owner);
                }
            }
            disk::Event::AppendFailed { tag, .. } => {
                self.appending.remove(tag);
            }
            disk::Event::Deleted { tag, .. } => {
                if let Some((owner, shards)) = self.deleting.remove(tag) {
                    for shard in shards {
                        remove(&mut self.synced, shard, owner);
                    }
                }
            }
            _ => {}
        }
    }

    fn withdraw(&mut self, owner: PeerId, shards: &[ShardId]) {
        for shard in shards {
            if let Some(owners) = self.promised.get_mut(shard) {
                owners.remove(&owner);
            }
        }
    }

    fn on_receipt(&mut self, node: NodeId, to: PeerId, shard: ShardId, until: u64, findings: &mut Findings) {
        if !self.synced.get(&shard).is_some_and(|owners| owners.contains(&to)) {
            findings.violation(format!("node {node} signed for {shard:?} before its disk had synced it"));
        }
        self.promised.entry(shard).or_default().insert(to, until);
    }

    fn on_crash(&mut self, disk: &str, findings: &mut Findings) {
        if !self.appending.is_empty() {
            findings.goal("died-with-unsynced-writes");
        }
        self.appending.clear();
        self.deleting.clear();
        if disk == "old" || disk == "wiped" {
            self.promised.clear();
            self.synced.clear();
        }
    }
}

fn remove(from: &mut BTreeMap<ShardId, BTreeSet<PeerId>>, shard: ShardId, owner: PeerId) {
    if let Some(owners) = from.get_mut(&shard) {
        owners.remove(&owner);
        if owners.is_empty() {
            from.remove(&shard);
        }
    }
}
