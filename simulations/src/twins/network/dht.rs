//! The modelled DHT: provider records on the nodes nearest to their key, and the way to them.
//!
//! Distances are Kademlia's, with the same hashes as in production, so that an identity that is near to an object there
//! is near to it here. What a lookup costs is modelled: some hops, and a pause for every dead end.

use super::{Network, Number, State};
use crate::plan::Nat;
use pangea_kernel::Draw;
use pangea_protocols::{Cid, net::Event, time::Time};
use std::{collections::BTreeSet, time::Duration};

/// Nodes that hold a record, and that a lookup ends at.
const REPLICAS: usize = 20;
/// Most providers that a search returns.
const PROVIDERS_MAX: usize = 64;
/// Providers that a node keeps per key.
const PROVIDERS_PER_KEY_MAX: usize = 20;
/// A record lives this long without being repeated.
const TTL: Duration = Duration::from_secs(24 * 3600);
/// Records are repeated this often.
const REPUBLISH: Duration = Duration::from_secs(6 * 3600);
/// Pause after a new peer, so that a starting node announces once and not once per peer.
const ANNOUNCE_AFTER: Duration = Duration::from_secs(2);
/// While a node has met no more than this many, what it announced is announced again to newcomers.
const ROUTING_SMALL: u32 = 20;
/// A hop takes this long, and up to three times as long more.
const HOP_MS: u64 = 40;
/// How long others still believe that a node is there that is gone.
const REMEMBERED: Duration = Duration::from_secs(600);
/// What a dead end costs, with others asked at the same time.
const DEAD_END_MS: u64 = 400;

/// Somebody provides an object, and these know.
pub(super) struct Record {
    provider: Number,
    expires: Time,
    /// Nodes and their lives: records do not survive a restart.
    holders: Box<[(u32, u32)]>,
}

/// What a lookup finds on its way.
#[derive(Default)]
struct Walk {
    /// Nearest first.
    reached: Vec<Number>,
    /// Nodes of the DHT.
    size: usize,
    /// Nodes that are believed to be there and do not answer.
    dead_ends: u64,
}

/// The place of some name in the DHT.
pub(super) fn place(name: &[u8]) -> u128 {
    let digest = ring::digest::digest(&ring::digest::SHA256, name);
    digest.as_ref().first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes))
}

impl Network {
    pub(super) fn provide(&self, state: &mut State, me: Number, cid: Cid) {
        if state.nodes[me].provided.len() >= self.0.limits.provided_keys_max {
            return;
        }
        state.nodes[me].provided.insert(cid);
        if state.nodes[me].met > 0 {
            self.announce(state, me, cid);
        }
    }

    pub(super) fn find_providers(&self, state: &mut State, me: Number, query: u64, cid: Cid) {
        state.counts.lookups += 1;
        let life = state.nodes[me].life;
        let took = self.look_up(state, me, place(&cid.0.0));
        self.later(self.now() + took, move |network, state| {
            if state.nodes[me].life != life {
                return;
            }
            let nearest = network.nearest(state, me, place(&cid.0.0));
            let mut found: BTreeSet<Number> = BTreeSet::new();
            if state.nodes[me].provided.contains(&cid) {
                found.insert(me);
            }
            let now = network.now();
            for record in state.records.get(&cid).into_iter().flatten().filter(|record| record.expires > now) {
                let held = |near: &Number| {
                    let holder = (*near as u32, state.nodes[*near].life);
                    record.holders.contains(&holder)
                };
                if nearest.iter().any(held) {
                    found.insert(record.provider);
                }
            }
            let providers = found.into_iter().take(PROVIDERS_MAX);
            let providers: Vec<_> =
                providers.map(|number| (state.nodes[number].peer, vec![state.nodes[number].address.clone()])).collect();
            for provider in &providers {
                let number = state.number(provider.0);
                state.nodes[me].known.insert(number);
            }
            network.tell(state, me, Event::Providers { query, providers, done: true });
        });
    }

    /// A connection has come about: what is provided is announced, while few know of this node.
    pub(super) fn met_somebody(&self, state: &mut State, me: Number) {
        let node = &mut state.nodes[me];
        if node.met > ROUTING_SMALL || node.provided.is_empty() || std::mem::replace(&mut node.announcing, true) {
            return;
        }
        let life = node.life;
        self.later(self.now() + ANNOUNCE_AFTER, move |network, state| {
            if state.nodes[me].life == life {
                state.nodes[me].announcing = false;
                network.announce_all(state, me);
            }
        });
    }

    /// What is provided is announced again for as long as the node lives.
    pub(super) fn republish_later(&self, me: Number) {
        let life = self.state().nodes[me].life;
        self.later(self.now() + REPUBLISH, move |network, state| network.republish(state, me, life));
    }

    fn republish(&self, state: &mut State, me: Number, life: u32) {
        if state.nodes[me].life == life {
            self.announce_all(state, me);
            self.later(self.now() + REPUBLISH, move |network, state| network.republish(state, me, life));
        }
    }

    fn announce_all(&self, state: &mut State, me: Number) {
        for cid in state.nodes[me].provided.clone() {
            self.announce(state, me, cid);
        }
    }

    fn announce(&self, state: &mut State, me: Number, cid: Cid) {
        let life = state.nodes[me].life;
        let took = self.look_up(state, me, place(&cid.0.0));
        self.later(self.now() + took, move |network, state| {
            if state.nodes[me].life != life || !state.nodes[me].provided.contains(&cid) {
                return;
            }
            let now = network.now();
            let nearest = network.nearest(state, me, place(&cid.0.0));
            let records = state.records.entry(cid).or_default();
            let crowded = |holder: &Number| {
                let here = |record: &&Record| {
                    record.provider != me && record.holders.iter().any(|(at, _)| *at as usize == *holder)
                };
                records.iter().filter(here).count() >= PROVIDERS_PER_KEY_MAX
            };
            let holders: Vec<Number> = nearest.into_iter().filter(|holder| !crowded(holder)).collect();
            let holders = holders.iter().map(|holder| (*holder as u32, state.nodes[*holder].life)).collect();
            records.retain(|record| record.provider != me && record.expires > now);
            records.push(Record { provider: me, expires: now + TTL, holders });
        });
    }

    /// What a lookup takes.
    pub(super) fn look_up(&self, state: &mut State, me: Number, key: u128) -> Duration {
        let node = &mut state.nodes[me];
        if node.met == 0 {
            return Duration::ZERO;
        }
        node.lookups += 1;
        let label = format!("{} {} {}", node.id, node.life, node.lookups);
        let mut draw: Draw = self.0.seed.derive("lookup").derive(&label).draw();
        let Walk { size, dead_ends, .. } = self.walk(state, me, key);
        let hops = 1 + u64::from(size.max(2).ilog2()) / 3;
        let walked: u64 = (0..hops).map(|_| HOP_MS + draw.below(2 * HOP_MS)).sum();
        Duration::from_millis(walked + dead_ends.min(5) * DEAD_END_MS)
    }

    /// The nodes nearest to a key that `me` can find and reach, nearest first.
    fn nearest(&self, state: &State, me: Number, key: u128) -> Vec<Number> {
        self.walk(state, me, key).reached
    }

    fn walk(&self, state: &State, me: Number, key: u128) -> Walk {
        if state.nodes[me].met == 0 {
            return Walk::default();
        }
        let now = self.now();
        let believed = |number: &Number| {
            let node = &state.nodes[*number];
            *number != me && (node.met > 0 || node.gone.is_some_and(|gone| now.since(gone) < REMEMBERED))
        };
        let mut near: Vec<(u128, Number)> =
            (0..state.nodes.len()).filter(believed).map(|number| (state.nodes[number].place ^ key, number)).collect();
        let size = near.len();
        // Some of the nearest may be out of reach: those behind them are found instead.
        let wanted = (2 * REPLICAS).min(near.len());
        if wanted < near.len() {
            near.select_nth_unstable(wanted);
            near.truncate(wanted);
        }
        near.sort_unstable();
        let (lines, from) = (&self.0.links, state.nodes[me].id);
        let (mut reached, mut dead_ends) = (Vec::with_capacity(REPLICAS), 0);
        for (_, number) in near {
            let node = &state.nodes[number];
            if node.is_up() && lines.nat(node.id) == Nat::Open && lines.can_dial(from, node.id) {
                reached.push(number);
            } else if lines.nat(node.id) == Nat::Open {
                dead_ends += 1;
            }
            if reached.len() == REPLICAS {
                break;
            }
        }
        Walk { reached, size, dead_ends }
    }
}
