//! Reads for others: a bounded queue for each peer, and turns between the peers, so that one that asks for much does
//! not delay one that asks for little.

use crate::config::Config;
use pangea_protocols::{PeerId, wire::fetch::Item};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
};

/// A read at the disk.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Who asked.
    pub peer: PeerId,
    /// For what.
    pub item: Item,
    /// False if it was cancelled or the peer is gone.
    pub wanted: bool,
}

/// Whether an item was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It waits for its turn.
    Waiting,
    /// There is too much.
    Busy,
    /// The peer has an open request with this number.
    Reused,
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Item>,
    /// Numbers of requests that wait or are being read and are still wanted.
    open: BTreeSet<u64>,
    at_disk: usize,
}

/// All reads.
#[derive(Default)]
pub struct Serving {
    lanes: BTreeMap<PeerId, Lane>,
    readings: BTreeMap<u64, Reading>,
    waiting: usize,
    last: Option<PeerId>,
}

impl Serving {
    /// Takes an item.
    pub fn ask(&mut self, config: &Config, peer: PeerId, item: Item) -> Admission {
        let lane = self.lanes.entry(peer).or_default();
        let admission = if lane.open.contains(&item.request) {
            Admission::Reused
        } else if self.waiting >= config.waiting_max || lane.waiting.len() >= config.waiting_per_peer_max {
            Admission::Busy
        } else {
            lane.open.insert(item.request);
            lane.waiting.push_back(item);
            self.waiting += 1;
            Admission::Waiting
        };
        self.tidy(peer);
        admission
    }

    /// The next item to read, if the disk has a place free: of the next peer in turn.
    pub fn next(&mut self, config: &Config) -> Option<(PeerId, Item)> {
        if self.readings.len() >= config.reads_max {
            return None;
        }
        let ready = |(_, lane): &(&PeerId, &Lane)| !lane.waiting.is_empty() && lane.at_disk < config.reads_per_peer_max;
        let from = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let after = self.lanes.range((from, Bound::Unbounded)).find(ready);
        let (peer, _) = after.or_else(|| self.lanes.iter().find(ready))?;
        let peer = *peer;
        let lane = self.lanes.get_mut(&peer)?;
        let item = lane.waiting.pop_front()?;
        lane.at_disk += 1;
        self.waiting -= 1;
        self.last = Some(peer);
        Some((peer, item))
    }

    /// The item is at the disk under this tag.
    pub fn started(&mut self, tag: u64, peer: PeerId, item: Item) {
        self.readings.insert(tag, Reading { peer, item, wanted: true });
    }

    /// The disk has answered.
    pub fn finish(&mut self, tag: u64) -> Option<Reading> {
        let reading = self.readings.remove(&tag)?;
        if let Some(lane) = self.lanes.get_mut(&reading.peer) {
            lane.at_disk = lane.at_disk.saturating_sub(1);
            if reading.wanted {
                lane.open.remove(&reading.item.request);
            }
        }
        self.tidy(reading.peer);
        Some(reading)
    }

    /// These requests are no longer wanted. A read at the disk keeps its place until the disk answers.
    pub fn cancel(&mut self, peer: PeerId, requests: &BTreeSet<u64>) {
        let Some(lane) = self.lanes.get_mut(&peer) else { return };
        let before = lane.waiting.len();
        lane.waiting.retain(|item| !requests.contains(&item.request));
        lane.open.retain(|request| !requests.contains(request));
        self.waiting -= before - lane.waiting.len();
        for reading in self.readings.values_mut() {
            reading.wanted &= reading.peer != peer || !requests.contains(&reading.item.request);
        }
        self.tidy(peer);
    }

    /// The peer is gone.
    pub fn forget(&mut self, peer: PeerId) {
        let open = self.lanes.get(&peer).map(|lane| lane.open.clone());
        self.cancel(peer, &open.unwrap_or_default());
    }

    /// A lane exists only while there is something in it.
    fn tidy(&mut self, peer: PeerId) {
        let empty = |lane: &Lane| lane.waiting.is_empty() && lane.at_disk == 0;
        if self.lanes.get(&peer).is_some_and(empty) {
            self.lanes.remove(&peer);
        }
    }
}
