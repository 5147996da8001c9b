//! The sandbox workers: WebAssembly really runs, the time it takes is modelled from its gas.
//!
//! As in production a bounded number of workers take work in order and share one workshop, which dies with the process.

use crate::timeline::Timeline;
use pangea_kernel::{Port, Rejected};
use pangea_sandbox::{
    Workshop,
    api::In,
    engine::Wasmi,
    work::{Done, State, Work},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What every piece costs …
const BASE: Duration = Duration::from_micros(50);
/// … and every unit of gas: 5 million a second, some fifty times slower than a real machine, so that a task that takes
/// little to simulate takes long enough for something to go wrong meanwhile.
const NANOS_PER_GAS: u64 = 200;
/// … and every byte of a module that is compiled.
const NANOS_PER_BYTE: u64 = 20;
/// Work that may wait for a worker, as in the driver.
const QUEUE_MAX: usize = 1024;
/// Until a result is offered again to a full mailbox, as the driver does.
const MAILBOX_RETRY: Duration = Duration::from_millis(1);
/// Compiled modules that are kept, in bytes.
const CACHE_BYTES: u64 = 16 << 20;

/// The workers of one life of a node.
#[derive(Clone)]
pub struct Sandbox {
    timeline: Timeline,
    state: Arc<Mutex<Workers>>,
}

struct Workers {
    idle: usize,
    queue: VecDeque<Work>,
    /// Made when it is first needed: most nodes of most runs compute nothing.
    workshop: Option<Arc<Workshop>>,
}

impl Sandbox {
    /// Idle workers.
    pub fn new(timeline: Timeline, workers: usize) -> Self {
        let state = Workers { idle: workers.max(1), queue: VecDeque::new(), workshop: None };
        Self { timeline, state: Arc::new(Mutex::new(state)) }
    }

    /// The driver's port; `results` hears what comes out.
    pub fn open(&self, results: Port<In>) -> Port<Work> {
        let sandbox = self.clone();
        Port::new(move |work: Work| {
            if sandbox.timeline.is_closed() {
                return Err(Rejected::Closed(work));
            }
            if matches!(work, Work::DropAll) && sandbox.state().workshop.is_none() {
                return Ok(());
            }
            if sandbox.state().queue.len() >= QUEUE_MAX {
                return Err(Rejected::Full(work));
            }
            sandbox.state().queue.push_back(work);
            // Not within the command: an actor's effects are carried out before anything comes of them.
            let (later, results) = (sandbox.clone(), results.clone());
            sandbox.timeline.after(Duration::ZERO, move || later.work(&results));
            Ok(())
        })
    }

    /// Lets an idle worker take the next piece.
    fn work(&self, results: &Port<In>) {
        let taken = {
            let mut state = self.state();
            if state.idle == 0 {
                return;
            }
            let Some(work) = state.queue.pop_front() else { return };
            state.idle -= 1;
            state.workshop().map(|workshop| (work, workshop))
        };
        let Some((work, workshop)) = taken else { return };
        let most = cost(&work);
        let done = work.run(&workshop);
        let took = BASE + Duration::from_nanos(done.as_ref().map_or(0, |done| most.min(used(done))));
        let (sandbox, results) = (self.clone(), results.clone());
        self.timeline.after(took, move || {
            sandbox.state().idle += 1;
            if let Some(done) = done {
                offer(&sandbox.timeline, results.clone(), In::Worked(done));
            }
            sandbox.work(&results);
        });
    }

    fn state(&self) -> MutexGuard<'_, Workers> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Workers {
    fn workshop(&mut self) -> Option<Arc<Workshop>> {
        if self.workshop.is_none() {
            self.workshop = Wasmi::new().ok().map(|engine| Arc::new(Workshop::new(engine, CACHE_BYTES)));
        }
        self.workshop.clone()
    }
}

/// Most nanoseconds that a piece takes.
fn cost(work: &Work) -> u64 {
    match work {
        Work::Prepare { bytes, .. } => NANOS_PER_BYTE.saturating_mul(bytes.len() as u64),
        Work::Begin(begin) | Work::Open(begin) => NANOS_PER_GAS.saturating_mul(begin.gas),
        Work::Call(call) => NANOS_PER_GAS.saturating_mul(call.gas),
        Work::Continue { gas, .. } => NANOS_PER_GAS.saturating_mul(*gas),
        Work::Drop { .. } | Work::DropAll => 0,
    }
}

/// Most nanoseconds that its result allows for.
fn used(done: &Done) -> u64 {
    match done {
        Done::Prepared { .. } | Done::Sliced { state: State::Running, .. } => u64::MAX,
        Done::Sliced { state: State::Ended { outcome, .. }, .. } => NANOS_PER_GAS.saturating_mul(outcome.gas),
        Done::Sliced { state: State::Refused(_), .. } => 0,
    }
}

fn offer(timeline: &Timeline, results: Port<In>, result: In) {
    if let Err(Rejected::Full(result)) = results.send(result) {
        let again = timeline.clone();
        timeline.after(MAILBOX_RETRY, move || offer(&again, results, result));
    }
}
