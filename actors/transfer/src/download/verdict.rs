//! When a download is hopeless, and what the user is told: what happened, to which stripe and peers, what to do.

use super::{Cx, fetch::Goal, job::Job, limits::WANT_PEERS_MAX, stripe::Stripe};
use pangea_protocols::{
    Cid, Hash, PeerId,
    job::{ErrorKind, JobError},
    time::Time,
};
use std::{collections::BTreeSet, fmt};

/// Most peers that a message names.
const NAMES_MAX: usize = 6;

/// The manifest carries the right hashes and is wrong all the same.
pub(super) fn damaged(cid: Cid, error: &dyn fmt::Display) -> JobError {
    JobError::new(
        ErrorKind::Integrity,
        format!("object {cid} was damaged when it was stored: {error}. Ask its owner to store it again"),
    )
}

/// CES never asks like this.
pub(super) fn too_many_ranges() -> JobError {
    JobError::new(ErrorKind::Failed, "too many separate ranges of one object are wanted at once: ask for fewer")
}

/// Its places would take too much memory.
pub(super) fn too_large_to_survey(stripes: u64) -> JobError {
    JobError::new(ErrorKind::Failed, format!("the object has more than {stripes} MiB: it is not read in parts"))
}

/// All slots are taken.
pub(super) fn too_many_jobs(limit: usize) -> JobError {
    JobError::new(
        ErrorKind::Failed,
        format!("{limit} downloads and removals are running already: wait until one of them has ended"),
    )
}

impl Job {
    /// Fails the job at once if nothing that is under way or could come back can help; else its timeout decides. True
    /// if a removal has given up on a part and can look further.
    pub(super) fn give_up_if_hopeless(&mut self, cx: &mut Cx<'_>) -> bool {
        let now = cx.now();
        let nowhere = self.blocks.keys().copied().find(|hash| self.is_nowhere(*hash, now));
        let hopeless = match nowhere {
            Some(_) if self.tree.is_none() => self.search.is_settled(now) && self.nobody_may_return(),
            Some(hash) if self.removal.is_some() => {
                self.skip_lost_subtree(cx, hash);
                return true;
            }
            Some(_) => self.nobody_may_return(),
            None => self.window.stripes.iter().any(|(index, stripe)| self.is_lost(*index, stripe, now)),
        };
        if hopeless {
            let error = self.verdict(now);
            self.fail(cx, error);
        }
        false
    }

    /// Why the job cannot go on, as far as is known now.
    pub(super) fn verdict(&self, now: Time) -> JobError {
        if self.tree.is_none() {
            return self.not_opened();
        }
        let hopeless = |stripe: &&Stripe| !stripe.promising(&self.sources);
        let stripes = &self.window.stripes;
        let worst = stripes.iter().find(|(_, stripe)| hopeless(stripe)).or_else(|| stripes.iter().next());
        match (self.blocks.iter().next(), worst) {
            (_, Some((index, stripe))) => self.stripe_failed(*index, stripe),
            (Some((_, block)), None) => {
                let (kind, why) = if block.shard.bad {
                    (ErrorKind::Integrity, "arrived with the wrong bytes")
                } else {
                    (ErrorKind::Unreachable, "was not found at any of its holders")
                };
                let down = self.describe_down(self.likely());
                JobError::new(kind, format!("a manifest block of object {} {why}{down}. {TRY_AGAIN}", self.cid))
            }
            (None, None) => JobError::new(
                ErrorKind::Unreachable,
                format!("holders of object {} did not answer in time ({now}). {TRY_AGAIN}", self.cid),
            ),
        }
    }

    fn not_opened(&self) -> JobError {
        let cid = self.cid;
        let answered = self.sources.iter().filter(|(_, source)| source.answered).count();
        let missing: Vec<PeerId> = self.likely().filter(|peer| !self.has_answered(*peer)).collect();
        let dht =
            if self.search.is_running() { "the DHT has not answered yet" } else { "the DHT knows no other holder" };
        if self.blocks.get(&cid.0).is_some_and(|block| block.shard.bad) {
            let message = format!(
                "object {cid}: every peer that claimed to have its manifest sent other bytes; {dht}. Ask its owner for \
                 a fresh ticket"
            );
            return JobError::new(ErrorKind::Integrity, message);
        }
        if answered > 0 && missing.is_empty() && !self.search.is_running() {
            let message = format!(
                "object {cid} was not found: {answered} {} do not have it and {dht}. It was removed, its lease has \
                 ended, or it is in another network: check the ticket",
                if answered == 1 { "peer was asked and" } else { "peers were asked and" },
            );
            return JobError::new(ErrorKind::NotFound, message);
        }
        let down = self.names(missing.into_iter());
        let down = if down.is_empty() { "no peer is connected".to_owned() } else { format!("no answer from {down}") };
        let message =
            format!("object {cid} cannot be reached: {down}; {answered} others do not have it; {dht}. {TRY_AGAIN}");
        JobError::new(ErrorKind::Unreachable, message)
    }

    fn stripe_failed(&self, index: u64, stripe: &Stripe) -> JobError {
        let (k, of) = self.tree.as_ref().map_or((0, 0), |tree| (tree.root().k, tree.stripes()));
        let found = stripe.have();
        let count = |wanted: &dyn Fn(&super::shard::Shard) -> bool| stripe.shards.iter().filter(|s| wanted(s)).count();
        let bad = count(&|shard| shard.bad && shard.body.is_none());
        let missing = count(&|shard| shard.failed && !shard.bad && shard.body.is_none());
        let mut why = String::new();
        if bad > 0 {
            why += &format!("; {bad} arrived with the wrong bytes");
        }
        if missing > 0 {
            why += &format!("; {missing} are lost at their holders");
        }
        let holders: BTreeSet<PeerId> = stripe.shards.iter().flat_map(super::shard::Shard::holders).collect();
        why += &self.describe_down(holders.into_iter());
        let (kind, advice) = if stripe.spoilt() {
            (ErrorKind::Integrity, "Too many holders have damaged data: ask the owner to store the object again")
        } else {
            (ErrorKind::Unreachable, TRY_AGAIN)
        };
        let message =
            format!("stripe {} of {of}: {found} of the {k} shards it needs were found{why}. {advice}", index + 1);
        JobError::new(kind, message)
    }

    fn describe_down(&self, peers: impl Iterator<Item = PeerId>) -> String {
        let (down, up): (Vec<_>, Vec<_>) = peers.partition(|peer| self.sources.down(*peer));
        let silent = self.names(up.into_iter().filter(|peer| self.sources.owes(*peer)));
        let down = self.names(down.into_iter());
        let told = |what: &str, names: String| if names.is_empty() { names } else { format!("; {what} {names}") };
        told("cannot reach", down) + &told("no answer from", silent)
    }

    fn names(&self, peers: impl Iterator<Item = PeerId>) -> String {
        let all: Vec<String> = peers.map(|peer| format!("…{}", peer.short())).collect();
        let more = all.len().saturating_sub(NAMES_MAX);
        let named = all[..all.len() - more].join(", ");
        if more > 0 { format!("{named} and {more} more") } else { named }
    }

    fn likely(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.sources.iter().filter(|(_, source)| source.likely).map(|(peer, _)| peer)
    }

    fn has_answered(&self, peer: PeerId) -> bool {
        self.sources.get(peer).is_some_and(|source| source.answered)
    }

    /// No peer has this block, and none is left to be asked.
    fn is_nowhere(&self, hash: Hash, now: Time) -> bool {
        let Some(block) = self.blocks.get(&hash) else { return false };
        block.widened
            && !block.promising(&self.sources)
            && !self.can_be_questioned(&block.questioned, |peer| block.shard.is_refused_by(peer), now)
            && !self.is_questioned(|goal| goal == Goal::Block(hash))
    }

    /// A `Want` to somebody is still to come; only so many are under way at a time.
    fn can_be_questioned(&self, done: &BTreeSet<PeerId>, refused: impl Fn(PeerId) -> bool, now: Time) -> bool {
        let open = |peer| !done.contains(&peer) && !refused(peer);
        done.len() < WANT_PEERS_MAX
            && self.sources.iter().any(|(peer, s)| (s.connected || s.likely) && s.usable(now) && open(peer))
    }

    /// Somebody was asked, and all that are likely to have something have answered: waiting changes nothing.
    fn nobody_may_return(&self) -> bool {
        self.sources.iter().any(|(_, source)| source.answered) && !self.likely().any(|peer| self.sources.down(peer))
    }

    /// Fewer than k shards of this stripe exist at peers that may ever be asked.
    fn is_lost(&self, index: u64, stripe: &Stripe, now: Time) -> bool {
        let returning = |peer| self.sources.down(peer);
        !stripe.promising(&self.sources)
            && !self.can_be_questioned(&stripe.questioned, |_| false, now)
            && !self.is_questioned(|goal| matches!(goal, Goal::Shard { stripe, .. } if stripe == index))
            && !stripe.shards.iter().flat_map(super::shard::Shard::holders).any(returning)
    }
}

const TRY_AGAIN: &str = "Start those nodes, or try again later with a longer --timeout";
