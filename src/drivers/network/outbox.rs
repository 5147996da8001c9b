//! Events on their way to the actors, in order.
//!
//! The port never blocks and may be full. What must not be lost (connected, disconnected, sent, failed) waits here and
//! is tried again; while too much waits, the driver reads neither commands nor connections, so the number of waiting
//! events is bounded by what was already under way. What may be lost (discoveries, round-trip times) is dropped and
//! counted. Received frames wait in their stream's task, see [`Deliveries`].

use super::metrics::Counters;
use pangea_kernel::{Port, Rejected};
use pangea_protocols::net::Event;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// A full port is tried again after this time …
pub const RETRY_MIN: Duration = Duration::from_millis(1);
/// … which doubles up to this.
const RETRY_MAX: Duration = Duration::from_millis(50);

/// The driver's own end.
pub struct Outbox {
    port: Port<Event>,
    waiting: VecDeque<Event>,
    backlog_max: usize,
    /// Whether `waiting` is not empty, for the stream tasks.
    blocked: Arc<AtomicBool>,
    counters: Arc<Counters>,
}

impl Outbox {
    /// In front of `port`.
    pub fn new(port: Port<Event>, backlog_max: usize, counters: Arc<Counters>) -> Self {
        Self { port, waiting: VecDeque::new(), backlog_max, blocked: Arc::default(), counters }
    }

    /// Sends now or later, never out of order.
    pub fn push(&mut self, event: Event) {
        self.waiting.push_back(event);
        self.flush();
    }

    /// Sends now or never.
    pub fn push_lossy(&mut self, event: Event) {
        if !self.waiting.is_empty() || self.port.send(event).is_err() {
            self.counters.events_dropped.add(1);
        }
    }

    /// Tries again; true if nothing waits any more.
    pub fn flush(&mut self) -> bool {
        while let Some(event) = self.waiting.pop_front() {
            match self.port.send(event) {
                Ok(()) => {}
                Err(Rejected::Full(event)) => {
                    self.waiting.push_front(event);
                    break;
                }
                Err(Rejected::Closed(_)) => self.waiting.clear(),
            }
        }
        self.blocked.store(!self.waiting.is_empty(), Ordering::Release);
        self.waiting.is_empty()
    }

    /// Something waits.
    pub fn is_blocked(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// So much waits that nothing new may be begun.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= self.backlog_max
    }

    /// The stream tasks' end.
    pub fn deliveries(&self) -> Deliveries {
        Deliveries { port: self.port.clone(), blocked: Arc::clone(&self.blocked) }
    }
}

/// Sends from a stream's task, behind everything that waits in the [`Outbox`].
#[derive(Clone)]
pub struct Deliveries {
    port: Port<Event>,
    blocked: Arc<AtomicBool>,
}

impl Deliveries {
    /// Events wait in the outbox: others must too.
    pub fn must_wait(&self) -> bool {
        self.blocked.load(Ordering::Acquire)
    }

    /// Sends now, or hands the event back for the outbox. What nobody will ever hear is dropped.
    #[allow(clippy::result_large_err)]
    pub fn try_deliver(&self, event: Event) -> Result<(), Event> {
        if self.must_wait() {
            return Err(event);
        }
        match self.port.send(event) {
            Ok(()) | Err(Rejected::Closed(_)) => Ok(()),
            Err(Rejected::Full(event)) => Err(event),
        }
    }

    /// Waits for room up to `patience`; false if there was none, or the receiver is gone.
    ///
    /// A port cannot say when it has room, so it is asked again in growing intervals. Meanwhile the stream keeps its
    /// place and its memory: the peer is slowed down by flow control.
    pub async fn deliver(&self, mut event: Event, patience: Duration) -> bool {
        let mut pause = RETRY_MIN;
        let mut waited = Duration::ZERO;
        loop {
            if !self.must_wait() {
                match self.port.send(event) {
                    Ok(()) => return true,
                    Err(Rejected::Closed(_)) => return false,
                    Err(Rejected::Full(returned)) => event = returned,
                }
            }
            if waited >= patience {
                return false;
            }
            tokio::time::sleep(pause).await;
            waited += pause;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_protocols::PeerId;
    use std::sync::Mutex;

    /// How many more events the receiver takes, and those it took.
    type Taken = Arc<Mutex<(usize, Vec<Event>)>>;

    /// A port that takes what `room` allows and remembers it.
    #[allow(clippy::result_large_err)]
    fn port(room: usize) -> (Port<Event>, Taken) {
        let state = Arc::new(Mutex::new((room, Vec::new())));
        let shared = Arc::clone(&state);
        let port = Port::new(move |event| {
            let mut state = shared.lock().unwrap();
            if state.0 == 0 {
                return Err(Rejected::Full(event));
            }
            state.0 -= 1;
            state.1.push(event);
            Ok(())
        });
        (port, state)
    }

    fn sent(tag: u64) -> Event {
        Event::Sent { peer: PeerId([1; 32]), tag }
    }

    #[test]
    fn events_wait_in_order_and_lossy_ones_do_not_overtake() {
        let (port, state) = port(1);
        let counters = Arc::<Counters>::default();
        let mut outbox = Outbox::new(port, 2, Arc::clone(&counters));
        for tag in 0..4 {
            outbox.push(sent(tag));
        }
        assert!(outbox.is_blocked() && outbox.is_full());
        outbox.push_lossy(sent(9));
        state.lock().unwrap().0 = 10;
        outbox.push_lossy(sent(9));
        assert!(outbox.flush());
        assert_eq!(state.lock().unwrap().1, (0..4).map(sent).collect::<Vec<_>>());
        assert_eq!(counters.read().events_dropped, 2);
    }

    #[tokio::test]
    async fn a_delivery_waits_behind_the_outbox_and_gives_up_after_its_patience() {
        let (port, state) = port(0);
        let mut outbox = Outbox::new(port, 2, Arc::default());
        outbox.push(sent(1));
        let deliveries = outbox.deliveries();
        assert!(!deliveries.deliver(sent(2), Duration::from_millis(10)).await);
        state.lock().unwrap().0 = 10;
        assert!(!deliveries.deliver(sent(3), Duration::from_millis(10)).await, "overtook an event that waits");
        assert!(outbox.flush());
        assert!(deliveries.deliver(sent(4), Duration::from_millis(10)).await);
        assert_eq!(state.lock().unwrap().1, [sent(1), sent(4)]);
    }
}
