//! The cpu driver: a bounded pool of worker threads for compression, encryption and erasure coding.
//!
//! Work is data ([`Work`]) and so is its result; the pool adds only threads. A simulation runs the same work inline
//! and charges a modelled duration.

use super::deliver;
use pangea_ces::{
    FrameError, Scratch,
    api::In,
    work::{Done, Work},
};
use pangea_kernel::{Port, Rejected, contain};
use std::{
    io,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
};

/// Work that may wait for a thread. CES asks for at most a window per job, so only a flood of jobs can fill it.
const QUEUE_MAX: usize = 4096;

/// The running threads. They end when every port is dropped; `join` waits for that.
#[derive(Debug)]
pub struct CpuPool {
    threads: Vec<JoinHandle<()>>,
}

impl CpuPool {
    /// Starts `threads` workers whose results go to `results`.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(threads: usize, results: Port<In>) -> io::Result<(Self, Port<Work>)> {
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        let spawn = |number| {
            let (receiver, results) = (Arc::clone(&receiver), results.clone());
            thread::Builder::new().name(format!("pangea-cpu-{number}")).spawn(move || work(&receiver, &results))
        };
        let threads = (0..threads.max(1)).map(spawn).collect::<io::Result<_>>()?;
        Ok((Self { threads }, port(sender)))
    }

    /// Waits until all workers have ended.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a cpu worker panicked");
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

/// Runs one piece of work. A panic in it costs its job, not the thread and not the jobs of others.
fn contained(work: Work, scratch: &mut Scratch, run: impl FnOnce(Work, &mut Scratch) -> Done) -> Done {
    let (job, index) = (work.job(), work.index());
    contain(|| run(work, scratch)).unwrap_or_else(|reason| {
        tracing::error!(job = job.0, index, reason, "a cpu worker panicked");
        // What it left in the scratch memory is half of something.
        *scratch = Scratch::default();
        Done { job, index, result: Err(FrameError::Worker) }
    })
}

fn work(queue: &Mutex<Receiver<Work>>, results: &Port<In>) {
    let mut scratch = Scratch::default();
    loop {
        // The lock is held while waiting: one idle worker waits for work, the others for the lock.
        let next = queue.lock().map(|queue| queue.recv());
        let Ok(Ok(work)) = next else { return };
        if !deliver(results, In::Worked(contained(work, &mut scratch, Work::run))) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_ces::{api::Profile, work::EncodeFrame};
    use pangea_protocols::{JobId, ticket::ReadKey};

    fn encode(job: u64) -> Work {
        Work::EncodeFrame(EncodeFrame {
            job: JobId(job),
            key: ReadKey([1; 32]),
            object: [2; 16],
            index: 7,
            raw: bytes::Bytes::from_static(b"some bytes"),
            k: 2,
            m: 1,
            profile: Profile::Fast,
            alone: false,
        })
    }

    #[test]
    fn a_panic_fails_its_job_and_the_worker_goes_on() {
        let mut scratch = Scratch::default();
        let before = contained(encode(1), &mut scratch, Work::run).result;
        assert!(before.is_ok());
        let done = contained(encode(2), &mut scratch, |_, _| panic!("boom"));
        assert_eq!(done, Done { job: JobId(2), index: 7, result: Err(FrameError::Worker) });
        assert_eq!(contained(encode(3), &mut scratch, Work::run).result, before);
    }
}
