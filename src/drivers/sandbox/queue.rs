//! [`Queue`]: work that waits for a thread. Not here: threads.

use pangea_kernel::{Port, Rejected};
use pangea_sandbox::work::Work;
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// Work that may wait. Actors have no more out than there are threads, or one call per plugin, so only a flood of modules
/// can fill it.
const QUEUE_MAX: usize = 1024;

/// A bounded queue: what its port cannot put into it is handed back.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Work>,
    closed: bool,
}

/// Closes the queue when the last port is dropped.
struct Entrance(Arc<Queue>);

impl Drop for Entrance {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

impl Queue {
    /// An empty queue and its port. It is closed when that and all clones of it are dropped; what waits then is not done.
    pub fn new() -> (Arc<Self>, Port<Work>) {
        let queue = Arc::new(Self::default());
        let entrance = Entrance(Arc::clone(&queue));
        (queue, Port::new(move |work| entrance.0.push(work)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, work: Work) -> Result<(), Rejected<Work>> {
        let mut state = self.lock();
        if state.waiting.len() >= QUEUE_MAX {
            return Err(Rejected::Full(work));
        }
        state.waiting.push_back(work);
        self.changed.notify_one();
        Ok(())
    }

    /// Adds what is left of work that has been taken out, which had its place.
    pub fn push_rest(&self, work: Work) {
        self.lock().waiting.push_back(work);
        self.changed.notify_one();
    }

    /// The oldest work, when there is some; `None` when the queue is closed.
    pub fn pop(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            match state.waiting.pop_front() {
                Some(work) => return Some(work),
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Waits until then; false if the queue is closed before.
    pub fn wait_until(&self, then: Instant) -> bool {
        let mut state = self.lock();
        while !state.closed {
            let Some(left) = then.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return true;
            };
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_protocols::task::TaskId;
    use std::time::Duration;

    fn work(task: u64) -> Work {
        Work::Drop { task: TaskId(task) }
    }

    fn popped(queue: &Queue) -> Option<u64> {
        queue.pop().and_then(|work| work.task()).map(|task| task.0)
    }

    #[test]
    fn what_is_left_of_work_comes_after_what_waits_and_has_a_place_when_there_is_none() {
        let (queue, port) = Queue::new();
        for task in 0..QUEUE_MAX as u64 {
            port.send(work(task)).unwrap();
        }
        assert!(matches!(port.send(work(0)), Err(Rejected::Full(_))));
        queue.push_rest(work(7777));
        let order: Vec<u64> = (0..=QUEUE_MAX).filter_map(|_| popped(&queue)).collect();
        assert_eq!((order[0], order[QUEUE_MAX]), (0, 7777));
        port.send(work(1)).unwrap();
        assert_eq!(popped(&queue), Some(1));
    }

    #[test]
    fn it_is_closed_with_its_last_port() {
        let (queue, port) = Queue::new();
        let other = port.clone();
        port.send(work(1)).unwrap();
        drop(port);
        assert!(queue.wait_until(Instant::now()));
        assert_eq!(popped(&queue), Some(1));
        other.send(work(2)).unwrap();
        drop(other);
        assert_eq!(popped(&queue), None, "what waits is not done");
        assert!(!queue.wait_until(Instant::now() + Duration::from_secs(60)));
    }
}
