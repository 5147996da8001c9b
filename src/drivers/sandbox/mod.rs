//! The sandbox's threads: they run the work of the sandbox actor, in this process or in one of their own.
//!
//! | file | what it holds |
//! |---|---|
//! | [`process`] | [`SandboxProcess`]: one child process per node, started again when it dies |
//! | `child` | one such process: started, asked, heard, judged, ended |
//! | `ledger` | what the child has been asked, and what is lost when it dies |
//! | [`worker`] | what the child does |
//! | [`jail`] | what the child may not do |
//! | [`attempt`] | tries what the jail forbids, for tests |
//! | `frame`, `message` | how work and answers go through the pipes |
//! | [`threads`] | [`SandboxThreads`]: the same without a process and without a jail |
//!
//! Both have the same two ends: a port that takes [`Work`](pangea_sandbox::work::Work), and a port that they answer to.

pub mod attempt;
mod child;
pub mod frame;
pub mod jail;
mod ledger;
mod message;
pub mod process;
pub mod threads;
pub mod worker;

use pangea_kernel::{Port, Rejected};
use pangea_sandbox::{api::In, work::Work};

use crate::config::{Compute, Isolation};
use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

pub use jail::Jail;
pub use process::{SandboxProcess, Settings};
pub use threads::SandboxThreads;

/// Stack of a thread that runs guests. What the interpreter takes stays below 2 MiB; the pass and a compiler recurse, too.
pub const STACK_BYTES: usize = 8 << 20;
/// Work that may wait for a thread. The actor has no more slices out than there are threads, so only a flood of modules
/// can fill it.
const QUEUE_MAX: usize = 1024;

/// The sandbox process is this executable with another subcommand, so only a program that has it can start one. Others
/// that have a node in them, such as tests and programs with actors of their own, run guests in threads.
static IS_PANGEA: AtomicBool = AtomicBool::new(false);

/// This program has the subcommand [`process::SUBCOMMAND`].
pub fn has_subcommand() {
    IS_PANGEA.store(true, Ordering::Relaxed);
}

/// Where the guests of a node run, as its settings say.
#[derive(Debug)]
pub enum SandboxDriver {
    /// In a jailed process.
    Process(SandboxProcess),
    /// In this process.
    Threads(SandboxThreads),
    /// Nowhere.
    Off,
}

impl SandboxDriver {
    /// Starts it; what comes of work goes to `results`.
    ///
    /// # Errors
    /// A thread or the process cannot be started, or the engine does not run here.
    pub fn start(compute: &Compute, results: Port<In>) -> io::Result<(Self, Port<Work>)> {
        let (threads, modules) = (compute.threads as usize, compute.modules_bytes());
        Ok(match compute.isolation {
            _ if !compute.enabled => (Self::Off, Port::new(|work| Err(Rejected::Closed(work)))),
            Isolation::Process if !IS_PANGEA.load(Ordering::Relaxed) => {
                tracing::warn!("this program cannot be started as a sandbox process: guests run in threads of it");
                let (threads, port) = SandboxThreads::start(threads, modules, results)?;
                (Self::Threads(threads), port)
            }
            Isolation::Process => {
                let settings =
                    Settings { engine: compute.engine, ..Settings::new(threads, modules, compute.memory.0)? };
                let (process, port) = SandboxProcess::start(settings, results)?;
                (Self::Process(process), port)
            }
            Isolation::Threads => {
                let (threads, port) = SandboxThreads::start(threads, modules, results)?;
                (Self::Threads(threads), port)
            }
        })
    }

    /// Waits until it has ended, which it does when every port is dropped.
    pub fn join(self) {
        match self {
            Self::Process(process) => process.join(),
            Self::Threads(threads) => threads.join(),
            Self::Off => {}
        }
    }
}
