//! The sandbox's threads: they run tasks for the sandbox actor and plugins for the plugins actor, in this process or in two
//! of their own, so that neither holds up, sees or ends the other.
//!
//! | file | what it holds |
//! |---|---|
//! | [`plugins`] | the same driver for plugins: calls in slices |
//! | [`process`] | [`SandboxProcess`]: a child process, started again when it dies |
//! | `child` | one such process: started, asked, heard, judged, ended |
//! | `ledger` | what the child has been asked, and what is lost when it dies |
//! | [`worker`] | what the child does |
//! | [`jail`] | what the child may not do |
//! | [`attempt`] | tries what the jail forbids, for tests |
//! | `frame`, `message` | how work and answers go through the pipes |
//! | `queue` | work that waits |
//! | [`threads`] | [`SandboxThreads`]: the same without a process and without a jail |
//!
//! Both have the same two ends: a port that takes [`Work`], and [`Answers`].

pub mod attempt;
mod child;
pub mod frame;
pub mod jail;
mod ledger;
mod message;
pub mod plugins;
pub mod process;
mod queue;
pub mod threads;
pub mod worker;

use super::deliver;
use pangea_kernel::{Port, Rejected};
use pangea_sandbox::{
    api::In,
    work::{Done, Work},
};

use crate::config::{Compute, Isolation};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

pub use jail::Jail;
pub use process::{SandboxProcess, Settings};
pub use threads::SandboxThreads;

/// Stack of a thread that runs guests. What the interpreter takes stays below 2 MiB; the pass and a compiler recurse, too.
pub const STACK_BYTES: usize = 8 << 20;

/// Takes answers on a driver's thread, for as long as it likes, and says what follows.
pub type Answers = Arc<dyn Fn(Answer) -> Next + Send + Sync>;

/// What a driver answers.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is passed on at once, and never kept")]
pub enum Answer {
    /// Work has been done, or refused.
    Done(Done),
    /// The process is gone, why, and with it every instance and every module. What it was at has been answered.
    Lost(String),
}

/// What follows an answer.
#[derive(Debug)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// The rest of that work, after what waits.
    Rest(Work),
    /// Nobody hears answers any more.
    Gone,
}

/// Answers for the sandbox actor. It is not told of a process that is gone: the next slice of each task is refused.
pub fn to_actor(results: Port<In>) -> Answers {
    Arc::new(move |answer| {
        let Answer::Done(done) = answer else { return Next::Nothing };
        if deliver(&results, In::Worked(done)) { Next::Nothing } else { Next::Gone }
    })
}

/// The sandbox process is this executable with another subcommand, so only a program that has it can start one. Others
/// that have a node in them, such as tests and programs with actors of their own, run guests in threads.
static IS_PANGEA: AtomicBool = AtomicBool::new(false);

/// This program has the subcommand [`process::SUBCOMMAND`].
pub fn has_subcommand() {
    IS_PANGEA.store(true, Ordering::Relaxed);
}

/// Where tasks, or plugins, of a node run, as its settings say.
pub enum SandboxDriver {
    /// In a jailed process.
    Process(SandboxProcess),
    /// In this process.
    Threads(SandboxThreads),
    /// Nowhere.
    Off,
}

impl SandboxDriver {
    /// Starts it for tasks, if there are any; what comes of work goes to `results`.
    ///
    /// # Errors
    /// A thread or the process cannot be started, or the engine does not run here.
    pub fn start(compute: &Compute, results: Port<In>) -> io::Result<(Self, Port<Work>)> {
        if !compute.enabled {
            return Ok((Self::Off, Port::new(|work| Err(Rejected::Closed(work)))));
        }
        let (threads, modules) = (compute.threads as usize, compute.modules_bytes());
        let settings = Settings { engine: compute.engine, ..Settings::new(threads, modules, compute.memory.0)? };
        Self::start_where(compute, settings, to_actor(results))
    }

    fn start_where(compute: &Compute, settings: Settings, answers: Answers) -> io::Result<(Self, Port<Work>)> {
        let name = settings.tenants.thread();
        match compute.isolation {
            Isolation::Process if IS_PANGEA.load(Ordering::Relaxed) => {
                let (process, port) = SandboxProcess::start(settings, answers)?;
                return Ok((Self::Process(process), port));
            }
            Isolation::Process => {
                tracing::warn!(
                    "this program cannot be started as a sandbox process: {} run in threads of it",
                    settings.tenants
                );
            }
            Isolation::Threads => {}
        }
        let (threads, port) = SandboxThreads::start(name, settings.threads, settings.cache_bytes, &answers)?;
        Ok((Self::Threads(threads), port))
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
