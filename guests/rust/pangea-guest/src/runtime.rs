//! What a module without the standard library needs: an allocator and an end for panics.

use crate::heap::{Heap, Memory};
use core::{
    alloc::{GlobalAlloc, Layout},
    arch::wasm32,
    cell::UnsafeCell,
    fmt::Display,
};

const PAGE: usize = 65_536;

/// The linear memory, behind the linker's data.
struct Linear;

impl Memory for Linear {
    fn start(&self) -> usize {
        unsafe extern "C" {
            static __heap_base: u8;
        }
        (&raw const __heap_base) as usize
    }

    fn reach(&mut self, end: usize) -> bool {
        let (have, need) = (wasm32::memory_size(0), end.div_ceil(PAGE));
        need <= have || wasm32::memory_grow(0, need - have) != usize::MAX
    }
}

struct Allocator(UnsafeCell<Heap<Linear>>);

// SAFETY: WebAssembly without threads: there is one user at a time.
unsafe impl Sync for Allocator {}

#[global_allocator]
static HEAP: Allocator = Allocator(UnsafeCell::new(Heap::new(Linear)));

// SAFETY: blocks do not overlap, are as large and as aligned as asked for, and stay where they are until given back. One
// user at a time, and no call from within another.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the memory behind the linker's data is the heap's alone.
        unsafe { (*self.0.get()).alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { (*self.0.get()).dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { (*self.0.get()).realloc(at, layout, new_size) }
    }
}

struct OnPanic(UnsafeCell<Option<fn(&dyn Display)>>);

// SAFETY: WebAssembly without threads.
unsafe impl Sync for OnPanic {}

static ON_PANIC: OnPanic = OnPanic(UnsafeCell::new(None));

/// Have a panic told before the module traps.
pub fn on_panic(tell: fn(&dyn Display)) {
    // SAFETY: nobody holds a reference to it.
    unsafe { *ON_PANIC.0.get() = Some(tell) };
}

#[panic_handler]
fn panic(panic: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: nobody holds a reference to it. Taken, since telling needs memory and may panic as well.
    if let Some(tell) = unsafe { (*ON_PANIC.0.get()).take() } {
        tell(panic);
    }
    wasm32::unreachable()
}
