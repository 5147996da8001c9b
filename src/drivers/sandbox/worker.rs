//! What the sandbox process does: jail itself, say how far that went, then read work and answer it, thread by thread, until
//! the node closes the pipe. Not here: what is right about an answer, which the node judges.
//!
//! Threads take turns to read the pipe, so that work waits in no queue and wakes one thread.

use super::{
    STACK_BYTES,
    attempt::{Attempt, Prepared},
    frame::{self, Bounds},
    jail::{self, Jail, Layers, Plan},
    ledger::{UNANSWERED, is_there},
    message::{PLAIN_BOUNDS, WORK_BOUNDS, pack, slice_bounds, too_long, unpack},
};
use crate::config::EngineName;
use pangea_protocols::task::TaskId;
use pangea_sandbox::{
    Workshop,
    engine::{Engine, Wasmi},
    work::{Done, Work},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io::{self, BufReader, Read, Write},
    os::fd::BorrowedFd,
    process::ExitCode,
    sync::{Arc, Barrier, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

/// The version of what goes through the pipes.
pub const PROTOCOL: u32 = 1;
/// Of the first frame, which says how far the jail went.
pub const HELLO_BOUNDS: Bounds = Bounds { head: 4096, body: 0 };
/// Memory beside that of guests and modules: the program itself, and messages on their way.
const OWN_BYTES: u64 = 96 << 20;

/// The first frame of the child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// How far it is jailed, or why it does not start.
    pub jail: Result<Jail, String>,
}

/// Memory for what a compiler needs beside what comes of it, and, per thread, for stacks of guests between two slices, of
/// which little is ever touched.
const COMPILER_BYTES: u64 = 256 << 20;
const PAUSED_BYTES: u64 = 128 << 20;

/// What the child is told when it is started.
#[derive(Clone, Copy, Debug)]
pub struct Orders {
    /// Threads that run guests.
    pub threads: usize,
    /// Bytes of compiled modules to keep.
    pub cache_bytes: u64,
    /// Bytes of guests and compiled modules in all.
    pub memory_bytes: u64,
    /// What runs the guests.
    pub engine: EngineName,
    /// How to jail it.
    pub layers: Layers,
    /// Instead of any work: try this in the jail, and end.
    pub attempt: Option<Attempt>,
}

impl Orders {
    fn plan(&self) -> Plan {
        let (threads, compiles) = (self.threads.max(1) as u64, self.engine == EngineName::Jit);
        let compiler = if compiles { COMPILER_BYTES + threads * PAUSED_BYTES } else { 0 };
        let own = OWN_BYTES + (threads + 1) * STACK_BYTES as u64 + compiler;
        Plan { memory_bytes: self.memory_bytes.saturating_add(own), compiles, layers: self.layers }
    }
}

/// Runs until the node closes the pipe.
pub fn run(orders: &Orders) -> ExitCode {
    let started = start(orders);
    let (jail, crew) = match started {
        Ok((jail, crew)) => (Ok(jail), Some(crew)),
        Err(why) => (Err(why), None),
    };
    if orders.attempt.is_none() && say_hello(Hello { protocol: PROTOCOL, jail }).is_err() {
        return ExitCode::FAILURE;
    }
    let Some(crew) = crew else { return ExitCode::FAILURE };
    crew.open.wait();
    let ends: Vec<_> = crew.threads.into_iter().map(JoinHandle::join).collect();
    if ends.iter().all(Result::is_ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn say_hello(hello: Hello) -> io::Result<()> {
    let head = pangea_protocols::codec::encode(&hello, pangea_protocols::codec::Limit::Message);
    frame::write(&mut Pipe(rustix::stdio::stdout()), UNANSWERED, &head.map_err(io::Error::other)?, &[])
}

/// Threads that wait for the jail to be whole.
struct Crew {
    threads: Vec<JoinHandle<()>>,
    open: Arc<Barrier>,
}

fn start(orders: &Orders) -> Result<(Jail, Crew), String> {
    let plan = orders.plan();
    let attempt = orders.attempt.map(|attempt| attempt.prepare(plan.memory_bytes));
    let jail = jail::before_threads(&plan)?;
    let told = |error: &dyn std::fmt::Display| format!("cannot make the engine: {error}");
    let crew = match orders.engine {
        EngineName::Wasmi => crew(orders, attempt, Wasmi::new().map_err(|error| told(&error))?)?,
        #[cfg(feature = "jit")]
        EngineName::Jit => crew(orders, attempt, pangea_sandbox::engine::Jit::new().map_err(|error| told(&error))?)?,
        #[cfg(not(feature = "jit"))]
        EngineName::Jit => return Err(told(&crate::config::NO_JIT)),
    };
    Ok((jail::after_threads(&plan, jail)?, crew))
}

/// Starts the threads, and waits until all of them run.
fn crew<E: Engine>(orders: &Orders, attempt: Option<Prepared>, engine: E) -> Result<Crew, String> {
    let desk = Arc::new(Desk::new(Workshop::new(engine, orders.cache_bytes)));
    let threads = orders.threads.max(1);
    let (ready, open) = (Arc::new(Barrier::new(threads + 1)), Arc::new(Barrier::new(threads + 1)));
    let spawn = |number| {
        let (desk, ready, open) = (Arc::clone(&desk), Arc::clone(&ready), Arc::clone(&open));
        let attempt = attempt.clone();
        let thread = thread::Builder::new().name(format!("wasm-{number}")).stack_size(STACK_BYTES);
        thread.spawn(move || {
            ready.wait();
            open.wait();
            match attempt {
                Some(attempt) => attempt.try_it(),
                None => desk.serve(),
            }
        })
    };
    let threads: io::Result<Vec<_>> = (0..threads).map(spawn).collect();
    let threads = threads.map_err(|error| format!("cannot start a thread: {error}"))?;
    ready.wait();
    Ok(Crew { threads, open })
}

/// What the threads share.
struct Desk<E: Engine> {
    workshop: Workshop<E>,
    input: Mutex<BufReader<Pipe>>,
    output: Mutex<Pipe>,
    /// What an answer about a task may have, as the node reckons it, and whether its instance stays.
    bounds: Mutex<BTreeMap<TaskId, (Bounds, bool)>>,
}

impl<E: Engine> Desk<E> {
    fn new(workshop: Workshop<E>) -> Self {
        let input = Mutex::new(BufReader::new(Pipe(rustix::stdio::stdin())));
        let output = Mutex::new(Pipe(rustix::stdio::stdout()));
        Self { workshop, input, output, bounds: Mutex::default() }
    }

    /// Until the pipe ends, or holds what cannot be read.
    fn serve(&self) {
        loop {
            let read = frame::read(&mut *lock(&self.input), |_| Some(WORK_BOUNDS));
            let Ok(Some(frame)) = read else { return };
            let number = frame.number;
            let Ok(work) = unpack::<Work>(frame) else { return };
            self.expect(&work);
            if let Some(done) = work.run(&self.workshop)
                && self.answer(number, done).is_err()
            {
                return;
            }
        }
    }

    fn expect(&self, work: &Work) {
        let mut bounds = lock(&self.bounds);
        match work {
            Work::Begin(begin) => drop(bounds.insert(begin.task, (slice_bounds(&begin.limits), false))),
            Work::Open(begin) => drop(bounds.insert(begin.task, (slice_bounds(&begin.limits), true))),
            Work::Drop { task } => drop(bounds.remove(task)),
            Work::DropAll => bounds.clear(),
            Work::Prepare { .. } | Work::Continue { .. } | Work::Call(_) => {}
        }
    }

    fn answer(&self, number: u64, done: Done) -> io::Result<()> {
        let bounds = self.answer_bounds(&done);
        let instead = too_long(&done);
        let packed = pack(done, bounds).or_else(|_| pack(instead, PLAIN_BOUNDS));
        let packed = packed.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        frame::write(&mut *lock(&self.output), number, &packed.head, &packed.body)
    }

    fn answer_bounds(&self, done: &Done) -> Bounds {
        let Done::Sliced { task, state, .. } = done else { return PLAIN_BOUNDS };
        let mut bounds = lock(&self.bounds);
        let Some((known, stays)) = bounds.get(task).copied() else { return PLAIN_BOUNDS };
        if !is_there(state, stays) {
            bounds.remove(task);
        }
        known
    }
}

/// What is locked is whole between any two statements, or the thread that broke it has ended its process.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Standard input or output without the buffers and locks of the library.
struct Pipe(BorrowedFd<'static>);

impl Read for Pipe {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(self.0, bytes)?)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
