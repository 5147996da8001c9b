//! Panics of actors and oracles are findings, told once and in their place: they are not printed as they happen. Other
//! panics, and other threads, print as before.

use pangea_kernel::contain;
use std::{cell::Cell, panic, sync::Once};

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; a panic in it comes back as its message, and is not printed.
pub(super) fn contain_quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    QUIET.set(true);
    let result = contain(work);
    QUIET.set(false);
    result
}
