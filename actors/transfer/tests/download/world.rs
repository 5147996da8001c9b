//! A small world: one downloader, a receiver in the place of CES, holders with vices, and a virtual clock.

use crate::object::{Object, Shelf, peer};
use bytes::Bytes;
use pangea_kernel::testbed::Testbed;
use pangea_protocols::{
    Address, JobId, PeerId,
    job::{JobError, JobEvent, Outcome},
    manifest::RootBody,
    net::{Command, SendError},
    time::Time,
    wire::{
        Frame, Message,
        fetch::{Fetch, Item, MissingReason},
        have::Have,
        store::Store,
    },
};
use pangea_transfer::{
    api::{
        Report,
        download::{In, Out},
    },
    download::Downloader,
};
use std::{collections::BTreeMap, time::Duration};

pub const JOB: JobId = JobId(1);
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// How a holder behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vice {
    /// Answers what it has.
    None,
    /// Takes requests and never answers.
    Silent,
    /// Cannot be reached.
    Dead,
    /// Answers this many milliseconds later than it could.
    Slow(u64),
    /// Flips a bit of every body.
    LyingBytes,
    /// Sends shard bytes with another shard's proof, and blocks with a flipped bit.
    WrongProof,
    /// Says it has nothing.
    Missing,
    /// Says that its disk returned other bytes.
    Corrupt,
    /// Refuses its first requests.
    Busy(u32),
}

/// A peer of the world.
pub struct Holder {
    pub vice: Vice,
    pub shelf: Shelf,
    pub latency: Duration,
    /// Bytes per second; 0 for no limit.
    pub rate: u64,
    free_at: Time,
    connected: bool,
}

/// What happens later.
enum Later {
    Event(In),
    /// An answer to request `id`, which `Cancel` takes back.
    Answer(u64, In),
    Change(PeerId, Vice),
    Drop(PeerId),
    Return(PeerId),
}

/// The world.
pub struct World {
    pub bed: Testbed<Downloader>,
    pub object: Object,
    pub holders: BTreeMap<PeerId, Holder>,
    later: BTreeMap<(Time, u64), Later>,
    order: u64,
    /// Which stripes the receiver asks for when it gets the root.
    pub need: Vec<std::ops::Range<u64>>,
    /// The receiver takes this long for a stripe; `None`: for ever.
    pub consume_after: Option<Duration>,
    pub providers: Vec<PeerId>,
    pub root: Option<RootBody>,
    pub delivered: Vec<u64>,
    pub parity_used: usize,
    pub first_stripe_at: Option<Time>,
    pub last_stripe_at: Time,
    pub reports: Vec<(PeerId, Report)>,
    pub tallies: Vec<(Time, u64, u64, u64)>,
    pub sent: Vec<(PeerId, Message)>,
    /// Where those who were dialled were said to be.
    pub dials: BTreeMap<PeerId, Vec<Address>>,
    pub failed: Option<JobError>,
    pub removed: Option<(u64, Vec<PeerId>)>,
    /// Root and placement.
    pub surveyed: Option<(RootBody, Vec<u8>)>,
    /// Shards of the node itself.
    pub own: u64,
    pub window_peak: u64,
}

impl World {
    /// Every holder of the object is honest, 5 ms away and not connected.
    pub fn new(object: Object) -> Self {
        Self::at(peer(200), object)
    }

    /// The same, for a downloader of this node.
    pub fn at(me: PeerId, object: Object) -> Self {
        let holders = object.shelves.iter().map(|(name, shelf)| {
            let latency = Duration::from_millis(5);
            let (vice, shelf) = (Vice::None, shelf.clone());
            (*name, Holder { vice, shelf, latency, rate: 0, free_at: Time(0), connected: false })
        });
        Self {
            bed: Testbed::new(Downloader::new(me)),
            holders: holders.collect(),
            later: BTreeMap::new(),
            order: 0,
            need: std::iter::once(0..object.plan.stripes).collect(),
            consume_after: Some(Duration::ZERO),
            providers: Vec::new(),
            root: None,
            delivered: Vec::new(),
            parity_used: 0,
            first_stripe_at: None,
            last_stripe_at: Time(0),
            reports: Vec::new(),
            tallies: Vec::new(),
            sent: Vec::new(),
            dials: BTreeMap::new(),
            failed: None,
            removed: None,
            surveyed: None,
            own: 0,
            window_peak: 0,
            object,
        }
    }

    pub fn vice(mut self, n: u8, vice: Vice) -> Self {
        self.holders.get_mut(&peer(n)).unwrap().vice = vice;
        self
    }

    /// From then on.
    pub fn change(&mut self, at: Duration, n: u8, vice: Vice) {
        self.schedule(Time(0) + at, Later::Change(peer(n), vice));
    }

    /// The connection breaks.
    pub fn cut(&mut self, at: Duration, n: u8) {
        self.schedule(Time(0) + at, Later::Drop(peer(n)));
    }

    /// It comes back honest, and connects by itself.
    pub fn bring_back(&mut self, at: Duration, n: u8) {
        self.schedule(Time(0) + at, Later::Return(peer(n)));
    }

    /// Connects all that can be.
    pub fn connect_all(&mut self) {
        let names: Vec<PeerId> = self.holders.keys().copied().collect();
        names.into_iter().for_each(|name| self.connect(name));
    }

    /// Opens with these hints and runs until all is delivered or the job fails, or nothing happens any more.
    pub fn get(&mut self, hints: &[u8]) -> &mut Self {
        let cid = self.object.cid;
        self.send(In::Open { job: JOB, cid, hints: hints_of(hints), timeout: TIMEOUT });
        self.run();
        self
    }

    pub fn survey(&mut self, hints: &[u8]) -> &mut Self {
        let cid = self.object.cid;
        self.send(In::Survey { job: JOB, cid, hints: hints_of(hints), timeout: TIMEOUT });
        self.run();
        self
    }

    /// Reads one stripe, knowing that others will be read.
    pub fn get_part(&mut self, stripe: u64, hints: &[u8]) -> &mut Self {
        (self.need, self.root) = (std::iter::once(stripe..stripe + 1).collect(), None);
        self.delivered.clear();
        let cid = self.object.cid;
        self.send(In::OpenPart { job: JOB, cid, hints: hints_of(hints), timeout: TIMEOUT });
        self.run();
        self
    }

    pub fn remove(&mut self, hints: &[u8]) -> &mut Self {
        let cid = self.object.cid;
        self.send(In::Remove { job: JOB, cid, hints: hints_of(hints) });
        self.run();
        self
    }

    pub fn expected(&self) -> usize {
        self.need.iter().map(|range| usize::try_from(range.end - range.start).unwrap()).sum()
    }

    pub fn is_whole(&self) -> bool {
        self.root.is_some() && self.delivered.len() == self.expected()
    }

    /// Runs until the job is whole or over, at most for ten minutes of virtual time.
    pub fn run(&mut self) {
        let limit = self.bed.now() + Duration::from_secs(600);
        let over = |world: &Self| world.failed.is_some() || world.removed.is_some() || world.surveyed.is_some();
        while !self.is_whole() && !over(self) && self.bed.now() < limit {
            if !self.step() {
                return;
            }
        }
    }

    /// What happens next; false if nothing does.
    pub fn step(&mut self) -> bool {
        let event = self.later.keys().next().map(|(at, _)| *at);
        let next = match (event, self.bed.next_timer()) {
            (Some(event), Some(timer)) => event.min(timer),
            (Some(at), None) | (None, Some(at)) => at,
            (None, None) => return false,
        };
        let outs = self.bed.advance(next.since(self.bed.now()));
        self.take(outs);
        while let Some(key) = self.later.keys().next().copied().filter(|(at, _)| *at <= self.bed.now()) {
            match self.later.remove(&key).unwrap() {
                Later::Event(event) | Later::Answer(_, event) => self.send(event),
                Later::Change(name, vice) => self.holders.get_mut(&name).unwrap().vice = vice,
                Later::Drop(name) => self.disconnect(name),
                Later::Return(name) => {
                    self.holders.get_mut(&name).unwrap().vice = Vice::None;
                    self.connect(name);
                }
            }
        }
        true
    }

    /// Ends the job and checks that nothing is left of it.
    pub fn close(&mut self) {
        self.send(In::Close { job: JOB });
        assert!(self.bed.core.is_idle(), "a closed job leaves nothing behind");
        assert_eq!(self.bed.core.window_bytes(JOB), 0);
        assert_eq!(self.bed.next_timer(), None, "no timer outlives its job");
    }

    pub fn send(&mut self, event: In) {
        let outs = self.bed.send(event);
        self.take(outs);
    }

    fn connect(&mut self, name: PeerId) {
        let holder = self.holders.get_mut(&name).unwrap();
        if !holder.connected && holder.vice != Vice::Dead {
            holder.connected = true;
            self.send(In::Connected { peer: name });
        }
    }

    fn disconnect(&mut self, name: PeerId) {
        let holder = self.holders.get_mut(&name).unwrap();
        holder.vice = Vice::Dead;
        holder.connected = false;
        self.later.retain(|_, later| !matches!(later, Later::Answer(_, In::Received { peer, .. }) if *peer == name));
        self.send(In::Disconnected { peer: name });
    }

    fn schedule(&mut self, at: Time, later: Later) {
        self.order += 1;
        self.later.insert((at, self.order), later);
    }

    fn take(&mut self, outs: Vec<Out>) {
        self.window_peak = self.window_peak.max(self.bed.core.window_bytes(JOB));
        for out in outs {
            self.take_one(out);
        }
    }

    fn take_one(&mut self, out: Out) {
        let now = self.bed.now();
        match out {
            Out::Root { job, root } => {
                self.root = Some(root);
                let ranges = self.need.clone();
                ranges.into_iter().for_each(|stripes| self.schedule(now, Later::Event(In::Need { job, stripes })));
            }
            Out::Stripe { job, index, record, shards } => {
                self.object.check(index, &record, &shards);
                self.delivered.push(index);
                self.parity_used += shards.iter().filter(|(at, _)| *at >= u16::from(self.object.plan.k)).count();
                self.first_stripe_at.get_or_insert(now);
                self.last_stripe_at = now;
                if let Some(pause) = self.consume_after {
                    self.schedule(now + pause, Later::Event(In::Consumed { job, index }));
                }
            }
            Out::Net(command) => self.on_net(command),
            Out::Report { peer, report } => self.reports.push((peer, report)),
            Out::Tally { shards, healed, hedged, own, .. } => {
                self.tallies.push((now, shards, healed, hedged));
                self.own = own;
            }
            Out::Surveyed { root, placement, .. } => self.surveyed = Some((*root, placement)),
            Out::Job(JobEvent::Failed { error, .. }) => self.failed = Some(error),
            Out::Job(JobEvent::Done { outcome: Outcome::Removed { shards, unreachable }, .. }) => {
                self.removed = Some((shards, unreachable));
            }
            Out::Job(_) | Out::CancelDecode { .. } | Out::Rank { .. } => {}
        }
    }

    fn on_net(&mut self, command: Command) {
        let now = self.bed.now();
        match command {
            Command::Dial { peer, addresses } => {
                self.dials.insert(peer, addresses);
                self.on_dial(peer);
            }
            Command::FindProviders { query, .. } => {
                let providers = self.providers.iter().map(|peer| (*peer, Vec::new())).collect();
                let event = In::Providers { query, providers, done: true };
                self.schedule(now + Duration::from_millis(20), Later::Event(event));
            }
            Command::Send { peer, tag, frame, .. } => {
                frame.head().unwrap();
                self.sent.push((peer, frame.message.clone()));
                let reachable = self.holders.get(&peer).is_some_and(|holder| holder.vice != Vice::Dead);
                if !reachable {
                    let event = In::SendFailed { peer, tag, error: SendError::Unreachable };
                    return self.schedule(now + Duration::from_millis(50), Later::Event(event));
                }
                self.on_dial(peer);
                self.schedule(now + self.holders[&peer].latency, Later::Event(In::Sent { peer, tag }));
                self.on_frame(peer, frame.message);
            }
            _ => {}
        }
    }

    fn on_dial(&mut self, name: PeerId) {
        let now = self.bed.now();
        let Some(holder) = self.holders.get_mut(&name).filter(|holder| holder.vice != Vice::Dead) else {
            return self.schedule(now + Duration::from_millis(50), Later::Event(In::DialFailed { peer: name }));
        };
        if !holder.connected {
            holder.connected = true;
            let at = now + holder.latency;
            self.schedule(at, Later::Event(In::Connected { peer: name }));
        }
    }

    fn on_frame(&mut self, name: PeerId, message: Message) {
        let holder = self.holders.get_mut(&name).unwrap();
        if holder.vice == Vice::Silent {
            return;
        }
        let is_question = matches!(&message, Message::Have(_) | Message::Store(_));
        let waits = |later: &&Later| match later {
            Later::Answer(_, In::Received { peer, frame }) => {
                *peer == name && matches!(frame.message, Message::Have(_) | Message::Store(_))
            }
            _ => false,
        };
        assert!(!is_question || self.later.values().filter(waits).count() < 8, "a holder would refuse so many");
        match message {
            Message::Fetch(Fetch::Get { items }) => items.into_iter().for_each(|item| self.on_get(name, item)),
            Message::Fetch(Fetch::Cancel { requests }) => {
                self.later.retain(|_, later| !matches!(later, Later::Answer(id, _) if requests.contains(id)));
            }
            Message::Have(Have::Want { request, shards }) => {
                let mut present = vec![0u8; shards.len().div_ceil(8)];
                for (at, shard) in shards.iter().enumerate() {
                    let held = holder.shelf.contains_key(shard) && holder.vice != Vice::Missing;
                    present[at / 8] |= u8::from(held) << (at % 8);
                }
                self.answer(name, request, Message::Have(Have::Have { request, present }), Bytes::new());
            }
            Message::Store(Store::Drop { request, shards }) => {
                let count = shards.iter().filter(|shard| holder.shelf.remove(shard).is_some()).count();
                let dropped = Store::Dropped { request, count: u32::try_from(count).unwrap() };
                self.answer(name, request, Message::Store(dropped), Bytes::new());
            }
            _ => {}
        }
    }

    fn on_get(&mut self, name: PeerId, item: Item) {
        let holder = self.holders.get_mut(&name).unwrap();
        let (request, shard) = (item.request, item.shard);
        let reason = match &mut holder.vice {
            Vice::Missing => Some(MissingReason::NotHeld),
            Vice::Corrupt => Some(MissingReason::Corrupt),
            Vice::Busy(left) if *left > 0 => {
                *left -= 1;
                Some(MissingReason::Busy)
            }
            _ if !holder.shelf.contains_key(&shard) => Some(MissingReason::NotHeld),
            _ => None,
        };
        if let Some(reason) = reason {
            return self.answer(name, request, Message::Fetch(Fetch::Missing { request, reason }), Bytes::new());
        }
        let (mut body, mut stripe) = holder.shelf[&shard].clone();
        let flip = holder.vice == Vice::LyingBytes || (holder.vice == Vice::WrongProof && stripe.total == 1);
        if flip {
            let mut bytes = body.to_vec();
            bytes[0] ^= 1;
            body = bytes.into();
        } else if holder.vice == Vice::WrongProof {
            stripe.path.reverse();
            stripe.path.push(pangea_protocols::Hash::default());
        }
        let range = pangea_protocols::merkle::RangeProof::whole(u32::try_from(body.len()).unwrap());
        self.answer(name, request, Message::Fetch(Fetch::Found { request, shard, stripe, range }), body);
    }

    fn answer(&mut self, name: PeerId, request: u64, message: Message, body: Bytes) {
        let now = self.bed.now();
        let holder = self.holders.get_mut(&name).unwrap();
        let slow = if let Vice::Slow(millis) = holder.vice { Duration::from_millis(millis) } else { Duration::ZERO };
        let start = holder.free_at.max(now + holder.latency);
        let busy = (body.len() as u64 * 1_000_000_000).checked_div(holder.rate).unwrap_or(0);
        holder.free_at = start + Duration::from_nanos(busy);
        let at = holder.free_at + holder.latency + slow;
        self.schedule(at, Later::Answer(request, In::Received { peer: name, frame: Frame { message, body } }));
    }
}

pub fn hints_of(hints: &[u8]) -> Vec<(PeerId, Address)> {
    let address = |n: &u8| Address::try_from(format!("/ip4/192.0.2.{n}/udp/4001/quic-v1")).unwrap();
    hints.iter().map(|n| (peer(*n), address(n))).collect()
}
