//! The override of `clock_gettime`: on a virtual thread, time is tokio's paused clock.
//!
//! It is switched on before the runtime is built, so that tokio's first instant is the virtual one: `std::time` and
//! `tokio::time` then agree to the nanosecond. Without a runtime time stands still where it last was.

use super::{is_virtual, passthrough::Real};
use pangea_kernel::testbed::EPOCH;
use std::cell::Cell;
use tokio::time::Instant;

/// Where monotonic time begins: late enough that nobody falls below zero by subtracting.
const MONOTONIC_START_NANOS: u64 = 1_000_000 * NANOS_PER_SECOND;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

static REAL: Real = Real::new(c"clock_gettime");

thread_local! {
    /// The instant of time zero.
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
    /// The latest answer, in nanoseconds since time zero.
    static LATEST: Cell<u64> = const { Cell::new(0) };
    /// tokio is being asked, and asks back.
    static ASKING: Cell<bool> = const { Cell::new(false) };
}

/// Nanoseconds since time zero.
#[allow(clippy::disallowed_methods, reason = "this is what the clock is made of")]
fn virtual_nanos() -> u64 {
    if ASKING.replace(true) {
        return LATEST.get();
    }
    let now = Instant::now();
    let start = START.get().unwrap_or(now);
    START.set(Some(start));
    ASKING.set(false);
    let nanos = u64::try_from(now.saturating_duration_since(start).as_nanos()).unwrap_or(u64::MAX);
    LATEST.set(nanos);
    nanos
}

/// What the machine's clock says.
pub(super) fn real_nanos(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    if pass_through(clock, &raw mut now) != 0 {
        return 0;
    }
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * NANOS_PER_SECOND + u64::try_from(now.tv_nsec).unwrap_or(0)
}

fn pass_through(clock: libc::clockid_t, now: *mut libc::timespec) -> libc::c_int {
    type ClockGettime = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> libc::c_int;
    let Some(address) = REAL.address() else { return -1 };
    // SAFETY: the address is that of the C library's function of this name, whose signature this is; `now` is what
    // the caller promised it to be.
    unsafe { std::mem::transmute::<usize, ClockGettime>(address)(clock, now) }
}

/// The override.
///
/// # Safety
/// As the C library's: `now` points to a timespec that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, now: *mut libc::timespec) -> libc::c_int {
    let start = match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE | libc::CLOCK_TAI => EPOCH.0 * NANOS_PER_SECOND,
        libc::CLOCK_MONOTONIC | libc::CLOCK_MONOTONIC_COARSE | libc::CLOCK_MONOTONIC_RAW | libc::CLOCK_BOOTTIME => {
            MONOTONIC_START_NANOS
        }
        _ => return pass_through(clock, now),
    };
    if !is_virtual() {
        return pass_through(clock, now);
    }
    let nanos = start.saturating_add(virtual_nanos());
    let seconds = libc::time_t::try_from(nanos / NANOS_PER_SECOND).unwrap_or(libc::time_t::MAX);
    let rest = libc::c_long::try_from(nanos % NANOS_PER_SECOND).unwrap_or(0);
    // SAFETY: the caller promises that `now` may be written.
    unsafe { now.write(libc::timespec { tv_sec: seconds, tv_nsec: rest }) };
    0
}
