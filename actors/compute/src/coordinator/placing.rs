//! Who runs what next. Doubts go before audits, audits before new tasks; a new task goes where it is likely to end first;
//! an audit goes to a proven host that is drawn at random, or to this node; and when nothing else is to be done, late
//! tasks get a second copy.

use super::{
    Env,
    host::Host,
    job::{Job, Lease},
    task::Need,
};
use crate::{api::Happened, parts::parts_of};
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

    fn place_open(&mut self, need: Need, env: &mut Env<'_, '_>) {
        if !self.has_room(need) {
            return;
        }
        for place in self.tasks.open(need, env.cx.now(), LOOKED_AT_MAX) {
            while self.tasks.is_open(place)
                && let Some(host) = self.pick(need, place, env)
                && self.lease(place, host, env)
            {}
            if !self.has_room(need) {
                return;
            }
        }
    }

    fn spare(&self, need: Need, peer: PeerId) -> usize {
        if peer == self.me && need == Need::Judge { SPARE } else { 0 }
    }

    fn has_room(&self, need: Need) -> bool {
        self.hosts.iter().any(|(peer, host)| host.room(self.spare(need, *peer)) > 0)
    }

    /// Who is to run it.
    fn pick(&self, need: Need, place: Place, env: &mut Env<'_, '_>) -> Option<PeerId> {
        let task = self.tasks.get(place)?;
        let audit = need == Need::Confirm && matches!(self.spec.verification, Verification::Audit { .. });
        let may = |(peer, host): &(&PeerId, &Host)| {
            let mine = **peer == self.me;
            let fit = match need {
                Need::Judge => mine,
                Need::Confirm => mine || !audit || host.is_proven(),
                Need::First => true,
            };
            let voted = task.knows(**peer) && !(planted!("voter-asked-again") && task.vote(**peer).is_some());
            let again = voted || !mine && task.crashed.contains_key(*peer);
            fit && !again && host.room(self.spare(need, **peer)) > 0
        };
        let open = self.hosts.iter().filter(may);
        if audit {
            let others = self.hosts.iter().filter(|(peer, host)| **peer != self.me && host.is_believed());
            let stand_in = others.filter(|(peer, _)| !task.knows(**peer) && !task.crashed.contains_key(*peer));
            let fastest = stand_in.map(|(_, host)| host.mean_s).min_by(f64::total_cmp);
            let own = self.hosts.get(&self.me).map_or(0.0, |host| host.mean_s);
            let slow = fastest.is_some_and(|fastest| own > SLOW * fastest);
            let open: Vec<PeerId> = open.map(|(peer, _)| *peer).filter(|peer| *peer != self.me || !slow).collect();
            return env.cx.rng("auditor").choose(&open).copied();
        }
        let key = |host: &Host| (host.expected_s(), host.leases.len());
        let earlier = |a: &Host, b: &Host| key(a).0.total_cmp(&key(b).0).then(key(a).1.cmp(&key(b).1));
        open.min_by(|(_, a), (_, b)| earlier(a, b)).map(|(peer, _)| *peer)
    }

    /// Sends a task to a host, if its input is here. True if it is under way.
    fn lease(&mut self, place: Place, peer: PeerId, env: &mut Env<'_, '_>) -> bool {
        let Some(bytes) = self.input(place, env) else { return false };
        let id = env.numbers.fresh();
        let Some(Some(input)) = self.tasks.change(place, self.me, |task| {
            task.running.insert(peer, id);
            task.input_bytes = bytes.len() as u64;
            task.input
        }) else {
            return false;
        };
        self.leases.insert(id, Lease { place, host: peer, since: env.cx.now() });
        if let Some(host) = self.hosts.get_mut(&peer) {
            if host.leases.is_empty() {
                // Its silence counts from here.
                host.heard = host.heard.max(env.cx.now());
            }
            host.leases.insert(id, place);
        }
        env.trace(self.id, Some(place), peer, Happened::Leased);
        for (part, parts, body) in parts_of(&bytes) {
            env.send(peer, Compute::Assign { job: self.name, lease: id, place, input, part, parts }, body);
        }
        if !self.tasks.is_open(place) {
            self.supply.forget(place);
        }
        true
    }

    /// Second copies of what is late. Tasks are pure: the first result is as good as the other.
    fn speculate(&mut self, env: &mut Env<'_, '_>) {
        let now = env.cx.now();
        let Some(late) = self.tally.late_after(env.limits.late_floor, env.limits.late_factor) else { return };
        if !self.tasks.open(Need::First, now, 1).is_empty() {
            return;
        }
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
