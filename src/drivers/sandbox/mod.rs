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
use pangea_sandbox::{api::In, work::Done};
use std::{thread, time::Duration};

pub use jail::Jail;
pub use process::{SandboxProcess, Settings};
pub use threads::SandboxThreads;

/// Stack of a thread that runs guests. What the interpreter takes stays below 2 MiB; the pass and a compiler recurse, too.
pub const STACK_BYTES: usize = 8 << 20;
/// Work that may wait for a thread. The actor has no more slices out than there are threads, so only a flood of modules
/// can fill it.
const QUEUE_MAX: usize = 1024;
/// How long an answer waits before it is offered to a full mailbox again.
const MAILBOX_RETRY: Duration = Duration::from_millis(1);

/// Gives an answer to the actor, waiting while its mailbox is full. False if the actor is gone.
fn deliver(results: &Port<In>, done: Done) -> bool {
    let mut message = In::Worked(done);
    while let Err(rejected) = results.send(message) {
        match rejected {
            Rejected::Full(back) => message = back,
            Rejected::Closed(_) => return false,
        }
        thread::sleep(MAILBOX_RETRY);
    }
    true
}
