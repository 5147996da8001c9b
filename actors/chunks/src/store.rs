//! [`ChunkStore`]: the core. Receives frames and disk events, and says who answers what; the tables are elsewhere.

use crate::{
    api::{In, Out, Status},
    chores::{Chore, Chores},
    config::Config,
    grants::{Ask, Grants},
    intake::{Intake, Pending, ReceiptKey},
    serving::{Admission, Serving},
};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use pangea_kernel::{Core, Cx, planted};
use pangea_protocols::{
    Cid, PeerId, ShardId,
    disk::{self, Command, Failure, Usage},
    merkle::{self, RangeProof, StripeProof},
    net::Class,
    receipt::{self, Receipt},
    time::Time,
    wire::{
        BODY_BYTES_MAX, Frame, Message,
        fetch::{Fetch, Item, MissingReason},
        have::Have,
        store::{Refusal, ShardKind, Store},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What a planted bug takes leases for too short by, seconds.
const DAY_SECS: u64 = 86_400;
/// Shortest lease that is given, seconds: a shorter one would end before its receipt arrives.
const LEASE_SECS_MIN: u64 = 60;

/// The chunk store.
pub struct ChunkStore {
    /// Signs receipts.
    key: SigningKey,
    config: Config,
    /// What the disk last said; `None` until it says something. Nothing is promised before.
    usage: Option<Usage>,
    grants: Grants,
    intake: Intake,
    serving: Serving,
    chores: Chores,
    /// Peers that this node does not store for.
    denied: BTreeSet<PeerId>,
    next_tag: u64,
    expired_at: Option<Time>,
    /// Counters of [`Status`].
    stored: u64,
    served: u64,
    refused: u64,
}

impl Core for ChunkStore {
    type In = In;
    type Out = Out;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        // Tags begin at the clock, so that an answer to a core that crashed is never taken for one to this core.
        self.next_tag = cx.now().0;
        self.on_tick(cx);
    }

    fn on(&mut self, cx: &mut Cx<'_, Self>, event: In) {
        match event {
            In::Received { peer, frame } => self.on_received(cx, peer, frame),
            In::Disconnected { peer } => self.on_disconnected(cx, peer),
            In::Disk(event) => self.on_disk(cx, event),
            In::Allow { peer, allowed } => self.on_allow(peer, allowed),
            In::Quota { bytes } => self.config.quota_bytes = bytes,
            In::Status { request } => cx.emit(Out::Status { request, status: self.status() }),
            In::Tick => self.on_tick(cx),
        }
    }
}

impl ChunkStore {
    /// A store whose receipts are signed with `key`, the key of the node's peer id.
    pub fn new(key: SigningKey, config: Config) -> Self {
        Self {
            key,
            config,
            usage: None,
            grants: Grants::default(),
            intake: Intake::default(),
            serving: Serving::default(),
            chores: Chores::default(),
            denied: BTreeSet::new(),
            next_tag: 0,
            expired_at: None,
            stored: 0,
            served: 0,
            refused: 0,
        }
    }

    /// What the control API shows.
    pub fn status(&self) -> Status {
        Status {
            usage: self.usage.unwrap_or_default(),
            reserved_bytes: self.grants.reserved(),
            quota_bytes: self.config.quota_bytes,
            stored: self.stored,
            served: self.served,
            refused: self.refused,
        }
    }

    fn on_received(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, frame: Frame) {
        let Frame { message, body } = frame;
        if !body.is_empty() && !matches!(message, Message::Store(Store::Put { .. })) {
            return cx.emit(Out::Violation { peer, what: "a body where none belongs" });
        }
        match message {
            Message::Store(Store::Reserve { request, bytes, shards, lease_secs }) => {
                self.on_reserve(cx, peer, request, Ask { bytes, shards }, lease_secs);
            }
            Message::Store(Store::Put { grant, shard, proof, kind }) => {
                self.on_put(cx, peer, Put { grant, shard, proof, kind, body });
            }
            Message::Store(Store::Release { grant }) => self.grants.release(grant, peer),
            Message::Store(Store::Drop { request, shards }) => self.on_drop(cx, peer, request, shards),
            Message::Fetch(Fetch::Get { items }) => self.on_get(cx, peer, items),
            Message::Fetch(Fetch::Cancel { requests }) => {
                self.serving.cancel(peer, &requests.into_iter().collect());
                self.read_next(cx);
            }
            Message::Have(Have::Want { request, shards }) => self.on_want(cx, peer, request, shards),
            Message::Store(_)
            | Message::Fetch(_)
            | Message::Have(_)
            | Message::Pex(_)
            | Message::Compute(_)
            | Message::Extension(_) => {
                cx.emit(Out::Violation { peer, what: "a message that is not for a holder" });
            }
        }
    }

    fn on_reserve(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, request: u64, ask: Ask, lease_secs: u64) {
        let admitted = match self.usage {
            None => Err(Refusal::Busy),
            Some(_) if self.denied.contains(&peer) => Err(Refusal::Denied),
            Some(usage) => self.grants.admit(&self.config, usage, peer, ask),
        };
        if let Err(reason) = admitted {
            self.refused += 1;
            return say(cx, peer, Store::Refused { request, reason });
        }
        let mut grant = cx.rng("grant").u64();
        while self.grants.contains(grant) {
            grant = cx.rng("grant").u64();
        }
        let now = cx.unix();
        let lease = Duration::from_secs(lease_secs.max(LEASE_SECS_MIN)).min(self.config.lease_max);
        let expires = now + self.config.grant_ttl;
        self.grants.insert(grant, peer, ask, expires, (now + lease).0);
        say(cx, peer, Store::Reserved { request, grant, expires_unix: expires.0 });
    }

    fn on_put(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, put: Put) {
        let (grant, shard) = (put.grant, put.shard);
        if self.intake.joins(peer, grant, shard) {
            return;
        }
        if let Err(reason) = self.take_in(cx, peer, put) {
            self.refused += 1;
            say(cx, peer, Store::NotStored { grant, shard, reason });
            if reason == Refusal::BadProof {
                cx.emit(Out::Violation { peer, what: "a shard that does not match its proof" });
            }
        }
    }

    /// The cheap checks come before the hash, and nothing is charged before all have passed.
    fn take_in(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, put: Put) -> Result<(), Refusal> {
        let Put { grant, shard, proof, kind, body } = put;
        if self.denied.contains(&peer) {
            return Err(Refusal::Denied);
        }
        let usage = self.usage.ok_or(Refusal::Busy)?;
        let bytes = body.len() as u64;
        let lease_end = self.grants.covers(grant, peer, cx.unix(), shard, bytes).ok_or(Refusal::NoGrant)?;
        if body.is_empty() || body.len() > BODY_BYTES_MAX || (kind != ShardKind::Data && proof.total != 1) {
            return Err(Refusal::BadProof);
        }
        if !self.intake.has_room(&self.config, body.len()) {
            return Err(Refusal::Busy);
        }
        let whole = RangeProof::whole(u32::try_from(bytes).map_err(|_| Refusal::BadProof)?);
        if !planted!("stored-unverified") {
            merkle::verify(shard, &proof, &whole, &body).map_err(|_| Refusal::BadProof)?;
        }
        let charge = self.grants.charge(&self.config, usage, grant, shard, bytes)?;
        let tag = self.tag();
        let meta = disk::Meta { owner: peer, kind, expires_unix: lease_end, proof };
        let pending = Pending { peer, grant, shard, kind, lease_end, bytes: body.len(), charge, answered: true };
        self.intake.insert(tag, pending);
        if planted!("receipt-before-sync") {
            let receipt = Receipt::sign(&self.key, peer, vec![shard], lease_end);
            say(cx, peer, Store::Stored { grant, receipt });
        }
        cx.emit(Out::Disk(Command::Append { tag, shard, meta, body }));
        Ok(())
    }

    fn on_drop(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, request: u64, shards: Vec<ShardId>) {
        if !self.chores.has_room(&self.config, peer) {
            self.refused += 1;
            return say(cx, peer, Store::Refused { request, reason: Refusal::Busy });
        }
        let tag = self.tag();
        self.chores.insert(tag, Chore::Drop { peer, request });
        self.intake.withdraw(peer, &shards);
        cx.emit(Out::Disk(Command::Delete { tag, owner: peer, shards }));
    }

    fn on_get(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, items: Vec<Item>) {
        for item in items {
            match self.serving.ask(&self.config, peer, item) {
                Admission::Waiting => self.read_next(cx),
                Admission::Busy => {
                    self.refused += 1;
                    miss(cx, peer, item.request, MissingReason::Busy);
                }
                Admission::Reused => cx.emit(Out::Violation { peer, what: "a request number that is in use" }),
            }
        }
    }

    fn on_want(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, request: u64, shards: Vec<ShardId>) {
        if !self.chores.has_room(&self.config, peer) {
            self.refused += 1;
            return;
        }
        let tag = self.tag();
        self.chores.insert(tag, Chore::Want { peer, request });
        cx.emit(Out::Disk(Command::Contains { tag, shards }));
    }

    fn on_disconnected(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId) {
        self.serving.forget(peer);
        self.intake.forget(peer);
        self.chores.forget(peer);
        self.read_next(cx);
    }

    fn on_allow(&mut self, peer: PeerId, allowed: bool) {
        if allowed {
            self.denied.remove(&peer);
            return;
        }
        self.grants.revoke(peer);
        self.denied.insert(peer);
        if self.denied.len() > self.config.denied_max {
            tracing::warn!(limit = self.config.denied_max, "too many peers that nothing is stored for");
            self.denied.pop_first();
        }
    }

    fn on_tick(&mut self, cx: &mut Cx<'_, Self>) {
        self.grants.expire(cx.unix());
        let again = |at| cx.now().since(at) >= self.config.expire_every && !planted!("lease-never-ends");
        let due = self.expired_at.is_none_or(again);
        if due {
            // Also the way to learn the usage after a restart, when the disk has said `Opened` long ago.
            self.expired_at = Some(cx.now());
            let tag = self.tag();
            let early = if planted!("lease-ends-early") { DAY_SECS } else { 0 };
            cx.emit(Out::Disk(Command::Expire { tag, now_unix: cx.unix().0 + early }));
        }
        cx.after(self.config.tick, In::Tick);
    }

    fn on_disk(&mut self, cx: &mut Cx<'_, Self>, event: disk::Event) {
        match event {
            disk::Event::Opened { usage } => self.usage = Some(usage),
            disk::Event::Roots { shards } => {
                shards.into_iter().for_each(|shard| cx.emit(Out::Provide { cid: Cid(shard.stripe) }));
            }
            disk::Event::Appended { tags, usage } => self.on_appended(cx, &tags, usage),
            disk::Event::AppendFailed { tag, error } => self.on_append_failed(cx, tag, &error),
            disk::Event::Read { tag, meta, body } => self.on_read(cx, tag, meta, &body),
            disk::Event::Missing { tag } => self.on_not_read(cx, tag, MissingReason::NotHeld),
            disk::Event::Corrupt { tag } => self.on_not_read(cx, tag, MissingReason::Corrupt),
            disk::Event::ReadFailed { tag, error } => {
                tracing::warn!(%error, "shard not read");
                self.on_not_read(cx, tag, MissingReason::Busy);
            }
            disk::Event::Contains { tag, present } => {
                if let Some(Chore::Want { peer, request }) = self.chores.take(tag) {
                    let frame = Frame::bare(Message::Have(Have::Have { request, present }));
                    cx.emit(Out::Send { peer, class: Class::Control, frame });
                }
            }
            disk::Event::DeleteFailed { tag, error } => {
                tracing::warn!(%error, "shards not forgotten");
                if let Some(Chore::Drop { peer, request }) = self.chores.take(tag) {
                    say(cx, peer, Store::Refused { request, reason: Refusal::Io });
                }
            }
            disk::Event::Deleted { tag, count, roots, usage } => {
                self.usage = Some(usage);
                roots.into_iter().for_each(|shard| cx.emit(Out::Unprovide { cid: Cid(shard.stripe) }));
                if let Some(Chore::Drop { peer, request }) = self.chores.take(tag) {
                    say(cx, peer, Store::Dropped { request, count });
                }
            }
        }
    }

    fn on_appended(&mut self, cx: &mut Cx<'_, Self>, tags: &[u64], usage: Usage) {
        self.usage = Some(usage);
        let mut receipts: BTreeMap<ReceiptKey, Vec<ShardId>> = BTreeMap::new();
        for pending in tags.iter().filter_map(|tag| self.intake.take(*tag)) {
            let Pending { peer, grant, shard, kind, lease_end, charge, answered, .. } = pending;
            self.grants.settle(charge);
            self.stored += 1;
            if kind == ShardKind::Root && !planted!("root-not-announced") {
                cx.emit(Out::Provide { cid: Cid(shard.stripe) });
            }
            if answered {
                receipts.entry(ReceiptKey { peer, grant, lease_end }).or_default().push(shard);
            }
        }
        for (ReceiptKey { peer, grant, lease_end }, shards) in receipts {
            for shards in shards.chunks(receipt::SHARDS_MAX) {
                let receipt = Receipt::sign(&self.key, peer, shards.to_vec(), lease_end);
                say(cx, peer, Store::Stored { grant, receipt });
            }
        }
    }

    fn on_append_failed(&mut self, cx: &mut Cx<'_, Self>, tag: u64, error: &Failure) {
        let Some(pending) = self.intake.take(tag) else { return };
        self.grants.refund(pending.grant, pending.shard, pending.charge);
        self.refused += 1;
        let reason = match error {
            Failure::Full => Refusal::DiskFull,
            Failure::Io(_) => Refusal::Io,
        };
        tracing::warn!(%error, "shard not stored");
        if let (Refusal::DiskFull, Some(usage)) = (reason, &mut self.usage) {
            // Promise nothing until the disk reports free space again, at the latest with the next expiry.
            usage.free_bytes = 0;
        }
        if pending.answered {
            let Pending { peer, grant, shard, .. } = pending;
            say(cx, peer, Store::NotStored { grant, shard, reason });
        }
    }

    fn on_read(&mut self, cx: &mut Cx<'_, Self>, tag: u64, meta: disk::Meta, body: &Bytes) {
        if let Some(reading) = self.serving.finish(tag).filter(|reading| reading.wanted) {
            let item = reading.item;
            match cut(body, item.range) {
                Some((range, body)) => {
                    self.served += 1;
                    let found = Fetch::Found { request: item.request, shard: item.shard, stripe: meta.proof, range };
                    let frame = Frame { message: Message::Fetch(found), body };
                    cx.emit(Out::Send { peer: reading.peer, class: Class::Bulk, frame });
                }
                None => {
                    self.refused += 1;
                    miss(cx, reading.peer, item.request, MissingReason::BadRange);
                }
            }
        }
        self.read_next(cx);
    }

    fn on_not_read(&mut self, cx: &mut Cx<'_, Self>, tag: u64, reason: MissingReason) {
        if let Some(reading) = self.serving.finish(tag) {
            if reason == MissingReason::Corrupt && reading.item.shard.index == 0 {
                // It may have been a root; what is no longer held is no longer announced.
                cx.emit(Out::Unprovide { cid: Cid(reading.item.shard.stripe) });
            }
            if reading.wanted {
                self.refused += 1;
                miss(cx, reading.peer, reading.item.request, reason);
            }
        }
        self.read_next(cx);
    }

    fn read_next(&mut self, cx: &mut Cx<'_, Self>) {
        while let Some((peer, item)) = self.serving.next(&self.config) {
            let tag = self.tag();
            self.serving.started(tag, peer, item);
            cx.emit(Out::Disk(Command::Read { tag, shard: item.shard }));
        }
    }

    fn tag(&mut self) -> u64 {
        self.next_tag += 1;
        self.next_tag
    }
}

/// A `Put` with its body.
struct Put {
    grant: u64,
    shard: ShardId,
    proof: StripeProof,
    kind: ShardKind,
    body: Bytes,
}

/// The range of a shard and its proof; `None` if the range is not inside it.
fn cut(body: &Bytes, range: Option<(u32, u32)>) -> Option<(RangeProof, Bytes)> {
    let Some((offset, len)) = range else {
        return Some((RangeProof::whole(u32::try_from(body.len()).ok()?), body.clone()));
    };
    let (proof, range) = RangeProof::make(body, offset..offset.checked_add(len)?).ok()?;
    Some((proof, body.slice(range.start as usize..range.end as usize)))
}

fn say(cx: &mut Cx<'_, ChunkStore>, peer: PeerId, message: Store) {
    cx.emit(Out::Send { peer, class: Class::Control, frame: Frame::bare(Message::Store(message)) });
}

fn miss(cx: &mut Cx<'_, ChunkStore>, peer: PeerId, request: u64, reason: MissingReason) {
    let message = Message::Fetch(Fetch::Missing { request, reason });
    cx.emit(Out::Send { peer, class: Class::Control, frame: Frame::bare(message) });
}
