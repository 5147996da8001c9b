//! The end of a job: its results and receipt, or why there are none; and what an earlier run of it has left.

use super::{
    Env,
    cache::Cache,
    host::{Host, State},
    job::Job,
    task::Vote,
};
use crate::api::{Happened, News, Saved};
use bytes::Bytes;
use pangea_protocols::{
    Hash,
    job::{ErrorKind, JobError},
    receipt_job::{Claim, JobReceipt, Place, Stage},
    wire::compute::Compute,
};

impl Job {
    /// All is accepted.
    pub fn finish(&mut self, env: &mut Env<'_, '_>) {
        let result = if self.spec.merge { Stage::Merge } else { Stage::Execute };
        let outputs: Vec<Bytes> = self.tasks.of(result).filter_map(|(_, task)| task.output().cloned()).collect();
        let results =
            self.tasks.iter().filter_map(|(place, task)| Some(Claim { place, receipt: task.truth? })).collect();
        for (_, task) in self.tasks.iter() {
            if let (Some(receipt), Some(output)) = (task.truth, task.output()) {
                let key = Cache::key(self.terms.module, receipt.input, &self.spec.limits);
                env.cache.put(key, receipt, output.clone(), env.limits.cache_bytes_max);
            }
        }
        let banned = self.hosts.iter().filter(|(_, host)| host.state == State::Banned).map(|(peer, _)| *peer).collect();
        let receipt = JobReceipt {
            terms: self.terms.clone(),
            secret: self.secret,
            results,
            batches: std::mem::take(&mut self.batches),
            banned,
            ended_unix: env.cx.unix().0,
            signature: Vec::new(),
        };
        let mut progress = self.tally.progress;
        (progress.done, progress.running, progress.eta) = (self.tasks.accepted(), 0, None);
        self.verdict = Some(News::Done { outputs, receipt: Box::new(receipt.signed(env.key)), progress });
    }

    /// It cannot go on.
    pub fn fail(&mut self, kind: ErrorKind, message: String) {
        self.fail_with(JobError::new(kind, message));
    }

    /// The same. The first reason is the one that is told.
    pub fn fail_with(&mut self, error: JobError) {
        self.verdict.get_or_insert(News::Failed(error));
    }

    /// Tells all who still work for it, and the meter.
    pub fn close(&mut self, env: &mut Env<'_, '_>) {
        let reads: Vec<_> = self.feeding.keys().copied().collect();
        reads.into_iter().for_each(|read| self.forget_feeding(read, env));
        self.meter(env);
        let busy = |host: &Host| matches!(host.state, State::Asked(_) | State::Working | State::Away(_));
        let peers: Vec<_> = self.hosts.iter().filter(|(_, host)| busy(host)).map(|(peer, _)| *peer).collect();
        for peer in peers {
            env.send(peer, Compute::Cancel { job: self.name, leases: Vec::new() }, Bytes::new());
        }
    }

    /// Something that an earlier run has saved.
    pub fn on_restored(&mut self, saved: Saved, env: &mut Env<'_, '_>) {
        match saved {
            Saved::Batch(batch) => {
                let places: Vec<Place> = batch.claims.iter().map(|claim| claim.place).collect();
                for place in &places {
                    self.restored_claims.entry(*place).or_default().push(self.batches.len());
                }
                self.batches.push(batch);
                places.into_iter().for_each(|place| self.replay(place, env));
            }
            Saved::Output { place, bytes } => {
                self.unbelieve(place, &bytes, env);
                self.saved.insert(place, bytes);
                self.replay(place, env);
            }
            Saved::Void { after } => {
                self.saved.retain(|place, _| place.stage <= after);
                if self.stage > after {
                    self.return_to(after, env);
                }
            }
            Saved::Banned { host } => {
                self.ban(host, env);
                // Metered in the life in which it was caught.
                self.hosts.entry(host).and_modify(|host| host.work.wrong = 0);
            }
        }
    }

    /// An output that was saved twice was first another: only the last one counts.
    fn unbelieve(&mut self, place: Place, bytes: &Bytes, env: &mut Env<'_, '_>) {
        let Some(before) = self.tasks.get(place).and_then(|task| task.output()).filter(|before| *before != bytes)
        else {
            return;
        };
        self.outputs_bytes = self.outputs_bytes.saturating_sub(before.len());
        self.tasks.change(place, self.me, |task| {
            (task.truth, task.accepted) = (None, false);
            task.votes.clear();
            task.outputs.clear();
        });
        if self.stage > place.stage {
            self.return_to(place.stage, env);
        }
    }

    /// What was saved of the tasks of a new stage.
    pub fn replay_all(&mut self, env: &mut Env<'_, '_>) {
        let of_stage: Vec<Place> = self.saved.keys().copied().filter(|place| place.stage == self.stage).collect();
        of_stage.into_iter().for_each(|place| self.replay(place, env));
    }

    /// A task that was accepted is so again, if those who vouched for it still may. All that was asked of them then, they
    /// have stood.
    fn replay(&mut self, place: Place, env: &mut Env<'_, '_>) {
        let (now, me) = (env.cx.now(), self.me);
        let Some(bytes) = self.saved.get(&place).cloned() else { return };
        if self.tasks.get(place).is_none_or(|task| task.accepted || !task.running.is_empty()) {
            return;
        }
        let hash = Hash::of(&bytes);
        let banned = |host: &Host| host.state == State::Banned;
        let mut votes: Vec<Vote> = Vec::new();
        let known = self.restored_claims.get(&place).into_iter().flatten();
        let batches = known.filter_map(|at| self.batches.get(*at));
        for batch in batches.filter(|batch| !self.hosts.get(&batch.host).is_some_and(banned)) {
            for claim in batch.claims.iter().filter(|claim| claim.place == place) {
                let new = votes.iter().all(|vote| vote.host != batch.host);
                if new && claim.receipt.output == Ok(hash) {
                    // Metered in the life in which it was accepted.
                    votes.push(Vote { host: batch.host, receipt: claim.receipt, at: now, metered: true });
                }
            }
        }
        // If this node had to read the input for others there are two kinds, of which the one that was accepted has more.
        let weight = |vote: &Vote| {
            let equal = |other: &&Vote| other.receipt == vote.receipt;
            (votes.iter().filter(equal).any(|vote| vote.host == me), votes.iter().filter(equal).count())
        };
        let Some(truth) = votes.iter().max_by_key(|vote| weight(vote)).map(|vote| vote.receipt) else { return };
        votes.retain(|vote| vote.receipt == truth);
        for vote in &votes {
            let probation = if vote.host == me { 0 } else { self.probation(0.0, env) };
            self.hosts.entry(vote.host).or_insert_with(|| Host::new(now, probation));
        }
        self.outputs_bytes += bytes.len();
        self.tally.progress.restored += 1;
        env.trace(Some(place), me, Happened::Restored);
        self.tasks.change(place, me, |task| {
            (task.input, task.truth, task.accepted) = (Some(truth.input), Some(truth), true);
            task.believed = Some(truth);
            // What it needed then it had; a ban of one of them opens it again.
            task.needed = task.needed.max(votes.len());
            task.votes = votes;
            task.outputs = [(hash, bytes)].into();
        });
        self.supply.forget(place);
    }
}
