//! The whole interface of the two compute actors: [`coordinator`] and [`worker`].
//!
//! The sandbox is spoken to in types of `pangea_protocols::task` only. Both actors number their tasks and tags on their
//! own; whoever wires them keeps them apart, and hands what the node sends to itself from one to the other.

use bytes::Bytes;
use pangea_protocols::{
    Hash, JobId, PeerId,
    job::JobError,
    net::{Class, SendError},
    receipt_job::{Batch, JobReceipt, Place, Stage, Verification},
    stored::StoredInput,
    task::{Capabilities, Limits, Line, Outcome, Receipt, Refusal, TaskId},
    wire::Frame,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub use pangea_protocols::peers::{Candidate, Report};

/// What a user wants computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Drawn once per job and kept with it: with the same one, another run of the job goes on where the last one ended.
    pub nonce: [u8; 16],
    /// WebAssembly, at most 64 MiB.
    pub module: Bytes,
    /// How many chunks the input has: each is asked for by its number. With a split they are pieces of one input.
    pub chunks: u32,
    /// Of every task.
    pub limits: Limits,
    /// How results are checked.
    pub verification: Verification,
    /// The module cuts the input.
    pub split: bool,
    /// The module joins the outputs.
    pub merge: bool,
    /// Higher goes first, here and at workers.
    pub priority: u8,
    /// Longest time from submission to the end.
    pub timeout: Option<Duration>,
    /// How often a worker that has more tasks than it can run may pass them on, and those it passes them to again.
    pub depth: u8,
    /// Tasks that this node's worker passes on: chunks are whole inputs, and these peers are not asked.
    pub passed_on: Option<Vec<PeerId>>,
}

/// What is kept of a job that runs, for the case that this node does not get to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Saved {
    /// Claims that came.
    Batch(Batch),
    /// The output of a task that was accepted; a later one of the same place replaces it.
    Output { place: Place, bytes: Bytes },
    /// Outputs of later stages than this one were made of something wrong: they are forgotten.
    Void { after: Stage },
    /// A host that was caught.
    Banned { host: PeerId },
}

/// News of a job, in order. `Done` or `Failed` is the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum News {
    /// It waits: so many jobs go first.
    Queued { ahead: u32 },
    /// How far it is.
    Progress(Progress),
    /// It ended well: the merged output alone, or that of every chunk in order.
    Done { outputs: Vec<Bytes>, receipt: Box<JobReceipt>, progress: Progress },
    /// It did not.
    Failed(JobError),
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Of which stage `done` and `total` are.
    pub stage: Option<Stage>,
    /// Tasks that are accepted.
    pub done: u32,
    /// All tasks.
    pub total: u32,
    /// Leases.
    pub running: u32,
    /// Hosts that compute for it, this node included.
    pub hosts: u32,
    /// Results that have come, of all stages.
    pub executions: u64,
    /// Results that were run again to be checked.
    pub audited: u64,
    /// Tasks that were leased again after they were lost or given up.
    pub retried: u64,
    /// Tasks that an earlier run of the job had done.
    pub restored: u32,
    /// Second copies of late tasks.
    pub speculated: u64,
    /// Hosts that were caught.
    pub banned: u32,
    /// Bytes of inputs that hosts have read from stored objects themselves, copies and checks included.
    pub read_bytes: u64,
    /// Of these, what came from their own disks, as they say.
    pub own_bytes: u64,
    /// Hosts that are full.
    pub busy_hosts: u32,
    /// Tasks that wait at the one of them that has fewest.
    pub busy_waiting: u32,
    /// Until the end of this stage, if it goes on as it went.
    pub eta: Option<Duration>,
}

/// What comes of a `Read`. `Done` or `Failed` is the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadNews {
    /// The next bytes.
    Bytes(Bytes),
    /// So many shards have come, so many of them of this node itself.
    Tally { shards: u64, own: u64 },
    /// That was all.
    Done,
    /// It cannot be read.
    Failed(String),
}

/// What one node has done for another: of the one that asked, what it accepted; of the other, what it signed for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Results.
    pub tasks: u64,
    /// Of those results.
    pub gas: u64,
    /// Bytes of their inputs, envelopes included.
    pub input_bytes: u64,
    /// Bytes of their outputs.
    pub output_bytes: u64,
    /// Refusals: of jobs, and of tasks of a job that was forgotten.
    pub refused: u64,
    /// Jobs in which it was caught with a wrong result. Only the node that asked knows.
    pub wrong: u64,
}

impl Work {
    /// Nothing.
    pub const NONE: Self = Self { tasks: 0, gas: 0, input_bytes: 0, output_bytes: 0, refused: 0, wrong: 0 };

    /// Adds up.
    pub fn add(&mut self, more: &Self) {
        let sums = [
            (&mut self.tasks, more.tasks),
            (&mut self.gas, more.gas),
            (&mut self.input_bytes, more.input_bytes),
            (&mut self.output_bytes, more.output_bytes),
            (&mut self.refused, more.refused),
            (&mut self.wrong, more.wrong),
        ];
        sums.into_iter().for_each(|(sum, more)| *sum = sum.saturating_add(more));
    }

    /// A result, and what went in and came out.
    pub(crate) fn result(receipt: &Receipt, input_bytes: u64, output_bytes: u64) -> Self {
        Self { tasks: 1, gas: receipt.gas, input_bytes, output_bytes, ..Self::NONE }
    }
}

/// Something that happened to a task or a host, for the picture of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// Which task; none if all of a host are meant.
    pub place: Option<Place>,
    /// With whom.
    pub host: PeerId,
    /// What.
    pub what: Happened,
}

/// See [`Trace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Happened {
    /// The host takes part, with so many slots.
    Joined { slots: u16 },
    /// It is lost, or does not take part any more.
    Left,
    /// It gave a wrong result.
    Banned,
    /// The task was given to it.
    Leased,
    /// It signed for a result, after this much gas.
    Claimed { gas: u64 },
    /// The lease ended without a result.
    Lost,
    /// The task is done: this host was the first of so many that vouch for it.
    Accepted { voters: u16 },
    /// An earlier run of the job had done it.
    Restored,
}

/// The coordinator.
pub mod coordinator {
    use super::*;

    /// What it receives.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub enum In {
        /// Compute something. Answered by `News`.
        Submit { job: JobId, spec: Box<Spec> },
        /// From the node store, right after `Submit` of a job that ran before: all that was saved, in its order.
        Restored { job: JobId, saved: Saved },
        /// From files: the chunk that was wanted, at most 16 MiB with its envelope.
        Input { job: JobId, index: u32, bytes: Bytes },
        /// From files: the chunk that was wanted lies in a stored object, and these peers hold so many bytes of it. Whoever
        /// runs it reads it. Unless it was passed on, what stands in front of its bytes is still missing.
        Stored { job: JobId, index: u32, input: Box<StoredInput>, local: Vec<(PeerId, u64)> },
        /// What comes of `Read`.
        Reading { read: JobId, news: ReadNews },
        /// From files: it cannot be read.
        InputFailed { job: JobId, reason: String },
        /// The user gave up: ends with `Failed(Interrupted)`.
        Cancel { job: JobId },
        /// From the peer manager, best first.
        Candidates { request: u64, candidates: Vec<Candidate> },
        /// From the network, or this node's worker: compute frames for which `is_for_worker` is false.
        Received { peer: PeerId, frame: Frame },
        /// From the network.
        SendFailed { peer: PeerId, tag: u64, error: SendError },
        /// From the network.
        Disconnected { peer: PeerId },
        /// An own timer.
        Tick,
    }

    /// What it emits.
    #[derive(Clone, Debug)]
    pub enum Out {
        /// At the start: jobs that have not ended are to be submitted again, with all that was saved of them.
        Began,
        /// To files: this chunk. It may be asked for again, when a task is repeated.
        Want { job: JobId, index: u32 },
        /// To those who read objects: a chunk that others could not read. Answered by `Reading`.
        Read { read: JobId, input: Box<StoredInput> },
        /// To the same: it is wanted no longer.
        StopReading { read: JobId },
        /// To the peer manager: up to `count` peers that may compute, none of `exclude`.
        Candidates { request: u64, count: u16, exclude: Vec<PeerId> },
        /// To the network; to this node's worker if `peer` is this node.
        Send { peer: PeerId, tag: u64, class: Class, frame: Frame },
        /// To the peer manager.
        Report { peer: PeerId, report: Report },
        /// To the node store: keep this with the job.
        Save { job: JobId, saved: Saved },
        /// To the node store: the job is over.
        Forget { job: JobId },
        /// To the control API.
        News { job: JobId, news: News },
        /// To the control API: what happened at one event, in order. It may be lost.
        Trace { job: JobId, traces: Vec<Trace> },
        /// To the control API: what a task logged, at a host that may lie. It may be lost.
        Log { job: JobId, place: Place, host: PeerId, lines: Vec<Line> },
        /// To the meter: what another node has done for this one since this was last said.
        Metered { peer: PeerId, work: Work },
    }
}

/// The worker.
pub mod worker {
    use super::*;

    pub use pangea_protocols::task::Run;

    /// What it receives.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub enum In {
        /// From the network, or this node's coordinator: compute frames for which `is_for_worker` is true.
        Received { peer: PeerId, frame: Frame },
        /// From the network.
        SendFailed { peer: PeerId, tag: u64, error: SendError },
        /// From the network.
        Disconnected { peer: PeerId },
        /// From the peer manager: does this node work for a peer? It does until told otherwise.
        Allow { peer: PeerId, allowed: bool },
        /// From the sandbox.
        Installed { module: Hash, result: Result<Capabilities, Refusal> },
        /// From the sandbox.
        Done { task: TaskId, outcome: Outcome, receipt: Receipt },
        /// From the sandbox.
        Refused { task: TaskId, refusal: Refusal },
        /// From the sandbox: it took longer than its `wall_max`.
        Late { task: TaskId },
        /// From the sandbox: a task logged something.
        Line { task: TaskId, line: Line },
        /// From the sandbox: it began anew, and has neither modules nor tasks.
        Began,
        /// From this node's coordinator: an input of what was passed on.
        Want { job: JobId, index: u32 },
        /// From this node's coordinator: outputs and receipts of what was passed on, in its order; none if it failed.
        Returned { job: JobId, results: Option<Vec<(Bytes, Receipt)>> },
        /// From this node's coordinator: it began anew, and knows of nothing that was passed on.
        CoordinatorBegan,
        /// What comes of `Read`.
        Reading { read: JobId, news: ReadNews },
        /// An own timer.
        Tick,
        /// An own timer: claims are to be signed for.
        Sign,
    }

    /// What it emits.
    #[derive(Clone, Debug)]
    pub enum Out {
        /// To those who read objects: the input of a task. Answered by `Reading`.
        Read { read: JobId, input: Box<StoredInput> },
        /// To the same: it is wanted no longer.
        StopReading { read: JobId },
        /// To the network; to this node's coordinator if `peer` is this node.
        Send { peer: PeerId, tag: u64, class: Class, frame: Frame },
        /// To the sandbox: answered by `Installed`.
        Install { module: Hash, bytes: Bytes },
        /// To the sandbox: answered by `Done`, `Refused` or `Late`.
        Run(Box<Run>),
        /// To the sandbox: no answer is wanted.
        Cancel { task: TaskId },
        /// To this node's coordinator, as a job of it: answered by `Want` and `Returned`.
        PassOn { job: JobId, spec: Box<Spec> },
        /// To this node's coordinator: the answer to `Want`.
        Input { job: JobId, index: u32, bytes: Bytes },
        /// The same for an input that was not read yet.
        Stored { job: JobId, index: u32, input: Box<StoredInput> },
        /// To this node's coordinator: it is wanted no longer.
        TakeBack { job: JobId },
        /// To the meter: what this node has done for another since this was last said.
        Metered { peer: PeerId, work: Work },
        /// To the peer manager.
        Report { peer: PeerId, report: Report },
    }
}
