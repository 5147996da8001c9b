//! The driver for plugins: commands are turned into slices of work and back, and a call that takes long goes to the end of
//! the queue after every slice. Not here: who is called when (the plugins actor), and what a call is
//! ([`pangea_sandbox::guests`]).
//!
//! Threads and process are its own: no task that this node computes for others holds up a plugin, shares its memory, or
//! ends with it. Its process is started when there is something to do.

use super::{Answer, Answers, Next, SandboxDriver, Settings, process::Tenants};
use crate::{config::Compute, drivers::deliver};
use pangea_kernel::{Port, Rejected};
use pangea_protocols::guest::{Command, Event};
use pangea_sandbox::{
    guests::{Calls, Progress, work},
    work::Work,
};
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

/// Threads that call plugins.
const THREADS: usize = 2;

/// Starts it; what comes of commands goes to `results`. Plugins have as much memory as tasks, in all.
///
/// # Errors
/// A thread cannot be started, or the engine does not run here.
pub fn start(compute: &Compute, results: Port<Event>) -> io::Result<(SandboxDriver, Port<Command>)> {
    let settings = Settings::new(THREADS, compute.modules_bytes(), compute.memory.0)?;
    let settings = Settings { tenants: Tenants::Plugins, ..settings };
    let (driver, port) = SandboxDriver::start_where(compute, settings, answers(results))?;
    Ok((driver, commands(port)))
}

/// A port of commands on top of one of work.
pub fn commands(port: Port<Work>) -> Port<Command> {
    // A clone shares the bytes.
    Port::new(move |command: Command| {
        port.send(work(command.clone())).map_err(|rejected| match rejected {
            Rejected::Full(_) => Rejected::Full(command),
            Rejected::Closed(_) => Rejected::Closed(command),
        })
    })
}

/// Answers for the plugins actor.
pub fn answers(results: Port<Event>) -> Answers {
    let calls = Mutex::new(Calls::default());
    Arc::new(move |answer| {
        let event = match answer {
            Answer::Lost(reason) => Event::Lost { reason },
            // Whole between any two statements.
            Answer::Done(done) => match calls.lock().unwrap_or_else(PoisonError::into_inner).on_done(done) {
                Progress::More(rest) => return Next::Rest(rest),
                Progress::Done(event) => event,
            },
        };
        if deliver(&results, event) { Next::Nothing } else { Next::Gone }
    })
}
