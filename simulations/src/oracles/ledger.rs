//! The ledger: which shards an object consists of, as seen on the wire while it was stored. From it follows whether an
//! object should be readable, whatever any node says.

use crate::{
    observer::{Findings, Sight, Watch, Who},
    record::NodeId,
};
use pangea_protocols::{
    PeerId, ShardId,
    id::Hash,
    time::Time,
    wire::{
        Message,
        store::{ShardKind, Store},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What is known of all objects. Clones are the same ledger.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Puts under way, by node. With several at one node, a shard counts for each: an object may then seem to need more
    /// than it does, never less.
    active: BTreeMap<NodeId, BTreeSet<u32>>,
    objects: BTreeMap<u32, Object>,
    peers: BTreeMap<PeerId, NodeId>,
}

#[derive(Default)]
struct Object {
    k: u16,
    acknowledged: bool,
    /// Other puts ran at the same node: some of its shards may be theirs.
    mixed: bool,
    data: BTreeMap<Hash, BTreeSet<u16>>,
    blocks: BTreeSet<ShardId>,
}

impl Ledger {
    /// A put begins.
    pub fn begin(&self, operation: u32, node: NodeId) {
        let state = &mut *self.state();
        let active = state.active.entry(node).or_default();
        let others: Vec<u32> = active.iter().copied().collect();
        active.insert(operation);
        state.objects.insert(operation, Object { mixed: !others.is_empty(), ..Object::default() });
        for other in others {
            if let Some(object) = state.objects.get_mut(&other) {
                object.mixed = true;
            }
        }
    }

    /// Its code is chosen.
    pub fn coded(&self, operation: u32, k: u8) {
        if let Some(object) = self.state().objects.get_mut(&operation) {
            object.k = u16::from(k);
        }
    }

    /// It is acknowledged.
    pub fn acknowledged(&self, operation: u32) {
        if let Some(object) = self.state().objects.get_mut(&operation) {
            object.acknowledged = true;
        }
    }

    /// It has ended; one that failed is forgotten.
    pub fn end(&self, operation: u32, ok: bool) {
        let mut state = self.state();
        for active in state.active.values_mut() {
            active.remove(&operation);
        }
        if !ok {
            state.objects.remove(&operation);
        }
    }

    /// Its owner has asked to forget it: from here on nobody promises anything.
    pub fn forget(&self, operation: u32) {
        if let Some(object) = self.state().objects.get_mut(&operation) {
            object.acknowledged = false;
        }
    }

    /// True if what is `held` suffices to read the object back.
    pub fn is_recoverable(&self, operation: u32, held: &BTreeSet<ShardId>) -> bool {
        let state = self.state();
        let Some(object) = state.objects.get(&operation).filter(|object| object.acknowledged) else { return false };
        let lives = |stripe: &Hash, index: u16| held.contains(&ShardId { stripe: *stripe, index });
        let enough = |(stripe, indexes): (&Hash, &BTreeSet<u16>)| {
            indexes.iter().filter(|index| lives(stripe, **index)).count() >= usize::from(object.k)
        };
        object.data.iter().all(enough) && object.blocks.iter().all(|block| held.contains(block))
    }

    /// All shards that were sent for an object; none if some of them may be another's.
    pub fn shards(&self, operation: u32) -> BTreeSet<ShardId> {
        let state = self.state();
        let Some(object) = state.objects.get(&operation).filter(|object| !object.mixed) else { return BTreeSet::new() };
        let data = object.data.iter();
        let data =
            data.flat_map(|(stripe, indexes)| indexes.iter().map(|index| ShardId { stripe: *stripe, index: *index }));
        data.chain(object.blocks.iter().copied()).collect()
    }

    /// Which node a peer is, as far as it has shown itself.
    pub fn node(&self, peer: PeerId) -> Option<NodeId> {
        self.state().peers.get(&peer).copied()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Ledger {
    fn name(&self) -> &'static str {
        "ledger"
    }

    fn see(&mut self, _: Time, node: Option<NodeId>, who: &Who, sight: Sight<'_>, _: &mut Findings) {
        let (Some(node), Sight::Send { to, frame }) = (node, sight) else { return };
        let Message::Store(Store::Put { shard, kind, .. }) = &frame.message else { return };
        let state = &mut *self.state();
        if let Some(holder) = who.node(to) {
            state.peers.insert(to, holder);
        }
        for operation in state.active.get(&node).into_iter().flatten() {
            let Some(object) = state.objects.get_mut(operation) else { continue };
            match kind {
                ShardKind::Data => {
                    object.data.entry(shard.stripe).or_default().insert(shard.index);
                }
                ShardKind::Block | ShardKind::Root => {
                    object.blocks.insert(*shard);
                }
            }
        }
    }
}
