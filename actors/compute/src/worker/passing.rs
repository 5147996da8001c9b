//! Tasks that are passed on: what waits here becomes a job of this node's own coordinator, which audits who runs it. This
//! node signs for the results as for its own. What nobody else could run comes back and stays.

use super::{
    Key, Worker,
    job::{Job, Kept, Step},
};
use crate::api::{Spec, worker::Out};
use bytes::Bytes;
use pangea_kernel::Cx;
use pangea_protocols::{
    JobId,
    receipt_job::{Claim, Verification},
    task::Receipt,
};

/// Bit of the numbers of jobs that pass tasks on: whoever wires the actors tells them from those of users by it.
pub const PASSED_ON: u64 = 1 << 63;
/// Jobs that may pass tasks on at once: users' own jobs have the rest of the coordinator.
const JOBS_MAX: usize = 2;
/// A worker that may pass tasks on takes so many times as many as it has slots …
const FACTOR: u16 = 8;
/// … and passes on what waits beyond so many times its slots.
const KEPT: usize = 2;

/// Is this a job of a worker rather than of a user?
pub fn is_passed_on(job: JobId) -> bool {
    job.0 & PASSED_ON != 0
}

impl Worker {
    /// Tasks of a job that may be here at once.
    pub(super) fn slots_for(&self, depth: u8) -> u16 {
        if depth == 0 { self.limits.slots } else { self.limits.slots.saturating_mul(FACTOR) }
    }

    /// Passes on what would wait for long.
    pub(super) fn pass_on(&mut self, cx: &mut Cx<'_, Self>) {
        let kept = KEPT * usize::from(self.limits.slots);
        let keys: Vec<Key> = self.jobs.keys().copied().collect();
        for key in keys {
            if self.passed_on.len() >= JOBS_MAX {
                return;
            }
            let Some(job) = self.jobs.get_mut(&key) else { continue };
            let mut leases = job.may_be_passed_on();
            if leases.len() <= kept {
                continue;
            }
            leases.drain(..kept);
            let Some(module) = job.bytes.clone() else { continue };
            let id = JobId(PASSED_ON | self.next_passed);
            self.next_passed += 1;
            for lease in &leases {
                pass(job, *lease, id);
            }
            let spec = Spec {
                nonce: cx.rng("nonce").bytes(),
                module,
                chunks: u32::try_from(leases.len()).unwrap_or(u32::MAX),
                limits: job.limits,
                verification: Verification::default(),
                split: false,
                merge: false,
                priority: job.priority,
                timeout: None,
                depth: job.depth - 1,
                passed_on: Some(vec![key.0]),
            };
            self.passed_on.insert(id, (key, leases));
            cx.emit(Out::PassOn { job: id, spec: Box::new(spec) });
        }
    }

    /// The coordinator wants an input.
    pub(super) fn on_want(&mut self, cx: &mut Cx<'_, Self>, job: JobId, index: u32) {
        let Some((key, leases)) = self.passed_on.get(&job) else { return };
        let lease = leases.get(index as usize).and_then(|lease| self.jobs.get(key)?.leases.get(lease));
        match lease.map(|lease| &lease.step) {
            Some(Step::PassedOn(_, Kept::Bytes(bytes))) => cx.emit(Out::Input { job, index, bytes: bytes.clone() }),
            Some(Step::PassedOn(_, Kept::Stored(input))) => {
                cx.emit(Out::Stored { job, index, input: input.clone() });
            }
            // Some of it is wanted no longer: the rest comes back and is passed on again, or run here.
            _ => {
                cx.emit(Out::TakeBack { job });
                self.bring_back(job, false);
            }
        }
    }

    /// What was passed on is done, or failed.
    pub(super) fn on_returned(&mut self, cx: &mut Cx<'_, Self>, job: JobId, results: Option<Vec<(Bytes, Receipt)>>) {
        let Some(results) = results else { return self.bring_back(job, true) };
        let Some((key, leases)) = self.passed_on.remove(&job) else { return };
        let Some(of) = self.jobs.get_mut(&key) else { return };
        for (lease, (output, receipt)) in leases.into_iter().zip(results) {
            let Some(known) = of.leases.get_mut(&lease) else { continue };
            match &known.step {
                Step::PassedOn(id, input) if *id == job => known.input_bytes = input.len() as u64,
                _ => continue,
            }
            known.step = Step::Done;
            if of.done.is_empty() {
                of.done_since = cx.now();
            }
            let receipt = Receipt { input: known.input, ..receipt };
            of.done.push((lease, Claim { place: known.place, receipt }, Some(output)));
        }
    }

    /// The coordinator knows of nothing any more.
    pub(super) fn on_coordinator_began(&mut self) {
        let jobs: Vec<JobId> = self.passed_on.keys().copied().collect();
        jobs.into_iter().for_each(|job| self.bring_back(job, false));
    }

    /// Leases wait here again; `stay` if others could not run them.
    fn bring_back(&mut self, job: JobId, stay: bool) {
        let Some((key, leases)) = self.passed_on.remove(&job) else { return };
        let Some(of) = self.jobs.get_mut(&key) else { return };
        for lease in leases {
            let Some(known) = of.leases.get_mut(&lease) else { continue };
            if let Step::PassedOn(id, kept) = &known.step
                && *id == job
            {
                let step = match kept.clone() {
                    Kept::Bytes(bytes) => Step::Waiting(bytes),
                    Kept::Stored(input) => Step::ToRead(input),
                };
                (known.step, known.stays) = (step, stay);
            }
        }
    }

    /// Of what was passed on nothing may be wanted any more.
    pub(super) fn take_back(&mut self, cx: &mut Cx<'_, Self>) {
        let wanted = |(key, leases): &(Key, Vec<u64>)| {
            self.jobs.get(key).is_some_and(|job| leases.iter().any(|lease| job.leases.contains_key(lease)))
        };
        let gone: Vec<JobId> =
            self.passed_on.iter().filter(|(_, passed)| !wanted(passed)).map(|(job, _)| *job).collect();
        for job in gone {
            self.passed_on.remove(&job);
            cx.emit(Out::TakeBack { job });
        }
    }
}

fn pass(job: &mut Job, lease: u64, to: JobId) {
    let Some(lease) = job.leases.get_mut(&lease) else { return };
    let kept = match &lease.step {
        Step::Waiting(bytes) => Kept::Bytes(bytes.clone()),
        Step::ToRead(input) => Kept::Stored(input.clone()),
        _ => return,
    };
    lease.step = Step::PassedOn(to, kept);
}
