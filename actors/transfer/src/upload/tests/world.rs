//! A small world: one real [`Uploader`], a faked encoder, a faked peer manager and faked holders.
//!
//! Every message takes a few milliseconds of virtual time; what happens depends on the seed only.

use crate::{
    api::{
        Candidate, Redundancy, Report,
        upload::{In, Out},
    },
    upload::{Limits, Uploader},
};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use pangea_kernel::{Draw, Seed, testbed::Testbed};
use pangea_protocols::{
    Cid, Hash, JobId, PeerId, ShardId,
    encoded::{EncodedEnd, Profile},
    files::Source,
    job::{JobEvent, Outcome, Progress, Stored},
    manifest::{self, Codec, Content, FRAME_BYTES, NO_HOLDER, Node, RootBody, StripeRecord},
    merkle::{StripeProof, StripeTree},
    net::SendError,
    receipt::Receipt,
    ticket::ReadKey,
    time::Time,
    wire::{
        Frame, Message,
        store::{Refusal, ShardKind, Store},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

/// The job of most tests.
pub const JOB: JobId = JobId(7);

/// How a holder behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Manner {
    /// Stores and signs.
    Honest,
    /// Refuses every reservation.
    Refusing(Refusal),
    /// Reserves, then never answers.
    Silent,
    /// Does not even answer reservations.
    Dead,
    /// Answers after this long.
    Slow(Duration),
    /// Signs with another key from the n-th shard on.
    Lying(u32),
    /// Is gone after n shards; comes back when dialled, if true.
    Leaving(u32, bool),
    /// Has no room for more than n shards.
    Full(u32),
    /// Says busy to every third shard.
    Busy,
    /// The line to it fails for one of n sends on average, in one way or another.
    Jammed(u64),
    /// Forgets its grants after every n shards.
    Forgetful(u32),
}

/// A faked holder.
pub struct FakeHolder {
    pub key: SigningKey,
    pub manner: Manner,
    pub domain: u64,
    /// What it holds durably and has signed for, with what it is.
    pub held: BTreeMap<ShardId, (Bytes, ShardKind)>,
    /// Grants in force.
    pub grants: BTreeSet<u64>,
    pub puts: u32,
    gone: bool,
}

/// A faked source: how many frames, which of them are zero.
#[derive(Clone, Default)]
pub struct FakeSource {
    pub stripes: u64,
    pub zero_every: u64,
    pub inline: bool,
}

/// The world.
pub struct World {
    pub bed: Testbed<Uploader>,
    pub me: SigningKey,
    pub holders: BTreeMap<PeerId, FakeHolder>,
    /// Peers that the peer manager names when it is asked again.
    pub later: Vec<PeerId>,
    pub source: FakeSource,
    pub records: BTreeMap<u64, StripeRecord>,
    pub events: Vec<JobEvent>,
    pub reports: Vec<(PeerId, Report)>,
    pub puts: Vec<(PeerId, ShardId)>,
    pub cancelled_encode: bool,
    /// Stripes that the encoder was allowed in all.
    pub credit_given: u64,
    inbox: BTreeMap<(Time, u64), In>,
    serial: u64,
    encoder: Time,
    next_grant: u64,
    code: (u8, u8),
    ended: bool,
    asked_before: bool,
    draw: Draw,
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

pub fn peer_of(key: &SigningKey) -> PeerId {
    PeerId(key.verifying_key().to_bytes())
}

impl World {
    pub fn new(manners: &[Manner], stripes: u64, seed: u64) -> Self {
        Self::with_limits(manners, stripes, seed, Limits::default())
    }

    pub fn with_limits(manners: &[Manner], stripes: u64, seed: u64, limits: Limits) -> Self {
        let me = key(255);
        let mut world = Self {
            bed: Testbed::with_seed(Uploader::new(peer_of(&me), me.clone(), limits), seed),
            me,
            holders: BTreeMap::new(),
            later: Vec::new(),
            source: FakeSource { stripes, ..FakeSource::default() },
            records: BTreeMap::new(),
            events: Vec::new(),
            reports: Vec::new(),
            puts: Vec::new(),
            cancelled_encode: false,
            credit_given: 0,
            inbox: BTreeMap::new(),
            serial: 0,
            encoder: Time(0),
            next_grant: 100,
            code: (0, 0),
            ended: false,
            asked_before: false,
            draw: Seed::new([seed as u8; 32]).derive(&seed.to_string()).draw(),
        };
        for (number, manner) in (0u8..).zip(manners) {
            world.add_holder(number, *manner);
        }
        world
    }

    /// Adds a holder; returns who it is.
    pub fn add_holder(&mut self, number: u8, manner: Manner) -> PeerId {
        let key = key(number + 1);
        let peer = peer_of(&key);
        let holder = FakeHolder {
            key,
            manner,
            domain: u64::from(number),
            held: BTreeMap::new(),
            grants: BTreeSet::new(),
            puts: 0,
            gone: false,
        };
        self.holders.insert(peer, holder);
        peer
    }

    /// Adds a holder that the peer manager knows only when it is asked again.
    pub fn add_later(&mut self, number: u8, manner: Manner) {
        let peer = self.add_holder(number, manner);
        self.later.push(peer);
    }

    pub fn put(&mut self, redundancy: Redundancy) {
        let source = Source::Stream { name: "x".into() };
        self.deliver(In::Put {
            job: JOB,
            source,
            redundancy,
            profile: Profile::Balanced,
            lease: Duration::from_secs(86_400),
        });
    }

    /// Puts and runs to the end of the job; panics if it has none within an hour of virtual time.
    pub fn run(&mut self, redundancy: Redundancy) -> JobEvent {
        self.put(redundancy);
        self.run_on()
    }

    pub fn run_on(&mut self) -> JobEvent {
        let end = Time(3_600_000_000_000);
        while !self.over() {
            assert!(self.bed.now() < end && self.step(), "the job never ends: {:?}", self.events.last());
        }
        self.events.last().cloned().unwrap()
    }

    pub fn run_for(&mut self, duration: Duration) {
        let until = self.bed.now() + duration;
        while !self.over() && self.next_time().is_some_and(|at| at <= until) {
            self.step();
        }
    }

    /// Delivers what is still on the wire after the end.
    pub fn run_rest(&mut self) {
        while self.step() {}
    }

    pub fn over(&self) -> bool {
        matches!(self.events.last(), Some(JobEvent::Done { .. } | JobEvent::Failed { .. }))
    }

    fn next_time(&self) -> Option<Time> {
        let message = self.inbox.keys().next().map(|(at, _)| *at);
        [message, self.bed.next_timer()].into_iter().flatten().min()
    }

    /// Delivers the next message or timer.
    fn step(&mut self) -> bool {
        let Some(at) = self.next_time() else { return false };
        let outs = self.bed.advance(at.since(self.bed.now()));
        self.handle(outs);
        if let Some(entry) = self.inbox.first_entry().filter(|entry| entry.key().0 <= at) {
            let event = entry.remove();
            self.deliver(event);
        }
        true
    }

    pub fn deliver(&mut self, event: In) {
        let outs = self.bed.send(event);
        self.handle(outs);
    }

    fn later(&mut self, after: Duration, event: In) {
        let jitter = Duration::from_micros(self.draw.below(3000));
        self.serial += 1;
        self.inbox.insert((self.bed.now() + after + jitter, self.serial), event);
    }

    /// What the encoder says stays in order.
    fn encoder_says(&mut self, after: Duration, event: In) {
        self.serial += 1;
        self.encoder = self.encoder.max(self.bed.now() + after);
        self.inbox.insert((self.encoder, self.serial), event);
    }

    fn handle(&mut self, outs: Vec<Out>) {
        for out in outs {
            match out {
                Out::Candidates { request, exclude, .. } => self.on_candidates(request, &exclude),
                Out::Encode { k, m, .. } => self.code = (k, m),
                Out::Credit { stripes, .. } => self.encode(stripes),
                Out::CancelEncode { .. } => self.cancelled_encode = true,
                Out::Send { peer, tag, frame, .. } => self.on_send(peer, tag, frame),
                Out::CancelSend { .. } => {}
                Out::Report { peer, report } => self.reports.push((peer, report)),
                Out::Job(event) => {
                    assert!(!self.over(), "{event:?} after the end");
                    self.events.push(event);
                }
            }
        }
    }

    fn on_candidates(&mut self, request: u64, exclude: &[PeerId]) {
        let known = |peer: &&PeerId| self.asked_before || !self.later.contains(peer);
        let fresh = self.holders.iter().filter(|(peer, _)| known(peer) && !exclude.contains(peer));
        let candidate = |(peer, holder): (&PeerId, &FakeHolder)| Candidate {
            peer: *peer,
            domain: holder.domain,
            score: 0.5,
            rtt: None,
            goodput: 0.0,
            address: None,
        };
        let candidates = fresh.map(candidate).collect();
        self.asked_before = true;
        self.later(Duration::from_millis(1), In::Candidates { request, candidates });
    }

    fn encode(&mut self, stripes: u32) {
        self.credit_given += u64::from(stripes);
        for _ in 0..stripes {
            let index = self.records.len() as u64;
            if self.source.inline || index >= self.source.stripes {
                break;
            }
            let last = index + 1 == self.source.stripes;
            let raw_len = if last { 1000 } else { FRAME_BYTES as u32 };
            let zero = self.source.zero_every > 0 && index.is_multiple_of(self.source.zero_every);
            let (record, shards) = if zero { zero_stripe(raw_len) } else { stripe(index, self.code, raw_len) };
            self.records.insert(index, record.clone());
            self.encoder_says(Duration::from_millis(1), In::Encoded { job: JOB, index, record, shards });
        }
        if !self.ended && (self.source.inline || self.records.len() as u64 == self.source.stripes) {
            self.ended = true;
            self.encoder_says(Duration::from_secs(1), In::EncodedAll { job: JOB, end: self.end() });
        }
    }

    fn end(&self) -> EncodedEnd {
        let inline = self.source.inline.then(|| (Codec::Store, vec![1; 116]));
        let raw_len = if self.source.inline { 100 } else { self.records.values().map(|r| u64::from(r.raw_len)).sum() };
        EncodedEnd {
            stripes: self.records.len() as u64,
            raw_len,
            object: [9; 16],
            key: ReadKey([42; 32]),
            private: vec![3; 60],
            name: "x".into(),
            directory: false,
            inline,
            skipped: 2,
        }
    }

    fn on_send(&mut self, peer: PeerId, tag: u64, frame: Frame) {
        let wire = Duration::from_millis(5);
        assert!(frame.head().is_ok(), "a frame that no wire carries");
        assert!(!frame.body.windows(32).any(|bytes| bytes == [42; 32]), "the read key was sent");
        let Some(holder) = self.holders.get_mut(&peer) else { panic!("sent to a stranger") };
        let Message::Store(message) = frame.message else { panic!("not the store protocol") };
        if holder.gone {
            match (holder.manner, &message) {
                (Manner::Leaving(_, true), Store::Reserve { .. }) => holder.gone = false,
                _ => {
                    let error = SendError::Unreachable;
                    return self.later(wire * 10, In::SendFailed { peer, tag, error });
                }
            }
        }
        if let Manner::Jammed(one_in) = holder.manner
            && self.draw.below(one_in) == 0
        {
            let kinds = [SendError::QueueFull, SendError::ConnectionLost, SendError::Refused, SendError::Unreachable];
            let error = *self.draw.choose(&kinds).unwrap();
            return self.later(wire, In::SendFailed { peer, tag, error });
        }
        self.later(wire, In::Sent { peer, tag });
        match message {
            Store::Reserve { request, bytes, .. } => self.on_reserve(peer, request, bytes),
            Store::Put { grant, shard, proof, kind } => self.on_put(peer, grant, shard, &proof, kind, frame.body),
            Store::Release { grant } => {
                self.holders.get_mut(&peer).unwrap().grants.remove(&grant);
            }
            Store::Drop { shards, .. } => {
                let holder = self.holders.get_mut(&peer).unwrap();
                shards.iter().for_each(|shard| drop(holder.held.remove(shard)));
            }
            other => panic!("{other:?} is not for a holder"),
        }
    }

    fn answer(&mut self, peer: PeerId, after: Duration, message: Store) {
        self.later(after, In::Received { peer, frame: Frame::bare(Message::Store(message)) });
    }

    fn on_reserve(&mut self, peer: PeerId, request: u64, bytes: u64) {
        assert!(bytes <= 256 << 20);
        let holder = self.holders.get_mut(&peer).unwrap();
        let wire = Duration::from_millis(10);
        match holder.manner {
            Manner::Dead => {}
            Manner::Refusing(reason) => self.answer(peer, wire, Store::Refused { request, reason }),
            _ => {
                self.next_grant += 1;
                let (grant, expires_unix) = (self.next_grant, pangea_kernel::testbed::EPOCH.0 + 100_000);
                holder.grants.insert(grant);
                self.answer(peer, wire, Store::Reserved { request, grant, expires_unix });
            }
        }
    }

    fn on_put(&mut self, peer: PeerId, grant: u64, shard: ShardId, proof: &StripeProof, kind: ShardKind, body: Bytes) {
        proof.verify(shard, Hash::of(&body)).expect("the uploader passes proofs on unharmed");
        self.puts.push((peer, shard));
        let (owner, expires) = (peer_of(&self.me), pangea_kernel::testbed::EPOCH.0 + 86_400);
        let holder = self.holders.get_mut(&peer).unwrap();
        holder.puts += 1;
        let puts = holder.puts;
        let mut wire = Duration::from_millis(10);
        let refuse = |reason| Store::NotStored { grant, shard, reason };
        if !holder.grants.contains(&grant) {
            return self.answer(peer, wire, refuse(Refusal::NoGrant));
        }
        let mut signer = holder.key.clone();
        match holder.manner {
            Manner::Silent | Manner::Dead => return,
            Manner::Slow(delay) => wire = delay,
            Manner::Lying(from) if puts >= from => signer = key(200),
            Manner::Leaving(after, _) if puts % (after + 1) == after => {
                holder.gone = true;
                return self.later(wire, In::Disconnected { peer });
            }
            Manner::Full(max) if puts > max => return self.answer(peer, wire, refuse(Refusal::Quota)),
            Manner::Busy if puts.is_multiple_of(3) => return self.answer(peer, wire, refuse(Refusal::Busy)),
            Manner::Forgetful(after) if puts.is_multiple_of(after) => holder.grants.clear(),
            _ => {}
        }
        let mut receipt = Receipt::sign(&signer, owner, vec![shard], expires);
        if signer.to_bytes() != holder.key.to_bytes() {
            receipt.holder = peer;
        } else {
            holder.held.insert(shard, (body, kind));
        }
        self.answer(peer, wire, Store::Stored { grant, receipt });
    }

    /// Checks what must be true when nothing is left to do.
    pub fn assert_clean(&mut self) {
        assert!(self.bed.core.is_idle(), "something is left of the job");
        assert_eq!(self.bed.next_timer(), None, "a timer is left");
    }

    pub fn stored(&self) -> &Stored {
        match self.events.last() {
            Some(JobEvent::Done { outcome: Outcome::Put(stored), .. }) => stored,
            other => panic!("not stored: {other:?}"),
        }
    }

    pub fn progress(&self) -> Progress {
        let last = self.events.iter().rev().find_map(|event| match event {
            JobEvent::Progress { progress, .. } => Some(*progress),
            _ => None,
        });
        last.unwrap_or_default()
    }

    fn block(&self, hash: Hash) -> Option<Bytes> {
        self.holders.values().find_map(|holder| holder.held.get(&ShardId::block(hash)).map(|(body, _)| body.clone()))
    }

    /// Opens the manifest from what holders hold and walks its tree.
    pub fn read_manifest(&self, cid: Cid) -> (RootBody, Vec<StripeRecord>) {
        let root = manifest::open(cid, &self.block(cid.0).expect("the root is held")).expect("the root opens");
        let mut records = Vec::new();
        match &root.content {
            Content::Empty | Content::Inline { .. } => {}
            Content::Stripes(stripes) => records.clone_from(stripes),
            Content::Tree { children, .. } => {
                let mut queue: VecDeque<Hash> = children.iter().copied().collect();
                while let Some(hash) = queue.pop_front() {
                    let block = self.block(hash).expect("every block is held");
                    match manifest::open_node(hash, &block, root.shards()).expect("every block opens") {
                        Node::Leaf(leaf) => records.extend(leaf),
                        Node::Inner(children) => children.into_iter().rev().for_each(|child| queue.push_front(child)),
                    }
                }
            }
        }
        (root, records)
    }

    /// Checks a finished put against what the holders really hold.
    pub fn assert_durable(&self) {
        let stored = self.stored().clone();
        let (root, records) = self.read_manifest(stored.cid);
        assert_eq!(records.len(), self.records.len());
        let (k, n) = (usize::from(root.k), root.shards());
        let happy = usize::from(root.m).div_ceil(2);
        let promised = n.div_ceil(self.first_holders()) <= usize::from(root.m);
        let mut missing = 0;
        for (record, encoded) in records.iter().zip(self.records.values()) {
            assert_eq!((record.root, record.raw_len, record.codec), (encoded.root, encoded.raw_len, encoded.codec));
            let mut loads: BTreeMap<PeerId, usize> = BTreeMap::new();
            for (index, place) in (0u16..).zip(&record.placement).filter(|(_, place)| **place != NO_HOLDER) {
                let peer = root.holders[usize::from(*place)].peer;
                assert!(self.holders[&peer].held.contains_key(&record.shard(index)), "{peer:?} does not hold {index}");
                *loads.entry(peer).or_default() += 1;
            }
            let receipts: usize = loads.values().sum();
            missing += record.placement.len() - receipts;
            if record.codec != Codec::Zero {
                assert!(receipts >= k + happy, "{receipts} receipts of {n}");
                let most = loads.values().max().unwrap();
                assert!(!promised || receipts - most >= k, "one holder's loss is fatal: {most} of {receipts}");
                self.assert_survives(&loads, n, k);
            }
        }
        assert_eq!(stored.missing_shards, missing as u64);
    }

    /// No holder keeps a shard of a stripe that the manifest does not say it has.
    pub fn assert_no_orphans(&self) {
        let (root, records) = self.read_manifest(self.stored().cid);
        let mut named: BTreeSet<(PeerId, ShardId)> = BTreeSet::new();
        for record in &records {
            let placed = (0u16..).zip(&record.placement).filter(|(_, place)| **place != NO_HOLDER);
            named.extend(placed.map(|(index, place)| (root.holders[usize::from(*place)].peer, record.shard(index))));
        }
        for (peer, holder) in &self.holders {
            let data = holder.held.iter().filter(|(_, (_, kind))| *kind == ShardKind::Data);
            let orphans = data.filter(|(shard, _)| !named.contains(&(*peer, **shard))).count();
            assert_eq!(orphans, 0, "{:?} keeps shards that nobody will ask for", holder.manner);
        }
    }

    /// A full stripe within the cap survives the loss of any floor(m / c) holders.
    fn assert_survives(&self, loads: &BTreeMap<PeerId, usize>, n: usize, k: usize) {
        let cap = n.div_ceil(self.first_holders());
        let within = loads.values().all(|load| *load <= cap);
        if within && loads.values().sum::<usize>() == n {
            let mut sorted: Vec<_> = loads.values().copied().collect();
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            let lost: usize = sorted.iter().take((n - k) / cap).sum();
            assert!(n - lost >= k, "losing {} holders loses data", (n - k) / cap);
        }
    }

    /// Holders that were placed on at the beginning.
    pub fn first_holders(&self) -> usize {
        let placed = self.events.iter().find_map(|event| match event {
            JobEvent::Placed { holders, .. } => Some(holders.iter().collect::<BTreeSet<_>>().len()),
            _ => None,
        });
        placed.unwrap_or(1).max(1)
    }
}

/// A stripe of small shards, cut by hand: the uploader never looks at the bytes.
pub fn stripe(index: u64, (k, m): (u8, u8), raw_len: u32) -> (StripeRecord, Vec<(Bytes, StripeProof)>) {
    let body = |shard: u8| {
        let mut bytes = vec![shard; 64];
        bytes[..8].copy_from_slice(&index.to_le_bytes());
        Bytes::from(bytes)
    };
    let bodies: Vec<Bytes> = (0..k + m).map(body).collect();
    let tree = StripeTree::new(bodies.iter().map(|body| Hash::of(body)).collect());
    let root = tree.root();
    let record = StripeRecord { codec: Codec::Lz4, raw_len, ct_len: 64, shard_len: 64, root, placement: Vec::new() };
    (record, (0u16..).zip(bodies).map(|(index, body)| (body, tree.proof(index))).collect())
}

pub fn zero_stripe(raw_len: u32) -> (StripeRecord, Vec<(Bytes, StripeProof)>) {
    let root = Hash::default();
    (StripeRecord { codec: Codec::Zero, raw_len, ct_len: 0, shard_len: 0, root, placement: Vec::new() }, Vec::new())
}
