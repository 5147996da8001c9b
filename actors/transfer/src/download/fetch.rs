//! Requests: who is asked for which shard or block, when another one is asked too, and when one is given up.
//!
//! What becomes of the answers is in [`super::answer`].

use super::{
    Cx,
    block::Block,
    job::Job,
    limits::*,
    shard::Shard,
    stripe::{Pick, Stripe},
    tree::{Located, Tree},
    verdict,
};
use crate::api::{Report, download::Out};
use pangea_kernel::planted;
use pangea_protocols::{Hash, PeerId, ShardId, manifest::RECORDS_MAX, time::Time};
use std::time::Duration;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// A block of the manifest, the root included.
    Block(Hash),
    /// A shard of a stripe.
    Shard { stripe: u64, shard: u16 },
}

/// One item of a `Get` without an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// Who was asked.
    pub peer: PeerId,
    /// What for.
    pub goal: Goal,
    /// The shard that was asked for.
    pub shard: ShardId,
    /// Of the frame that carried it; 0 until it is put into one.
    pub tag: u64,
    /// When to look whether it is late.
    pub check_at: Time,
    /// When it was decided on.
    pub sent: Time,
    expires: Duration,
    late: bool,
}

impl Job {
    /// Begins as many stripes as the window takes.
    pub(super) fn pump_window(&mut self, cx: &mut Cx<'_>) {
        if self.removal.is_some() {
            return;
        }
        let Some(tree) = &mut self.tree else { return };
        let mut lacks = Vec::new();
        while let Some(index) = self.window.next().filter(|_| self.window.has_room(0)) {
            match tree.locate(index) {
                Ok(Located::Record(record)) if record.shard_len == 0 => {
                    self.window.deliver_zero(index);
                    cx.emit(Out::Stripe { job: self.id, index, record, shards: Vec::new() });
                }
                Ok(Located::Record(record)) => {
                    let shards = tree.root().shards();
                    let holders: Vec<_> = (0..shards).map(|at| tree.holder(&record, at)).collect();
                    let stripe = Stripe::new(record, usize::from(tree.root().k), holders.into_iter());
                    if !self.window.has_room(stripe.bytes()) {
                        break;
                    }
                    self.window.begin(index, stripe);
                }
                Ok(Located::Lacks(hash)) => {
                    lacks.push(hash);
                    break;
                }
                Ok(Located::Outside) => self.window.advance(),
                Err(error) => return self.fail(cx, verdict::damaged(self.cid, &error)),
            }
        }
        if let Some(hash) = next_leaf(tree, &mut self.window) {
            lacks.push(hash);
        }
        for hash in lacks {
            self.blocks.entry(hash).or_default();
        }
    }

    /// Asks for blocks that nobody has been asked for in time.
    pub(super) fn pump_blocks(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let hashes: Vec<Hash> = self.blocks.keys().copied().collect();
        for hash in hashes {
            while let Some(peer) = self.blocks.get(&hash).and_then(|block| self.next_source(block, now)) {
                self.ask_for_block(hash, peer, now);
            }
            // Nobody likely is left to be asked: now the others are.
            if let Some(block) = self.blocks.get_mut(&hash) {
                block.widened |= !block.shard.is_live();
            }
        }
    }

    /// Asks for shards that stripes lack.
    pub(super) fn pump_stripes(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let indexes: Vec<u64> = self.window.stripes.keys().copied().collect();
        for index in indexes {
            while let Some(stripe) = self.window.stripes.get(&index).filter(|stripe| stripe.lacks() > 0) {
                let Some(pick) = stripe.pick(&self.sources, now) else { break };
                self.ask_for_shard(index, pick, now);
            }
        }
    }

    /// Late requests get company, hopeless ones are given up.
    pub(super) fn check_requests(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let due: Vec<u64> =
            self.requests.iter().filter(|(_, request)| request.check_at <= now).map(|(id, _)| *id).collect();
        for id in due {
            let Some(request) = self.requests.get(&id).copied() else { continue };
            let heard = self.sources.get(request.peer).map_or(Time(0), |source| source.last_answer);
            let silent_since = heard.max(request.sent);
            if now.since(silent_since) >= request.expires {
                self.expire(cx, id, request);
                continue;
            }
            let expires = silent_since + request.expires;
            let patient = request.late || planted!("download-never-hedges");
            let check_at = if patient || self.hedge(request, id, now) { expires } else { now + HEDGE_AGAIN };
            if let Some(request) = self.requests.get_mut(&id) {
                request.check_at = check_at;
            }
        }
    }

    /// A peer cannot be reached: what was asked of it is asked of others.
    pub(super) fn lose_peer(&mut self, peer: PeerId, connected: bool, now: Time) {
        self.sources.on_down(peer, connected, now);
        self.forget_all_of(peer, now);
        self.wants.retain(|_, want| want.peer != peer);
        self.lose_drops_of(peer);
    }

    /// A frame was not taken by the network: its requests are made again later.
    pub(super) fn drop_frame(&mut self, peer: PeerId, tag: u64, now: Time) {
        let of_frame = self.requests.iter().filter(|(_, request)| request.tag == tag && request.peer == peer);
        let of_frame: Vec<_> = of_frame.map(|(id, request)| (*id, *request)).collect();
        for (id, request) in of_frame {
            self.forget(id, request, now);
        }
        self.wants.retain(|_, want| want.tag != tag);
        self.lose_drop_frame(tag);
    }

    fn next_source(&self, block: &Block, now: Time) -> Option<PeerId> {
        let connected = |peer: PeerId| self.sources.get(peer).is_some_and(|source| source.connected);
        let mut live = block.shard.asks.iter().filter(|ask| !ask.late);
        let dialling = live.clone().count();
        if live.any(|ask| connected(ask.peer)) {
            return None;
        }
        // Peers that have to be dialled first may never answer: two of them at a time.
        let (peer, _) = block.pick(&self.sources, BLOCK_BYTES, now)?;
        (dialling < 2 || connected(peer)).then_some(peer)
    }

    fn ask_for_block(&mut self, hash: Hash, peer: PeerId, now: Time) {
        let id = self.request(peer, Goal::Block(hash), ShardId::block(hash), BLOCK_BYTES, BLOCK_HEDGE, now);
        if let Some(block) = self.blocks.get_mut(&hash) {
            block.asked(peer, id);
        }
    }

    fn ask_for_shard(&mut self, index: u64, pick: Pick, now: Time) {
        let Some(stripe) = self.window.stripes.get(&index) else { return };
        let (shard, bytes) = (stripe.record.shard(pick.shard), stripe.record.shard_len);
        let patience = self.sources.patience(pick.peer);
        let goal = Goal::Shard { stripe: index, shard: pick.shard };
        let id = self.request(pick.peer, goal, shard, bytes, patience, now);
        if let Some(stripe) = self.window.stripes.get_mut(&index) {
            stripe.asked(pick, id);
        }
    }

    fn request(&mut self, peer: PeerId, goal: Goal, shard: ShardId, bytes: u32, patience: Duration, now: Time) -> u64 {
        let id = self.ids.draw();
        // A big shard over a thin line takes its time: 32 KiB a second are enough to be alive.
        let expires = REQUEST_TIMEOUT.max(Duration::from_secs(u64::from(bytes >> 15)));
        let check_at = now + patience;
        self.requests.insert(id, Request { peer, goal, shard, tag: 0, check_at, sent: now, expires, late: false });
        self.sources.on_asked(peer, id, bytes, now);
        self.post(peer, id, shard);
        id
    }

    /// Asks one more source beside a late one; false if nobody is expected to be quicker.
    fn hedge(&mut self, late: Request, id: u64, now: Time) -> bool {
        let age_s = now.since(late.sent).as_secs_f64();
        match late.goal {
            Goal::Shard { stripe: index, .. } => {
                let stripe = self.window.stripes.get(&index);
                let pick = stripe.and_then(|stripe| stripe.pick(&self.sources, now));
                let Some(pick) = pick.filter(|pick| pick.estimate_s < age_s) else { return false };
                self.ask_for_shard(index, pick, now);
            }
            Goal::Block(hash) => {
                let block = self.blocks.get(&hash);
                let pick = block.and_then(|block| block.pick(&self.sources, BLOCK_BYTES, now));
                if let Some(block) = self.blocks.get_mut(&hash) {
                    block.widened = true;
                }
                let Some((peer, _)) = pick else { return false };
                self.ask_for_block(hash, peer, now);
            }
        }
        self.tally.hedged += 1;
        if let Some(shard) = self.shard_mut(late.goal) {
            shard.mark_late(id);
        }
        if let Some(request) = self.requests.get_mut(&id) {
            request.late = true;
        }
        true
    }

    fn expire(&mut self, cx: &mut Cx<'_>, id: u64, request: Request) {
        let now = cx.now();
        let connected = self.sources.get(request.peer).is_some_and(|source| source.connected);
        cx.emit(Out::Report { peer: request.peer, report: Report::TimedOut });
        self.cancel(id, request, now);
        if let Some(shard) = self.shard_mut(request.goal) {
            shard.gone = true;
        }
        self.sources.on_down(request.peer, connected, now);
    }

    /// Forgets a request and tells its holder.
    pub(super) fn cancel(&mut self, id: u64, request: Request, now: Time) {
        self.forget(id, request, now);
        self.outbox.cancels.entry(request.peer).or_default().push(id);
    }

    pub(super) fn forget(&mut self, id: u64, request: Request, now: Time) {
        self.requests.remove(&id);
        self.sources.on_dropped(request.peer, id, request.late, now);
        if let Some(shard) = self.shard_mut(request.goal) {
            shard.settle(id);
        }
    }

    fn forget_all_of(&mut self, peer: PeerId, now: Time) {
        let lost: Vec<_> =
            self.requests.iter().filter(|(_, request)| request.peer == peer).map(|(id, r)| (*id, *r)).collect();
        for (id, request) in lost {
            self.forget(id, request, now);
            if let Some(shard) = self.shard_mut(request.goal) {
                shard.gone = true;
            }
        }
        self.outbox.gets.remove(&peer);
        self.outbox.cancels.remove(&peer);
    }

    pub(super) fn shard_mut(&mut self, goal: Goal) -> Option<&mut Shard> {
        match goal {
            Goal::Block(hash) => self.blocks.get_mut(&hash).map(|block| &mut block.shard),
            Goal::Shard { stripe, shard } => {
                self.window.stripes.get_mut(&stripe).and_then(|stripe| stripe.shards.get_mut(usize::from(shard)))
            }
        }
    }
}

/// The leaf that the window will soon run into, if it is not here yet.
fn next_leaf(tree: &mut Tree, window: &mut super::window::Window) -> Option<Hash> {
    let index = window.next()?;
    let ahead = index.saturating_add(LEAF_AHEAD);
    let leaf = |index: u64| index / RECORDS_MAX as u64;
    if leaf(index) == leaf(ahead) || !window.wants(ahead) {
        return None;
    }
    match tree.locate(ahead) {
        Ok(Located::Lacks(hash)) => Some(hash),
        _ => None,
    }
}
