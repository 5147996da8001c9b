//! Getting space back: a segment without a live byte is unlinked, one that is more than half dead is copied to the
//! end of the log, a step at a time, and then unlinked.
//!
//! A segment is unlinked only after the index that no longer points to it is committed, so a crash at any moment
//! leaves at least one copy of every live record.

use super::{
    Options,
    ledger::{Ledger, Segment},
    record::{HEADER_BYTES, Meta},
    segment::{Found, Scanner},
    writer::Writer,
};
use pangea_protocols::{disk::Failure, time::Time};
use std::time::Duration;

/// Bytes copied between two groups of commands.
const STEP_COPY_BYTES: u64 = 1 << 20;
/// Bytes read between two groups of commands.
const STEP_READ_BYTES: u64 = 8 << 20;
/// How long compaction rests after it failed, for example on a full disk.
const REST: Duration = Duration::from_secs(30);

/// The segment that is being copied.
#[derive(Default)]
pub struct Compaction {
    victim: Option<(u32, Scanner)>,
    resting_since: Option<Time>,
}

impl Compaction {
    /// True if there is something to do now.
    pub fn is_due(&self, ledger: &Ledger, active: Option<u32>, options: &Options, now: Time) -> bool {
        let rested = self.rested_at().is_none_or(|at| now >= at);
        rested && (self.victim.is_some() || choose(ledger, active, options).is_some())
    }

    /// The end of a rest after a failure.
    pub fn rested_at(&self) -> Option<Time> {
        self.resting_since.map(|since| since + REST)
    }
}

/// The segment with most dead bytes among those worth the work. The active one counts too, as a small store may never
/// fill it. When many bytes are dead in all, any segment is worth it.
fn choose(ledger: &Ledger, active: Option<u32>, options: &Options) -> Option<u32> {
    let dead: u64 = ledger.segments.values().map(Segment::dead).sum();
    let pressed = dead > options.dead_bytes_max;
    let worth = |number: u32, segment: &Segment| {
        let emptied = segment.live == 0 && active != Some(number);
        emptied || pressed || (segment.dead() > segment.len / 2 && segment.dead() >= options.compact_bytes_min)
    };
    let candidates = ledger.segments.iter().filter(|(number, segment)| worth(**number, segment));
    candidates.max_by_key(|(_, segment)| segment.dead()).map(|(number, _)| *number)
}

impl Writer {
    /// One step. Failures are logged; everything stays readable and a later step tries again.
    pub(super) fn compact(&mut self) {
        if !self.is_busy(self.now) {
            return;
        }
        self.compaction.resting_since = None;
        if let Err(error) = self.compact_step() {
            tracing::warn!(%error, "compaction of shard segments rests");
            self.compaction = Compaction { victim: None, resting_since: Some(self.now) };
        }
    }

    fn compact_step(&mut self) -> Result<(), Failure> {
        if self.compaction.victim.is_none() {
            let chosen = choose(&self.log.ledger, self.log.active(), &self.options);
            let Some(number) = chosen else { return Ok(()) };
            if self.log.active() == Some(number) {
                self.log.seal();
            }
            if self.log.ledger.segments.get(&number).is_some_and(|segment| segment.live == 0) {
                return self.unlink(number);
            }
            let path = self.shared.segments.path(number);
            let scanner = Scanner::new(&self.shared.segments, number, 0);
            self.compaction.victim = Some((number, scanner.map_err(|error| super::failure(&path, &error))?));
        }
        let Some((number, mut scanner)) = self.compaction.victim.take() else { return Ok(()) };
        if self.copy_some(&mut scanner)? {
            return self.unlink(number);
        }
        self.compaction.victim = Some((number, scanner));
        Ok(())
    }

    /// Copies live records until the step's budget is used; true at the end of the segment. Whatever happens, nothing of
    /// it is left in the group of the next commands, whose growth was promised.
    fn copy_some(&mut self, scanner: &mut Scanner) -> Result<bool, Failure> {
        let failed_before = self.failed_groups;
        let ended = self.stage_copies(scanner);
        self.flush();
        if self.failed_groups != failed_before {
            return Err(Failure::Io("copies not written".to_owned()));
        }
        ended
    }

    fn stage_copies(&mut self, scanner: &mut Scanner) -> Result<bool, Failure> {
        let (mut read, mut copied) = (0, 0);
        while read < STEP_READ_BYTES && copied < STEP_COPY_BYTES {
            let found = scanner.next().map_err(|error| super::failure(self.shared.segments.volume().path(), &error))?;
            let Some(found) = found else { return Ok(true) };
            read += u64::from(found.at.len);
            copied += self.copy(found)?;
        }
        Ok(false)
    }

    /// Stages a copy of a record if the index points to it; returns its bytes.
    fn copy(&mut self, found: Found) -> Result<u64, Failure> {
        let shard = found.meta.shard();
        let Some(entry) = self.current(shard)? else { return Ok(0) };
        let len = u64::from(found.at.len);
        match found.meta {
            Meta::Put { proof, .. } if entry.at == found.at => {
                // The claims may have grown since the record was written.
                self.make_room(len + 512)?;
                self.stage_put(shard, entry.claims, proof, found.body)?;
            }
            Meta::Claims { .. } if entry.note == Some(found.at) => {
                self.make_room(len + HEADER_BYTES as u64)?;
                let claims = entry.claims.clone();
                self.stage_claims(shard, entry, claims)?;
            }
            _ => return Ok(0),
        }
        Ok(len)
    }

    /// Commits the index, then unlinks. If the index cannot be written (a full disk), a segment may still go that a
    /// committed index has accounted for: its dead records stay dead, as recovery drops entries without bytes.
    fn unlink(&mut self, number: u32) -> Result<(), Failure> {
        if let Err(error) = self.commit() {
            let watermark = self.shared.catalog.index().watermark()?;
            if number >= watermark.segment {
                return Err(error);
            }
        }
        self.log.remove(number)
    }
}
