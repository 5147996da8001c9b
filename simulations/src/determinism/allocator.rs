//! The allocator of the process: one of two, so that a run can be compared with one whose memory is laid out otherwise.
//!
//! mimalloc is the faster one here, by a tenth of a fleet's time. The C library's is chosen by [`OTHER`]; a process
//! decides with its first allocation and stays with it.

use mimalloc::MiMalloc;
use std::{
    alloc::{GlobalAlloc, Layout, System},
    ffi::CStr,
    sync::atomic::{AtomicU8, Ordering},
};

/// If this variable is set, the C library allocates.
pub const OTHER: &str = "PANGEA_SIM_SYSTEM_ALLOCATOR";
const OTHER_C: &CStr = c"PANGEA_SIM_SYSTEM_ALLOCATOR";
/// Memory is not given back to the system: it is used again at once.
pub(super) const KEEP: (&str, &str) = ("MIMALLOC_PURGE_DELAY", "-1");

const OPEN: u8 = 0;
const MIMALLOC: u8 = 1;
const SYSTEM: u8 = 2;

/// The allocator that the environment chooses.
pub struct Chosen(AtomicU8);

impl Chosen {
    /// Not chosen yet.
    pub const fn new() -> Self {
        Self(AtomicU8::new(OPEN))
    }

    fn is_system(&self) -> bool {
        match self.0.load(Ordering::Relaxed) {
            OPEN => {
                // SAFETY: the name ends with a zero; the first allocation comes before any thread that could change the
                // environment.
                let other = !unsafe { libc::getenv(OTHER_C.as_ptr()) }.is_null();
                self.0.store(if other { SYSTEM } else { MIMALLOC }, Ordering::Relaxed);
                other
            }
            chosen => chosen == SYSTEM,
        }
    }
}

// SAFETY: each call goes to one of two allocators, and in one process always to the same.
unsafe impl GlobalAlloc for Chosen {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as promised by the caller.
        unsafe { if self.is_system() { System.alloc(layout) } else { MiMalloc.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as promised by the caller.
        unsafe { if self.is_system() { System.alloc_zeroed(layout) } else { MiMalloc.alloc_zeroed(layout) } }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller; what is freed came from the same allocator.
        unsafe { if self.is_system() { System.dealloc(at, layout) } else { MiMalloc.dealloc(at, layout) } }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as promised by the caller; what is resized came from the same allocator.
        unsafe { if self.is_system() { System.realloc(at, layout, size) } else { MiMalloc.realloc(at, layout, size) } }
    }
}
