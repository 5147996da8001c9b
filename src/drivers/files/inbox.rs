//! [`Inbox`]: the bounded queue of one worker; [`Door`]: all of them, closed when nobody can send any more.

use pangea_kernel::Rejected;
use pangea_protocols::{JobId, files::Command};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

/// What a worker does next.
#[derive(Debug)]
pub(super) enum Next {
    /// A command.
    Command(Command),
    /// Something happened to a job's stream.
    Wake(JobId),
    /// Nobody will send any more.
    Closed,
}

/// Commands in order, and jobs to look at: a job that is woken twice is looked at once, so the wakes are bounded too.
#[derive(Debug)]
pub(super) struct Inbox {
    queue: Mutex<Queue>,
    news: Condvar,
    limit: usize,
}

#[derive(Debug, Default)]
struct Queue {
    commands: VecDeque<Command>,
    woken: BTreeSet<JobId>,
    closed: bool,
}

impl Inbox {
    pub(super) fn new(limit: usize) -> Self {
        Self { queue: Mutex::default(), news: Condvar::new(), limit: limit.max(1) }
    }

    /// Queues a command, or hands it back. `Close` has room of its own: what was opened can always be closed.
    pub(super) fn push(&self, command: Command) -> Result<(), Rejected<Command>> {
        let mut queue = self.lock();
        let limit = if matches!(command, Command::Close { .. }) { 2 * self.limit } else { self.limit };
        if queue.closed {
            return Err(Rejected::Closed(command));
        }
        if queue.commands.len() >= limit {
            return Err(Rejected::Full(command));
        }
        queue.commands.push_back(command);
        drop(queue);
        self.news.notify_one();
        Ok(())
    }

    /// Asks the worker to look at a job's stream.
    pub(super) fn wake(&self, job: JobId) {
        self.lock().woken.insert(job);
        self.news.notify_one();
    }

    /// Waits for something to do.
    pub(super) fn next(&self) -> Next {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.woken.pop_first() {
                return Next::Wake(job);
            }
            if let Some(command) = queue.commands.pop_front() {
                return Next::Command(command);
            }
            if queue.closed {
                return Next::Closed;
            }
            queue = self.news.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// True if nobody will send any more.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.news.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way in to all workers. When the last owner is gone, they end.
#[derive(Debug)]
pub(super) struct Door(Vec<Arc<Inbox>>);

impl Door {
    pub(super) fn new(inboxes: Vec<Arc<Inbox>>) -> Self {
        Self(inboxes)
    }

    /// The inbox of the worker that a job stays on.
    pub(super) fn inbox(&self, job: JobId) -> &Inbox {
        inbox_of(&self.0, job)
    }

    pub(super) fn close(&self) {
        self.0.iter().for_each(|inbox| inbox.close());
    }
}

/// Which of `inboxes` (at least one) is a job's.
pub(super) fn inbox_of(inboxes: &[Arc<Inbox>], job: JobId) -> &Inbox {
    &inboxes[(job.0 % inboxes.len() as u64) as usize]
}

impl Drop for Door {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_inbox_hands_commands_back_but_still_takes_a_close() {
        let inbox = Inbox::new(2);
        let finish = || Command::Finish { job: JobId(1) };
        assert!(inbox.push(finish()).is_ok() && inbox.push(finish()).is_ok());
        assert_eq!(inbox.push(finish()), Err(Rejected::Full(finish())));
        assert!(inbox.push(Command::Close { job: JobId(1) }).is_ok());
        inbox.close();
        assert_eq!(inbox.push(finish()), Err(Rejected::Closed(finish())));
        assert!(matches!(inbox.next(), Next::Command(_)), "what was taken is carried out");
    }
}
