//! A disk in memory that can lose power: the [`pangea::drivers::disk::Volume`] of a simulated node.
//!
//! | module | what it defines |
//! |---|---|
//! | [`content`] | the bytes of a file, in pieces that are shared with whoever wrote them |
//! | [`file`] | a file as it is now and as it is durable; what a crash makes of the difference |
//! | [`platter`] | all files, and their names, now and durably |
//! | [`faults`] | what can be switched on: full disk, I/O errors, lying syncs, misdirected writes |
//! | [`mount`] | the volume that a shard disk works on; it dies with the next crash |
//!
//! [`VirtualVolume`] is the disk itself: it outlives its node. A node that starts works on a [`VirtualVolume::mount`];
//! after a crash that mount fails in everything, so nothing of a dead node reaches the disk.
//!
//! Nothing here draws by itself: crashes and rot take their draws from the caller, everything else is counted.
//! Where to start: `tests/disk_crash`.

mod content;
mod faults;
mod file;
mod mount;
mod platter;

pub use faults::{Cost, Speed};
pub use mount::Mount;
use pangea_kernel::{Draw, Seed};
use platter::{Name, Platter};
use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Bytes of a sector: what is written whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// What a crash leaves of the writes that were not synced, and of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// The process died, the machine did not: everything written is there, and still not synced.
    Kept,
    /// The power failed: each write and each name survives or is lost, and a write may be torn between its sectors,
    /// independently of all others, so a later one may survive an earlier one.
    Torn,
    /// The power failed, and only what was synced is there.
    Lost,
    /// The disk as an earlier backup has it; see [`VirtualVolume::set_backups`].
    Old,
    /// Another disk, empty.
    Wiped,
}

/// A file of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stored {
    /// A segment.
    Segment(u32),
    /// The index.
    Index,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub struct VirtualVolume(Arc<Mutex<Platter>>);

impl VirtualVolume {
    /// An empty disk without faults. Only the marks of segments come from `seed`.
    pub fn new(seed: &Seed) -> Self {
        Self(Arc::new(Mutex::new(Platter::new(seed.derive("marks").draw()))))
    }

    /// Another disk with what is on this one now, to look at without touching this one.
    pub fn copy(&self) -> Self {
        let copy = self.lock().copy(Seed::new([0; 32]).derive("copy").draw());
        Self(Arc::new(Mutex::new(copy)))
    }

    /// What a node that starts now works on.
    pub fn mount(&self) -> Arc<Mount> {
        Arc::new(Mount::new(self.clone()))
    }

    /// The node dies now: its mount fails from here on. Switched-on faults stay, a planned crash is over.
    pub fn crash(&self, fate: Fate, draw: &mut Draw) {
        self.lock().crash(fate, draw);
    }

    /// Everything fails after `operations` more writes, syncs and changes of names, until [`VirtualVolume::crash`].
    /// The first that fails is carried out all the same, without being told so.
    pub fn fail_after(&self, operations: u64) {
        self.lock().faults.crash_in = Some(operations);
    }

    /// True if a planned crash has come, and [`VirtualVolume::crash`] has not been called.
    pub fn is_down(&self) -> bool {
        self.lock().faults.down
    }

    /// True while something may fail or lie, as planned.
    pub fn is_faulty(&self) -> bool {
        self.lock().faults.planned()
    }

    /// Syncs say that all is well and do nothing.
    pub fn set_lying_sync(&self, lying: bool) {
        self.lock().faults.lying_sync = lying;
    }

    /// The disk is full when its files have so many bytes; `None` for never.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().faults.capacity = bytes;
    }

    /// After `after` more writes, syncs and changes of names, `count` of them fail and do nothing.
    pub fn fail_operations(&self, after: u64, count: u64) {
        self.lock().faults.operations.plan(after, count);
    }

    /// After `after` more reads, `count` of them fail.
    pub fn fail_reads(&self, after: u64, count: u64) {
        self.lock().faults.reads.plan(after, count);
    }

    /// After `after` more writes, one lands `by` bytes from where it should, in the same file.
    pub fn misdirect(&self, after: u64, by: i64) {
        self.lock().faults.misdirect = Some((after, by));
    }

    /// Ends all faults but a crash; what rot and misdirected writes have done stays.
    pub fn heal(&self) {
        self.lock().faults.heal();
    }

    /// Flips `bits` drawn bits of a file's `range`; of its whole content if that is `None`.
    pub fn rot(&self, stored: Stored, range: Option<Range<u64>>, bits: u32, draw: &mut Draw) {
        self.lock().rot(stored.into(), range, bits, draw);
    }

    /// How long things take.
    pub fn set_speed(&self, speed: Speed) {
        self.lock().faults.speed = speed;
    }

    /// What was done since this was last asked, and how long it took: the caller lets that time pass.
    pub fn take_cost(&self) -> Cost {
        std::mem::take(&mut self.lock().cost)
    }

    /// Remembers the durable state at every `syncs`-th sync for [`Fate::Old`], the last `kept` of them; a backup holds
    /// on to what has been overwritten or unlinked since. At first there is one, of the empty disk.
    pub fn set_backups(&self, syncs: u64, kept: usize) {
        self.lock().set_backups(syncs, kept);
    }

    /// The files there are, with their bytes.
    pub fn files(&self) -> Vec<(Stored, u64)> {
        let platter = self.lock();
        let stored = platter.names().filter_map(|(name, bytes)| match name {
            Name::Segment(number) => Some((Stored::Segment(number), bytes)),
            Name::Index => Some((Stored::Index, bytes)),
            Name::Aside => None,
        });
        stored.collect()
    }

    /// How often an index was put aside as damaged.
    pub fn indexes_put_aside(&self) -> u64 {
        self.lock().put_aside
    }

    fn lock(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Stored> for Name {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Segment(number) => Self::Segment(number),
            Stored::Index => Self::Index,
        }
    }
}
