//! [`Ids`]: the numbers of requests, tags and queries of one job.
//!
//! An id is `serial × 64 + slot`: whose it is can be read from it, so no table of routes exists that could leak. The
//! serial of a slot goes on when the next job takes it: a late answer never meets a stranger's request.

use super::limits::JOBS_MAX;

/// Draws the ids of one job.
#[derive(Debug)]
pub(super) struct Ids {
    slot: u64,
    serial: u64,
}

impl Ids {
    /// Goes on after `serial`.
    pub fn new(slot: usize, serial: u64) -> Self {
        Self { slot: slot as u64, serial }
    }

    /// A number never used before by this downloader.
    pub fn draw(&mut self) -> u64 {
        self.serial += 1;
        self.serial * JOBS_MAX as u64 + self.slot
    }

    /// Which slot, and where the next job in it goes on.
    pub fn into_parts(self) -> (usize, u64) {
        (slot_of(self.slot), self.serial)
    }
}

/// The slot that an id belongs to.
pub(super) fn slot_of(id: u64) -> usize {
    usize::try_from(id % JOBS_MAX as u64).unwrap_or(0)
}
