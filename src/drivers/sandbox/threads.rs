//! [`SandboxThreads`]: worker threads that share one workshop of compiled modules and instances.
//!
//! Work is data and so is its result; the threads add nothing but themselves. A simulation runs the same work inline.

use pangea_kernel::{Port, Rejected};
use pangea_sandbox::{Workshop, api::In, engine::Wasmi, work::Work};
use std::{
    io,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Work that may wait for a thread: the sandbox actor asks for a slice at a time per thread, so only installs can pile up.
const QUEUE_MAX: usize = 1024;
/// How long a worker waits before it offers a result to a full mailbox again.
const MAILBOX_RETRY: Duration = Duration::from_millis(1);
/// Stack of a worker, in bytes: the interpreter takes its own from it between two pauses of a guest.
pub const STACK_BYTES: usize = 8 << 20;

/// The running threads. They end when every port is dropped; `join` waits for that.
#[derive(Debug)]
pub struct SandboxThreads {
    threads: Vec<JoinHandle<()>>,
}

impl SandboxThreads {
    /// Starts `threads` workers that keep up to `cache_bytes` of compiled modules; what comes of work goes to `results`.
    ///
    /// # Errors
    /// The system cannot start a thread, or the engine does not run here.
    pub fn start(threads: usize, cache_bytes: u64, results: Port<In>) -> io::Result<(Self, Port<Work>)> {
        let engine = Wasmi::new().map_err(|error| io::Error::other(error.to_string()))?;
        let workshop = Arc::new(Workshop::new(engine, cache_bytes));
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        let spawn = |number| {
            let (receiver, workshop, results) = (Arc::clone(&receiver), Arc::clone(&workshop), results.clone());
            let thread = thread::Builder::new().name(format!("pangea-sandbox-{number}")).stack_size(STACK_BYTES);
            thread.spawn(move || work(&receiver, &workshop, &results))
        };
        let threads = (0..threads.max(1)).map(spawn).collect::<io::Result<_>>()?;
        Ok((Self { threads }, port(sender)))
    }

    /// Waits until all workers have ended.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a sandbox worker panicked");
            }
        }
    }
}

fn port(sender: SyncSender<Work>) -> Port<Work> {
    Port::new(move |work| {
        sender.try_send(work).map_err(|error| match error {
            TrySendError::Full(work) => Rejected::Full(work),
            TrySendError::Disconnected(work) => Rejected::Closed(work),
        })
    })
}

fn work(queue: &Mutex<Receiver<Work>>, workshop: &Workshop, results: &Port<In>) {
    loop {
        // The lock is held while waiting: one idle worker waits for work, the others for the lock.
        let next = queue.lock().map(|queue| queue.recv());
        let Ok(Ok(work)) = next else { return };
        let Some(done) = work.run(workshop) else { continue };
        let mut message = In::Worked(done);
        while let Err(rejected) = results.send(message) {
            match rejected {
                Rejected::Full(back) => message = back,
                Rejected::Closed(_) => return,
            }
            thread::sleep(MAILBOX_RETRY);
        }
    }
}
