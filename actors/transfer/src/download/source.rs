//! [`Sources`]: what one job knows of the peers it may ask, and how soon each would deliver.
//!
//! The estimate is `latency + (bytes asked + bytes new) / rate`, and never less than the age of the oldest request
//! the peer has not answered: a peer that falls silent becomes expensive by itself, one that answers cheap again.
//! Decides nothing; who is asked for what is in [`super::stripe`] and [`super::block`].

use super::limits::*;
use crate::api::Candidate;
use pangea_protocols::{PeerId, time::Time};
use std::{collections::BTreeMap, time::Duration};

/// All peers of one job.
#[derive(Debug)]
pub(super) struct Sources {
    me: PeerId,
    peers: BTreeMap<PeerId, Source>,
}

/// One peer.
#[derive(Debug)]
pub(super) struct Source {
    /// As far as the network has told.
    pub connected: bool,
    /// Named by the ticket, the DHT or the manifest, or it said that it has something of the object: worth a dial.
    pub likely: bool,
    /// It has answered anything in this job.
    pub answered: bool,
    /// It sent a wrong proof, or does not speak the protocol: not asked again in this job.
    excluded: bool,
    down_until: Option<Time>,
    failures: u8,
    busy_until: Option<Time>,
    busy_streak: u32,
    outstanding: BTreeMap<u64, (Time, u32)>,
    outstanding_bytes: u64,
    latency_s: f64,
    rate: f64,
    took_s: Option<f64>,
    /// When bytes last came from it.
    pub last_answer: Time,
}

impl Sources {
    /// None. This node may be one of them: it is near.
    pub fn new(me: PeerId) -> Self {
        Self { me, peers: BTreeMap::new() }
    }

    /// Is it this node?
    pub fn is_me(&self, peer: PeerId) -> bool {
        peer == self.me
    }

    /// Makes sure a peer is known; false if the table is full.
    pub fn learn(&mut self, peer: PeerId, likely: bool) -> bool {
        if let Some(source) = self.peers.get_mut(&peer) {
            source.likely |= likely;
            return true;
        }
        // Strangers leave room for the holders that the manifest will name.
        if self.peers.len() >= if likely { SOURCES_MAX } else { STRANGERS_MAX } {
            return false;
        }
        let mut source = Source::new(likely);
        if peer == self.me {
            (source.connected, source.latency_s, source.rate) = (true, OWN_LATENCY_S, OWN_RATE);
        }
        self.peers.insert(peer, source);
        true
    }

    /// One peer.
    pub fn get(&self, peer: PeerId) -> Option<&Source> {
        self.peers.get(&peer)
    }

    /// All, in order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (PeerId, &Source)> {
        self.peers.iter().map(|(peer, source)| (*peer, source))
    }

    /// A connection came up, or bytes prove that one exists.
    pub fn on_connected(&mut self, peer: PeerId) {
        if let Some(source) = self.peers.get_mut(&peer) {
            source.connected = true;
            source.down_until = None;
            source.failures = 0;
        }
    }

    /// It cannot be reached, or does not answer. Told twice of one failure, it counts once.
    pub fn on_down(&mut self, peer: PeerId, connected: bool, now: Time) {
        if let Some(source) = self.peers.get_mut(&peer) {
            source.connected = connected;
            if source.down_until.is_none_or(|until| until <= now) {
                source.down_until = Some(now + BACKOFF * (1 << source.failures.min(4)));
                source.failures = source.failures.saturating_add(1);
            }
        }
    }

    /// It has too much to do.
    pub fn on_busy(&mut self, peer: PeerId, now: Time) {
        if let Some(source) = self.peers.get_mut(&peer) {
            source.busy_until = Some(now + BUSY_MAX.min(BUSY * (1 << source.busy_streak.min(6))));
            source.busy_streak += 1;
        }
    }

    /// It is not asked again in this job.
    pub fn exclude(&mut self, peer: PeerId) {
        if let Some(source) = self.peers.get_mut(&peer) {
            source.excluded = true;
        }
    }

    /// What the peer manager remembers; own observations weigh more.
    pub fn on_ranked(&mut self, candidate: &Candidate) {
        let Some(source) = self.peers.get_mut(&candidate.peer).filter(|source| source.took_s.is_none()) else { return };
        if let Some(rtt) = candidate.rtt {
            source.latency_s = rtt.as_secs_f64();
        }
        if candidate.goodput.is_finite() && candidate.goodput > 1e4 {
            source.rate = candidate.goodput;
        }
    }

    /// A request left.
    pub fn on_asked(&mut self, peer: PeerId, id: u64, bytes: u32, now: Time) {
        if let Some(source) = self.peers.get_mut(&peer) {
            source.outstanding.insert(id, (now, bytes));
            source.outstanding_bytes += u64::from(bytes);
        }
    }

    /// `bytes` arrived in answer to a request.
    pub fn on_answered(&mut self, peer: PeerId, id: u64, bytes: usize, now: Time) {
        let Some(source) = self.peers.get_mut(&peer) else { return };
        let Some((sent, _)) = source.take(id) else { return };
        source.measure(sent, bytes, now);
        source.last_answer = now;
        source.failures = 0;
        source.busy_streak = 0;
    }

    /// A request is over without bytes; `waited` if the peer let it become late.
    pub fn on_dropped(&mut self, peer: PeerId, id: u64, waited: bool, now: Time) {
        let Some(source) = self.peers.get_mut(&peer) else { return };
        if let Some((sent, _)) = source.take(id)
            && waited
        {
            // At least this slow: without it a holder whose late answers are always cancelled stays unknown.
            source.latency_s = ewma(source.latency_s, now.since(sent).as_secs_f64().max(source.latency_s));
        }
    }

    /// It said something that it was asked for: it is there.
    pub fn on_heard(&mut self, peer: PeerId) {
        if let Some(source) = self.peers.get_mut(&peer) {
            source.answered = true;
            source.connected = true;
            source.down_until = None;
        }
    }

    /// True if it may be asked now for `bytes` more.
    pub fn ready(&self, peer: PeerId, bytes: u32, now: Time) -> bool {
        self.peers.get(&peer).is_some_and(|source| source.usable(now) && source.has_room(bytes))
    }

    /// True if it may be asked now or later without anything new happening to it.
    pub fn hopeful(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(|source| !source.excluded && !source.given_up())
    }

    /// True if it never may be asked again in this job.
    pub fn excluded(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(|source| source.excluded)
    }

    /// True if it could not be reached or did not answer lately.
    pub fn down(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(|source| source.down_until.is_some() && !source.excluded)
    }

    /// True if it has not answered all it was asked: dead peers look like this before their connection is given up.
    pub fn owes(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(|source| !source.outstanding.is_empty())
    }

    /// Seconds until `bytes` would arrive.
    pub fn estimate(&self, peer: PeerId, bytes: u32, now: Time) -> f64 {
        self.peers.get(&peer).map_or(f64::INFINITY, |source| source.estimate(bytes, now))
    }

    /// How long to wait for an answer before asking somebody else. A peer that never delivered gets no credit for being
    /// slow, only for what it has to send first.
    pub fn patience(&self, peer: PeerId) -> Duration {
        let expected = self.peers.get(&peer).map_or(0.0, |source| source.took_s.unwrap_or_else(|| source.queue_s(0)));
        Duration::from_secs_f64((3.0 * expected).clamp(0.0, HEDGE_MAX.as_secs_f64())).max(HEDGE_MIN)
    }

    /// When the next peer that is down or busy may be asked again.
    pub fn next_retry(&self, now: Time) -> Option<Time> {
        let hopeful = self.peers.values().filter(|source| !source.excluded && !source.given_up());
        hopeful.flat_map(|source| [source.down_until, source.busy_until]).flatten().filter(|at| *at > now).min()
    }
}

impl Source {
    fn new(likely: bool) -> Self {
        Self {
            connected: false,
            likely,
            answered: false,
            excluded: false,
            down_until: None,
            failures: 0,
            busy_until: None,
            busy_streak: 0,
            outstanding: BTreeMap::new(),
            outstanding_bytes: 0,
            latency_s: LATENCY_S,
            rate: RATE,
            took_s: None,
            last_answer: Time(0),
        }
    }

    /// May be asked now.
    pub fn usable(&self, now: Time) -> bool {
        let waiting = |until: Option<Time>| until.is_some_and(|until| now < until);
        !self.excluded && !self.given_up() && !waiting(self.down_until) && !waiting(self.busy_until)
    }

    fn given_up(&self) -> bool {
        self.down_until.is_some() && self.failures > RETRIES_MAX
    }

    fn has_room(&self, bytes: u32) -> bool {
        self.outstanding.is_empty()
            || (self.outstanding.len() < HOLDER_ITEMS_MAX
                && self.outstanding_bytes + u64::from(bytes) <= HOLDER_BYTES_MAX)
    }

    fn estimate(&self, bytes: u32, now: Time) -> f64 {
        let dial = if self.connected { 0.0 } else { DIAL_PENALTY_S };
        let oldest = self.outstanding.values().next().map_or(0.0, |(sent, _)| now.since(*sent).as_secs_f64());
        (dial + self.latency_s + self.queue_s(bytes)).max(oldest)
    }

    fn queue_s(&self, bytes: u32) -> f64 {
        (self.outstanding_bytes + u64::from(bytes)) as f64 / self.rate
    }

    fn take(&mut self, id: u64) -> Option<(Time, u32)> {
        let (sent, bytes) = self.outstanding.remove(&id)?;
        self.outstanding_bytes -= u64::from(bytes);
        Some((sent, bytes))
    }

    /// An answer to a request that found the peer idle measures latency; one behind others measures the rate.
    fn measure(&mut self, sent: Time, bytes: usize, now: Time) {
        let took = now.since(sent).as_secs_f64();
        if self.last_answer <= sent {
            self.latency_s = ewma(self.latency_s, took);
        } else {
            let alone = now.since(self.last_answer).as_secs_f64().max(1e-4);
            self.rate = ewma(self.rate, (bytes as f64 / alone).clamp(1e4, 1e10));
        }
        self.took_s = Some(self.took_s.map_or(took, |before| ewma(before, took)));
    }
}

/// Half the weight on the newest quarter: quick to learn, and one outlier is forgotten after a few answers.
fn ewma(before: f64, sample: f64) -> f64 {
    before + 0.25 * (sample - before)
}
