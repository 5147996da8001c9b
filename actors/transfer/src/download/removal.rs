//! Removal: every holder is asked to forget what the manifest says it holds.
//!
//! The tree is walked leaf by leaf with bounded memory. A block is dropped after all that is below it and the root at
//! the very end, so that a removal that was interrupted can be repeated. A subtree whose block nobody has any more was
//! dropped before, and is skipped.

use super::{
    Cx,
    job::Job,
    limits::*,
    source::Source,
    tree::{Located, TreeError},
    verdict,
};
use crate::api::download::Out;
use pangea_kernel::planted;
use pangea_protocols::{
    Hash, PeerId, ShardId,
    job::{JobEvent, Outcome},
    time::Time,
    wire::{
        Message,
        store::{DROP_SHARDS_MAX, Store},
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// How far a removal is.
#[derive(Debug, Default)]
pub(super) struct Removal {
    next: u64,
    batches: BTreeMap<PeerId, Vec<ShardId>>,
    drops: BTreeMap<u64, Ask>,
    root_from: Option<PeerId>,
    root_dropped: bool,
    shards: u64,
    unreachable: BTreeSet<PeerId>,
}

/// A `Drop` without an answer.
#[derive(Debug)]
struct Ask {
    peer: PeerId,
    tag: u64,
    count: u32,
    deadline: Time,
}

impl Removal {
    /// This peer had the root block.
    pub fn root_at(&mut self, peer: PeerId) {
        self.root_from = Some(peer);
    }

    /// True if more answers should be waited for before asking on.
    fn is_full(&self) -> bool {
        let of = |peer: PeerId| self.drops.values().filter(|ask| ask.peer == peer).count();
        self.drops.len() >= DROPS_MAX || self.drops.values().any(|ask| of(ask.peer) >= QUESTIONS_PER_PEER_MAX)
    }

    fn give_up_on(&mut self, peer: PeerId) {
        self.unreachable.insert(peer);
        self.batches.remove(&peer);
        self.drops.retain(|_, ask| ask.peer != peer);
    }
}

impl Job {
    /// Walks on as far as the answers under way allow.
    pub(super) fn pump_removal(&mut self, cx: &mut Cx<'_>) {
        if self.removal.is_none() || self.tree.is_none() {
            return;
        }
        if let Err(error) = self.walk(cx) {
            return self.fail(cx, verdict::damaged(self.cid, &error));
        }
        let (Some(removal), Some(tree)) = (&mut self.removal, &self.tree) else { return };
        if removal.next < tree.stripes() {
            return;
        }
        let rest: Vec<PeerId> = removal.batches.keys().copied().collect();
        rest.into_iter().for_each(|peer| self.send_drop(cx, peer));
        let Some(removal) = &mut self.removal else { return };
        if !removal.drops.is_empty() {
            return;
        }
        if !removal.root_dropped && !planted!("root-not-removed") {
            removal.root_dropped = true;
            self.drop_block(cx, self.cid.0);
            let peers = self.keepers();
            peers.into_iter().for_each(|peer| self.send_drop(cx, peer));
        }
        self.finish_removal(cx);
    }

    /// An answer; a count beyond what was asked is a lie and cut.
    pub(super) fn on_dropped(&mut self, cx: &mut Cx<'_>, peer: PeerId, request: u64, count: u32) {
        let Some(removal) = &mut self.removal else { return };
        let Some(ask) = removal.drops.get(&request).filter(|ask| ask.peer == peer) else { return };
        removal.shards += u64::from(count.min(ask.count));
        removal.drops.remove(&request);
        self.moved = cx.now();
        self.pump(cx);
    }

    /// It will not: what it holds stays until the lease ends.
    pub(super) fn on_drop_refused(&mut self, cx: &mut Cx<'_>, peer: PeerId, request: u64) {
        let Some(removal) = &mut self.removal else { return };
        if removal.drops.get(&request).is_some_and(|ask| ask.peer == peer) {
            removal.give_up_on(peer);
            self.pump(cx);
        }
    }

    pub(super) fn check_drops(&mut self, now: Time) {
        let Some(removal) = &mut self.removal else { return };
        let late: Vec<PeerId> = removal.drops.values().filter(|ask| ask.deadline <= now).map(|ask| ask.peer).collect();
        late.into_iter().for_each(|peer| removal.give_up_on(peer));
    }

    pub(super) fn next_drop_deadline(&self) -> Option<Time> {
        self.removal.as_ref()?.drops.values().map(|ask| ask.deadline).min()
    }

    /// The connection to a peer is gone: what it was asked may not have reached it.
    pub(super) fn lose_drops_of(&mut self, peer: PeerId) {
        if let Some(removal) = &mut self.removal
            && removal.drops.values().any(|ask| ask.peer == peer)
        {
            removal.give_up_on(peer);
        }
    }

    pub(super) fn lose_drop_frame(&mut self, tag: u64) {
        let Some(removal) = &mut self.removal else { return };
        let peer = removal.drops.values().find(|ask| ask.tag == tag).map(|ask| ask.peer);
        peer.into_iter().for_each(|peer| removal.give_up_on(peer));
    }

    /// Nobody has a block of the tree: what is below it cannot be named, and was most likely dropped before.
    pub(super) fn skip_lost_subtree(&mut self, cx: &mut Cx<'_>, hash: Hash) {
        let (Some(removal), Some(tree)) = (&mut self.removal, &mut self.tree) else { return };
        self.blocks.remove(&hash);
        let down = self.sources.iter().filter(|(peer, source)| source.likely && self.sources.down(*peer));
        removal.unreachable.extend(down.map(|(peer, _)| peer));
        match tree.skip_lacking(removal.next) {
            Ok(next) => removal.next = next.max(removal.next + 1),
            Err(error) => self.fail(cx, verdict::damaged(self.cid, &error)),
        }
        self.moved = cx.now();
    }

    fn walk(&mut self, cx: &mut Cx<'_>) -> Result<(), TreeError> {
        loop {
            let (Some(removal), Some(tree)) = (&mut self.removal, &mut self.tree) else { return Ok(()) };
            let index = removal.next;
            if index >= tree.stripes() || removal.is_full() {
                return Ok(());
            }
            let record = match tree.locate(index)? {
                Located::Record(record) => record,
                Located::Outside => return Ok(()),
                Located::Lacks(hash) => {
                    self.blocks.entry(hash).or_default();
                    return Ok(());
                }
            };
            let ended = tree.blocks_ending_at(index)?;
            removal.next += 1;
            for at in 0..record.placement.len() {
                let holder = self.tree.as_ref().and_then(|tree| tree.holder(&record, at));
                if let (Some(peer), Ok(at)) = (holder, u16::try_from(at)) {
                    self.drop_later(cx, peer, record.shard(at));
                }
            }
            // The leaf first, then what holds it.
            ended.into_iter().rev().for_each(|hash| self.drop_block(cx, hash));
        }
    }

    /// Where a block is, the manifest does not say: everybody that may have it is asked, also connected peers that are
    /// not named anywhere, because a copy of the root may have been sent to one that was replaced later.
    fn drop_block(&mut self, cx: &mut Cx<'_>, hash: Hash) {
        for peer in self.keepers() {
            self.drop_later(cx, peer, ShardId::block(hash));
        }
    }

    fn keepers(&self) -> Vec<PeerId> {
        let root_from = self.removal.as_ref().and_then(|removal| removal.root_from);
        let keeps = |(peer, source): &(PeerId, &Source)| source.likely || source.connected || Some(*peer) == root_from;
        self.sources.iter().filter(keeps).map(|(peer, _)| peer).collect()
    }

    fn drop_later(&mut self, cx: &mut Cx<'_>, peer: PeerId, shard: ShardId) {
        let Some(removal) = self.removal.as_mut().filter(|removal| !removal.unreachable.contains(&peer)) else {
            return;
        };
        let batch = removal.batches.entry(peer).or_default();
        batch.push(shard);
        if batch.len() >= DROP_SHARDS_MAX {
            self.send_drop(cx, peer);
        }
    }

    fn send_drop(&mut self, cx: &mut Cx<'_>, peer: PeerId) {
        let Some(shards) = self.removal.as_mut().and_then(|removal| removal.batches.remove(&peer)) else { return };
        let request = self.ids.draw();
        let count = u32::try_from(shards.len()).unwrap_or(u32::MAX);
        let tag = self.send(cx, peer, Message::Store(Store::Drop { request, shards }));
        let ask = Ask { peer, tag, count, deadline: cx.now() + DROP_TIMEOUT };
        if let Some(removal) = &mut self.removal {
            removal.drops.insert(request, ask);
        }
    }

    fn finish_removal(&mut self, cx: &mut Cx<'_>) {
        let Some(removal) = self.removal.as_ref().filter(|removal| removal.drops.is_empty()) else { return };
        // A stranger that does not answer has most likely nothing to forget.
        let named = |peer: &PeerId| self.sources.get(*peer).is_some_and(|source| source.likely);
        let unreachable = removal.unreachable.iter().copied().filter(named).collect();
        let outcome = Outcome::Removed { shards: removal.shards, unreachable };
        self.end(cx);
        cx.emit(Out::Job(JobEvent::Done { job: self.id, outcome }));
    }
}
