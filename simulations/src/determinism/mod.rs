//! What makes a whole process repeat: a virtual clock, seeded entropy and fixed addresses.
//!
//! Libraries below the node ask the C library for the time and for random numbers. In this binary those functions are
//! overridden: on a thread that has switched them on, the clock is tokio's paused clock and entropy is a stream of the
//! seed; on all others, and before, they pass through.
//!
//! | module | cure for |
//! |---|---|
//! | [`clock`] | `Instant`, `SystemTime`: `clock_gettime` |
//! | [`entropy`] | keys, nonces, hash maps, `select!`: `getrandom`, `getentropy`, `syscall(SYS_getrandom)` |
//! | [`process`] | hashers seeded by addresses: re-executes without address space randomisation and environment |
//! | [`allocator`] | nothing: it is the other memory that a second run is given, to find what depends on it |
//! | [`check`] | finds out whether all that works here, before anything else runs |
//!
//! **Invariants.** This module is part of the binary `pangea-sim` only and never of the node. One simulation per
//! process: libraries count connections and tasks globally, so a second one would differ.

pub mod allocator;
mod check;
mod clock;
mod entropy;
mod passthrough;
pub mod process;

pub use check::Flaw;

use std::{cell::Cell, io, panic, thread};

thread_local! {
    /// Whether this thread's clock and entropy are virtual. Without a destructor, so it may be asked at any time.
    static VIRTUAL: Cell<bool> = const { Cell::new(false) };
}

/// Stack of the simulation's thread. Unlike that of the main thread, its address does not depend on the environment.
const STACK_BYTES: usize = 64 << 20;

/// Why a simulation could not be run.
#[derive(Debug, thiserror::Error)]
pub enum DeterminismError {
    /// The overrides do not work on this machine.
    #[error("this run would not repeat: {0} (pangea-sim needs Linux with glibc and must be linked dynamically)")]
    Flaw(Flaw),
    /// No thread.
    #[error("cannot start the simulation's thread: {0}")]
    Thread(#[from] io::Error),
}

/// Runs `simulation` on a thread of its own on which clock and entropy are virtual, after checking that they are.
///
/// # Errors
/// See [`DeterminismError`].
///
/// # Panics
/// If the simulation does.
pub fn run<T: Send + 'static>(
    seed: u64,
    simulation: impl FnOnce() -> T + Send + 'static,
) -> Result<T, DeterminismError> {
    let thread = thread::Builder::new().name("simulation".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        entropy::seed(seed);
        let _virtual = Virtual::begin();
        check::check(seed).map(|()| {
            // The check has drawn; what it drew must not matter.
            entropy::seed(seed);
            simulation()
        })
    })?;
    match thread.join() {
        Ok(outcome) => outcome.map_err(DeterminismError::Flaw),
        Err(panic) => panic::resume_unwind(panic),
    }
}

/// CPU time of this process so far, in nanoseconds: the real one.
pub fn cpu_nanos() -> u64 {
    clock::real_nanos(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Real time, in nanoseconds since some point.
pub fn real_nanos() -> u64 {
    clock::real_nanos(libc::CLOCK_MONOTONIC)
}

/// This thread's clock and entropy are virtual. Not to the thread's very end: an allocator asks for the time when it
/// cleans up after the thread, and tokio's clock is gone by then.
struct Virtual(());

impl Virtual {
    fn begin() -> Self {
        VIRTUAL.set(true);
        Self(())
    }
}

impl Drop for Virtual {
    fn drop(&mut self) {
        VIRTUAL.set(false);
    }
}

fn is_virtual() -> bool {
    VIRTUAL.get()
}
