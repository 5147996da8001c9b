//! What a cpu worker runs for the sandbox, as data, and what it answers. Not here: threads and queues: the cpu driver of
//! the node lends every worker the same [`Workshop`] and calls [`Work::run`].

use crate::{
    cache::{Cache, Known, Ready},
    engine::{Engine, Instance, Slice, Wasmi, host::Line},
    pass,
};
use bytes::Bytes;
use pangea_kernel::contain;
use pangea_protocols::{
    Hash,
    task::{self, Capabilities, Ending, Input, Limits, Outcome, Receipt, Refusal, TaskId},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// One piece of work, of some milliseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Work {
    /// Pass and compile a module, unless it is known.
    Prepare { module: Hash, bytes: Bytes },
    /// Make an instance and run its first slice.
    Begin(Box<Begin>),
    /// The same, of an instance that stays when the call has ended with an output.
    Open(Box<Begin>),
    /// Call an instance that stays once more, and run the first slice of it.
    Call(Box<Call>),
    /// Run the next slice of a task for about this much gas.
    Continue { task: TaskId, gas: u64 },
    /// The task is over: forget its instance.
    Drop { task: TaskId },
    /// The actor began anew: forget all instances.
    DropAll,
}

/// See [`Work::Begin`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Begin {
    /// For whom.
    pub task: TaskId,
    /// Which module.
    pub module: Hash,
    /// What it may use.
    pub limits: Limits,
    /// What it may import.
    pub granted: Capabilities,
    /// What it is called with.
    pub input: Input,
    /// Gas of the first slice.
    pub gas: u64,
}

/// See [`Work::Call`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// Whose instance.
    pub task: TaskId,
    /// What it is called with.
    pub input: Input,
    /// Gas of the first slice.
    pub gas: u64,
}

/// A worker's answer. [`Work::Drop`] and [`Work::DropAll`] have none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// A module is compiled, or refused.
    Prepared { module: Hash, result: Result<Capabilities, Refusal> },
    /// A slice has ended.
    Sliced { task: TaskId, lines: Vec<Line>, state: State },
}

/// How a task stands after a slice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// It needs more slices.
    Running,
    /// It has ended.
    Ended { outcome: Outcome, receipt: Receipt },
    /// It could not be run here.
    Refused(Refusal),
}

/// What all workers share: compiled modules, and the instances of tasks between their slices.
pub struct Workshop<E: Engine = Wasmi> {
    engine: E,
    cache: Mutex<Cache<E::Module>>,
    instances: Mutex<BTreeMap<TaskId, Held<E::Machine>>>,
}

/// An instance between slices, and what its receipt will say.
struct Held<M> {
    instance: Instance<M>,
    claim: Claim,
    /// Is it there for more than one call?
    stays: bool,
}

#[derive(Clone, Copy)]
struct Claim {
    module: Hash,
    input: Hash,
}

impl Claim {
    fn state(self, slice: Slice) -> State {
        match slice {
            Slice::Running => State::Running,
            Slice::Failed(message) => State::Refused(Refusal::Node { message }),
            Slice::Done(outcome) => {
                let output = match &outcome.ending {
                    Ending::Output(bytes) => Ok(Hash::of(bytes)),
                    Ending::Trapped(trap) => Err(*trap),
                };
                let sent = task::list_hash(&outcome.sent);
                let Self { module, input } = self;
                let receipt = Receipt { pass_version: pass::VERSION, module, input, output, sent, gas: outcome.gas };
                State::Ended { outcome, receipt }
            }
        }
    }
}

impl<E: Engine> Workshop<E> {
    /// A workshop that keeps up to `cache_bytes` of compiled modules.
    pub fn new(engine: E, cache_bytes: u64) -> Self {
        Self { engine, cache: Mutex::new(Cache::new(cache_bytes)), instances: Mutex::default() }
    }

    /// Instances between slices.
    pub fn instances(&self) -> usize {
        lock(&self.instances).len()
    }

    fn prepare(&self, module: Hash, bytes: &Bytes) -> Result<Capabilities, Refusal> {
        let known = lock(&self.cache).get(&module);
        let known = known.unwrap_or_else(|| {
            let (known, size) = self.compile(module, bytes);
            lock(&self.cache).insert(module, known.clone(), size);
            known
        });
        known.map(|ready| ready.imports)
    }

    /// What a module comes to, and its size. Two workers that are asked at once both do it: either result is right.
    fn compile(&self, module: Hash, bytes: &Bytes) -> (Known<E::Module>, u64) {
        if Hash::of(bytes) != module {
            return (Err(Refusal::Invalid { offset: 0, message: format!("its hash is not {module}") }), 0);
        }
        // The pass and the engine read bytes of strangers: a mistake of theirs costs this module and nothing else.
        let compiled = contain(|| {
            let instrumented = pass::instrument(bytes)?;
            let size = instrumented.bytes.len() as u64 * COMPILED_SIZE;
            let compiled = self.engine.compile(&instrumented)?;
            Ok((Ready { compiled, imports: instrumented.imports, setup_gas: instrumented.setup_gas }, size))
        });
        match compiled {
            Ok(Ok((ready, size))) => (Ok(ready), size),
            Ok(Err(refusal)) => (Err(refusal), 0),
            Err(panic) => (Err(Refusal::Node { message: format!("compiling the module panicked: {panic}") }), 0),
        }
    }

    fn begin(&self, begin: Begin, stays: bool) -> (Vec<Line>, State) {
        let Begin { task, module, limits, granted, input, gas } = begin;
        let known = lock(&self.cache).get(&module);
        let ready = match known {
            Some(Ok(ready)) => ready,
            Some(Err(refusal)) => return (Vec::new(), State::Refused(refusal)),
            None => return (Vec::new(), State::Refused(Refusal::NotInstalled { module })),
        };
        if let Some(missing) = missing(ready.imports, granted) {
            let needed = granted.iter().chain(missing.iter()).collect();
            return (Vec::new(), State::Refused(Refusal::NotGranted { missing, needed }));
        }
        let claim = Claim { module, input: task::input_hash(&input) };
        match contain(|| Instance::new(&self.engine, &ready.compiled, ready.setup_gas, limits, input)) {
            Ok(Ok(instance)) => self.run_slice(task, Held { instance, claim, stays }, gas),
            Ok(Err(slice)) => (Vec::new(), claim.state(slice)),
            Err(panic) => (Vec::new(), State::Refused(panicked(&panic))),
        }
    }

    fn call(&self, call: Call) -> (Vec<Line>, State) {
        let Call { task, input, gas } = call;
        let Some(mut held) = lock(&self.instances).remove(&task) else { return (Vec::new(), gone()) };
        held.claim.input = task::input_hash(&input);
        held.instance.begin(input);
        self.run_slice(task, held, gas)
    }

    fn run_slice(&self, task: TaskId, mut held: Held<E::Machine>, gas: u64) -> (Vec<Line>, State) {
        // A panic inside leaves an instance that is never run again.
        match contain(|| held.instance.run_slice(gas)) {
            Ok(slice) => {
                let (lines, state) = (held.instance.take_lines(), held.claim.state(slice));
                let ended_well =
                    matches!(&state, State::Ended { outcome, .. } if matches!(outcome.ending, Ending::Output(_)));
                if state == State::Running || (held.stays && ended_well) {
                    lock(&self.instances).insert(task, held);
                }
                (lines, state)
            }
            Err(panic) => (Vec::new(), State::Refused(panicked(&panic))),
        }
    }
}

/// Bytes of a compiled module per byte of the instrumented one.
const COMPILED_SIZE: u64 = 4;

fn gone() -> State {
    State::Refused(Refusal::Node { message: "the instance of the task is gone".to_owned() })
}

fn panicked(panic: &str) -> Refusal {
    Refusal::Node { message: format!("the engine panicked: {panic}") }
}

fn missing(imports: Capabilities, granted: Capabilities) -> Option<Capabilities> {
    let missing: Capabilities = imports.iter().filter(|capability| !granted.has(*capability)).collect();
    (missing != Capabilities::NONE).then_some(missing)
}

/// Both tables are whole between any two statements: a panic elsewhere does not spoil them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Work {
    /// For whom, if it is for one task.
    pub fn task(&self) -> Option<TaskId> {
        match self {
            Self::Begin(begin) | Self::Open(begin) => Some(begin.task),
            Self::Call(call) => Some(call.task),
            Self::Continue { task, .. } | Self::Drop { task } => Some(*task),
            Self::Prepare { .. } | Self::DropAll => None,
        }
    }

    /// Runs on the calling thread: a slice, or a compilation. Never panics, whatever the module.
    pub fn run<E: Engine>(self, workshop: &Workshop<E>) -> Option<Done> {
        match self {
            Self::Prepare { module, bytes } => {
                Some(Done::Prepared { module, result: workshop.prepare(module, &bytes) })
            }
            Self::Begin(begin) => {
                let task = begin.task;
                let (lines, state) = workshop.begin(*begin, false);
                Some(Done::Sliced { task, lines, state })
            }
            Self::Open(begin) => {
                let task = begin.task;
                let (lines, state) = workshop.begin(*begin, true);
                Some(Done::Sliced { task, lines, state })
            }
            Self::Call(call) => {
                let task = call.task;
                let (lines, state) = workshop.call(*call);
                Some(Done::Sliced { task, lines, state })
            }
            Self::Continue { task, gas } => {
                let held = lock(&workshop.instances).remove(&task);
                let (lines, state) = match held {
                    Some(held) => workshop.run_slice(task, held, gas),
                    None => (Vec::new(), gone()),
                };
                Some(Done::Sliced { task, lines, state })
            }
            Self::Drop { task } => {
                lock(&workshop.instances).remove(&task);
                None
            }
            Self::DropAll => {
                lock(&workshop.instances).clear();
                None
            }
        }
    }
}
