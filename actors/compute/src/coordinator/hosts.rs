//! Hosts of a job: offers, what they say of themselves, losses, bans.

use super::{
    Env,
    claims::name,
    host::{Host, State},
    job::{Job, Lease},
};
use crate::{
    api::{Candidate, Happened, Report, Saved, Work, coordinator::Out},
    parts,
};
use bytes::Bytes;
use pangea_kernel::{Draw, planted};
use pangea_protocols::{
    PeerId,
    job::ErrorKind,
    receipt_job::{Place, Verification},
    time::Time,
    wire::compute::{Compute, Failure, Refusal},
};
use std::time::Duration;

/// This node fails a job that it failed at so often itself.
const OWN_CRASHES_MAX: u32 = 3;
/// After so many offers without a result, another host is looked for in its place.
const GONE_TRIES: u32 = 3;
/// So many times as many hosts as a job may use are tried before no more are.
const KNOWN_FACTOR: usize = 4;
/// Bytes per second to a peer below which nothing is known of its line.
const GOODPUT_MIN: f64 = 1e4;

impl Job {
    /// Offers the job to as many hosts as it can use, and looks for more if there are too few.
    pub fn recruit(&mut self, env: &mut Env<'_, '_>) {
        let now = env.cx.now();
        let due: Vec<PeerId> = self.hosts.iter().filter(|(_, host)| host.is_due(now)).map(|(peer, _)| *peer).collect();
        for peer in due {
            self.offer(peer, env);
        }
        let useful = |host: &&Host| match host.state {
            State::Asked(_) | State::Working => true,
            State::Away(_) => host.tries < GONE_TRIES,
            State::Useless | State::Banned => false,
        };
        let mut have = self.hosts.values().filter(useful).count();
        let wanted = (self.tasks.open_count() + self.leases.len()).min(env.limits.hosts_max) + 1;
        let known_max = KNOWN_FACTOR * env.limits.hosts_max;
        while have < wanted
            && self.hosts.len() < known_max
            && let Some(candidate) = self.spares.pop_front()
        {
            if self.hosts.contains_key(&candidate.peer) {
                continue;
            }
            let probation = self.probation(candidate.score, env);
            let mut host = Host::new(now, probation);
            if candidate.goodput.is_finite() && candidate.goodput > GOODPUT_MIN {
                host.rate = candidate.goodput;
            }
            self.hosts.insert(candidate.peer, host);
            self.offer(candidate.peer, env);
            have += 1;
        }
        let rested = self.asked.is_none_or(|asked| now.since(asked) >= env.limits.ask_again);
        if have < wanted && rested && self.hosts.len() < known_max {
            self.asked = Some(now);
            let request = env.numbers.fresh();
            env.numbers.requests.insert(request, self.id);
            let count = u16::try_from(wanted - have).unwrap_or(u16::MAX);
            let unasked = self.spec.passed_on.iter().flatten();
            let exclude = self.hosts.keys().chain(unasked).copied().collect();
            env.cx.emit(Out::Candidates { request, count, exclude });
        }
    }

    /// How many results of a new host are all confirmed.
    pub fn probation(&self, score: f64, env: &Env<'_, '_>) -> u32 {
        let (standing, newcomer) = env.limits.probation;
        match self.spec.verification {
            Verification::Audit { .. } if score < env.limits.newcomer_score => newcomer,
            Verification::Audit { .. } => standing,
            // There, every result has its witnesses, or none is wanted.
            Verification::None | Verification::Quorum { .. } => 0,
        }
    }

    /// What the peer manager found.
    pub fn on_candidates(&mut self, candidates: Vec<Candidate>, env: &mut Env<'_, '_>) {
        let unasked = |peer: &PeerId| self.spec.passed_on.iter().flatten().any(|other| other == peer);
        let new = candidates
            .into_iter()
            .filter(|candidate| candidate.score.is_finite() && candidate.peer != self.me && !unasked(&candidate.peer));
        self.spares = new.take(env.limits.hosts_max).collect();
    }

    fn offer(&mut self, peer: PeerId, env: &mut Env<'_, '_>) {
        let Some(host) = self.hosts.get_mut(&peer) else { return };
        host.state = State::Asked(env.cx.now());
        let message = Compute::Offer {
            job: self.name,
            module: self.terms.module,
            module_bytes: self.spec.module.len() as u64,
            limits: self.spec.limits,
            priority: self.spec.priority,
            lease_secs: lease_secs(env),
            depth: if peer == self.me { 0 } else { self.spec.depth },
        };
        env.send(peer, message, Bytes::new());
    }

    /// It computes.
    pub fn on_accept(&mut self, peer: PeerId, slots: u16, env: &mut Env<'_, '_>) {
        let Some(host) = self.hosts.get_mut(&peer) else { return };
        match host.state {
            State::Asked(_) | State::Away(_) | State::Working => {
                if host.state != State::Working {
                    env.trace(None, peer, Happened::Joined { slots });
                }
                (host.state, host.slots, host.busy) = (State::Working, slots.clamp(1, 256).into(), None);
            }
            State::Useless | State::Banned => self.dismiss(peer, env),
        }
    }

    /// It does not, or no longer.
    pub fn on_refuse(&mut self, peer: PeerId, reason: Refusal, waiting: u32, env: &mut Env<'_, '_>) {
        if peer == self.me && reason != Refusal::Busy {
            // What this node cannot run it cannot check either.
            return self.fail(ErrorKind::Usage, format!("this node itself does not compute this job: {reason}"));
        }
        self.take_leases(peer, false, env);
        env.report(peer, Report::Refused);
        let Some(host) = self.hosts.get_mut(&peer) else { return };
        host.work.refused += u64::from(peer != self.me);
        match (host.state, reason) {
            (State::Banned, _) => {}
            // It has forgotten a job that it took: it was started again, or its lease ended.
            (State::Working, Refusal::Busy) => host.state = State::Away(env.cx.now()),
            (_, Refusal::Busy) => {
                host.busy = Some(waiting);
                host.go_away(env);
            }
            _ => host.state = State::Useless,
        }
    }

    /// It wants the module.
    pub fn on_module_get(&mut self, peer: PeerId, part: u16, env: &mut Env<'_, '_>) {
        let count = parts::count(self.spec.module.len());
        let wanted = self.hosts.get(&peer).is_some_and(|host| matches!(host.state, State::Asked(_) | State::Working));
        if wanted && part < count {
            let body = parts::slice(&self.spec.module, part);
            env.send(peer, Compute::ModulePart { job: self.name, part, parts: count }, body);
        }
    }

    /// It is there, with these leases. Those that it should have and does not name are lost.
    pub fn on_alive(&mut self, peer: PeerId, leases: &[u64], env: &mut Env<'_, '_>) {
        let Some(host) = self.hosts.get(&peer) else { return };
        if host.state != State::Working {
            return match host.state {
                State::Useless | State::Banned => self.dismiss(peer, env),
                // It knows the job still: it is asked anew, and forgets nothing meanwhile.
                State::Asked(_) | State::Away(_) => self.offer(peer, env),
                State::Working => {}
            };
        }
        let old = |lease: &Lease| env.cx.now().since(lease.since) >= env.limits.assign_timeout;
        let missing = |id: &&u64| !leases.contains(id) && self.leases.get(id).is_some_and(old);
        let lost: Vec<u64> = host.leases.keys().filter(missing).copied().collect();
        let unknown: Vec<u64> = leases.iter().filter(|id| !self.leases.contains_key(id)).copied().collect();
        for lease in lost {
            if let Some(Lease { place, .. }) = self.lose_lease(lease, env) {
                self.retry(place, None, env);
            }
        }
        if !unknown.is_empty() {
            env.send(peer, Compute::Cancel { job: self.name, leases: unknown }, Bytes::new());
        }
        env.send(peer, Compute::Renew { job: self.name, lease_secs: lease_secs(env) }, Bytes::new());
    }

    /// Nothing came of a lease.
    pub fn on_failed(&mut self, peer: PeerId, lease: u64, reason: Failure, env: &mut Env<'_, '_>) {
        if self.leases.get(&lease).is_none_or(|known| known.host != peer) {
            return;
        }
        let Some(Lease { place, .. }) = self.lose_lease(lease, env) else { return };
        match reason {
            Failure::Busy | Failure::Input => {
                if let Some(host) = self.hosts.get_mut(&peer) {
                    host.is_full();
                }
                self.retry(place, None, env);
            }
            Failure::Unreadable => self.on_unreadable(peer, place, env),
            Failure::Crashed | Failure::Late => self.retry(place, Some((peer, reason)), env),
            Failure::Module => {
                self.retry(place, None, env);
                self.on_refuse(peer, Refusal::Module, 0, env);
            }
        }
    }

    /// The connection to a host is gone, or a frame did not get there.
    pub fn on_lost(&mut self, peer: PeerId, env: &mut Env<'_, '_>) {
        let alive = self.hosts.get(&peer).is_some_and(|host| matches!(host.state, State::Asked(_) | State::Working));
        if alive && peer != self.me {
            env.trace(None, peer, Happened::Left);
            self.take_leases(peer, true, env);
            if let Some(host) = self.hosts.get_mut(&peer) {
                host.go_away(env);
            }
        }
    }

    /// Hosts that have said nothing for too long.
    pub fn look_after_hosts(&mut self, env: &mut Env<'_, '_>) {
        let now = env.cx.now();
        let silent = |host: &Host| match host.state {
            State::Asked(since) => now.since(since) >= env.limits.offer_timeout,
            State::Working => now.since(host.heard) >= env.limits.silence_max,
            _ => false,
        };
        let silent: Vec<PeerId> = self.hosts.iter().filter(|(_, host)| silent(host)).map(|(peer, _)| *peer).collect();
        for peer in silent {
            env.report(peer, Report::TimedOut);
            env.trace(None, peer, Happened::Left);
            // This node's own worker was started again, or has not read its messages: no fault of what it runs.
            self.take_leases(peer, peer != self.me, env);
            if let Some(host) = self.hosts.get_mut(&peer) {
                host.go_away(env);
            }
        }
    }

    /// It signed for what is wrong: nothing that only it vouches for is believed.
    pub fn ban(&mut self, peer: PeerId, env: &mut Env<'_, '_>) {
        if peer == self.me {
            return;
        }
        let probation = env.limits.probation.1;
        let host = self.hosts.entry(peer).or_insert_with(|| Host::new(env.cx.now(), probation));
        if host.state == State::Banned {
            return;
        }
        host.state = State::Banned;
        host.work.wrong += 1;
        env.trace(None, peer, Happened::Banned);
        self.tally.progress.banned += 1;
        env.report(peer, Report::BadProof);
        env.cx.emit(Out::Save { job: self.id, saved: Saved::Banned { host: peer } });
        self.take_leases(peer, false, env);
        self.dismiss(peer, env);
        if !planted!("ban-keeps-results") {
            self.withdraw(peer, env);
        }
    }

    /// Tells the meter what hosts have done.
    pub fn meter(&mut self, env: &mut Env<'_, '_>) {
        for (peer, host) in self.hosts.iter_mut().filter(|(_, host)| host.work != Work::NONE) {
            env.cx.emit(Out::Metered { peer: *peer, work: std::mem::take(&mut host.work) });
        }
    }

    fn dismiss(&mut self, peer: PeerId, env: &mut Env<'_, '_>) {
        env.send(peer, Compute::Cancel { job: self.name, leases: Vec::new() }, Bytes::new());
    }

    /// Takes everything from a host; `lost` if its tasks may have been the reason.
    fn take_leases(&mut self, peer: PeerId, lost: bool, env: &mut Env<'_, '_>) {
        let leases = self.hosts.get(&peer).map_or_else(Vec::new, |host| host.leases.keys().copied().collect());
        for lease in leases {
            if let Some(Lease { place, .. }) = self.lose_lease(lease, env) {
                self.retry(place, lost.then_some((peer, Failure::Crashed)), env);
            }
        }
    }

    /// Forgets a lease.
    pub fn take_lease(&mut self, id: u64) -> Option<Lease> {
        let lease = self.leases.remove(&id)?;
        if let Some(host) = self.hosts.get_mut(&lease.host) {
            host.leases.remove(&id);
        }
        self.tasks.change(lease.place, self.me, |task| task.running.remove(&lease.host));
        Some(lease)
    }

    /// The same for one that ends without a result.
    pub fn lose_lease(&mut self, id: u64, env: &mut Env<'_, '_>) -> Option<Lease> {
        let lease = self.take_lease(id)?;
        env.trace(Some(lease.place), lease.host, Happened::Lost);
        Some(lease)
    }

    /// A task is to be leased again, after a while.
    pub fn retry(&mut self, place: Place, crashed: Option<(PeerId, Failure)>, env: &mut Env<'_, '_>) {
        self.tally.progress.retried += 1;
        let (me, now) = (self.me, env.cx.now());
        let tries = self.tasks.get(place).map_or(0, |task| task.tries);
        let wait = backoff(tries, env.limits.backoff_min, env.limits.backoff_max, env.cx.rng("backoff"));
        let crashes = self.tasks.change(place, me, |task| {
            task.tries = task.tries.saturating_add(1);
            task.not_before = now + wait;
            if let Some((peer, _)) = crashed {
                *task.crashed.entry(peer).or_default() += 1;
            }
            (task.crashed.len(), task.crashed.get(&me).copied().unwrap_or(0))
        });
        let (Some((hosts, own)), Some((_, reason))) = (crashes, crashed) else { return };
        if hosts >= env.limits.crashes_max || own >= OWN_CRASHES_MAX {
            let text = format!(
                "{} was given up: {hosts} hosts were lost with it or failed at it (last: {reason}), this node {own} \
                 times: look at this chunk",
                name(place)
            );
            self.fail(ErrorKind::Failed, text);
        }
    }
}

impl Host {
    fn is_due(&self, now: Time) -> bool {
        matches!(self.state, State::Away(until) if until <= now)
    }

    fn go_away(&mut self, env: &mut Env<'_, '_>) {
        if matches!(self.state, State::Useless | State::Banned) {
            return;
        }
        let wait = backoff(self.tries, env.limits.backoff_min, env.limits.backoff_max, env.cx.rng("backoff"));
        self.tries = self.tries.saturating_add(1);
        self.state = State::Away(env.cx.now() + wait);
    }
}

fn lease_secs(env: &Env<'_, '_>) -> u32 {
    u32::try_from(env.limits.lease.as_secs()).unwrap_or(u32::MAX)
}

/// `min`, doubled with every try up to `max`, and up to half of it more by chance, so that not all come back at once.
fn backoff(tries: u32, min: Duration, max: Duration, draw: &mut Draw) -> Duration {
    let wait = min.saturating_mul(1 << tries.min(16)).min(max);
    wait + wait.mul_f64(draw.unit() / 2.0)
}
