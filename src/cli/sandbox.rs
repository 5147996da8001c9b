//! `sandbox-worker`: the process that a node starts for its guests. It speaks frames on its standard input and output, and
//! is of no use to people.

use crate::{
    config::EngineName,
    drivers::sandbox::{
        attempt::Attempt,
        jail::Layers,
        worker::{self, Orders},
    },
};
use std::process::ExitCode;

/// Run guests for the node that started this process
#[derive(Debug, clap::Args)]
#[command(after_help = "Example, as a node starts it:
  pangea sandbox-worker --threads 2 --cache-bytes 268435456 --memory-bytes 1073741824")]
pub(crate) struct SandboxWorkerArgs {
    /// Threads that run guests
    #[arg(long)]
    threads: usize,
    /// Bytes of compiled modules to keep
    #[arg(long)]
    cache_bytes: u64,
    /// Bytes of guests and compiled modules in all
    #[arg(long)]
    memory_bytes: u64,
    /// What runs the guests: wasmi or jit
    #[arg(long, default_value = "wasmi")]
    engine: EngineName,
    /// Which layers of the jail to build: all, landlock or none
    #[arg(long, default_value = "all")]
    layers: Layers,
    /// Try something that the jail forbids and end: exit code 40 if it was refused, 41 if not
    #[arg(long)]
    attempt: Option<Attempt>,
}

/// Runs until the node closes the pipe.
pub(crate) fn worker(args: &SandboxWorkerArgs) -> ExitCode {
    let SandboxWorkerArgs { threads, cache_bytes, memory_bytes, engine, layers, attempt } = *args;
    worker::run(&Orders { threads, cache_bytes, memory_bytes, engine, layers, attempt })
}
