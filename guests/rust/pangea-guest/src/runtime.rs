//! What a module without the standard library needs: a heap and an end for panics.
//!
//! **The heap.** Blocks of up to 64 KiB have a power of two of bytes and go back to a list per size. Larger ones have
//! the size they were asked for and go back to one list, from which the first that fits is taken. The block at the top
//! of the heap grows and shrinks in place, which is where the vector that is being filled mostly is.

use core::{
    alloc::{GlobalAlloc, Layout},
    arch::wasm32,
    cell::UnsafeCell,
    fmt::Display,
    ptr,
};

const PAGE: usize = 65_536;
/// Alignment of every block, and the least size: a free block holds two words.
const GRAIN: usize = 16;
/// Largest block of a size class.
const SMALL: usize = 64 << 10;
const CLASSES: usize = SMALL.ilog2() as usize + 1;

/// A block that is free: it holds where the next one is.
struct Free {
    next: *mut Free,
    /// Of a large one.
    size: usize,
}

struct Heap {
    /// Where it ends; 0 before its first use.
    top: usize,
    small: [*mut Free; CLASSES],
    large: *mut Free,
}

struct Allocator(UnsafeCell<Heap>);

// SAFETY: WebAssembly without threads: there is one user at a time.
unsafe impl Sync for Allocator {}

#[global_allocator]
static HEAP: Allocator =
    Allocator(UnsafeCell::new(Heap { top: 0, small: [ptr::null_mut(); CLASSES], large: ptr::null_mut() }));

unsafe extern "C" {
    /// Where the linker's data ends.
    static __heap_base: u8;
}

/// The size of the block for `size` bytes; `None` if there is no such number.
fn block(size: usize) -> Option<usize> {
    if size <= SMALL { Some(size.max(GRAIN).next_power_of_two()) } else { size.checked_next_multiple_of(GRAIN) }
}

impl Heap {
    /// Makes the heap end at `top`, if memory may grow so far.
    fn reach(&mut self, top: usize) -> bool {
        let have = wasm32::memory_size(0);
        let need = top.div_ceil(PAGE);
        let reached = need <= have || wasm32::memory_grow(0, need - have) != usize::MAX;
        if reached {
            self.top = top;
        }
        reached
    }

    fn take(&mut self, size: usize, align: usize) -> Option<*mut u8> {
        // SAFETY: lists hold free blocks, each once, and nobody else points into them.
        unsafe {
            if align <= GRAIN && size <= SMALL {
                let list = &mut self.small[size.ilog2() as usize];
                if let Some(free) = list.as_mut() {
                    *list = free.next;
                    return Some(ptr::from_mut(free).cast());
                }
            } else if align <= GRAIN {
                let mut list: *mut *mut Free = &raw mut self.large;
                while let Some(free) = (*list).as_mut() {
                    if free.size >= size {
                        *list = free.next;
                        return Some(ptr::from_mut(free).cast());
                    }
                    list = &raw mut free.next;
                }
            }
        }
        if self.top == 0 {
            self.top = (&raw const __heap_base) as usize;
        }
        let start = self.top.checked_next_multiple_of(align.max(GRAIN))?;
        self.reach(start.checked_add(size)?).then_some(start as *mut u8)
    }

    /// # Safety
    /// The block was taken with this size and is not used any more.
    unsafe fn give_back(&mut self, block: *mut u8, size: usize) {
        if block as usize + size == self.top {
            self.top = block as usize;
            return;
        }
        let list = if size <= SMALL { &mut self.small[size.ilog2() as usize] } else { &mut self.large };
        let free = block.cast::<Free>();
        // SAFETY: the block is ours now, is aligned, and has room for it.
        unsafe { free.write(Free { next: *list, size }) };
        *list = free;
    }
}

// SAFETY: blocks do not overlap, are as large and as aligned as asked for, and stay where they are until given back.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: one user at a time, and no call from within another.
        let heap = unsafe { &mut *self.0.get() };
        block(layout.size()).and_then(|size| heap.take(size, layout.align())).unwrap_or(ptr::null_mut())
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        let Some(size) = block(layout.size()) else { return };
        // SAFETY: as above, and the caller's promise.
        unsafe { (*self.0.get()).give_back(at, size) };
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let (Some(old), Some(new)) = (block(layout.size()), block(new_size)) else { return ptr::null_mut() };
        if old == new {
            return at;
        }
        // SAFETY: as above.
        let heap = unsafe { &mut *self.0.get() };
        if at as usize + old == heap.top {
            let reached = (at as usize).checked_add(new).is_some_and(|top| heap.reach(top));
            return if reached { at } else { ptr::null_mut() };
        }
        let Some(moved) = heap.take(new, layout.align()) else { return ptr::null_mut() };
        // SAFETY: both are blocks of at least so many bytes, and different ones.
        unsafe {
            ptr::copy_nonoverlapping(at, moved, layout.size().min(new_size));
            heap.give_back(at, old);
        }
        moved
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
