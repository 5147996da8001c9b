//! [`SandboxThreads`]: threads of this process that run the work of the sandbox. Not here: any jail, see `process`.

use super::{QUEUE_MAX, STACK_BYTES};
use crate::drivers::deliver;
use pangea_kernel::{Port, Rejected};
use pangea_sandbox::{Workshop, api::In, engine::Wasmi, work::Work};
use std::{
    io,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
};

/// The running threads. They end when every port is dropped; `join` waits for that.
#[derive(Debug)]
pub struct SandboxThreads {
    threads: Vec<JoinHandle<()>>,
}

impl SandboxThreads {
    /// Starts `threads` workers that keep up to `cache_bytes` of compiled modules and answer to `results`.
    ///
    /// # Errors
    /// The system cannot start a thread, or the engine cannot be made.
    pub fn start(threads: usize, cache_bytes: u64, results: Port<In>) -> io::Result<(Self, Port<Work>)> {
        let engine = Wasmi::new().map_err(io::Error::other)?;
        let workshop = Arc::new(Workshop::new(engine, cache_bytes));
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let queue = Arc::new(Mutex::new(receiver));
        let spawn = |number| {
            let (queue, workshop, results) = (Arc::clone(&queue), Arc::clone(&workshop), results.clone());
            let thread = thread::Builder::new().name(format!("pangea-wasm-{number}")).stack_size(STACK_BYTES);
            thread.spawn(move || work(&queue, &workshop, &results))
        };
        let threads = (0..threads.max(1)).map(spawn).collect::<io::Result<_>>()?;
        Ok((Self { threads }, port(sender)))
    }

    /// Waits until all workers have ended.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the sandbox panicked");
            }
        }
    }
}

/// A port into a bounded queue: what it cannot take is handed back, and the actor refuses the task.
pub(super) fn port(sender: SyncSender<Work>) -> Port<Work> {
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
        if let Some(done) = work.run(workshop)
            && !deliver(results, In::Worked(done))
        {
            return;
        }
    }
}
