//! Discovery: peers are asked by `Want` which shards and blocks they hold, when the manifest's hints do not suffice.

use super::{Cx, fetch::Goal, job::Job, limits::*};
use pangea_protocols::{
    PeerId, ShardId,
    time::Time,
    wire::{Message, have::Have},
};
use std::collections::BTreeMap;

/// Most shards in one question: a whole stripe always fits.
const WANT_SHARDS_MAX: usize = 256;

/// A question without an answer.
#[derive(Debug)]
pub(super) struct Want {
    /// Who was asked.
    pub peer: PeerId,
    /// When.
    pub sent: Time,
    /// Of the frame.
    pub tag: u64,
    /// What was asked, in the order of the answer's bits.
    pub asked: Vec<(Goal, ShardId)>,
}

impl Job {
    /// Asks known peers for what nobody known has.
    pub(super) fn discover(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let mut questions: BTreeMap<PeerId, Vec<(Goal, ShardId)>> = BTreeMap::new();
        let mut room = WANTS_MAX.saturating_sub(self.wants.len());
        let (sources, wants) = (&self.sources, &self.wants);
        let waiting = |peer: PeerId| wants.values().filter(|want| want.peer == peer).count();
        let mut ask = |questioned: &mut std::collections::BTreeSet<PeerId>, goals: &dyn Fn(PeerId) -> Vec<_>| {
            // Peers that need no dial answer first, and strangers are not dialled at all.
            let open = sources.iter().filter(|(_, source)| source.usable(now));
            for (peer, _) in open.filter(|(_, source)| source.connected || source.likely) {
                let full = questioned.len() >= WANT_PEERS_MAX || questioned.contains(&peer);
                let batch = questions.get(&peer).map(Vec::len);
                let goals = if full { Vec::new() } else { goals(peer) };
                if goals.is_empty() {
                    continue;
                }
                let new_frame = batch.is_none();
                let no_room = new_frame && (room == 0 || waiting(peer) >= QUESTIONS_PER_PEER_MAX);
                let too_many = no_room || batch.unwrap_or(0) + goals.len() > WANT_SHARDS_MAX;
                if too_many {
                    continue;
                }
                room -= usize::from(new_frame);
                questioned.insert(peer);
                questions.entry(peer).or_default().extend(goals);
            }
        };
        for (hash, block) in self.blocks.iter_mut().filter(|(_, block)| block.widened) {
            let shard = &block.shard;
            let goals = |peer: PeerId| {
                let asked = shard.is_refused_by(peer) || shard.asks.iter().any(|ask| ask.peer == peer);
                if asked { Vec::new() } else { vec![(Goal::Block(*hash), ShardId::block(*hash))] }
            };
            ask(&mut block.questioned, &goals);
        }
        for (index, stripe) in self.window.stripes.iter_mut().filter(|(_, stripe)| stripe.needs_help(sources)) {
            let (record, shards) = (&stripe.record, &stripe.shards);
            let goals = |_: PeerId| {
                let open = shards.iter().enumerate().filter(|(_, shard)| shard.body.is_none());
                let indexes = open.filter_map(|(at, _)| u16::try_from(at).ok());
                indexes.map(|shard| (Goal::Shard { stripe: *index, shard }, record.shard(shard))).collect()
            };
            ask(&mut stripe.questioned, &goals);
        }
        for (peer, asked) in questions {
            self.want(cx, peer, asked);
        }
    }

    /// An answer to a question.
    pub(super) fn on_have(&mut self, cx: &mut Cx<'_>, peer: PeerId, request: u64, present: &[u8]) {
        let Some(want) = self.wants.get(&request).filter(|want| want.peer == peer) else { return };
        let asked = want.asked.clone();
        self.wants.remove(&request);
        self.sources.on_heard(peer);
        for (at, (goal, _)) in asked.into_iter().enumerate() {
            let yes = present.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
            if yes {
                self.sources.learn(peer, true);
            }
            let Some(shard) = self.shard_mut(goal) else { continue };
            if yes {
                shard.found_at(peer);
            } else {
                shard.refused_by(peer);
            }
        }
        self.pump(cx);
    }

    /// Questions without an answer are forgotten; the peer is not asked the same again.
    pub(super) fn check_wants(&mut self, now: Time) {
        self.wants.retain(|_, want| now < want.sent + WANT_TIMEOUT);
    }

    /// True if an answer could still tell where `goal` is.
    pub(super) fn is_questioned(&self, goal: impl Fn(Goal) -> bool) -> bool {
        self.wants.values().any(|want| want.asked.iter().any(|(asked, _)| goal(*asked)))
    }

    fn want(&mut self, cx: &mut Cx<'_>, peer: PeerId, asked: Vec<(Goal, ShardId)>) {
        let request = self.ids.draw();
        let shards = asked.iter().map(|(_, shard)| *shard).collect();
        let tag = self.send(cx, peer, Message::Have(Have::Want { request, shards }));
        self.wants.insert(request, Want { peer, sent: cx.now(), tag, asked });
    }
}
