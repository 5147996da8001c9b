//! The public interface of the `futures-timer` crate on tokio's timer wheel.
//!
//! libp2p takes its timers from `futures-timer`, whose original starts a helper thread with a clock of its own.
//! A hidden thread cannot run in virtual time, so the workspace patches the crate with this one: production and
//! simulation share the same timers. Not a general replacement: a `Delay` must be polled inside a tokio runtime.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

/// Deadlines beyond this are treated as "never": tokio's wheel cannot hold an unbounded instant.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A future that completes once its duration has passed. Creating one needs no runtime; polling does.
pub struct Delay {
    deadline: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Delay {
    /// Completes `duration` from now.
    pub fn new(duration: Duration) -> Self {
        Self { deadline: deadline_after(duration), sleep: None }
    }

    /// Moves the deadline to `duration` from now, also after completion.
    pub fn reset(&mut self, duration: Duration) {
        self.deadline = deadline_after(duration);
        if let Some(sleep) = &mut self.sleep {
            sleep.as_mut().reset(self.deadline);
        }
    }
}

impl Future for Delay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline))).as_mut().poll(cx)
    }
}

impl fmt::Debug for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delay").field("deadline", &self.deadline).finish()
    }
}

// This is a timer: tokio's clock, which a simulation pauses, is exactly what it must read.
#[allow(clippy::disallowed_methods)]
fn deadline_after(duration: Duration) -> Instant {
    Instant::now() + duration.min(LONGEST)
}
