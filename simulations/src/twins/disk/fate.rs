//! What disks do wrong, and what is left of one after a crash.

use super::{Disk, Job, State, store::owned_by};
use crate::plan::{DiskFate, DiskFault};
use pangea_protocols::{
    disk::{Event, Failure, Usage},
    time::Time,
};
use std::time::Duration;

/// Bytes that the file system claims to have.
const CAPACITY_BYTES: u64 = 1 << 40;

impl Disk {
    /// The process that had it open is gone, and this is what becomes of its writes.
    pub fn crash(&self, fate: DiskFate) {
        let now = self.timeline.now();
        let state = &mut *self.state();
        state.epoch += 1;
        (state.job_bytes, state.requests) = (0, 0);
        state.jobs.clear();
        // What was written and not yet synced when the process ended.
        let group = state.writing.take().unwrap_or_default();
        match fate {
            DiskFate::Kept => drop(state.finish(&group, now)),
            DiskFate::Torn => {
                for job in group {
                    if state.draw.below(2) == 0 {
                        state.finish(&[job], now);
                    }
                }
                let State { store, draw, .. } = state;
                store.take_back(now, || draw.below(2) == 0);
            }
            DiskFate::Lost => state.store.take_back(now, || true),
            DiskFate::Old => {
                let then = Time(state.draw.below(now.0.saturating_add(1)));
                state.store.go_back_to(now, then);
            }
            DiskFate::Wiped => state.store.wipe(state.options.segment_bytes),
        }
    }

    /// A fault begins, or is over; those of a moment only begin.
    pub fn fault(&self, fault: DiskFault, on: bool) {
        let state = &mut *self.state();
        match fault {
            DiskFault::Misdirected if on => {
                state.damage_one();
                state.store.damage_last();
            }
            DiskFault::Rot { places } if on => (0..places).for_each(|_| state.damage_one()),
            DiskFault::Misdirected | DiskFault::Rot { .. } => {}
            fault => {
                state.faults.retain(|other| *other != fault);
                if on {
                    state.faults.push(fault);
                }
                let lying = state.faults.contains(&DiskFault::LyingSync);
                state.store.set_lying(lying);
            }
        }
    }
}

impl State {
    pub(super) fn fails(&self) -> bool {
        self.faults.contains(&DiskFault::Errors)
    }

    pub(super) fn sync_time(&self, usual: Duration) -> Duration {
        let slow = self.faults.iter().filter_map(|fault| match fault {
            DiskFault::Slow { sync_ms } => Some(Duration::from_millis(*sync_ms)),
            _ => None,
        });
        slow.max().unwrap_or(usual).max(usual)
    }

    pub(super) fn usage(&self) -> Usage {
        let shards = self.store.len() as u64;
        let disk_bytes = self.store.log.occupied(shards);
        let full = self.faults.contains(&DiskFault::Full);
        Usage { shards, disk_bytes, free_bytes: if full { 0 } else { CAPACITY_BYTES.saturating_sub(disk_bytes) } }
    }

    /// The group is on the disk, or is not: what is answered.
    pub(super) fn finish(&mut self, group: &[Job], now: Time) -> Vec<Event> {
        let error = if self.fails() {
            Some(Failure::Io("a modelled fault".to_owned()))
        } else {
            self.faults.contains(&DiskFault::Full).then_some(Failure::Full)
        };
        if let Some(error) = error {
            return group.iter().filter_map(|job| self.refuse(job, &error)).collect();
        }
        let (mut tags, mut others) = (Vec::new(), Vec::new());
        for job in group {
            match job {
                Job::Append { tag, shard, meta, body } => match self.store.append(now, *shard, meta, body) {
                    Ok(()) => tags.push(*tag),
                    Err(error) => others.push(Event::AppendFailed { tag: *tag, error }),
                },
                Job::Delete { tag, owner, shards } => {
                    let (count, roots) = self.store.release(now, Some(shards), owned_by(*owner));
                    others.push(Event::Deleted { tag: *tag, count, roots, usage: self.usage() });
                }
                Job::Expire { tag, now_unix } => {
                    let (count, roots) = self.store.release(now, None, |claim| claim.expires_unix < *now_unix);
                    others.push(Event::Deleted { tag: *tag, count, roots, usage: self.usage() });
                }
                Job::Damaged { tag, shard } => {
                    self.store.drop_damaged(now, *shard);
                    others.push(Event::Corrupt { tag: *tag });
                }
            }
        }
        let usage = self.usage();
        self.store.compact();
        let appended = (!tags.is_empty()).then_some(Event::Appended { tags, usage });
        appended.into_iter().chain(others).collect()
    }

    /// A disk that takes nothing still says what it holds: leases are looked at again in the next round.
    fn refuse(&self, job: &Job, error: &Failure) -> Option<Event> {
        match job {
            Job::Expire { tag, .. } => {
                Some(Event::Deleted { tag: *tag, count: 0, roots: Vec::new(), usage: self.usage() })
            }
            job => job.failed(error),
        }
    }

    fn damage_one(&mut self) {
        let held = self.store.len() as u64;
        let at = usize::try_from(self.draw.below(held)).unwrap_or(0);
        self.store.damage(at);
    }
}
