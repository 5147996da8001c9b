//! [`Real`]: a function of the C library that this binary overrides, to pass calls through to.

use std::{
    ffi::CStr,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Not looked for yet.
const UNKNOWN: usize = 0;
/// Being looked for: the dynamic linker itself may call what is looked for.
const SOUGHT: usize = 1;
/// The C library has none.
const MISSING: usize = 2;

/// The next definition of a symbol after this binary's own.
pub struct Real {
    symbol: &'static CStr,
    address: AtomicUsize,
}

impl Real {
    /// Of this name.
    pub const fn new(symbol: &'static CStr) -> Self {
        Self { symbol, address: AtomicUsize::new(UNKNOWN) }
    }

    /// Its address; `None` if there is none, or while it is being looked for.
    pub fn address(&self) -> Option<usize> {
        match self.address.load(Ordering::Acquire) {
            UNKNOWN => self.find(),
            SOUGHT | MISSING => None,
            found => Some(found),
        }
    }

    fn find(&self) -> Option<usize> {
        self.address.store(SOUGHT, Ordering::Release);
        // SAFETY: dlsym is given a handle that it defines and a string that ends with a zero byte.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.symbol.as_ptr()) } as usize;
        self.address.store(if found == 0 { MISSING } else { found }, Ordering::Release);
        (found != 0).then_some(found)
    }
}
