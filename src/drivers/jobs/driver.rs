//! [`JobsDriver`]: the thread, and the queue of what it is told and asked. Not here: what it does (`desk`).

use super::{JobsError, JobsHandle, desk::Desk, handle::Ask, meter::Metered};
use pangea_compute::api::{News, coordinator};
use pangea_kernel::{Port, Rejected};
use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
};

/// Tasks that may wait for the thread …
const QUEUE_MAX: usize = 8192;
/// … of which so many places are left for what a job cannot go on without.
const QUEUE_RESERVED: usize = 4096;

/// What the thread is asked.
#[derive(Debug)]
pub(super) enum Task {
    Core(coordinator::Out),
    Metered(Metered),
    Ask(Ask),
    Stop,
}

/// The running thread.
#[derive(Debug)]
pub struct JobsDriver {
    thread: JoinHandle<()>,
    tasks: SyncSender<Task>,
}

impl JobsDriver {
    /// Starts the thread on the jobs in `dir`, which is made if it is not there. The port takes what the coordinator
    /// emits; of it, only what is for this driver is acted upon. Unless `enabled`, new jobs are refused.
    ///
    /// # Errors
    /// See [`JobsError`]. A single job that cannot be read is left alone, with a word in the log.
    pub fn start(
        dir: &Path,
        enabled: bool,
        coordinator: Port<coordinator::In>,
    ) -> Result<(Self, JobsHandle, Port<coordinator::Out>), JobsError> {
        let io = |error| JobsError::Io { path: dir.to_owned(), error };
        fs::create_dir_all(dir).map_err(io)?;
        let (tasks, queue) = sync_channel(QUEUE_MAX);
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut desk = Desk::open(dir, enabled, coordinator).map_err(io)?;
        let handle = JobsHandle::new(tasks.clone(), desk.meter_totals());
        let taken = Arc::clone(&waiting);
        let thread = thread::Builder::new().name("pangea-jobs".to_owned()).spawn(move || desk.work(&queue, &taken))?;
        let port = port(tasks.clone(), waiting);
        Ok((Self { thread, tasks }, handle, port))
    }

    /// Takes what is to be metered. When the queue is full it is not.
    pub fn meter(&self) -> Port<Metered> {
        let tasks = self.tasks.clone();
        Port::new(move |metered| {
            tasks.try_send(Task::Metered(metered)).map_err(|error| match error {
                TrySendError::Full(_) => Rejected::Full(metered),
                TrySendError::Disconnected(_) => Rejected::Closed(metered),
            })
        })
    }

    /// Ends the thread when it has done what is queued. Jobs that run go on in the next life of the node.
    pub fn stop(self) {
        let _ = self.tasks.send(Task::Stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread of jobs panicked");
        }
    }
}

fn port(tasks: SyncSender<Task>, waiting: Arc<AtomicUsize>) -> Port<coordinator::Out> {
    Port::new(move |out: coordinator::Out| {
        use coordinator::Out;
        let may_be_lost =
            matches!(&out, Out::Trace { .. } | Out::Log { .. } | Out::News { news: News::Progress(_), .. });
        if may_be_lost && waiting.load(Ordering::Relaxed) >= QUEUE_MAX - QUEUE_RESERVED {
            return Err(Rejected::Full(out));
        }
        waiting.fetch_add(1, Ordering::Relaxed);
        tasks.try_send(Task::Core(out)).map_err(|error| {
            waiting.fetch_sub(1, Ordering::Relaxed);
            match error {
                TrySendError::Full(Task::Core(out)) => Rejected::Full(out),
                TrySendError::Disconnected(Task::Core(out)) => Rejected::Closed(out),
                TrySendError::Full(_) | TrySendError::Disconnected(_) => unreachable!("what was sent comes back"),
            }
        })
    })
}
