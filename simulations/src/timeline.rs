//! [`Timeline`]: the event heap and the virtual clock, shared by everything that runs in a [`crate::World`].
//!
//! Actors and drivers put entries in; only the world takes them out. Its lock is never held while an entry runs.

use pangea_kernel::{TimerId, testbed::EPOCH};
use pangea_protocols::time::{Time, UnixTime};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
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

/// A handle on the world's clock and heap. Clones are the same timeline.
#[derive(Clone, Default)]
pub struct Timeline(Arc<Mutex<Agenda>>);

#[derive(Default)]
struct Agenda {
    now: Time,
    inserted: u64,
    entries: BTreeMap<Key, Entry>,
    closed: bool,
}

impl Timeline {
    /// Time since the world began.
    pub fn now(&self) -> Time {
        self.agenda().now
    }

    /// The date at `time`.
    pub fn unix(time: Time) -> UnixTime {
        EPOCH + time.since(Time(0))
    }

    /// Calls `work` at `time`, or now if that has passed. Once the world is gone, nothing happens.
    pub fn at(&self, time: Time, work: impl FnOnce() + Send + 'static) {
        self.insert(time, Entry::Call(Box::new(work)));
    }

    /// Calls `work` after `duration`.
    pub fn after(&self, duration: Duration, work: impl FnOnce() + Send + 'static) {
        self.at(self.now() + duration, work);
    }

    pub(crate) fn insert(&self, time: Time, entry: Entry) -> Key {
        let mut agenda = self.agenda();
        let key = (time.max(agenda.now), agenda.inserted);
        agenda.inserted += 1;
        if !agenda.closed {
            agenda.entries.insert(key, entry);
        }
        key
    }

    pub(crate) fn remove(&self, key: Key) {
        let removed = self.agenda().entries.remove(&key);
        // Dropped after the lock is released: an entry may own a handle on this timeline.
        drop(removed);
    }

    /// Moves the clock to the next entry and takes it, unless that is later than `until`.
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
        drop(agenda);
        drop(entries);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.agenda().closed
    }

    fn agenda(&self) -> MutexGuard<'_, Agenda> {
        // A panic while the lock is held is impossible short of memory exhaustion; the agenda is whole either way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
