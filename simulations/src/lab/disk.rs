//! [`Disk`]: what a node has saved, and what of it a crash leaves. A state is saved as a whole, so it is never torn; what
//! is lost or put back in time are whole states.

use crate::plan::DiskFate;
use pangea_kernel::Draw;
use std::{collections::VecDeque, time::Duration};

/// What a sync takes, unless a fault makes it slower.
const SYNC: Duration = Duration::from_millis(2);

/// A node's disk.
pub(super) struct Disk<S> {
    /// What a process that starts now would find.
    written: Option<S>,
    /// States that have been written and not yet synced, with their numbers, oldest first.
    waiting: VecDeque<(u64, S)>,
    /// What a power loss leaves.
    synced: Option<S>,
    /// What was synced before that.
    older: Option<S>,
    saves: u64,
    /// A sync takes this long.
    pub(super) sync: Duration,
    /// Nothing can be saved.
    pub(super) full: bool,
    /// A sync says that it is done and does nothing.
    pub(super) lying: bool,
}

impl<S: Clone> Disk<S> {
    pub(super) fn new() -> Self {
        Self {
            written: None,
            waiting: VecDeque::new(),
            synced: None,
            older: None,
            saves: 0,
            sync: SYNC,
            full: false,
            lying: false,
        }
    }

    /// A fault of its speed is over.
    pub(super) fn recover_speed(&mut self) {
        self.sync = SYNC;
    }

    /// Writes a state. Its number, for [`Disk::synced`] after the sync's time; `None` if no space is left.
    pub(super) fn save(&mut self, state: S) -> Option<u64> {
        if self.full {
            return None;
        }
        self.saves += 1;
        self.written = Some(state.clone());
        self.waiting.push_back((self.saves, state));
        Some(self.saves)
    }

    /// The sync of a state is done, and of all before it.
    pub(super) fn synced(&mut self, save: u64) {
        if self.lying {
            return;
        }
        while self.waiting.front().is_some_and(|(number, _)| *number <= save) {
            if let Some((_, state)) = self.waiting.pop_front() {
                self.older = self.synced.replace(state);
            }
        }
    }

    /// The process ends. What is left is what the next one finds.
    pub(super) fn crash(&mut self, fate: DiskFate, draw: &mut Draw) {
        // Always one draw, so that the fate of one crash does not shift that of the next.
        let luck = draw.below(self.waiting.len() as u64 + 1);
        let left = match fate {
            DiskFate::Kept => self.written.take(),
            DiskFate::Torn => match usize::try_from(luck).unwrap_or(0) {
                0 => self.synced.take(),
                count => self.waiting.get(count - 1).map(|(_, state)| state.clone()),
            },
            DiskFate::Lost => self.synced.take(),
            DiskFate::Old => self.older.take(),
            DiskFate::Wiped => None,
        };
        self.waiting.clear();
        (self.written, self.synced) = (left.clone(), left);
    }

    /// What a process that starts finds.
    pub(super) fn found(&self) -> Option<S> {
        self.written.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_kernel::Seed;

    fn after(fate: DiskFate) -> Option<u32> {
        let mut disk = Disk::new();
        for state in 1..=2 {
            let save = disk.save(state).unwrap();
            disk.synced(save);
        }
        disk.save(3).unwrap();
        disk.crash(fate, &mut Seed::new([0; 32]).draw());
        disk.found()
    }

    #[test]
    fn a_crash_leaves_what_its_fate_says() {
        assert_eq!(after(DiskFate::Kept), Some(3));
        assert_eq!(after(DiskFate::Lost), Some(2));
        assert_eq!(after(DiskFate::Old), Some(1));
        assert_eq!(after(DiskFate::Wiped), None);
        assert!([Some(2), Some(3)].contains(&after(DiskFate::Torn)));
    }

    #[test]
    fn a_full_disk_saves_nothing_and_a_lying_one_loses_what_it_said_is_synced() {
        let mut disk = Disk::new();
        disk.full = true;
        assert_eq!(disk.save(1), None);
        (disk.full, disk.lying) = (false, true);
        let save = disk.save(2).unwrap();
        disk.synced(save);
        disk.crash(DiskFate::Lost, &mut Seed::new([0; 32]).draw());
        assert_eq!(disk.found(), None);
    }
}
