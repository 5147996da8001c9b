//! Who runs what next. Doubts go before audits, audits before new tasks; a new task goes where it is likely to end first,
//! the way of its input there included; an audit goes to a proven host that is drawn at random, or to this node; and when nothing else is to be done, late
//! tasks get a second copy.

use super::{
    Env,
    host::{Host, State},
    job::{Job, Lease},
    supply::Given,
    task::Need,
};
use crate::api::Happened;
use bytes::Bytes;
use pangea_kernel::planted;
use pangea_protocols::{
    PeerId,
    receipt_job::{Place, Verification},
    wire::compute::Compute,
};

/// Open tasks of a kind that are looked at for one event.
const LOOKED_AT_MAX: usize = 256;
/// Beyond its slots this node takes so many tasks for which others cannot stand in.
const SPARE: usize = 2;
/// So many times slower than the fastest proven host, this node leaves audits to others.
const SLOW: f64 = 2.0;

impl Job {
    /// Leases all that can be leased.
    pub fn place_all(&mut self, env: &mut Env<'_, '_>) {
        for need in Need::ALL {
            self.place_open(need, env);
        }
        self.speculate(env);
    }

    /// First those whose input is here; then those whose input is to be asked for, unless enough are on their way.
    fn place_open(&mut self, need: Need, env: &mut Env<'_, '_>) {
        let now = env.cx.now();
        let mut last = None;
        while self.room(need) > 0
            && let Some(place) = self.supply.next_here(last)
        {
            last = Some(place);
            if self.tasks.is_open_now(need, place, now) {
                self.place_one(need, place, env);
            }
        }
        if self.supply.coming() > self.room(need) / 2 {
            return;
        }
        let mut last = None;
        for _ in 0..LOOKED_AT_MAX {
            let next = self.tasks.next_open(need, last, now).filter(|_| self.supply.coming() < self.room(need));
            let Some(place) = next else { return };
            last = Some(place);
            if !self.supply.is_known(place) {
                self.place_one(need, place, env);
            }
        }
    }

    fn place_one(&mut self, need: Need, place: Place, env: &mut Env<'_, '_>) {
        while self.tasks.is_open(place)
            && let Some(host) = self.pick(need, place, env)
            && self.lease(place, host, env)
        {}
    }

    fn spare(&self, need: Need, peer: PeerId) -> usize {
        if peer == self.me && need == Need::Judge { SPARE } else { 0 }
    }

    /// Tasks that all hosts together may be given now.
    fn room(&self, need: Need) -> usize {
        let small = self.is_small();
        self.hosts.iter().map(|(peer, host)| host.room(self.spare(need, *peer), small)).sum()
    }

    /// May tasks wait at a host? Not those that would be passed on from there, nor large ones.
    fn is_small(&self) -> bool {
        self.spec.depth == 0 && self.supply.is_small()
    }

    /// Who is to run it.
    fn pick(&self, need: Need, place: Place, env: &mut Env<'_, '_>) -> Option<PeerId> {
        let (task, small) = (self.tasks.get(place)?, self.is_small());
        let audit = need == Need::Confirm && matches!(self.spec.verification, Verification::Audit { .. });
        let fits = |peer: PeerId, host: &Host| {
            let mine = peer == self.me;
            let fit = match need {
                Need::Judge => mine,
                Need::Confirm => mine || !audit || host.is_proven(),
                Need::First => true,
            };
            let voted = task.knows(peer) && !(planted!("voter-asked-again") && task.vote(peer).is_some());
            let again = voted || !mine && task.crashed.contains_key(&peer);
            fit && !again && host.state == State::Working
        };
        // Who could not read its input gets it again only if nobody else is left.
        let could = |peer: PeerId| !task.unreadable.contains_key(&peer);
        let choosy = self.hosts.iter().any(|(peer, host)| could(*peer) && fits(*peer, host));
        let may = |(peer, host): &(&PeerId, &Host)| {
            fits(**peer, host) && (could(**peer) || !choosy) && host.room(self.spare(need, **peer), small) > 0
        };
        let open = self.hosts.iter().filter(may);
        if audit {
            let others = self.hosts.iter().filter(|(peer, host)| **peer != self.me && host.is_believed());
            let stand_in = others.filter(|(peer, host)| fits(**peer, host) && (could(**peer) || !choosy));
            let fastest = stand_in.map(|(_, host)| host.mean_s).min_by(f64::total_cmp);
            let own = self.hosts.get(&self.me).map_or(0.0, |host| host.mean_s);
            let slow = fastest.is_some_and(|fastest| own > SLOW * fastest);
            let open: Vec<PeerId> = open.map(|(peer, _)| *peer).filter(|peer| *peer != self.me || !slow).collect();
            return env.cx.rng("auditor").choose(&open).copied();
        }
        let input = self.supply.get(place);
        let expected_s =
            |(peer, host): (&PeerId, &Host)| host.expected_s(input.map_or(0, |input| input.move_bytes(*peer)));
        let earlier = |a: &(&PeerId, &Host), b: &(&PeerId, &Host)| {
            expected_s(*a).total_cmp(&expected_s(*b)).then(a.1.leases.len().cmp(&b.1.leases.len()))
        };
        open.min_by(earlier).map(|(peer, _)| *peer)
    }

    /// Sends a task to a host, if its input is here. True if it is under way.
    fn lease(&mut self, place: Place, peer: PeerId, env: &mut Env<'_, '_>) -> bool {
        let Some(given) = self.input(place, env) else { return false };
        let id = env.numbers.fresh();
        let Some(Some(input)) = self.tasks.change(place, self.me, |task| {
            task.running.insert(peer, id);
            task.input_bytes = given.len() as u64;
            task.input
        }) else {
            return false;
        };
        let reads = match &given {
            Given::Bytes(_) => 0,
            Given::Stored { input, .. } => input.len,
        };
        let behind = self.hosts.get(&peer).map_or(0, |host| host.leases.len());
        self.leases.insert(id, Lease { place, host: peer, since: env.cx.now(), behind, reads, read: None });
        if let Some(host) = self.hosts.get_mut(&peer) {
            if host.leases.is_empty() {
                // Its silence counts from here.
                host.heard = host.heard.max(env.cx.now());
            }
            host.leases.insert(id, place);
        }
        env.trace(Some(place), peer, Happened::Leased);
        let job = self.name;
        match given {
            Given::Bytes(bytes) => env.assign(peer, job, (id, place, input), &bytes),
            Given::Stored { input, .. } => {
                env.send(peer, Compute::AssignStored { job, lease: id, place, input }, Bytes::new());
            }
        }
        if !self.tasks.is_open(place) {
            self.supply.forget(place);
        }
        true
    }

    /// Second copies of what is late. Tasks are pure: the first result is as good as the other.
    fn speculate(&mut self, env: &mut Env<'_, '_>) {
        let now = env.cx.now();
        if self.tasks.next_open(Need::First, None, now).is_some() {
            return;
        }
        let Some(late) = self.tally.late_after(env.limits.late_floor, env.limits.late_factor) else { return };
        let alone = |lease: &&Lease| {
            now.since(lease.since) >= late
                && self
                    .tasks
                    .get(lease.place)
                    .is_some_and(|task| task.running.len() == 1 && task.copies == 0 && task.truth.is_none())
        };
        let places: Vec<Place> = self.leases.values().filter(alone).map(|lease| lease.place).collect();
        for place in places {
            let Some(task) = self.tasks.get(place) else { continue };
            let need = match (task.disputed, task.votes.is_empty()) {
                // Nobody can stand in for this node.
                (true, _) => continue,
                (false, false) => Need::Confirm,
                (false, true) => Need::First,
            };
            if self.pick(need, place, env).is_some() {
                self.tasks.change(place, self.me, |task| task.copies = 1);
                self.tally.progress.speculated += 1;
            }
        }
        for need in [Need::Confirm, Need::First] {
            self.place_open(need, env);
        }
    }

    /// Nobody needs to run it any more.
    pub fn stop(&mut self, place: Place, env: &mut Env<'_, '_>) {
        let running: Vec<(PeerId, u64)> = self
            .tasks
            .get(place)
            .map_or_else(Vec::new, |task| task.running.iter().map(|(peer, lease)| (*peer, *lease)).collect());
        for (peer, lease) in running {
            self.lose_lease(lease, env);
            env.send(peer, Compute::Cancel { job: self.name, leases: vec![lease] }, Bytes::new());
        }
        self.supply.forget(place);
    }
}
