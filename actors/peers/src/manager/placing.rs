//! Candidates for shards, ranks of holders, and the list for the user.

use super::{CANDIDATES_MAX, PeerManager, conduct::BUSY};
use crate::{
    api::{Candidate, Out, View},
    book::Peer,
    domain,
    record::Record,
    score::{Field, score},
    standing,
};
use pangea_kernel::{Cx, Draw, planted};
use pangea_protocols::PeerId;
use std::{collections::BTreeSet, time::Duration};

/// Most peers in the user's list: all that are connected, then the best of the others.
pub const LISTED_MAX: usize = 2000;
/// What the score of a candidate is worth that this node has never dialled: behind a router that lets nobody in, it keeps
/// what it is given from all but those whom it happens to be connected to.
const NEVER_DIALLED: f64 = 0.25;
/// Most peers that are ranked in one answer.
pub const RANKED_MAX: usize = 1024;

impl PeerManager {
    /// Two peers are drawn, the better is taken, until there are enough ("the power of two choices"): good peers are
    /// preferred, and yet newcomers get shards and nobody gets all of them.
    pub(super) fn on_candidates(&mut self, cx: &mut Cx<'_, Self>, request: u64, count: u16, exclude: &[PeerId]) {
        let (now, unix) = (cx.now(), cx.unix().0);
        let exclude: BTreeSet<&PeerId> = exclude.iter().collect();
        let field = self.field();
        let eligible = |peer: &&Peer| {
            let record = &peer.record;
            (record.state.may_hold() || planted!("condemned-still-candidate"))
                && self.config.allows(record.peer)
                && !exclude.contains(&record.peer)
                && !standing::fails_audits(record, unix)
        };
        let mut pool: Vec<(f64, Candidate)> = Vec::new();
        for peer in self.book.connected().filter(eligible) {
            let open = if peer.record.was_reached() { 1.0 } else { NEVER_DIALLED };
            let candidate = candidate(peer, open * score(&peer.record, &field, peer.online_s(now), unix));
            let patience = if peer.refused_until > now { 0.05 } else { 1.0 };
            pool.push((candidate.score * candidate.score * patience, candidate));
        }
        let candidates = draw(pool, usize::from(count).min(CANDIDATES_MAX), cx.rng("candidates"));
        for chosen in &candidates {
            if let Some(found) = self.book.touch(chosen.peer) {
                found.busy_until = now + BUSY;
            }
        }
        cx.emit(Out::Candidates { request, candidates });
    }

    pub(super) fn on_rank(&mut self, cx: &mut Cx<'_, Self>, request: u64, peers: &[PeerId]) {
        let (now, unix) = (cx.now(), cx.unix().0);
        let field = self.field();
        let mut candidates = Vec::new();
        for peer in peers.iter().take(RANKED_MAX) {
            let allowed = if self.config.allows(*peer) { 1.0 } else { 0.0 };
            candidates.push(match self.book.touch(*peer) {
                Some(found) => {
                    found.busy_until = now + BUSY;
                    candidate(found, allowed * score(&found.record, &field, found.online_s(now), unix))
                }
                None => {
                    let score = allowed * score(&Record::new(*peer, unix), &field, 0.0, unix);
                    Candidate {
                        peer: *peer,
                        domain: domain::domain(*peer, None),
                        score,
                        rtt: None,
                        goodput: 0.0,
                        address: None,
                    }
                }
            });
        }
        cx.emit(Out::Ranked { request, candidates });
    }

    pub(super) fn on_list(&mut self, cx: &mut Cx<'_, Self>, request: u64) {
        let (now, unix) = (cx.now(), cx.unix().0);
        let field = self.field();
        let view = |peer: &Peer| {
            let allowed = self.config.allows(peer.record.peer);
            let record = &peer.record;
            let session = peer.session.is_some();
            View {
                peer: record.peer,
                connected: session,
                address: peer.address().cloned(),
                state: if allowed { record.state.name() } else { "banned" },
                reason: if allowed { record.reason.to_string() } else { "refused by the configuration".to_owned() },
                score: if allowed { score(record, &field, peer.online_s(now), unix) } else { 0.0 },
                rtt: record.rtt.map(|rtt| Duration::from_secs_f64(rtt.p50_us / 1e6)),
                bytes_in: record.bytes_in,
                bytes_out: record.bytes_out,
                last_seen_unix: if session { unix } else { record.last_seen_unix },
            }
        };
        let mut peers: Vec<View> = self.book.iter().map(view).collect();
        peers.sort_by(|a, b| b.connected.cmp(&a.connected).then(b.score.total_cmp(&a.score)).then(a.peer.cmp(&b.peer)));
        peers.truncate(LISTED_MAX);
        cx.emit(Out::Listed { request, peers });
    }

    fn field(&self) -> Field {
        Field::of(self.book.connected().map(|peer| &peer.record))
    }
}

fn candidate(peer: &Peer, score: f64) -> Candidate {
    Candidate {
        peer: peer.record.peer,
        domain: peer.domain(),
        score,
        rtt: peer.record.rtt.map(|rtt| Duration::from_secs_f64(rtt.p50_us / 1e6)),
        goodput: peer.record.down.fast,
        address: peer.dialable().cloned(),
    }
}

/// Takes `count` of the weighted `pool`, best first.
fn draw(mut pool: Vec<(f64, Candidate)>, count: usize, rng: &mut Draw) -> Vec<Candidate> {
    let mut taken = Vec::new();
    while taken.len() < count && !pool.is_empty() {
        let (a, b) = (pick(&pool, rng), pick(&pool, rng));
        // The weight stands for the score here: it also knows of refusals.
        let better = if pool[b].0 > pool[a].0 { b } else { a };
        taken.push(pool.remove(better));
    }
    taken.sort_by(|(a, one), (b, other)| b.total_cmp(a).then(one.peer.cmp(&other.peer)));
    taken.into_iter().map(|(_, candidate)| candidate).collect()
}

/// An index of `pool`, with a probability in proportion to its weight; every peer keeps a small one.
fn pick(pool: &[(f64, Candidate)], rng: &mut Draw) -> usize {
    const LEAST: f64 = 1e-3;
    let total: f64 = pool.iter().map(|(weight, _)| weight + LEAST).sum();
    let mut at = rng.unit() * total;
    for (index, (weight, _)) in pool.iter().enumerate() {
        at -= weight + LEAST;
        if at < 0.0 {
            return index;
        }
    }
    pool.len() - 1
}
