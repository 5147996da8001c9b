//! The self-check: are clock and entropy of this thread really virtual?
//!
//! Linkers and libraries change. A run that only seems to repeat is worse than none, so every run begins with this.
//! tokio's `select!` is seeded by a hasher of the standard library and the number of runtimes before: it follows from
//! the order of a hash map and from one simulation per process.

use super::entropy;
use pangea_kernel::testbed::EPOCH;
use pangea_simulations::fleet::runtime;
use ring::rand::SecureRandom;
use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// What does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The runtime cannot be made.
    #[error("no paused runtime can be made")]
    Runtime,
    /// `Instant` does not follow tokio's clock.
    #[error("std::time::Instant does not follow the virtual clock")]
    Instant,
    /// `SystemTime` does not follow tokio's clock.
    #[error("std::time::SystemTime does not follow the virtual clock")]
    SystemTime,
    /// `getrandom` gives other bytes the second time.
    #[error("getrandom is not seeded")]
    Getrandom,
    /// ring gives other bytes the second time.
    #[error("ring's random numbers are not seeded")]
    Ring,
    /// A hash map has another order the second time; so would `select!`.
    #[error("the standard library's hashers are not seeded")]
    HashMap,
}

/// Everything that is drawn, for comparison.
#[derive(PartialEq, Eq)]
struct Drawn {
    getrandom: [u8; 32],
    ring: [u8; 32],
    order: Vec<u32>,
}

/// Runs all checks on this thread, which must be virtual.
///
/// # Errors
/// The first [`Flaw`].
pub(super) fn check(seed: u64) -> Result<(), Flaw> {
    fresh(check_clock)?;
    entropy::seed(seed);
    let first = fresh(draw)?;
    entropy::seed(seed);
    let second = fresh(draw)?;
    for (same, flaw) in [
        (first.getrandom == second.getrandom, Flaw::Getrandom),
        (first.ring == second.ring, Flaw::Ring),
        (first.order == second.order, Flaw::HashMap),
    ] {
        if !same {
            return Err(flaw);
        }
    }
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "whether these are virtual is the question")]
fn check_clock() -> Result<(), Flaw> {
    const PAUSE: Duration = Duration::from_secs(86_400);
    let runtime = runtime::paused().map_err(|_| Flaw::Runtime)?;
    runtime.block_on(async {
        let (instant, date) = (Instant::now(), SystemTime::now());
        tokio::time::sleep(PAUSE).await;
        if Instant::now().duration_since(instant) != PAUSE || Instant::now() != tokio::time::Instant::now().into_std() {
            return Err(Flaw::Instant);
        }
        let began = date.duration_since(UNIX_EPOCH).map_err(|_| Flaw::SystemTime)?.as_secs();
        let passed = SystemTime::now().duration_since(date).map_err(|_| Flaw::SystemTime)?;
        if began < EPOCH.0 || passed != PAUSE { Err(Flaw::SystemTime) } else { Ok(()) }
    })
}

/// On a thread that has drawn nothing yet: libraries keep what they have drawn.
fn fresh<T: Send + 'static>(draw: fn() -> Result<T, Flaw>) -> Result<T, Flaw> {
    let thread = std::thread::Builder::new().spawn(move || {
        let _virtual = super::Virtual::begin();
        draw()
    });
    thread.map_err(|_| Flaw::Runtime)?.join().map_err(|_| Flaw::Runtime)?
}

fn draw() -> Result<Drawn, Flaw> {
    let mut getrandom = [0; 32];
    // SAFETY: the buffer has that many bytes.
    unsafe { libc::getrandom(getrandom.as_mut_ptr().cast(), getrandom.len(), 0) };
    let mut ring = [0; 32];
    ring::rand::SystemRandom::new().fill(&mut ring).map_err(|_| Flaw::Ring)?;
    let order = (0..64).map(|number| (number, ())).collect::<HashMap<u32, ()>>().into_keys().collect();
    Ok(Drawn { getrandom, ring, order })
}
