//! [`Clock`]: the one place of the kernel that asks what time it is.
//!
//! Monotonic time comes from tokio, so that a paused runtime moves every shell at once; calendar time comes from the
//! machine, or counts along with monotonic time where a run must repeat. Cores never see this type: see [`crate::Cx`].

use pangea_protocols::time::{Time, UnixTime};
use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::Instant;

/// Where calendar time comes from.
#[derive(Clone, Default)]
pub enum Calendar {
    /// The machine's clock, which may jump.
    #[default]
    System,
    /// This date at the clock's start, then as monotonic time goes: for runs that repeat.
    CountingFrom(UnixTime),
    /// What this says at a monotonic time: for simulations of clocks that go wrong.
    Told(Arc<dyn Fn(Time) -> UnixTime + Send + Sync>),
}

impl fmt::Debug for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("System"),
            Self::CountingFrom(start) => f.debug_tuple("CountingFrom").field(start).finish(),
            Self::Told(_) => f.write_str("Told"),
        }
    }
}

/// Reads both kinds of time. Time zero is when it was made.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Instant,
    calendar: Calendar,
}

impl Clock {
    /// Starts at [`Time`] zero. Under a paused runtime it must be made inside that runtime.
    pub fn new(calendar: Calendar) -> Self {
        Self { start: monotonic(), calendar }
    }

    /// Time since the clock was made.
    pub fn now(&self) -> Time {
        Time(0) + monotonic().saturating_duration_since(self.start)
    }

    /// The date at monotonic time `now`.
    pub fn unix(&self, now: Time) -> UnixTime {
        match &self.calendar {
            Calendar::System => system(),
            Calendar::CountingFrom(start) => *start + now.since(Time(0)),
            Calendar::Told(tell) => tell(now),
        }
    }

    /// tokio's name for `at`. Cannot overflow: the latest [`Time`] is 584 years after the start.
    pub(crate) fn instant(&self, at: Time) -> Instant {
        self.start + Duration::from_nanos(at.0)
    }
}

#[allow(clippy::disallowed_methods, reason = "the kernel's only reading of monotonic time; cores get it through Cx")]
fn monotonic() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "the kernel's only reading of calendar time; cores get it through Cx")]
fn system() -> UnixTime {
    // A machine whose clock stands before 1970 is treated as if it stood at 1970.
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}
