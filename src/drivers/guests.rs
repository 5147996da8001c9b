//! The guests driver: threads that call the instances of plugins. Not here: who is called when (the plugins actor), and
//! what a call is ([`pangea_sandbox::guests`]).
//!
//! Its workshop is its own, and so are its threads: no task that this node computes for others holds up a plugin. A call
//! that takes long goes back to the end of the queue after every slice.

use super::deliver;
use pangea_kernel::{Port, Rejected};
use pangea_protocols::guest::{Command, Event};
use pangea_sandbox::{
    Guests,
    engine::Wasmi,
    guests::{Piece, Progress},
};
use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

/// Commands that may wait. The actor has at most one call, and one module to compile, per plugin.
const QUEUE_MAX: usize = 1024;
/// Compiled modules that are kept.
const CACHE_BYTES: u64 = 256 << 20;
/// Stack of a thread: guests recurse on it.
const STACK_BYTES: usize = 8 << 20;

/// The running threads. They end when [`GuestsDriver::join`] is called; what waits is not run then.
pub struct GuestsDriver {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    ready: Condvar,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Piece>,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, command: Command) -> Result<(), Rejected<Command>> {
        let mut state = self.lock();
        if state.closed {
            return Err(Rejected::Closed(command));
        }
        if state.pieces.len() >= QUEUE_MAX {
            return Err(Rejected::Full(command));
        }
        state.pieces.push_back(Piece::New(command));
        self.ready.notify_one();
        Ok(())
    }

    /// The rest of a call, which had its place.
    fn push_back(&self, piece: Piece) {
        self.lock().pieces.push_back(piece);
        self.ready.notify_one();
    }

    fn pop(&self) -> Option<Piece> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            match state.pieces.pop_front() {
                Some(piece) => return Some(piece),
                None => state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl GuestsDriver {
    /// Starts `threads` threads whose results go to `results`.
    ///
    /// # Errors
    /// The sandbox cannot be made, or the system cannot start a thread.
    pub fn start(threads: usize, results: Port<Event>) -> io::Result<(Self, Port<Command>)> {
        let engine = Wasmi::new().map_err(|error| io::Error::other(format!("the sandbox cannot be made: {error}")))?;
        let guests = Arc::new(Guests::new(engine, CACHE_BYTES));
        let queue = Arc::new(Queue::default());
        let mut driver = Self { queue: Arc::clone(&queue), threads: Vec::new() };
        for number in 0..threads.max(1) {
            let (guests, queue, results) = (Arc::clone(&guests), Arc::clone(&queue), results.clone());
            let thread = thread::Builder::new().name(format!("pangea-plugin-{number}")).stack_size(STACK_BYTES);
            match thread.spawn(move || work(&guests, &queue, &results)) {
                Ok(thread) => driver.threads.push(thread),
                Err(error) => {
                    driver.join();
                    return Err(error);
                }
            }
        }
        Ok((driver, Port::new(move |command| queue.push(command))))
    }

    /// Ends the threads, each at the end of its slice.
    pub fn join(self) {
        self.queue.lock().closed = true;
        self.queue.ready.notify_all();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the guests driver panicked");
            }
        }
    }
}

fn work(guests: &Guests, queue: &Queue, results: &Port<Event>) {
    while let Some(piece) = queue.pop() {
        let event = match guests.run(piece) {
            Progress::More(piece) => {
                queue.push_back(piece);
                continue;
            }
            Progress::Done(None) => continue,
            Progress::Done(Some(event)) => event,
        };
        if !deliver(results, event) {
            return;
        }
    }
}
