//! Opening: who has the root block? Hints, connected peers and the DHT are asked at the same time.
//!
//! A hint or provider is asked for the block itself, which saves a round trip; of the others we first want to know
//! whether they have it. What is found out here about peers serves the whole job.

use super::{Cx, fetch::Goal, job::Job, limits::*, tree::Tree};
use crate::api::download::Out;
use pangea_protocols::{
    Address, PeerId,
    manifest::{Holder, RootBody},
    net::Command,
    time::Time,
};
use std::collections::BTreeMap;

/// How far the search for providers is.
#[derive(Debug)]
pub(super) struct Search {
    opened: Time,
    query: Option<u64>,
    queries: u8,
    again_at: Time,
    providers: usize,
}

impl Search {
    /// Begins now.
    pub fn new(now: Time) -> Self {
        Self { opened: now, query: None, queries: 0, again_at: now, providers: 0 }
    }

    /// True while the DHT is being asked.
    pub fn is_running(&self) -> bool {
        self.query.is_some()
    }

    /// True if everybody has had the time to connect and answer, and the DHT to hear of a new object.
    pub fn is_settled(&self, now: Time) -> bool {
        self.query.is_none() && self.queries >= QUERIES_MIN && now >= self.opened + SETTLE
    }
}

impl Job {
    pub(super) fn begin_search(
        &mut self,
        cx: &mut Cx<'_>,
        hints: Vec<(PeerId, Address)>,
        connected: impl Iterator<Item = PeerId>,
    ) {
        let mut named: BTreeMap<PeerId, Vec<Address>> = BTreeMap::new();
        for (peer, address) in hints.into_iter().take(NAMED_MAX) {
            named.entry(peer).or_default().push(address);
        }
        for (peer, addresses) in named {
            self.sources.learn(peer, true);
            cx.emit(Out::Net(Command::Learn { peer, addresses: addresses.clone() }));
            cx.emit(Out::Net(Command::Dial { peer, addresses }));
        }
        for peer in connected {
            if self.sources.learn(peer, false) {
                self.sources.on_connected(peer);
            }
        }
        if let Some(block) = self.blocks.get_mut(&self.cid.0) {
            block.widened = true;
        }
    }

    /// Asks the DHT, and again after a while if it knew nobody: a fresh node's routing table is empty.
    pub(super) fn pump_search(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let due = self.search.query.is_none() && self.search.queries < QUERIES_MAX && self.search.again_at <= now;
        if self.tree.is_some() || !due {
            return;
        }
        let query = self.ids.draw();
        self.search.queries += 1;
        self.search.query = Some(query);
        cx.emit(Out::Net(Command::FindProviders { query, cid: self.cid }));
    }

    pub(super) fn on_providers(
        &mut self,
        cx: &mut Cx<'_>,
        query: u64,
        providers: Vec<(PeerId, Vec<Address>)>,
        done: bool,
    ) {
        if self.search.query != Some(query) {
            return;
        }
        let room = NAMED_MAX.saturating_sub(self.search.providers);
        for (peer, addresses) in providers.into_iter().take(room) {
            self.search.providers += 1;
            let known = self.sources.get(peer).is_some_and(|source| source.connected);
            if !self.sources.learn(peer, true) || known {
                continue;
            }
            cx.emit(Out::Net(Command::Learn { peer, addresses: addresses.clone() }));
            if self.tree.is_none() {
                cx.emit(Out::Net(Command::Dial { peer, addresses }));
            }
        }
        if done {
            self.search.query = None;
            // 2 s, then 6 s: the settling time of a fresh node, then patience.
            self.search.again_at = cx.now() + SETTLE * u32::from(self.search.queries * 2 - 1);
        }
        self.pump(cx);
    }

    /// The root block is here and verified, from a peer or from an earlier job.
    pub(super) fn on_root(&mut self, cx: &mut Cx<'_>, from: Option<PeerId>, root: RootBody) {
        for Holder { peer, address } in root.holders.iter().cloned() {
            let known = self.sources.learn(peer, true);
            if known && self.sources.get(peer).is_some_and(|source| !source.connected && !self.sources.down(peer)) {
                let addresses: Vec<Address> = address.into_iter().collect();
                cx.emit(Out::Net(Command::Learn { peer, addresses: addresses.clone() }));
                cx.emit(Out::Net(Command::Dial { peer, addresses }));
            }
        }
        let holders = root.holders.iter().map(|holder| holder.peer).collect();
        self.wants.retain(|_, want| want.asked.iter().any(|(goal, _)| *goal != Goal::Block(self.cid.0)));
        if let Some(removal) = &mut self.removal {
            from.into_iter().for_each(|peer| removal.root_at(peer));
        } else if self.survey.is_none() {
            cx.emit(Out::Root { job: self.id, root: root.clone() });
        }
        cx.emit(Out::Rank { job: self.id, peers: holders });
        self.tree = Some(Tree::new(root));
    }

    /// When the search wants to be looked at without an event.
    pub(super) fn search_deadline(&self, now: Time) -> impl Iterator<Item = Time> + use<> {
        let settled = self.search.opened + SETTLE;
        let again = (self.search.query.is_none() && self.search.queries < QUERIES_MAX).then_some(self.search.again_at);
        let open = self.tree.is_none();
        [Some(settled), again].into_iter().flatten().filter(move |at| open && *at > now)
    }
}
