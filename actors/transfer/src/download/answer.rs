//! Answers: every one is verified against a hash from the signed manifest before it counts.
//!
//! A wrong one is the sender's to answer for: it is reported, and in this job not asked again. What is asked of whom is
//! in [`super::fetch`].

use super::{
    Cx,
    fetch::{Goal, Request},
    job::Job,
    stripe::Stripe,
    verdict,
};
use crate::api::{Report, download::Out};
use bytes::Bytes;
use pangea_kernel::planted;
use pangea_protocols::{
    Hash, PeerId, ShardId,
    manifest::{self, ManifestError},
    merkle::{self, RangeProof, StripeProof},
    wire::fetch::MissingReason,
};

/// The bytes and proofs of one answer.
pub(super) struct Answer {
    pub shard: ShardId,
    pub stripe: StripeProof,
    pub range: RangeProof,
    pub body: Bytes,
}

impl Job {
    /// An answer with bytes.
    pub(super) fn on_found(&mut self, cx: &mut Cx<'_>, peer: PeerId, id: u64, answer: Answer) {
        let Some(request) = self.requests.get(&id).copied().filter(|request| request.peer == peer) else { return };
        let now = cx.now();
        self.sources.on_heard(peer);
        let verified = match request.goal {
            Goal::Shard { stripe, shard } => self.verify_shard(stripe, shard, &answer),
            Goal::Block(hash) => Hash::of(&answer.body) == hash,
        };
        if !verified && !planted!("shard-unverified") {
            return self.on_bad_proof(cx, peer, id, request);
        }
        let (bytes, took) = (answer.body.len(), now.since(request.sent));
        self.sources.on_answered(peer, id, bytes, now);
        self.forget(id, request, now);
        self.moved = now;
        cx.emit(Out::Report { peer, report: Report::Delivered { bytes: bytes as u64, took } });
        match request.goal {
            Goal::Shard { stripe, shard } => {
                self.tally.own += u64::from(self.sources.is_me(peer));
                self.on_shard(cx, stripe, shard, answer.body);
            }
            Goal::Block(hash) => self.on_block(cx, peer, hash, &answer.body),
        }
        self.pump(cx);
    }

    /// An answer without bytes.
    pub(super) fn on_missing(&mut self, cx: &mut Cx<'_>, peer: PeerId, id: u64, reason: MissingReason) {
        let Some(request) = self.requests.get(&id).copied().filter(|request| request.peer == peer) else { return };
        let now = cx.now();
        self.sources.on_heard(peer);
        self.forget(id, request, now);
        if reason == MissingReason::Busy {
            self.sources.on_busy(peer, now);
            cx.emit(Out::Report { peer, report: Report::Refused });
        } else {
            let promised = match request.goal {
                Goal::Shard { .. } => true,
                Goal::Block(hash) => self.blocks.get(&hash).is_some_and(|b| b.shard.holders().any(|p| p == peer)),
            };
            if promised {
                cx.emit(Out::Report { peer, report: Report::Lost });
            }
            if let Goal::Block(hash) = request.goal
                && let Some(block) = self.blocks.get_mut(&hash)
            {
                block.widened = true;
            }
            if let Some(shard) = self.shard_mut(request.goal) {
                if !planted!("missing-asked-again") {
                    shard.refused_by(peer);
                }
                shard.failed = true;
            }
        }
        self.pump(cx);
    }

    fn verify_shard(&self, stripe: u64, shard: u16, answer: &Answer) -> bool {
        let Some(stripe) = self.window.stripes.get(&stripe) else { return false };
        let shard_len = stripe.record.shard_len;
        let id = stripe.record.shard(shard);
        // A proof over another number of shards could show a shard in another's place.
        usize::from(answer.stripe.total) == stripe.shards.len()
            && answer.shard == id
            && answer.range == RangeProof::whole(shard_len)
            && answer.body.len() == shard_len as usize
            && merkle::verify(id, &answer.stripe, &answer.range, &answer.body).is_ok()
    }

    fn on_bad_proof(&mut self, cx: &mut Cx<'_>, peer: PeerId, id: u64, request: Request) {
        let now = cx.now();
        tracing::warn!(%peer, shard = ?request.shard, "peer sent bytes that do not match their proof");
        let latest = self.requests.values().next_back().map_or(peer, |request| request.peer);
        let culprit = if planted!("wrong-peer-blamed") { latest } else { peer };
        cx.emit(Out::Report { peer: culprit, report: Report::BadProof });
        self.forget(id, request, now);
        if let Some(shard) = self.shard_mut(request.goal) {
            shard.refused_by(peer);
            (shard.failed, shard.bad) = (true, true);
        }
        self.sources.exclude(peer);
        let others: Vec<_> =
            self.requests.iter().filter(|(_, other)| other.peer == peer).map(|(id, r)| (*id, *r)).collect();
        for (id, request) in others {
            self.cancel(id, request, now);
            if let Some(shard) = self.shard_mut(request.goal) {
                shard.gone = true;
            }
        }
        self.pump(cx);
    }

    fn on_shard(&mut self, cx: &mut Cx<'_>, index: u64, shard: u16, body: Bytes) {
        let Some(stripe) = self.window.stripes.get_mut(&index) else { return };
        if let Some(shard) = stripe.shards.get_mut(usize::from(shard)) {
            shard.body = Some(body);
        }
        self.tally.shards += 1;
        // The same shard may be under way from a second holder.
        let spare: Vec<u64> = if stripe.complete() {
            stripe.asks().map(|ask| ask.id).collect()
        } else {
            stripe.shards[usize::from(shard)].asks.iter().map(|ask| ask.id).collect()
        };
        for id in spare {
            if let Some(request) = self.requests.get(&id).copied() {
                self.cancel(id, request, cx.now());
            }
        }
        if self.window.stripes.get(&index).is_some_and(Stripe::complete) {
            self.deliver(cx, index);
        }
    }

    fn deliver(&mut self, cx: &mut Cx<'_>, index: u64) {
        let Some(mut stripe) = self.window.deliver(index) else { return };
        self.tally.healed += stripe.healed(&self.sources);
        if self.window.is_drained() {
            // The last that is asked for: the count must be there before CES reports the end.
            self.tally.emit(cx, self.id);
        }
        let shards = stripe.take();
        cx.emit(Out::Stripe { job: self.id, index, record: stripe.record, shards });
    }

    fn on_block(&mut self, cx: &mut Cx<'_>, peer: PeerId, hash: Hash, body: &[u8]) {
        let Some(block) = self.blocks.remove(&hash) else { return };
        self.tally.healed += u64::from(block.shard.bad);
        for ask in &block.shard.asks {
            if let Some(request) = self.requests.get(&ask.id).copied() {
                self.cancel(ask.id, request, cx.now());
            }
        }
        if let Err(error) = self.open_block(cx, peer, hash, body) {
            self.fail(cx, verdict::damaged(self.cid, &error));
        }
    }

    fn open_block(&mut self, cx: &mut Cx<'_>, peer: PeerId, hash: Hash, body: &[u8]) -> Result<(), ManifestError> {
        match &mut self.tree {
            None => {
                let root = manifest::open(self.cid, body)?;
                self.on_root(cx, Some(peer), root);
            }
            Some(tree) => {
                let node = manifest::open_node(hash, body, tree.root().shards())?;
                tree.insert(hash, node);
            }
        }
        Ok(())
    }
}
