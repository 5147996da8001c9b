//! [`Book`]: the bounded peer database: records, and what this run knows beside them.

use crate::{domain, record::Record, standing::State};
use pangea_kernel::Draw;
use pangea_protocols::{
    Address, PeerId,
    time::{Time, UnixTime},
};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    time::Duration,
};

/// A peer: what is remembered, and what ends with this run.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Survives restarts.
    pub record: Record,
    /// The connection, if there is one.
    pub session: Option<Session>,
    /// A dial is under way since then; see [`Book::set_dialling`].
    pub dialling: Option<Time>,
    /// Not dialled before.
    pub next_dial: Time,
    /// Not dialled before, if this node has no connection at all.
    pub next_dial_isolated: Time,
    /// In the configuration: dialled first, never trimmed, never evicted.
    pub bootstrap: bool,
    /// Has or may soon have a transfer under way: not trimmed before.
    pub busy_until: Time,
    /// Refused lately: offered last.
    pub refused_until: Time,
    /// A peer exchange question that waits for its answer since then.
    pub asked: Option<Time>,
    /// Peer exchange frames it may still send.
    pub allowance: Bucket,
    /// Its record has changed since it was last taken to be saved.
    unsaved: bool,
    /// The prefix that its session counts for.
    prefix: Option<u64>,
}

/// A connection to a peer.
#[derive(Clone, Debug)]
pub struct Session {
    /// Where it is; `None` if this node learned of the connection from a frame.
    pub address: Option<Address>,
    /// Who dialled.
    pub inbound: bool,
    /// Since when.
    pub since: Time,
}

/// A token bucket.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    tokens: f64,
    at: Time,
}

impl Bucket {
    /// Frames that may come at once.
    pub const CAPACITY: f64 = 6.0;
    /// Time in which one more is allowed.
    pub const REFILL: Duration = Duration::from_secs(20);

    fn new(now: Time) -> Self {
        Self { tokens: Self::CAPACITY, at: now }
    }

    /// Takes a token; false if there is none.
    pub fn take(&mut self, now: Time) -> bool {
        let earned = now.since(self.at).as_secs_f64() / Self::REFILL.as_secs_f64();
        self.tokens = (self.tokens + earned).min(Self::CAPACITY);
        self.at = now;
        let taken = self.tokens >= 1.0;
        if taken {
            self.tokens -= 1.0;
        }
        taken
    }
}

impl Peer {
    fn new(record: Record, now: Time) -> Self {
        Self {
            record,
            session: None,
            dialling: None,
            next_dial: now,
            next_dial_isolated: now,
            bootstrap: false,
            busy_until: Time(0),
            refused_until: Time(0),
            asked: None,
            allowance: Bucket::new(now),
            unsaved: false,
            prefix: None,
        }
    }

    /// In the configuration, or added by the user.
    pub fn is_pinned(&self) -> bool {
        self.bootstrap || self.record.kept
    }

    /// Seconds of the present session.
    pub fn online_s(&self, now: Time) -> f64 {
        self.session.as_ref().map_or(0.0, |session| now.since(session.since).as_secs_f64())
    }

    /// Where it is, or was last reached, or is said to be.
    pub fn address(&self) -> Option<&Address> {
        let connected = self.session.as_ref().and_then(|session| session.address.as_ref());
        connected.or_else(|| self.record.addresses.first().map(|place| &place.address))
    }

    /// Where others may reach it: where this node has, or where it says it listens. Where it came from is no such place.
    pub fn dialable(&self) -> Option<&Address> {
        let dialled = self.session.as_ref().filter(|session| !session.inbound).and_then(|s| s.address.as_ref());
        dialled.or_else(|| self.record.addresses.first().map(|place| &place.address))
    }

    /// Its failure domain.
    pub fn domain(&self) -> u64 {
        domain::domain(self.record.peer, self.address())
    }

    fn may_be_forgotten(&self) -> bool {
        self.session.is_none() && self.dialling.is_none() && !self.is_pinned() && !self.record.banned_by_user
    }
}

/// All known peers, at most `limit`.
#[derive(Debug)]
pub struct Book {
    /// Boxed: the nodes of a tree have room for more entries than they hold.
    peers: BTreeMap<PeerId, Box<Peer>>,
    connected: BTreeSet<PeerId>,
    dialling: BTreeSet<PeerId>,
    pinned: BTreeSet<PeerId>,
    /// Connections by the prefixes that caps apply to.
    prefixes: BTreeMap<u64, usize>,
    limit: usize,
}

impl Book {
    /// An empty book for at most `limit` peers.
    pub fn new(limit: usize) -> Self {
        let [connected, dialling, pinned] = [const { BTreeSet::new() }; 3];
        Self { peers: BTreeMap::new(), connected, dialling, pinned, prefixes: BTreeMap::new(), limit: limit.max(1) }
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// True if none is.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Read one.
    pub fn get(&self, peer: PeerId) -> Option<&Peer> {
        self.peers.get(&peer).map(|found| &**found)
    }

    /// Change one; its record will be saved.
    pub fn change(&mut self, peer: PeerId) -> Option<&mut Peer> {
        let found = self.peers.get_mut(&peer)?;
        found.unsaved = true;
        Some(found)
    }

    /// Change what is not saved of one.
    pub fn touch(&mut self, peer: PeerId) -> Option<&mut Peer> {
        self.peers.get_mut(&peer).map(|found| &mut **found)
    }

    /// All, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values().map(|peer| &**peer)
    }

    /// Those that are connected, in the order of their ids.
    pub fn connected(&self) -> impl Iterator<Item = &Peer> {
        self.connected.iter().filter_map(|peer| self.get(*peer))
    }

    /// How many are connected.
    pub fn connected_len(&self) -> usize {
        self.connected.len()
    }

    /// Those that the owner of this node has named, in the order of their ids.
    pub fn pinned(&self) -> impl Iterator<Item = &Peer> {
        self.pinned.iter().filter_map(|peer| self.get(*peer))
    }

    /// Marks a known peer as named by the owner of this node.
    pub fn pin(&mut self, peer: PeerId, mark: impl Fn(&mut Peer)) -> Option<&mut Peer> {
        let found = self.peers.get_mut(&peer)?;
        mark(found);
        self.pinned.insert(peer);
        Some(found)
    }

    /// Those to whom a dial is under way, in the order of their ids.
    pub fn dialling(&self) -> impl Iterator<Item = &Peer> {
        self.dialling.iter().filter_map(|peer| self.get(*peer))
    }

    /// How many dials are under way.
    pub fn dialling_len(&self) -> usize {
        self.dialling.len()
    }

    /// Begins or ends a dial to a known peer.
    pub fn set_dialling(&mut self, peer: PeerId, since: Option<Time>) {
        let Some(found) = self.peers.get_mut(&peer) else { return };
        found.dialling = since;
        match since {
            Some(_) => self.dialling.insert(peer),
            None => self.dialling.remove(&peer),
        };
    }

    /// Connections by the prefixes that caps apply to (see [`domain::capped_prefix`]).
    pub fn prefixes(&self) -> &BTreeMap<u64, usize> {
        &self.prefixes
    }

    /// Begins or ends a session, and returns the one that was.
    pub fn set_session(&mut self, peer: PeerId, session: Option<Session>) -> Option<Session> {
        let found = self.peers.get_mut(&peer)?;
        let old = std::mem::replace(&mut found.session, session);
        if let Some(prefix) = found.prefix.take()
            && let Entry::Occupied(mut count) = self.prefixes.entry(prefix)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        if found.session.is_some() {
            found.prefix = found.address().and_then(domain::capped_prefix);
            found.prefix.into_iter().for_each(|prefix| *self.prefixes.entry(prefix).or_default() += 1);
            self.connected.insert(peer);
        } else {
            self.connected.remove(&peer);
        }
        old
    }

    /// The peer, made if it is not known; `None` if the book is full of peers that must not be forgotten.
    pub fn enter(&mut self, peer: PeerId, now: Time, unix: UnixTime, draw: &mut Draw) -> Option<&mut Peer> {
        if !self.peers.contains_key(&peer) {
            self.insert(Record::new(peer, unix.0), now, draw)?;
        }
        self.change(peer)
    }

    /// Puts a record in; an older one of the same peer is replaced, its session stays.
    pub fn insert(&mut self, record: Record, now: Time, draw: &mut Draw) -> Option<&mut Peer> {
        let peer = record.peer;
        if self.peers.len() >= self.limit && !self.peers.contains_key(&peer) && !self.evict(draw) {
            return None;
        }
        if record.kept {
            self.pinned.insert(peer);
        }
        let entry = self.peers.entry(peer).or_insert_with(|| Box::new(Peer::new(record.clone(), now)));
        entry.record = record;
        Some(entry)
    }

    /// Up to `max` records that changed since they were last taken.
    pub fn take_unsaved(&mut self, max: usize) -> Vec<Record> {
        let unsaved = self.peers.values_mut().filter(|peer| peer.unsaved).take(max);
        let save = |peer: &mut Box<Peer>| {
            peer.unsaved = false;
            peer.record.clone()
        };
        unsaved.map(save).collect()
    }

    /// Forgets the least useful sixteenth, so that not every newcomer costs a look at all: peers never met before those
    /// met, unreachable before untried, long gone before recent. Among equals chance decides, so that a flood of names
    /// cannot aim at one.
    fn evict(&mut self, draw: &mut Draw) -> bool {
        let mut rows: Vec<_> = self.iter().filter(|peer| peer.may_be_forgotten()).map(rank).collect();
        draw.shuffle(&mut rows);
        let count = (self.limit / 16).max(1).min(rows.len());
        if count < rows.len() {
            rows.select_nth_unstable_by_key(count, |(rank, _)| *rank);
            rows.truncate(count);
        }
        for (_, peer) in &rows {
            self.peers.remove(peer);
        }
        !rows.is_empty()
    }
}

/// What is forgotten first sorts first.
fn rank(peer: &Peer) -> ((bool, std::cmp::Reverse<u32>, bool, u64), PeerId) {
    let record = &peer.record;
    let failures = if record.was_seen() { 0 } else { record.dial_failures };
    ((record.was_seen(), std::cmp::Reverse(failures), record.state == State::Good, record.last_seen_unix), record.peer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_kernel::Seed;

    fn id(n: u32) -> PeerId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        PeerId(bytes)
    }

    #[test]
    fn a_flood_of_names_pushes_out_names_and_nobody_that_was_met() {
        let (mut book, mut draw) = (Book::new(200), Seed::new([1; 32]).draw());
        for n in 0..100 {
            book.enter(id(n), Time(0), UnixTime(5), &mut draw).unwrap().record.last_seen_unix = 5;
        }
        for n in 100..5000 {
            book.enter(id(n), Time(0), UnixTime(6), &mut draw).unwrap();
            assert!(book.len() <= 200);
        }
        assert!((0..100).all(|n| book.get(id(n)).is_some()));
    }

    #[test]
    fn a_full_book_makes_room_for_several_newcomers_at_once_and_stays_nearly_full() {
        let (mut book, mut draw) = (Book::new(160), Seed::new([1; 32]).draw());
        for n in 0..1000 {
            book.enter(id(n), Time(0), UnixTime(6), &mut draw).unwrap();
            assert!(n < 160 || (151..=160).contains(&book.len()), "{}", book.len());
        }
    }

    #[test]
    fn what_was_saved_is_saved_again_once_it_has_changed() {
        let (mut book, mut draw) = (Book::new(10), Seed::new([1; 32]).draw());
        (0..3).for_each(|n| _ = book.enter(id(n), Time(0), UnixTime(5), &mut draw));
        let saved = [book.take_unsaved(2), book.take_unsaved(2), book.take_unsaved(2)].map(|records| records.len());
        assert_eq!(saved, [2, 1, 0]);
        book.touch(id(1)).unwrap().busy_until = Time(1);
        assert!(book.take_unsaved(9).is_empty());
        let before = book.get(id(1)).unwrap().record.clone();
        book.change(id(1)).unwrap().record.verified = 7;
        let saved = book.take_unsaved(9);
        assert_eq!((saved.len(), saved[0].verified, before.verified), (1, 7, 0));
    }

    #[test]
    fn pinned_connected_and_banned_peers_are_never_forgotten_and_a_full_book_says_so() {
        let (mut book, mut draw) = (Book::new(3), Seed::new([1; 32]).draw());
        book.enter(id(1), Time(0), UnixTime(5), &mut draw).unwrap().bootstrap = true;
        book.enter(id(2), Time(0), UnixTime(5), &mut draw).unwrap().record.banned_by_user = true;
        book.enter(id(3), Time(0), UnixTime(5), &mut draw).unwrap();
        book.set_session(id(3), Some(Session { address: None, inbound: true, since: Time(0) }));
        assert!(book.enter(id(4), Time(0), UnixTime(5), &mut draw).is_none());
        book.set_session(id(3), None);
        assert!(book.enter(id(4), Time(0), UnixTime(5), &mut draw).is_some());
        assert!(book.get(id(3)).is_none());
    }

    #[test]
    fn connections_are_counted_by_prefix_from_their_beginning_to_their_end() {
        let (mut book, mut draw) = (Book::new(9), Seed::new([1; 32]).draw());
        let session = |text: &str| Some(Session { address: text.parse().ok(), inbound: true, since: Time(0) });
        for (n, at) in
            ["/ip4/203.0.113.1/udp/1", "/ip4/203.0.113.2/udp/1", "/ip4/198.51.100.1/udp/1", "/ip4/10.0.0.1/udp/1"]
                .into_iter()
                .enumerate()
        {
            book.enter(id(n as u32), Time(0), UnixTime(5), &mut draw).unwrap();
            book.set_session(id(n as u32), session(at));
        }
        assert_eq!(book.prefixes().values().copied().collect::<Vec<_>>(), [1, 2], "private networks are not counted");
        book.set_session(id(0), session("/ip4/198.51.100.2/udp/1"));
        assert_eq!(book.prefixes().values().copied().collect::<Vec<_>>(), [2, 1], "a session that replaces another");
        (0..4).for_each(|n| _ = book.set_session(id(n), None));
        assert!(book.prefixes().is_empty() && book.connected_len() == 0);
    }

    #[test]
    fn a_bucket_refuses_the_seventh_frame_and_refills_with_time() {
        let mut bucket = Bucket::new(Time(0));
        assert!((0..6).all(|_| bucket.take(Time(0))));
        assert!(!bucket.take(Time(0)));
        assert!(bucket.take(Time(0) + Bucket::REFILL));
        assert!(!bucket.take(Time(0) + Bucket::REFILL));
    }
}
