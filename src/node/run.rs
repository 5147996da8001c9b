//! `pangea node`: a node in the foreground, until a signal, `pangea stop`, or an actor that fails too often.

use super::{Node, StartError};
use crate::{
    config::Config,
    control::{self, ControlError},
    demo::cluster::Ready,
    home::Home,
};
use std::{io::Write, time::Instant};

/// Why a node could not run, or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Its control socket could not be opened.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Standard output is closed.
    #[error("cannot report that the node is ready: {0}")]
    Report(#[from] std::io::Error),
    /// It ended by itself.
    #[error("the node stopped: {0}")]
    Ended(String),
}

/// Runs a node and reports on standard output when it is ready; `json` chooses the form of that line.
///
/// # Errors
/// It could not start, or an actor failed too often.
pub fn run(home: &Home, config: &Config, json: bool) -> Result<(), RunError> {
    run_built(home, json, || Node::start(home, config))
}

/// The same for a node that is started by `start`.
pub(super) fn run_built(
    home: &Home,
    json: bool,
    start: impl FnOnce() -> Result<Node, StartError>,
) -> Result<(), RunError> {
    let started = Instant::now();
    let mut node = start()?;
    let mut control =
        control::serve(&control::address::to_serve(home.dir())?, node.handle().clone(), node.jobs().clone())?;
    on_signal(&node);
    let ready = Ready {
        event: "ready".to_owned(),
        peer: node.peer().to_string(),
        addresses: node.addresses().iter().map(|address| format!("{address}/p2p/{}", node.peer())).collect(),
        startup_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    report(&ready, json)?;
    let ended = node.wait();
    // `pangea stop` waits for the end of its connection: by then another node may take this one's place.
    control.retire();
    node.stop();
    drop(control);
    ended.map_err(RunError::Ended)
}

fn report(ready: &Ready, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(ready)?)?;
    } else {
        writeln!(out, "node {} is ready after {} ms", ready.peer, ready.startup_ms)?;
        for address in &ready.addresses {
            writeln!(out, "  {address}")?;
        }
    }
    out.flush()
}

/// SIGINT and SIGTERM stop the node gracefully; a second one ends it at once.
fn on_signal(node: &Node) {
    use tokio::signal::unix::{SignalKind, signal};
    let handle = node.handle().clone();
    // Taken over at once, not when the task first runs: who reads "ready" may signal in the next moment.
    let entered = node.runtime.enter();
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    drop(entered);
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
        tracing::error!("signals cannot be handled: stop the node with `pangea stop`");
        return;
    };
    node.runtime.spawn(async move {
        for again in [false, true] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if again {
                std::process::exit(130);
            }
            let _ = handle.shutdown().await;
        }
    });
}
