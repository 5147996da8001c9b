//! What hosts sign for, which of it is audited, and what is true.

use super::{Env, host::State, job::Job, task::Vote};
use crate::api::{Happened, Report, Saved, Work, coordinator::Out};
use bytes::Bytes;
use pangea_kernel::planted;
use pangea_protocols::{
    Hash, PeerId,
    job::ErrorKind,
    receipt_job::{Batch, Claim, Place, Stage, Verification, is_drawn},
    task::{Line, Receipt},
    wire::compute::{DATA_PARTS_MAX, PART_BYTES},
};

/// Most bytes of what one task logged.
const LOG_BYTES_MAX: usize = 64 << 10;

impl Job {
    /// A host signs for results. Those without a lease are not looked at.
    pub fn on_commit(&mut self, peer: PeerId, batch: Batch, env: &mut Env<'_, '_>) {
        let now = env.cx.now();
        if self.hosts.get(&peer).is_none_or(|host| host.state == State::Banned) {
            return;
        }
        if batch.host != peer || !batch.verify(self.name) {
            return env.report(peer, Report::Violation);
        }
        let mut used = Vec::new();
        for claim in &batch.claims {
            let Some(task) = self.tasks.get(claim.place) else { continue };
            let Some(lease) = task.running.get(&peer).copied() else { continue };
            let input = task.input;
            if task.was.is_some_and(|was| was == claim.receipt.input) {
                // Of the time before this node read it for the host: the claim for the bytes is still to come.
                continue;
            }
            let Some(lease) = self.take_lease(lease) else { continue };
            if claim.receipt.module != self.terms.module || Some(claim.receipt.input) != input {
                // It was sent the hashes of both, and signed for another.
                return self.ban(peer, env);
            }
            if claim.receipt.pass_version != env.pass_version {
                self.set_useless(peer);
                self.retry(claim.place, None, env);
                continue;
            }
            let took = now.since(lease.since);
            self.tally.took(took);
            let (own, read_took) = lease.read.unwrap_or_default();
            if let Some(host) = self.hosts.get_mut(&peer) {
                host.moved((lease.reads - own).into(), read_took.as_secs_f64());
                host.took(took.saturating_sub(read_took).as_secs_f64(), lease.behind);
            }
            self.tally.progress.read_bytes += u64::from(lease.reads);
            self.tally.progress.own_bytes += u64::from(own);
            used.push(*claim);
        }
        if used.is_empty() {
            return;
        }
        self.keep_batch(batch, env);
        for claim in used {
            self.tally.progress.executions += 1;
            env.trace(Some(claim.place), peer, Happened::Claimed { gas: claim.receipt.gas });
            self.on_claim(peer, &claim, env);
        }
    }

    fn set_useless(&mut self, peer: PeerId) {
        if let Some(host) = self.hosts.get_mut(&peer) {
            host.state = State::Useless;
        }
    }

    fn keep_batch(&mut self, batch: Batch, env: &mut Env<'_, '_>) {
        env.cx.emit(Out::Save { job: self.id, saved: Saved::Batch(batch.clone()) });
        self.batches.push(batch);
    }

    /// This node signs for a result that it knows from an earlier job.
    pub fn vouch(&mut self, place: Place, receipt: Receipt, output: Bytes, env: &mut Env<'_, '_>) {
        let claim = Claim { place, receipt };
        self.keep_batch(Batch::sign(env.key, self.name, vec![claim]), env);
        self.early.insert((place, self.me), output);
        self.on_claim(self.me, &claim, env);
    }

    /// A vote. Now, after the signature, it is decided whether it is to be confirmed.
    fn on_claim(&mut self, peer: PeerId, claim: &Claim, env: &mut Env<'_, '_>) {
        let (place, now) = (claim.place, env.cx.now());
        let needed = self.needed(peer, claim);
        let vote = Vote { host: peer, receipt: claim.receipt, at: now, metered: false };
        self.tasks.change(place, self.me, |task| {
            task.votes.push(vote);
            task.needed = task.needed.max(needed);
        });
        if let Some(host) = self.hosts.get_mut(&peer)
            && !host.is_proven()
        {
            host.unproven.insert(place);
        }
        if let Some(bytes) = self.early.remove(&(place, peer))
            && !self.keep_output(peer, place, bytes, env)
        {
            return;
        }
        self.settle(place, env);
    }

    /// How many equal votes a claim asks for.
    fn needed(&self, peer: PeerId, claim: &Claim) -> usize {
        if peer == self.me {
            return 1;
        }
        let proven = self.hosts.get(&peer).is_some_and(|host| host.is_proven());
        let doubted = match self.spec.verification {
            Verification::None => false,
            Verification::Audit { .. } if !proven => !planted!("newcomer-believed"),
            Verification::Audit { per_mille } => {
                is_drawn(&self.secret, peer, claim.leaf(self.name), per_mille) && !planted!("audit-not-drawn")
            }
            Verification::Quorum { hosts } => return hosts.into(),
        };
        // A trap fails the job: nobody is believed alone that says so.
        1 + usize::from(doubted || claim.receipt.output.is_err())
    }

    /// A part of an output. `part` is its number, and how many there are.
    pub fn on_output(&mut self, peer: PeerId, place: Place, part: (u16, u16), bytes: Bytes, env: &mut Env<'_, '_>) {
        let Some(task) = self.tasks.get(place) else { return };
        let claimed = task.vote(peer).map(|vote| vote.receipt.output);
        let (max, output_max) = (usize::from(DATA_PARTS_MAX), self.spec.limits.output_bytes as usize);
        let fits = usize::from(part.1) <= max.min(output_max / PART_BYTES + 1);
        let new = match claimed {
            Some(Ok(hash)) => !task.outputs.contains_key(&hash),
            Some(Err(_)) => false,
            None => task.running.contains_key(&peer),
        };
        if !new || !fits {
            return;
        }
        let coming = self.coming.entry((place, peer)).or_default();
        let Some(whole) = coming.add(part.0, part.1, bytes) else { return };
        self.coming.remove(&(place, peer));
        if claimed.is_none() {
            self.early.insert((place, peer), whole);
        } else if self.keep_output(peer, place, whole, env) {
            self.settle(place, env);
        }
    }

    /// What a task logged, from a host that has claimed or runs it.
    pub fn on_log(&mut self, host: PeerId, place: Place, body: &[u8], env: &mut Env<'_, '_>) {
        if !self.tasks.get(place).is_some_and(|task| task.knows(host)) || body.len() > LOG_BYTES_MAX {
            return;
        }
        let lines = String::from_utf8_lossy(body).lines().filter_map(line).collect();
        env.cx.emit(Out::Log { job: self.id, place, host, lines });
    }

    /// Keeps the output of a vote. False if it is not what the host signed for.
    fn keep_output(&mut self, peer: PeerId, place: Place, bytes: Bytes, env: &mut Env<'_, '_>) -> bool {
        let hash = Hash::of(&bytes);
        let claimed = self.tasks.get(place).and_then(|task| task.vote(peer)).map(|vote| vote.receipt.output);
        match claimed {
            Some(Ok(claimed)) if claimed == hash => {
                self.tasks.change(place, self.me, |task| task.outputs.insert(hash, bytes));
                true
            }
            Some(Ok(_)) => {
                self.ban(peer, env);
                false
            }
            Some(Err(_)) | None => true,
        }
    }

    /// Looks whether a task can be decided, and does it.
    pub fn settle(&mut self, place: Place, env: &mut Env<'_, '_>) {
        let me = self.me;
        let Some(task) = self.tasks.get(place).filter(|task| !task.accepted) else { return };
        let own = task.vote(me).map(|vote| vote.receipt);
        let first = task.votes.first().map(|vote| vote.receipt);
        let agree = task.votes.iter().all(|vote| Some(vote.receipt) == first) || planted!("first-vote-believed");
        let enough = task.votes.len() >= task.needed.max(1);
        let truth = own.or(first.filter(|_| agree && enough));
        let differs = |vote: &&Vote| own.is_some_and(|own| vote.receipt != own);
        let liars: Vec<PeerId> = task.votes.iter().filter(differs).map(|vote| vote.host).collect();
        self.tasks.change(place, me, |task| {
            task.truth = truth;
            task.disputed = truth.is_none() && !agree;
        });
        for liar in liars {
            self.ban(liar, env);
        }
        if let Some(truth) = truth {
            self.accept(place, truth, env);
        }
    }

    /// The truth is known: with its output, the task is done.
    fn accept(&mut self, place: Place, truth: Receipt, env: &mut Env<'_, '_>) {
        self.stop(place, env);
        let Some(task) = self.tasks.get(place).filter(|task| !task.accepted) else { return };
        let bytes = match truth.output {
            Ok(hash) => match task.outputs.get(&hash) {
                Some(bytes) => bytes.clone(),
                None => {
                    self.deciding.insert(place);
                    return;
                }
            },
            Err(trap) => {
                let text = format!("{} trapped: the module {trap} there", name(place));
                return self.fail(ErrorKind::Failed, text);
            }
        };
        let voters: Vec<PeerId> = task.votes.iter().map(|vote| vote.host).collect();
        let confirmed = voters.len() > 1 || voters.contains(&self.me);
        self.tally.progress.audited += voters.len().saturating_sub(1) as u64;
        if let Some(first) = voters.first() {
            let voters = u16::try_from(voters.len()).unwrap_or(u16::MAX);
            env.trace(Some(place), *first, Happened::Accepted { voters });
        }
        for voter in voters {
            if let Some(host) = self.hosts.get_mut(&voter) {
                host.unproven.remove(&place);
                host.proven = host.proven.saturating_add(confirmed.into());
            }
        }
        self.credit(place, bytes.len() as u64);
        let before = self.tasks.change(place, self.me, |task| {
            task.accepted = true;
            task.outputs.retain(|_, other| *other == bytes);
            task.believed.replace(truth)
        });
        // Of a later stage there may be tasks, or outputs of an earlier run that wait for them.
        let later = place.stage < self.stage || self.saved.keys().any(|saved| saved.stage > place.stage);
        if later && before.flatten().is_some_and(|before| before.output != truth.output) {
            self.return_to(place.stage, env);
        }
        self.forget_outputs(place);
        self.outputs_bytes += bytes.len();
        if self.outputs_bytes > env.limits.outputs_bytes_max {
            let text = format!("the outputs are more than {} bytes", env.limits.outputs_bytes_max);
            return self.fail(ErrorKind::Quota, text);
        }
        env.cx.emit(Out::Save { job: self.id, saved: Saved::Output { place, bytes } });
    }

    /// Meters a task that is accepted, once for every host that vouches for it.
    fn credit(&mut self, place: Place, output_bytes: u64) {
        let (me, hosts) = (self.me, &mut self.hosts);
        self.tasks.change(place, me, |task| {
            for vote in task.votes.iter_mut().filter(|vote| vote.host != me && !vote.metered) {
                vote.metered = true;
                if let Some(host) = hosts.get_mut(&vote.host) {
                    host.work.add(&Work::result(&vote.receipt, task.input_bytes, output_bytes));
                }
            }
        });
    }

    /// None of it is expected any more.
    pub fn forget_outputs(&mut self, place: Place) {
        self.deciding.remove(&place);
        let of_place = (place, PeerId([0; 32]))..=(place, PeerId([255; 32]));
        let gone: Vec<_> = self.coming.range(of_place.clone()).map(|(key, _)| *key).collect();
        gone.iter().for_each(|key| drop(self.coming.remove(key)));
        let gone: Vec<_> = self.early.range(of_place).map(|(key, _)| *key).collect();
        gone.iter().for_each(|key| drop(self.early.remove(key)));
    }

    /// Takes back all votes of a host: what too few others vouch for is open again.
    pub fn withdraw(&mut self, peer: PeerId, env: &mut Env<'_, '_>) {
        let voted = self.tasks.iter().filter(|(_, task)| task.vote(peer).is_some());
        let places: Vec<Place> = voted.map(|(place, _)| place).collect();
        for place in &places {
            let me = self.me;
            let taken_back = self.tasks.change(*place, me, |task| {
                task.votes.retain(|vote| vote.host != peer);
                let stands = task.vote(me).is_some() || task.votes.len() >= task.needed.max(1);
                if stands {
                    return 0;
                }
                let bytes = task.output().map_or(0, Bytes::len);
                (task.truth, task.accepted) = (None, false);
                if task.votes.is_empty() {
                    task.outputs.clear();
                }
                bytes
            });
            self.outputs_bytes = self.outputs_bytes.saturating_sub(taken_back.unwrap_or(0));
            if self.tasks.get(*place).is_some_and(|task| !task.accepted && task.truth.is_none()) {
                self.deciding.remove(place);
            }
        }
        if let Some(host) = self.hosts.get_mut(&peer) {
            host.unproven.clear();
        }
        for place in places {
            self.settle(place, env);
        }
    }

    /// Outputs that do not come: their tasks are run again.
    pub fn look_for_outputs(&mut self, env: &mut Env<'_, '_>) {
        let now = env.cx.now();
        let late = |place: &&Place| {
            let last = self.tasks.get(**place).and_then(|task| task.votes.iter().map(|vote| vote.at).max());
            last.is_some_and(|at| now.since(at) >= env.limits.output_timeout)
        };
        let late = |place: &&Place| late(place) && !planted!("missing-output-awaited");
        let late: Vec<Place> = self.deciding.iter().filter(late).copied().collect();
        for place in late {
            self.forget_votes(place);
            self.retry(place, None, env);
        }
    }

    /// All that was said of a task.
    pub fn forget_votes(&mut self, place: Place) {
        let votes = self.tasks.change(place, self.me, |task| {
            (task.truth, task.disputed) = (None, false);
            task.outputs.clear();
            std::mem::take(&mut task.votes)
        });
        for vote in votes.unwrap_or_default() {
            if let Some(host) = self.hosts.get_mut(&vote.host) {
                host.unproven.remove(&place);
            }
        }
        self.forget_outputs(place);
    }
}

fn line(text: &str) -> Option<Line> {
    let (level, text) = text.split_once(' ')?;
    Some(Line { level: level.parse().ok()?, text: text.to_owned() })
}

/// What a user calls a task.
pub fn name(place: Place) -> String {
    match place.stage {
        Stage::Split => "the split".to_owned(),
        Stage::Execute => format!("chunk {}", place.index),
        Stage::Merge => "the merge".to_owned(),
    }
}
