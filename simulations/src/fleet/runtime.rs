//! The runtime of a fleet: one thread, no I/O, tokio's clock paused. QUIC's timers and tasks live on it.
//!
//! Without I/O a real socket is a panic, not a leak of the outside world into a run. Paused, the clock jumps to the
//! next timer whenever no task has anything to do.

use quinn::AsyncTimer;
use std::{future::Future, io, pin::Pin, sync::Arc, time::Instant};
use tokio::{
    runtime::{Builder, Runtime},
    time::sleep_until,
};

/// A runtime for one fleet.
///
/// # Errors
/// As tokio's builder.
pub fn paused() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_time().start_paused(true).build()
}

/// QUIC's view of it.
#[derive(Debug)]
pub(super) struct VirtualRuntime;

impl quinn::Runtime for VirtualRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(sleep_until(at.into()))
    }

    #[allow(clippy::disallowed_methods, reason = "this is where QUIC's tasks come from")]
    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        tokio::spawn(task);
    }

    fn wrap_udp_socket(&self, _: std::net::UdpSocket) -> io::Result<Arc<dyn quinn::AsyncUdpSocket>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[allow(clippy::disallowed_methods, reason = "this is where QUIC's time comes from: tokio's paused clock")]
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}
