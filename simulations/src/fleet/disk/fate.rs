//! What disks do wrong, what a crash leaves, and what is there to be found.

use super::{ShardDisk, State, notebook, take};
use crate::{
    plan::{DiskFate, DiskFault},
    tier::Holdings,
    virtual_disk::{Fate, Stored},
};
use pangea::drivers::disk::InlineDisk;
use pangea_protocols::{
    ShardId,
    disk::{Command, Event},
};

/// Operations on the volume that a group in the writer's hands gets through at most before a crash.
const CUT_OFF_MAX: u64 = 12;
/// How far from its place a misdirected write lands at most.
const ASTRAY_BYTES_MAX: u64 = 1 << 16;

impl ShardDisk {
    /// The process that had it open is gone, and this is what becomes of its writes.
    pub(in crate::fleet) fn crash(&self, fate: DiskFate) {
        let state = &mut *self.state();
        state.epoch += 1;
        let mut open = state.open.take();
        if let Some(open) = open.as_mut().filter(|open| !open.writing.is_empty()) {
            state.volume.fail_after(state.draw.below(CUT_OFF_MAX));
            let writing = std::mem::take(&mut open.writing);
            open.disk.on_commands(writing, self.timeline.now());
        }
        let fate = match fate {
            DiskFate::Kept => Fate::Kept,
            DiskFate::Torn => Fate::Torn,
            DiskFate::Lost => Fate::Lost,
            DiskFate::Old => Fate::Old,
            DiskFate::Wiped => Fate::Wiped,
        };
        state.volume.crash(fate, &mut state.draw);
        // Later than the crash: what its end would write must not reach the volume.
        drop(open);
    }

    /// A fault begins, or is over; those of a moment only begin.
    pub(in crate::fleet) fn fault(&self, fault: DiskFault, on: bool) {
        let state = &mut *self.state();
        state.faults.retain(|other| *other != fault);
        match fault {
            DiskFault::Slow { .. } if on => state.faults.push(fault),
            DiskFault::Slow { .. } => {}
            DiskFault::Full => {
                let bytes = state.volume.files().iter().map(|(_, bytes)| bytes).sum();
                state.volume.set_capacity(on.then_some(bytes));
            }
            DiskFault::LyingSync => state.volume.set_lying_sync(on),
            DiskFault::Errors => {
                let count = if on { u64::MAX } else { 0 };
                state.volume.fail_operations(0, count);
                state.volume.fail_reads(0, count);
            }
            DiskFault::Misdirected if on => {
                let by = 1 + state.draw.below(ASTRAY_BYTES_MAX);
                state.volume.misdirect(0, i64::try_from(by).unwrap_or(1));
            }
            DiskFault::Rot { places } if on => (0..places).for_each(|_| state.rot()),
            DiskFault::Misdirected | DiskFault::Rot { .. } => {}
        }
    }

    /// What would be found after a restart: a copy of the disk is opened and read.
    pub(in crate::fleet) fn holdings(&self) -> Holdings {
        let (copy, options, known) = {
            let state = self.state();
            (state.volume.copy(), state.options, state.known.clone())
        };
        let (port, said) = notebook();
        let Ok(mut disk) = InlineDisk::open(copy.mount(), options, port, self.timeline.now()) else {
            return Holdings::default();
        };
        let known: Vec<ShardId> = known.into_iter().collect();
        let reads = known.iter().zip(0..).map(|(shard, tag)| Command::Read { tag, shard: *shard }).collect();
        disk.on_commands(reads, self.timeline.now());
        let read = |event| match event {
            Event::Read { tag, .. } => usize::try_from(tag).ok().and_then(|at| known.get(at)).copied(),
            _ => None,
        };
        Holdings { shards: take(&said).into_iter().filter_map(read).collect(), usage: disk.usage() }
    }
}

impl State {
    /// A bit flips in one of the segments.
    fn rot(&mut self) {
        let files = self.volume.files();
        let segments: Vec<Stored> =
            files.into_iter().map(|(stored, _)| stored).filter(|stored| *stored != Stored::Index).collect();
        if let Some(segment) = self.draw.choose(&segments) {
            self.volume.rot(*segment, None, 1, &mut self.draw);
        }
    }
}
