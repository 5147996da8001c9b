//! What goes wrong in a lab: the faults of a plan, as they begin and end. Lines look after those of the network; what a
//! lab does not model (address translation, misbehaviour, damage inside of what is saved) does nothing.

use super::{Member, network::Network};
use crate::{
    plan::{Act, DiskFate, DiskFault},
    record::{NodeId, What},
    scenario::explain::fault_text,
};
use std::time::Duration;

impl<C: Member> Network<'_, C> {
    pub(super) fn begin(&mut self, number: usize) {
        let fault = &self.case.faults[number];
        self.trail.event(self.now, NodeId::MAX, b'!', &fault.id);
        let what = || What::FaultBegan { fault: fault.id, text: fault_text(fault), nodes: fault.act.nodes() };
        self.trail.record(self.now, None, what);
        self.links.begin(fault.id, &fault.act);
        let ended = match &fault.act {
            Act::Crash { nodes, disk } => self.crash(nodes, *disk),
            act => {
                self.apply(act, true);
                Vec::new()
            }
        };
        self.acting.insert(number, ended);
        self.look_at_network();
    }

    pub(super) fn end(&mut self, number: usize) {
        let Some(ended) = self.acting.remove(&number) else { return };
        let fault = &self.case.faults[number];
        self.trail.event(self.now, NodeId::MAX, b'.', &fault.id);
        self.links.end(fault.id);
        self.trail.record(self.now, None, || What::FaultEnded { fault: fault.id });
        self.apply(&fault.act, false);
        for at in ended {
            self.start(at);
        }
        self.look_at_network();
    }

    /// All faults are over, except for crashes for good.
    pub(super) fn calm(&mut self) {
        self.trail.record(self.now, None, || What::Calm);
        let over = |number: &usize| {
            let fault = &self.case.faults[*number];
            fault.until_ms.is_some() || !matches!(fault.act, Act::Crash { .. })
        };
        let ending: Vec<usize> = self.acting.keys().copied().filter(over).collect();
        ending.into_iter().for_each(|number| self.end(number));
    }

    /// Ends processes; those that ran.
    fn crash(&mut self, nodes: &[NodeId], disk: DiskFate) -> Vec<usize> {
        let mut ended = Vec::new();
        for at in self.places_of(nodes) {
            if self.places[at].core.is_none() {
                continue;
            }
            let id = self.places[at].id;
            self.trail.event(self.now, id, b'-', &disk);
            self.trail.record(self.now, Some(id), || What::Crashed { disk: format!("{disk:?}").to_lowercase() });
            self.places[at].end();
            self.places[at].disk.crash(disk, &mut self.fates);
            ended.push(at);
        }
        ended
    }

    fn apply(&mut self, act: &Act, on: bool) {
        match act {
            Act::Pause { nodes } => {
                for at in self.places_of(nodes) {
                    self.pause(at, on);
                }
            }
            Act::Skew { nodes, by_s, drift_ppm } => {
                for at in self.places_of(nodes) {
                    self.places[at].skew = on.then_some((*by_s, *drift_ppm, self.now));
                }
            }
            Act::Disk { nodes, how } => {
                for at in self.places_of(nodes) {
                    let disk = &mut self.places[at].disk;
                    match how {
                        DiskFault::Slow { sync_ms } if on => disk.sync = Duration::from_millis(*sync_ms),
                        DiskFault::Slow { .. } => disk.recover_speed(),
                        DiskFault::Full | DiskFault::Errors => disk.full = on,
                        DiskFault::LyingSync => disk.lying = on,
                        DiskFault::Misdirected | DiskFault::Rot { .. } => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn pause(&mut self, at: usize, on: bool) {
        let id = self.places[at].id;
        if on == self.places[at].paused.is_some() {
            return;
        }
        self.trail.event(self.now, id, b'p', &on);
        self.trail.record(self.now, Some(id), || What::Paused { paused: on });
        if on {
            self.places[at].paused = Some(Vec::new());
        } else if let Some(waiting) = self.places[at].paused.take() {
            self.catch_up(waiting);
        }
    }

    /// The places of a group; an empty group means all nodes.
    fn places_of(&self, nodes: &[NodeId]) -> Vec<usize> {
        match nodes {
            [] => (0..self.places.len()).collect(),
            nodes => nodes.iter().filter_map(|node| self.index.get(node).copied()).collect(),
        }
    }
}
