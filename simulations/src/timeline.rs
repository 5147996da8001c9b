//! [`Timeline`]: the clock and the agenda that drivers' twins share, in all tiers.
//!
//! | tier | what time it is | who takes entries out |
//! |---|---|---|
//! | swarm | the time of the last entry, or where [`crate::World`] moved it | the world, one after the other |
//! | fleet | tokio's paused clock | [`Timeline::drive`], one task that sleeps until the next entry |
//!
//! Entries happen by time, then by the order of insertion. In the fleet time moves in tokio's ticks of 1 ms: an entry
//! happens at the first tick that is not before it, with its order kept. The lock is never held while an entry runs.

use pangea_kernel::{TimerId, testbed::EPOCH};
use pangea_protocols::time::{Time, UnixTime};
use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep_until},
};

/// Index of an actor in its world.
pub(crate) type ActorId = usize;

/// Place in the order of events: the time, then the order of insertion.
pub(crate) type Key = (Time, u64);

/// What happens at some time.
pub(crate) enum Entry {
    /// The actor's core is built and started.
    Start(ActorId),
    /// The actor handles the next message of its mailbox.
    Message(ActorId),
    /// A timer of the actor is due.
    Timer(ActorId, TimerId),
    /// A driver's business.
    Call(Box<dyn FnOnce() + Send>),
}

impl Entry {
    /// The actor that it is about; a driver's calls are about none.
    pub(crate) fn whose(&self) -> Option<ActorId> {
        match self {
            Self::Start(id) | Self::Message(id) | Self::Timer(id, _) => Some(*id),
            Self::Call(_) => None,
        }
    }
}

/// A handle on the clock and the agenda. Clones are the same timeline; [`Timeline::default`] is that of a world.
#[derive(Clone, Default)]
pub struct Timeline {
    agenda: Arc<Mutex<Agenda>>,
    /// In a fleet: the runtime whose clock it is, and that clock's name for time zero.
    tokio: Option<(Handle, Instant)>,
}

#[derive(Default)]
struct Agenda {
    /// In a world: the time.
    now: Time,
    inserted: u64,
    entries: BTreeMap<Key, Entry>,
    closed: bool,
    /// In a fleet: the driving task, while it sleeps, and until when.
    driver: Option<(Waker, Time)>,
}

impl Timeline {
    /// Begins now on the clock of the current tokio runtime. [`Timeline::drive`] must run on it.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn on_tokio() -> Self {
        Self { agenda: Arc::default(), tokio: Some((Handle::current(), tokio_now())) }
    }

    /// Time since the simulation began.
    pub fn now(&self) -> Time {
        let Some((runtime, start)) = &self.tokio else { return self.agenda().now };
        // Outside of the runtime tokio's clock would be the machine's.
        let entered = Handle::try_current().is_err().then(|| runtime.enter());
        let now = Time(0) + tokio_now().saturating_duration_since(*start);
        drop(entered);
        now
    }

    /// The date at `time`.
    pub fn unix(time: Time) -> UnixTime {
        EPOCH + time.since(Time(0))
    }

    /// Calls `work` at `time`, or now if that has passed. Once the simulation is gone, nothing happens.
    pub fn at(&self, time: Time, work: impl FnOnce() + Send + 'static) {
        self.insert(time, Entry::Call(Box::new(work)));
    }

    /// Calls `work` after `duration`.
    pub fn after(&self, duration: Duration, work: impl FnOnce() + Send + 'static) {
        self.at(self.now() + duration, work);
    }

    /// Runs the entries of a fleet as they fall due, until the timeline is closed.
    pub fn drive(&self) -> impl Future<Output = ()> + Send + 'static {
        let timeline = self.clone();
        let start = self.tokio.as_ref().map_or_else(tokio_now, |(_, start)| *start);
        async move {
            let mut sleep = pin!(sleep_until(start));
            poll_fn(|cx| {
                loop {
                    timeline.run_due();
                    let Some(next) = timeline.fall_asleep(cx) else { return Poll::Ready(()) };
                    if next == NEVER {
                        return Poll::Pending;
                    }
                    sleep.as_mut().reset(start + Duration::from_nanos(next.0));
                    if sleep.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            })
            .await;
        }
    }

    fn run_due(&self) {
        // Awake: what is inserted meanwhile wakes nobody.
        let awake = self.agenda().driver.take();
        drop(awake);
        let now = self.now();
        while let Some((_, entry)) = self.pop(now) {
            match entry {
                Entry::Call(work) => work(),
                // The actors of a fleet run in shells, which keep their own mailboxes and timers.
                Entry::Start(_) | Entry::Message(_) | Entry::Timer(..) => {}
            }
        }
    }

    /// Notes until when the driving task sleeps, and returns it; `None` if the timeline is closed.
    fn fall_asleep(&self, cx: &Context<'_>) -> Option<Time> {
        let mut agenda = self.agenda();
        if agenda.closed {
            return None;
        }
        let next = agenda.entries.first_key_value().map_or(NEVER, |((time, _), _)| *time);
        agenda.driver = Some((cx.waker().clone(), next));
        Some(next)
    }

    pub(crate) fn insert(&self, time: Time, entry: Entry) -> Key {
        let now = self.now();
        let mut agenda = self.agenda();
        let key = (time.max(now), agenda.inserted);
        agenda.inserted += 1;
        if agenda.closed {
            return key;
        }
        agenda.entries.insert(key, entry);
        let driver = agenda.driver.take_if(|(_, until)| key.0 < *until);
        drop(agenda);
        if let Some((waker, _)) = driver {
            waker.wake();
        }
        key
    }

    pub(crate) fn remove(&self, key: Key) {
        let removed = self.agenda().entries.remove(&key);
        // Dropped after the lock is released: an entry may own a handle on this timeline.
        drop(removed);
    }

    /// Moves a world's clock to the next entry and takes it, unless that is later than `until`.
    pub(crate) fn pop(&self, until: Time) -> Option<(Time, Entry)> {
        let mut agenda = self.agenda();
        let first = agenda.entries.first_entry().filter(|entry| entry.key().0 <= until)?;
        let ((time, _), entry) = first.remove_entry();
        agenda.now = time;
        Some((time, entry))
    }

    pub(crate) fn move_to(&self, time: Time) {
        let mut agenda = self.agenda();
        agenda.now = agenda.now.max(time);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.agenda().entries.is_empty()
    }

    /// Drops all entries and takes no more: breaks the circle of entries that own ports that own the timeline.
    pub(crate) fn close(&self) {
        let mut agenda = self.agenda();
        agenda.closed = true;
        let entries = std::mem::take(&mut agenda.entries);
        let driver = agenda.driver.take();
        drop(agenda);
        drop(entries);
        if let Some((waker, _)) = driver {
            waker.wake();
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.agenda().closed
    }

    fn agenda(&self) -> MutexGuard<'_, Agenda> {
        // A panic while the lock is held is impossible short of memory exhaustion; the agenda is whole either way.
        self.agenda.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing is to be done.
const NEVER: Time = Time(u64::MAX);

#[allow(clippy::disallowed_methods, reason = "a fleet's clock is tokio's, which the fleet has paused")]
fn tokio_now() -> Instant {
    Instant::now()
}
