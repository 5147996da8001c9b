//! [`SandboxThreads`]: threads of this process that run the work of the sandbox. Not here: any jail, see `process`.

use super::{Answer, Answers, Next, STACK_BYTES, queue::Queue};
use pangea_kernel::Port;
use pangea_sandbox::{Workshop, engine::Wasmi, work::Work};
use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
};

/// The running threads. They end when every port is dropped; `join` waits for that.
#[derive(Debug)]
pub struct SandboxThreads {
    threads: Vec<JoinHandle<()>>,
}

impl SandboxThreads {
    /// Starts `threads` workers whose names begin like that, and that keep up to `cache_bytes` of compiled modules.
    ///
    /// # Errors
    /// The system cannot start a thread, or the engine cannot be made.
    pub fn start(name: &str, threads: usize, cache_bytes: u64, answers: &Answers) -> io::Result<(Self, Port<Work>)> {
        let engine = Wasmi::new().map_err(io::Error::other)?;
        let workshop = Arc::new(Workshop::new(engine, cache_bytes));
        let (queue, port) = Queue::new();
        let spawn = |number| {
            let (queue, workshop, answers) = (Arc::clone(&queue), Arc::clone(&workshop), Arc::clone(answers));
            let thread = thread::Builder::new().name(format!("{name}-{number}")).stack_size(STACK_BYTES);
            thread.spawn(move || work(&queue, &workshop, &answers))
        };
        let threads = (0..threads.max(1)).map(spawn).collect::<io::Result<_>>()?;
        Ok((Self { threads }, port))
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

fn work(queue: &Queue, workshop: &Workshop, answers: &Answers) {
    while let Some(work) = queue.pop() {
        let next = work.run(workshop).map_or(Next::Nothing, |done| answers(Answer::Done(done)));
        match next {
            Next::Nothing => {}
            Next::Rest(work) => queue.push_rest(work),
            Next::Gone => return,
        }
    }
}
