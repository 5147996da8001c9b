//! The cpu workers: the work itself is real, the time it takes is modelled.
//!
//! As in production a bounded number of workers take the work in order, and a panic in a piece of work fails its job.
//! How long a piece takes depends on its size only, so that a run does not depend on the machine it runs on.

use crate::timeline::Timeline;
use pangea_ces::{
    FrameError, Scratch,
    api::In,
    work::{Done, Work},
};
use pangea_kernel::{Port, Rejected, contain};
use pangea_protocols::time::Time;
use std::{
    cell::RefCell,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// What every piece costs …
const BASE: Duration = Duration::from_micros(200);
/// … and every byte of it: 160 MB/s, as one core of a small machine encodes.
const NANOS_PER_BYTE: u64 = 6;
/// Work that may wait for a worker, as in the driver.
const QUEUE_MAX: usize = 4096;
/// Until a result is offered again to a full mailbox, as the driver does.
const MAILBOX_RETRY: Duration = Duration::from_millis(1);

thread_local! {
    /// What the workers of all nodes use, one after the other.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

/// The workers of one node.
#[derive(Clone)]
pub struct Cpu {
    timeline: Timeline,
    state: Arc<Mutex<State>>,
}

struct State {
    /// When each worker is free.
    free: Vec<Time>,
    waiting: usize,
}

impl Cpu {
    /// Idle workers.
    pub fn new(timeline: Timeline, workers: usize) -> Self {
        let state = State { free: vec![Time(0); workers.max(1)], waiting: 0 };
        Self { timeline, state: Arc::new(Mutex::new(state)) }
    }

    /// The driver's port; `results` hears what comes out.
    pub fn open(&self, results: Port<In>) -> Port<Work> {
        let cpu = self.clone();
        Port::new(move |work: Work| {
            if cpu.timeline.is_closed() {
                return Err(Rejected::Closed(work));
            }
            let Some(end) = cpu.end_of(bytes(&work)) else { return Err(Rejected::Full(work)) };
            let (cpu, results) = (cpu.clone(), results.clone());
            let timeline = cpu.timeline.clone();
            timeline.at(end, move || {
                cpu.state.lock().unwrap_or_else(PoisonError::into_inner).waiting -= 1;
                offer(&cpu.timeline, results, In::Worked(run(work)));
            });
            Ok(())
        })
    }

    /// Gives a piece to the worker that is free first and returns when it is done; `None` if too many wait.
    fn end_of(&self, bytes: usize) -> Option<Time> {
        let now = self.timeline.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.waiting >= QUEUE_MAX {
            return None;
        }
        state.waiting += 1;
        let took = BASE + Duration::from_nanos(NANOS_PER_BYTE.saturating_mul(bytes as u64));
        let worker = state.free.iter_mut().min()?;
        *worker = (*worker).max(now) + took;
        Some(*worker)
    }
}

fn run(work: Work) -> Done {
    let (job, index) = (work.job(), work.index());
    SCRATCH.with_borrow_mut(|scratch| {
        contain(|| work.run(scratch)).unwrap_or_else(|_| {
            // What it left in the scratch memory is half of something.
            *scratch = Scratch::new();
            Done { job, index, result: Err(FrameError::Worker) }
        })
    })
}

fn offer(timeline: &Timeline, results: Port<In>, result: In) {
    if let Err(Rejected::Full(result)) = results.send(result) {
        let again = timeline.clone();
        timeline.after(MAILBOX_RETRY, move || offer(&again, results, result));
    }
}

fn bytes(work: &Work) -> usize {
    match work {
        Work::EncodeFrame(work) => work.raw.len(),
        Work::DecodeFrame(work) => work.shards.iter().map(|(_, shard)| shard.len()).sum(),
        Work::DecodeInline(work) => work.ciphertext.len(),
    }
}
