//! A queue between threads, bounded in items and in bytes. Senders never wait; what does not fit is handed back.

use pangea_kernel::Rejected;
use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Something with a size in memory.
pub trait Weighed {
    /// Bytes it keeps alive.
    fn bytes(&self) -> usize;
}

/// A bounded queue.
pub struct Queue<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    items_max: usize,
    bytes_max: usize,
}

struct State<T> {
    items: VecDeque<T>,
    bytes: usize,
    closed: bool,
    /// The taker sleeps until it has this many bytes, or its time is over.
    wanted_bytes: usize,
}

/// How long [`Queue::take_group`] waits for more than one item.
#[derive(Clone, Copy, Debug)]
pub struct Gather {
    /// No longer than this after the first item was there.
    pub time: Duration,
    /// No longer than until there are this many bytes.
    pub bytes: usize,
}

/// What [`Queue::take`] found.
pub enum Taken<T> {
    /// These, in their order. Empty if the time is over.
    Items(Vec<T>),
    /// Closed and empty.
    Closed,
}

impl<T: Weighed> Queue<T> {
    /// At most `items_max` items with together `bytes_max` bytes.
    pub fn new(items_max: usize, bytes_max: usize) -> Self {
        let state = State { items: VecDeque::new(), bytes: 0, closed: false, wanted_bytes: 0 };
        Self { state: Mutex::new(state), arrived: Condvar::new(), items_max, bytes_max }
    }

    /// Adds an item.
    ///
    /// # Errors
    /// The item is handed back if the queue is full or closed.
    pub fn push(&self, item: T) -> Result<(), Rejected<T>> {
        let mut state = self.lock();
        if state.closed {
            return Err(Rejected::Closed(item));
        }
        if state.items.len() >= self.items_max || state.bytes + item.bytes() > self.bytes_max {
            return Err(Rejected::Full(item));
        }
        self.add(&mut state, item);
        Ok(())
    }

    /// Adds an item of the disk's own over the limits, unless the queue is closed. True if it was added.
    pub fn push_own(&self, item: T) -> bool {
        let mut state = self.lock();
        let open = !state.closed;
        if open {
            self.add(&mut state, item);
        }
        open
    }

    /// Takes what is there, waiting at most `patience` for the first item.
    pub fn take(&self, items_max: usize, bytes_max: usize, patience: Duration) -> Taken<T> {
        self.take_group(items_max, bytes_max, patience, Gather { time: Duration::ZERO, bytes: 0 })
    }

    /// As [`Queue::take`]; when there is a first item, waits for others as `gather` says. For one taker.
    pub fn take_group(&self, items_max: usize, bytes_max: usize, patience: Duration, gather: Gather) -> Taken<T> {
        let mut state = self.lock();
        if state.items.is_empty() && !state.closed && !patience.is_zero() {
            let waited =
                self.arrived.wait_timeout_while(state, patience, |state| state.items.is_empty() && !state.closed);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if !state.items.is_empty() && !gather.time.is_zero() {
            state = self.gather(state, items_max, gather);
        }
        if state.items.is_empty() && state.closed {
            return Taken::Closed;
        }
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < items_max && (bytes < bytes_max || taken.is_empty()) {
            let Some(item) = state.items.pop_front() else { break };
            bytes += item.bytes();
            taken.push(item);
        }
        state.bytes = state.bytes.saturating_sub(bytes);
        Taken::Items(taken)
    }

    /// Takes nothing more in; what is there can still be taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Sleeps until there is enough: whoever adds less wakes nobody.
    fn gather<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<T>>,
        items_max: usize,
        gather: Gather,
    ) -> MutexGuard<'a, State<T>> {
        let few = |state: &State<T>| !state.closed && state.bytes < gather.bytes && state.items.len() < items_max;
        let until = Instant::now() + gather.time;
        while few(&state) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state.wanted_bytes = gather.bytes;
            let waited = self.arrived.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.wanted_bytes = 0;
        state
    }

    fn add(&self, state: &mut State<T>, item: T) {
        state.bytes += item.bytes();
        state.items.push_back(item);
        if state.bytes >= state.wanted_bytes {
            self.arrived.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weighed for usize {
        fn bytes(&self) -> usize {
            *self
        }
    }

    #[test]
    fn the_queue_hands_back_what_is_over_its_items_or_its_bytes() {
        let queue = Queue::new(2, 100);
        assert_eq!(queue.push(60), Ok(()));
        assert_eq!(queue.push(41), Err(Rejected::Full(41)));
        assert_eq!(queue.push(40), Ok(()));
        assert_eq!(queue.push(0), Err(Rejected::Full(0)));
        assert!(matches!(queue.take(1, 1000, Duration::ZERO), Taken::Items(items) if items == [60]));
        assert_eq!(queue.push(60), Ok(()));
        queue.close();
        assert_eq!(queue.push(1), Err(Rejected::Closed(1)));
        assert!(matches!(queue.take(9, 50, Duration::ZERO), Taken::Items(items) if items == [40, 60]));
        assert!(matches!(queue.take(9, 50, Duration::ZERO), Taken::Closed));
    }

    #[test]
    fn items_that_come_while_others_are_gathered_are_taken_with_them() {
        let queue = Queue::new(10, 100);
        let long = Gather { time: Duration::from_secs(60), bytes: 50 };
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| queue.take_group(9, 1000, Duration::from_secs(60), long));
            for item in [10, 20, 30] {
                queue.push(item).unwrap();
            }
            assert!(matches!(taker.join().unwrap(), Taken::Items(items) if items == [10, 20, 30]));
        });
    }

    #[test]
    fn gathering_ends_with_its_time_with_the_number_of_items_and_when_the_queue_is_closed() {
        let queue = Queue::new(10, 100);
        let gather = |seconds| Gather { time: Duration::from_secs(seconds), bytes: 50 };
        queue.push(1).unwrap();
        let short = Gather { time: Duration::from_millis(1), bytes: 50 };
        assert!(matches!(queue.take_group(9, 1000, Duration::ZERO, short), Taken::Items(items) if items == [1]));
        queue.push(2).unwrap();
        assert!(matches!(queue.take_group(1, 1000, Duration::ZERO, gather(60)), Taken::Items(items) if items == [2]));
        queue.push(3).unwrap();
        queue.close();
        assert!(matches!(queue.take_group(9, 1000, Duration::ZERO, gather(60)), Taken::Items(items) if items == [3]));
    }
}
