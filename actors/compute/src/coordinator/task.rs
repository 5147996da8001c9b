//! [`Task`]: who runs a task, who says what of it; and [`Tasks`]: all of a job, and those that need somebody.

use bytes::Bytes;
use pangea_protocols::{
    Hash, PeerId,
    receipt_job::{Place, Stage},
    task::Receipt,
    time::Time,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Included},
};

/// What a host signed for.
#[derive(Clone, Debug)]
pub struct Vote {
    /// Who.
    pub host: PeerId,
    /// What.
    pub receipt: Receipt,
    /// When it came.
    pub at: Time,
    /// Its host has been credited for it.
    pub metered: bool,
}

/// Why somebody is to run a task. In this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Hosts differ: this node decides.
    Judge,
    /// There is a result that is to be confirmed.
    Confirm,
    /// There is no result.
    First,
}

impl Need {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Judge, Self::Confirm, Self::First];
}

/// A task.
#[derive(Debug, Default)]
pub struct Task {
    /// Hash of its input, once that was read.
    pub input: Option<Hash>,
    /// Bytes of its input, once it was leased.
    pub input_bytes: u64,
    /// At most one of each host.
    pub votes: Vec<Vote>,
    /// Equal votes that are asked for; 0 counts as 1.
    pub needed: usize,
    /// Copies beside those that are needed: 1 once it was late.
    pub copies: usize,
    /// Leases, by host.
    pub running: BTreeMap<PeerId, u64>,
    /// What it is, by its votes; the output may still be missing.
    pub truth: Option<Receipt>,
    /// What it was, when it was last accepted.
    pub believed: Option<Receipt>,
    /// Two votes differ, and this node has not run it.
    pub disputed: bool,
    /// Outputs by their hash: one for every different vote, and only the true one once it is accepted.
    pub outputs: BTreeMap<Hash, Bytes>,
    /// The truth is known and the output is here.
    pub accepted: bool,
    /// Hosts that were lost with it or failed at it, and how often.
    pub crashed: BTreeMap<PeerId, u32>,
    /// Failures of all kinds.
    pub tries: u32,
    /// Not leased before.
    pub not_before: Time,
    /// Hosts that could not read its input, and how often.
    pub unreadable: BTreeMap<PeerId, u32>,
    /// This node reads it for them, and sends its bytes.
    pub fed: bool,
    /// Before that, the hash of its input was this.
    pub was: Option<Hash>,
    /// How often this node could not read it either.
    pub unfed: u32,
}

impl Task {
    /// The vote of a host.
    pub fn vote(&self, host: PeerId) -> Option<&Vote> {
        self.votes.iter().find(|vote| vote.host == host)
    }

    /// Has this host something to do with it already?
    pub fn knows(&self, host: PeerId) -> bool {
        self.running.contains_key(&host) || self.vote(host).is_some()
    }

    /// The output, once it is accepted.
    pub fn output(&self) -> Option<&Bytes> {
        self.outputs.get(&self.truth?.output.ok()?).filter(|_| self.accepted)
    }

    /// Who is needed, beside those that run it.
    fn need(&self, me: PeerId) -> Option<Need> {
        if self.truth.is_some() {
            return None;
        }
        if self.disputed {
            return (!self.running.contains_key(&me)).then_some(Need::Judge);
        }
        let missing = self.needed.max(1) + self.copies > self.votes.len() + self.running.len();
        missing.then_some(if self.votes.is_empty() { Need::First } else { Need::Confirm })
    }
}

/// All tasks of a job that are known.
#[derive(Debug, Default)]
pub struct Tasks {
    all: BTreeMap<Place, Task>,
    open: BTreeSet<(Need, Place)>,
    accepted: u32,
}

impl Tasks {
    /// Adds tasks 0 to `count` of a stage.
    pub fn add(&mut self, stage: Stage, count: u32, needed: usize, me: PeerId) {
        for index in 0..count {
            let place = Place { stage, index };
            self.all.insert(place, Task { needed, ..Task::default() });
            self.refresh(place, me);
        }
    }

    /// One.
    pub fn get(&self, place: Place) -> Option<&Task> {
        self.all.get(&place)
    }

    /// Changes one, and looks whether it still needs somebody.
    pub fn change<T>(&mut self, place: Place, me: PeerId, change: impl FnOnce(&mut Task) -> T) -> Option<T> {
        let task = self.all.get_mut(&place)?;
        let before = task.accepted;
        let result = change(task);
        match (before, task.accepted) {
            (false, true) => self.accepted += 1,
            (true, false) => self.accepted -= 1,
            _ => {}
        }
        self.refresh(place, me);
        Some(result)
    }

    /// Forgets one.
    pub fn remove(&mut self, place: Place) -> Option<Task> {
        let task = self.all.remove(&place)?;
        self.accepted -= u32::from(task.accepted);
        for need in Need::ALL {
            self.open.remove(&(need, place));
        }
        Some(task)
    }

    fn refresh(&mut self, place: Place, me: PeerId) {
        let need = self.all.get(&place).and_then(|task| task.need(me));
        for kind in Need::ALL {
            if need == Some(kind) {
                self.open.insert((kind, place));
            } else {
                self.open.remove(&(kind, place));
            }
        }
    }

    /// The first task with this need that may be leased now, beyond `last`.
    pub fn next_open(&self, need: Need, last: Option<Place>, now: Time) -> Option<Place> {
        let first = Included((need, Place { stage: Stage::Split, index: 0 }));
        let first = last.map_or(first, |place| Excluded((need, place)));
        let end = Included((need, Place { stage: Stage::Merge, index: u32::MAX }));
        self.open.range((first, end)).map(|(_, place)| *place).find(|place| self.may_begin(*place, now))
    }

    /// Has it this need, and may it be leased now?
    pub fn is_open_now(&self, need: Need, place: Place, now: Time) -> bool {
        self.open.contains(&(need, place)) && self.may_begin(place, now)
    }

    fn may_begin(&self, place: Place, now: Time) -> bool {
        self.all.get(&place).is_some_and(|task| task.not_before <= now)
    }

    /// Does it need somebody?
    pub fn is_open(&self, place: Place) -> bool {
        Need::ALL.iter().any(|need| self.open.contains(&(*need, place)))
    }

    /// How many need somebody.
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Accepted ones, of all stages.
    pub fn accepted(&self) -> u32 {
        self.accepted
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Place, &Task)> {
        self.all.iter().map(|(place, task)| (*place, task))
    }

    /// Those of a stage.
    pub fn of(&self, stage: Stage) -> impl Iterator<Item = (Place, &Task)> {
        let range = Place { stage, index: 0 }..=Place { stage, index: u32::MAX };
        self.all.range(range).map(|(place, task)| (*place, task))
    }
}
