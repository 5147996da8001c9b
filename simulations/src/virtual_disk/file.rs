//! [`File`]: bytes as the running node sees them and as they are durable, and what a crash makes of the difference.

use super::{Fate, SECTOR_BYTES, content::Content};
use bytes::Bytes;
use pangea_kernel::Draw;
use std::collections::VecDeque;

/// Writes of one file that may wait for a sync. Beyond it the oldest become durable, as a system writes back what
/// waits for long; so a disk whose syncs lie keeps no more than this.
const UNSYNCED_MAX: usize = 4096;

/// One change of a file.
#[derive(Clone, Debug)]
pub enum Change {
    Write(u64, Bytes),
    Len(u64),
}

impl Change {
    fn apply(&self, content: &mut Content) {
        match self {
            Self::Write(at, bytes) => content.write(*at, bytes.clone()),
            Self::Len(len) => content.set_len(*len),
        }
    }

    /// Lets the change survive, be lost or be torn.
    fn survive(&self, content: &mut Content, draw: &mut Draw) {
        match (draw.below(3), self) {
            (0, _) => {}
            (2, Self::Write(at, bytes)) => {
                for sector in (0..bytes.len()).step_by(SECTOR_BYTES).filter(|_| draw.below(2) == 0) {
                    let end = (sector + SECTOR_BYTES).min(bytes.len());
                    content.write(at + sector as u64, bytes.slice(sector..end));
                }
            }
            (_, whole) => whole.apply(content),
        }
    }
}

/// A file: `now` is `durable` with `unsynced` applied.
#[derive(Clone, Default)]
pub struct File {
    now: Content,
    durable: Content,
    unsynced: VecDeque<Change>,
}

impl File {
    /// With this content, all of it synced.
    pub fn durably(content: Content) -> Self {
        Self { now: content.clone(), durable: content, unsynced: VecDeque::new() }
    }

    /// As the running node sees it.
    pub fn now(&self) -> &Content {
        &self.now
    }

    /// As it is after the power failed.
    pub fn durable(&self) -> &Content {
        &self.durable
    }

    /// Flips a bit of what is there, whoever sees it.
    pub fn flip(&mut self, at: u64, bit: u8) {
        self.now.flip(at, bit);
        self.durable.flip(at, bit);
    }

    /// Writes.
    pub fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.unsynced.push_back(change);
        if self.unsynced.len() > UNSYNCED_MAX
            && let Some(oldest) = self.unsynced.pop_front()
        {
            oldest.apply(&mut self.durable);
        }
    }

    /// Makes everything written durable.
    pub fn sync(&mut self) {
        self.unsynced.drain(..).for_each(|change| change.apply(&mut self.durable));
    }

    /// Lets what is not synced be lost, or torn.
    pub fn lose_power(&mut self, fate: Fate, draw: &mut Draw) {
        let unsynced = std::mem::take(&mut self.unsynced);
        if fate == Fate::Torn {
            unsynced.iter().for_each(|change| change.survive(&mut self.durable, draw));
        }
        self.now = self.durable.clone();
    }
}
