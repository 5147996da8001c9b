//! Manifests: what an acknowledged manifest says of holders, they have signed; the loss of any one of them leaves the
//! object readable; without faults nothing is missing; and no two stripes look alike, which would tell what repeats.
//!
//! Receipts are checked here again, by their signature, as they come in: what the uploader believes is not asked.

use crate::{
    observer::{Findings, Sight, Watch, Who},
    plan::Plan,
    record::{NodeId, What},
};
use bytes::Bytes;
use pangea::node::hub::HubIn;
use pangea_protocols::{
    Cid, PeerId, ShardId,
    id::Hash,
    job::{JobEvent, Outcome},
    manifest::{self, Content, NO_HOLDER, Node, RootBody, StripeRecord},
    receipt::Receipt,
    time::Time,
    wire::{
        Message,
        store::{ShardKind, Store},
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// Copies of a block that the loss of one holder leaves.
const COPIES_MIN: usize = 2;

/// What each node was promised, and the blocks it made.
pub struct Manifest {
    without_faults: bool,
    nodes: BTreeMap<NodeId, Owner>,
}

#[derive(Default)]
struct Owner {
    signed: BTreeMap<ShardId, BTreeSet<PeerId>>,
    blocks: BTreeMap<Hash, Bytes>,
}

impl Manifest {
    /// Of a plan.
    pub fn new(plan: &Plan) -> Self {
        Self { without_faults: plan.faults.is_empty(), nodes: BTreeMap::new() }
    }
}

impl Watch for Manifest {
    fn name(&self) -> &'static str {
        "manifest"
    }

    fn see(&mut self, _: Time, node: Option<NodeId>, who: &Who, sight: Sight<'_>, findings: &mut Findings) {
        let Some(node) = node else { return };
        let owner = self.nodes.entry(node).or_default();
        match sight {
            Sight::Send { frame, .. } => {
                if let Message::Store(Store::Put { shard, kind: ShardKind::Root | ShardKind::Block, .. }) =
                    &frame.message
                {
                    owner.blocks.insert(shard.stripe, frame.body.clone());
                }
            }
            Sight::Receive { from, frame } => {
                if let Message::Store(Store::Stored { receipt, .. }) = &frame.message {
                    owner.on_receipt(from, who.node(receipt.owner) == Some(node), receipt);
                }
            }
            Sight::Hub(HubIn::Job(JobEvent::Done { outcome: Outcome::Put(stored), .. })) => {
                if let Err(wrong) = owner.check(stored.cid, self.without_faults) {
                    findings.violation(format!("node {node} acknowledged {}: {wrong}", stored.cid));
                }
            }
            Sight::Run(What::Crashed { .. }) => *owner = Owner::default(),
            _ => {}
        }
    }
}

impl Owner {
    fn on_receipt(&mut self, from: PeerId, for_me: bool, receipt: &Receipt) {
        let known = |shard| self.signed.get(shard).is_some_and(|holders| holders.contains(&from));
        if !receipt.shards.iter().all(known) && receipt.holder == from && for_me && receipt.verify() {
            for shard in &receipt.shards {
                self.signed.entry(*shard).or_default().insert(from);
            }
        }
    }

    fn check(&self, cid: Cid, without_faults: bool) -> Result<(), String> {
        let block = self.blocks.get(&cid.0).ok_or("its root block was sent to nobody")?;
        let root = manifest::open(cid, block).map_err(|error| format!("its root block: {error}"))?;
        let mut records = Vec::new();
        let mut blocks = vec![cid.0];
        self.walk(&root, &mut records, &mut blocks)?;
        let spread = root.m > 0 && root.holders.len() > 1;
        let copies_min = if spread { COPIES_MIN } else { 1 };
        for hash in blocks {
            let copies = self.signed.get(&ShardId::block(hash)).map_or(0, BTreeSet::len);
            if copies < copies_min {
                return Err(format!("{copies} holders signed for the manifest block {hash:?}, not {copies_min}"));
            }
        }
        let mut seen = BTreeSet::new();
        for (index, record) in records.iter().enumerate().filter(|(_, record)| record.shard_len > 0) {
            self.check_stripe(&root, record, spread, without_faults)
                .map_err(|wrong| format!("stripe {index}: {wrong}"))?;
            if !seen.insert(record.root) {
                return Err(format!("stripe {index} looks like another one: it tells that they are equal"));
            }
        }
        Ok(())
    }

    fn walk(&self, root: &RootBody, records: &mut Vec<StripeRecord>, blocks: &mut Vec<Hash>) -> Result<(), String> {
        let mut queue = match &root.content {
            Content::Empty | Content::Inline { .. } => Vec::new(),
            Content::Stripes(all) => {
                records.extend(all.iter().cloned());
                Vec::new()
            }
            Content::Tree { children, .. } => children.clone(),
        };
        while let Some(hash) = queue.pop() {
            blocks.push(hash);
            let block = self.blocks.get(&hash).ok_or("a block of its tree was sent to nobody")?;
            match manifest::open_node(hash, block, root.shards()).map_err(|error| format!("a block: {error}"))? {
                Node::Leaf(all) => records.extend(all),
                Node::Inner(children) => queue.extend(children),
            }
        }
        Ok(())
    }

    fn check_stripe(
        &self,
        root: &RootBody,
        record: &StripeRecord,
        spread: bool,
        without_faults: bool,
    ) -> Result<(), String> {
        let mut loads: BTreeMap<PeerId, usize> = BTreeMap::new();
        for (index, listed) in (0u16..).zip(&record.placement).filter(|(_, listed)| **listed != NO_HOLDER) {
            let holder = root.holders.get(usize::from(*listed)).ok_or("a holder that is not listed")?.peer;
            let shard = record.shard(index);
            if !self.signed.get(&shard).is_some_and(|holders| holders.contains(&holder)) {
                return Err(format!("shard {index} is said to be at a peer that has not signed for it"));
            }
            *loads.entry(holder).or_default() += 1;
        }
        let (named, most) = (loads.values().sum::<usize>(), loads.values().copied().max().unwrap_or(0));
        let (k, all) = (usize::from(root.k), root.shards());
        if named < k || (spread && named - most < k) {
            return Err(format!("of {named} shards {most} are at one holder, and {k} must be left without it"));
        }
        if without_faults && named < all {
            return Err(format!("{named} of {all} shards have a holder, though nothing went wrong"));
        }
        Ok(())
    }
}
