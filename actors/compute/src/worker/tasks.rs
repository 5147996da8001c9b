//! Tasks of a worker: which one runs next, what came of it, and the signature for it.

use super::{
    Key, Worker,
    job::{Module, Step},
};
use crate::{
    api::{
        Work,
        worker::{In, Out, Run},
    },
    parts::{Parts, parts_of},
};
use bytes::{Bytes, BytesMut};
use pangea_kernel::{Cx, planted};
use pangea_protocols::{
    receipt_job::{BATCH_MAX, Batch, Claim, Place},
    task::{Capabilities, Capability, Ending, Input, Line, Outcome, Receipt, Refusal, TaskId},
    time::Time,
    wire::compute::{Compute, Failure, PART_BYTES, SMALL_BYTES, TASKS_MAX},
};
use std::cmp::Reverse;

/// Most bytes of what one task logged, as it is sent …
const LOG_BYTES_MAX: usize = 64 << 10;
/// … with level, space and line end.
const LINE_OVERHEAD: usize = 3;

/// What every task is granted: nothing that differs between nodes.
pub fn granted() -> Capabilities {
    [Capability::Log, Capability::Now, Capability::Random].into_iter().collect()
}

impl Worker {
    /// Fills free slots: this node's own jobs first, then by priority, then the job with the fewest tasks that run.
    pub(super) fn run_waiting(&mut self, cx: &mut Cx<'_, Self>) {
        while self.running.len() < usize::from(self.limits.slots.max(1)) {
            let runs = |key: &Key| self.running.values().filter(|(owner, _)| owner == key).count();
            let open = self.jobs.iter().filter_map(|(key, job)| Some((key, job.priority, job.next()?)));
            let best =
                open.min_by_key(|(key, priority, lease)| (key.0 != self.me, Reverse(*priority), runs(key), *lease));
            let Some((key, _, lease)) = best.map(|(key, priority, lease)| (*key, priority, lease)) else { return };
            self.run(cx, key, lease);
        }
    }

    fn run(&mut self, cx: &mut Cx<'_, Self>, key: Key, id: u64) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        let Some(lease) = job.leases.get_mut(&id) else { return };
        let Step::Waiting(bytes) = &lease.step else { return };
        let (task, bytes) = (TaskId(self.next_task), bytes.clone());
        self.next_task += 1;
        lease.step = Step::Running(task, bytes.clone());
        self.running.insert(task, (key, id));
        cx.emit(Out::Run(Box::new(Run {
            task,
            module: job.module,
            input: Input { bytes, ..Input::default() },
            limits: job.limits,
            granted: granted(),
            priority: job.priority,
            wall_max: self.limits.wall_max,
        })));
    }

    /// The sandbox says what came of a task.
    pub(super) fn on_done(&mut self, cx: &mut Cx<'_, Self>, task: TaskId, outcome: Outcome, receipt: Receipt) {
        let Some((key, id)) = self.running.remove(&task) else { return };
        if planted!("done-keeps-slot") {
            self.running.insert(task, (key, id));
        }
        let Some(job) = self.jobs.get_mut(&key) else { return };
        let Some(lease) = job.leases.get_mut(&id) else { return };
        if let Step::Running(_, input) = &lease.step {
            lease.input_bytes = input.len() as u64;
        }
        lease.step = Step::Done;
        // What was read is named by where it was read, not by its bytes, which the coordinator has not.
        let receipt = Receipt { input: lease.input, ..receipt };
        let (place, log) = (lease.place, std::mem::take(&mut lease.log));
        let output = match outcome.ending {
            Ending::Output(bytes) => Some(bytes),
            Ending::Trapped(_) => None,
        };
        if job.done.is_empty() {
            job.done_since = cx.now();
        }
        job.done.push((id, Claim { place, receipt }, output));
        if !log.is_empty() {
            let (peer, job) = key;
            self.tell(cx, peer, Compute::Log { job, place }, log.into());
        }
    }

    /// A task logged something; the sandbox bounds how much.
    pub(super) fn on_line(&mut self, task: TaskId, line: &Line) {
        let Some((key, id)) = self.running.get(&task) else { return };
        let Some(lease) = self.jobs.get_mut(key).and_then(|job| job.leases.get_mut(id)) else { return };
        for text in line.text.lines() {
            if lease.log.len() + text.len() + LINE_OVERHEAD > LOG_BYTES_MAX {
                return;
            }
            lease.log.extend([&line.level.min(9).to_string(), " ", text, "\n"]);
        }
    }

    /// The sandbox has lost everything: tasks are run elsewhere or again, modules come again.
    pub(super) fn on_sandbox_began(&mut self, cx: &mut Cx<'_, Self>) {
        self.installed.clear();
        let tasks: Vec<TaskId> = self.running.keys().copied().collect();
        tasks.into_iter().for_each(|task| self.fail_task(cx, task, Failure::Crashed));
        let keys: Vec<Key> = self.jobs.keys().copied().collect();
        for key in keys {
            let Some(job) = self.jobs.get_mut(&key) else { continue };
            if matches!(job.state, Module::Coming(..)) {
                continue;
            }
            job.state = Module::Coming(Parts::default(), cx.now());
            self.tell(cx, key.0, Compute::ModuleGet { job: key.1, part: 0 }, Bytes::new());
        }
    }

    /// The sandbox does not run a task.
    pub(super) fn on_refused(&mut self, cx: &mut Cx<'_, Self>, task: TaskId, refusal: &Refusal) {
        let failure = match refusal {
            Refusal::NotInstalled { module } => {
                // Others were used more, or the sandbox began anew: it has to come again.
                self.installed.retain(|known| known != module);
                let again = self.wait_again(task);
                let Some((key, job)) = again.and_then(|key| Some((key, self.jobs.get_mut(&key)?))) else { return };
                if !matches!(job.state, Module::Ready) {
                    // Another task of the job has asked for it.
                    return;
                }
                job.state = Module::Coming(Parts::default(), cx.now());
                return self.tell(cx, key.0, Compute::ModuleGet { job: key.1, part: 0 }, Bytes::new());
            }
            Refusal::Busy { .. } => Failure::Busy,
            Refusal::Node { .. } | Refusal::Twice => {
                tracing::warn!(why = %refusal, "this node failed at a task: whose it is has it run again");
                Failure::Crashed
            }
            _ => Failure::Module,
        };
        self.fail_task(cx, task, failure);
    }

    fn wait_again(&mut self, task: TaskId) -> Option<Key> {
        let (key, id) = self.running.remove(&task)?;
        let lease = self.jobs.get_mut(&key)?.leases.get_mut(&id)?;
        if let Step::Running(_, bytes) = &lease.step {
            lease.step = Step::Waiting(bytes.clone());
        }
        Some(key)
    }

    /// Nothing came of a task.
    pub(super) fn fail_task(&mut self, cx: &mut Cx<'_, Self>, task: TaskId, reason: Failure) {
        let Some((key, lease)) = self.running.remove(&task) else { return };
        let (peer, job) = key;
        if let Some(known) = self.jobs.get_mut(&key) {
            known.leases.remove(&lease);
            self.tell(cx, peer, Compute::Failed { job, lease, reason }, Bytes::new());
        }
    }

    fn send_output(&mut self, cx: &mut Cx<'_, Self>, (peer, job): Key, place: Place, output: &Bytes) {
        for (part, parts, bytes) in parts_of(output) {
            self.tell(cx, peer, Compute::Output { job, place, part, parts }, bytes);
        }
    }

    /// Outputs that go together.
    fn send_small(&mut self, cx: &mut Cx<'_, Self>, key: Key, mut small: Vec<(Place, Bytes)>) {
        if let [(place, output)] = &small[..] {
            return self.send_output(cx, key, *place, output);
        }
        let (peer, job) = key;
        while !small.is_empty() {
            let (mut outputs, mut body) = (Vec::new(), BytesMut::new());
            let mut fits = |(place, output): &(Place, Bytes)| {
                let fits = outputs.len() < TASKS_MAX && body.len() + output.len() <= PART_BYTES;
                if fits {
                    outputs.push((*place, u32::try_from(output.len()).unwrap_or(u32::MAX)));
                    body.extend_from_slice(output);
                }
                fits
            };
            let rest = small.iter().position(|output| !fits(output)).unwrap_or(small.len());
            small.drain(..rest);
            self.tell(cx, peer, Compute::OutputSmall { job, outputs }, body.freeze());
        }
    }

    /// Signs for what is done, and sends the outputs after it.
    pub(super) fn commit_due(&mut self, cx: &mut Cx<'_, Self>) {
        let now = cx.now();
        let due: Vec<(Key, Time)> =
            self.jobs.iter().filter_map(|(key, job)| Some((*key, job.due(now, &self.limits)?))).collect();
        let soon = |(_, at): &(Key, Time)| *at > now && at.since(now) <= self.limits.sign_every;
        // Later ones are seen when something else happens, or at the next tick.
        if let Some((_, at)) = due.iter().filter(|due| soon(due)).min_by_key(|(_, at)| *at)
            && !std::mem::replace(&mut self.signing, true)
        {
            cx.after(at.since(now), In::Sign);
        }
        for (key, _) in due.into_iter().filter(|(_, at)| *at <= now) {
            let (peer, name) = key;
            let Some(job) = self.jobs.get_mut(&key) else { continue };
            job.signed = Some(now);
            let rest = job.done.split_off(job.done.len().min(BATCH_MAX));
            let done = std::mem::replace(&mut job.done, rest);
            let mut work = Work::NONE;
            for (lease, claim, output) in &done {
                let input_bytes = job.leases.remove(lease).map_or(0, |lease| lease.input_bytes);
                let output_bytes = output.as_ref().map_or(0, Bytes::len) as u64;
                work.add(&Work::result(&claim.receipt, input_bytes, output_bytes));
            }
            let batch = Batch::sign(&self.key, name, done.iter().map(|(_, claim, _)| *claim).collect());
            self.credit(cx, peer, &work);
            self.tell(cx, peer, Compute::Commit { job: name, batch }, Bytes::new());
            let last = done.last().map(|(_, claim, _)| claim.place).filter(|_| planted!("output-of-last-claim"));
            let outputs =
                done.into_iter().filter_map(|(_, claim, output)| Some((last.unwrap_or(claim.place), output?)));
            let (small, large): (Vec<_>, Vec<_>) = outputs.partition(|(_, output)| output.len() <= SMALL_BYTES);
            self.send_small(cx, key, small);
            for (place, output) in large {
                self.send_output(cx, key, place, &output);
            }
        }
    }
}
