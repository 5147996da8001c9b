//! The heap of modules without the standard library: small, and fast where it matters to them.
//!
//! Blocks of up to 64 KiB have a power of two of bytes and go back to a list per size. Larger ones have the size they
//! were asked for and go back to one list, from which the first that fits is taken. The block at the top of the heap
//! grows and shrinks in place, which is where the vector that is being filled mostly is.

use core::{alloc::Layout, ptr};

/// Alignment of every block, and the least size: a free block holds two words.
const GRAIN: usize = 16;
/// Largest block of a size class.
const SMALL: usize = 64 << 10;
const CLASSES: usize = SMALL.ilog2() as usize + 1;

/// Where blocks come from.
pub trait Memory {
    /// The lowest address that may be used.
    fn start(&self) -> usize;
    /// Makes everything below `end` usable; `false` if it cannot be.
    fn reach(&mut self, end: usize) -> bool;
}

/// A block that is free: it holds where the next one is.
struct Free {
    next: *mut Free,
    /// Of a large one.
    size: usize,
}

/// A heap in a memory of its own.
pub struct Heap<M> {
    memory: M,
    /// Where the blocks end; 0 before the first.
    top: usize,
    small: [*mut Free; CLASSES],
    large: *mut Free,
}

/// The size of the block for `size` bytes; `None` if there is no such number.
fn block(size: usize) -> Option<usize> {
    if size <= SMALL { Some(size.max(GRAIN).next_power_of_two()) } else { size.checked_next_multiple_of(GRAIN) }
}

impl<M: Memory> Heap<M> {
    /// An empty heap.
    pub const fn new(memory: M) -> Self {
        Self { memory, top: 0, small: [ptr::null_mut(); CLASSES], large: ptr::null_mut() }
    }

    /// Takes a block; null if there is no memory for it.
    ///
    /// # Safety
    /// Nothing but this heap uses the memory from its start on.
    pub unsafe fn alloc(&mut self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        block(layout.size()).and_then(|size| unsafe { self.take(size, layout.align()) }).unwrap_or(ptr::null_mut())
    }

    /// Gives a block back.
    ///
    /// # Safety
    /// It was taken from here with this layout, and is not used any more.
    pub unsafe fn dealloc(&mut self, at: *mut u8, layout: Layout) {
        if let Some(size) = block(layout.size()) {
            // SAFETY: the caller's promise.
            unsafe { self.give_back(at, size) };
        }
    }

    /// Makes a block larger or smaller; null if there is no memory for it, and then it stays as it was.
    ///
    /// # Safety
    /// It was taken from here with this layout; the old place is not used any more unless null is returned.
    pub unsafe fn realloc(&mut self, at: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let (Some(old), Some(new)) = (block(layout.size()), block(new_size)) else { return ptr::null_mut() };
        if old == new {
            return at;
        }
        if at as usize + old == self.top {
            let end = (at as usize).checked_add(new).filter(|end| self.memory.reach(*end));
            self.top = end.unwrap_or(self.top);
            return if end.is_some() { at } else { ptr::null_mut() };
        }
        // SAFETY: both are blocks of at least so many bytes, and different ones.
        unsafe {
            let Some(moved) = self.take(new, layout.align()) else { return ptr::null_mut() };
            ptr::copy_nonoverlapping(at, moved, layout.size().min(new_size));
            self.give_back(at, old);
            moved
        }
    }

    /// # Safety
    /// As for `alloc`.
    unsafe fn take(&mut self, size: usize, align: usize) -> Option<*mut u8> {
        if align <= GRAIN {
            let mut list: *mut *mut Free =
                if size <= SMALL { &raw mut self.small[size.ilog2() as usize] } else { &raw mut self.large };
            // SAFETY: lists hold free blocks, each once, and nobody else points into them.
            unsafe {
                while let Some(free) = (*list).as_mut() {
                    // Those of a class have the size of the class.
                    if size <= SMALL || free.size >= size {
                        *list = free.next;
                        return Some(ptr::from_mut(free).cast());
                    }
                    list = &raw mut free.next;
                }
            }
        }
        let top = self.top.max(self.memory.start());
        let start = top.checked_next_multiple_of(align.max(GRAIN))?;
        let end = start.checked_add(size)?;
        self.top = self.memory.reach(end).then_some(end)?;
        Some(ptr::with_exposed_provenance_mut(start))
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// A piece of this process's memory.
    struct Arena {
        bytes: Vec<u128>,
        reached: usize,
    }

    impl Arena {
        fn new(bytes: usize) -> Self {
            let bytes: Vec<u128> = std::vec![0; bytes / 16];
            let _ = bytes.as_ptr().expose_provenance();
            Self { bytes, reached: 0 }
        }

        fn end(&self) -> usize {
            self.start() + self.bytes.len() * 16
        }
    }

    impl Memory for Arena {
        fn start(&self) -> usize {
            self.bytes.as_ptr() as usize
        }

        fn reach(&mut self, end: usize) -> bool {
            self.reached = self.reached.max(end.min(self.end()));
            end <= self.end()
        }
    }

    /// A block that is held, and the byte that it is filled with.
    struct Held {
        at: *mut u8,
        layout: Layout,
        fill: u8,
    }

    impl Held {
        fn check(&self) {
            assert_eq!(self.at as usize % self.layout.align(), 0);
            // SAFETY: it is held and was filled.
            let bytes = unsafe { core::slice::from_raw_parts(self.at, self.layout.size()) };
            assert!(bytes == std::vec![self.fill; bytes.len()], "somebody else wrote into a block");
        }

        fn fill(&mut self, fill: u8) {
            self.fill = fill;
            // SAFETY: it is held.
            unsafe { self.at.write_bytes(fill, self.layout.size()) };
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Alloc { size: usize, align: usize },
        Dealloc(usize),
        Realloc(usize, usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let size = || prop_oneof![6 => 1usize..200, 3 => 1usize..70_000, 1 => 60_000usize..300_000];
        let align = prop_oneof![4 => Just(1usize), 4 => Just(8), 1 => Just(16), 1 => Just(64)];
        let step = prop_oneof![
            4 => (size(), align).prop_map(|(size, align)| Step::Alloc { size, align }),
            3 => any::<usize>().prop_map(Step::Dealloc),
            3 => (any::<usize>(), size()).prop_map(|(which, size)| Step::Realloc(which, size)),
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn blocks_never_overlap_and_keep_what_is_in_them(steps in steps()) {
            // SAFETY of all calls: blocks are used with the layouts they were taken with, and not after they were given back.
            let mut heap = Heap::new(Arena::new(4 << 20));
            let mut held: Vec<Held> = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                let fill = (number % 251) as u8 + 1;
                match step {
                    Step::Alloc { size, align } => {
                        let layout = Layout::from_size_align(size, align).expect("a small size");
                        // SAFETY: as above.
                        let at = unsafe { heap.alloc(layout) };
                        if !at.is_null() {
                            held.push(Held { at, layout, fill });
                            held.last_mut().expect("just pushed").fill(fill);
                        }
                    }
                    Step::Dealloc(which) if !held.is_empty() => {
                        let block = held.swap_remove(which % held.len());
                        block.check();
                        // SAFETY: as above.
                        unsafe { heap.dealloc(block.at, block.layout) };
                    }
                    Step::Realloc(which, size) if !held.is_empty() => {
                        let index = which % held.len();
                        let block = &mut held[index];
                        block.check();
                        // SAFETY: as above.
                        let at = unsafe { heap.realloc(block.at, block.layout, size) };
                        if !at.is_null() {
                            let kept = block.layout.size().min(size);
                            let layout = Layout::from_size_align(size, block.layout.align()).expect("a small size");
                            Held { at, layout: Layout::from_size_align(kept, 1).expect("smaller"), fill: block.fill }.check();
                            (block.at, block.layout) = (at, layout);
                            block.fill(fill);
                        }
                    }
                    _ => {}
                }
                assert!(heap.top <= heap.memory.end());
            }
            held.iter().for_each(Held::check);
        }
    }

    #[test]
    fn a_vector_that_is_filled_takes_no_more_than_its_size() {
        let mut heap = Heap::new(Arena::new(1 << 20));
        let mut layout = Layout::from_size_align(16, 1).expect("small");
        // SAFETY: one block, used as it was taken.
        unsafe {
            let first = heap.alloc(layout);
            while layout.size() < 500_000 {
                let size = layout.size() * 2;
                assert_eq!(heap.realloc(first, layout, size), first, "it grows in place");
                layout = Layout::from_size_align(size, 1).expect("small");
            }
            assert!(heap.realloc(first, layout, 2 << 20).is_null(), "more than there is");
            heap.dealloc(first, layout);
            assert_eq!(heap.top, heap.memory.start(), "nothing is left");
        }
    }

    #[test]
    fn what_is_given_back_is_taken_again() {
        let mut heap = Heap::new(Arena::new(1 << 20));
        let layouts = [24, 100_000, 24, 70_000].map(|size| Layout::from_size_align(size, 8).expect("small"));
        // SAFETY: blocks are used as they were taken.
        unsafe {
            let blocks = layouts.map(|layout| heap.alloc(layout));
            let top = heap.top;
            heap.dealloc(blocks[0], layouts[0]);
            heap.dealloc(blocks[1], layouts[1]);
            assert_eq!(heap.alloc(layouts[0]), blocks[0]);
            assert_eq!(heap.alloc(layouts[3]), blocks[1], "the first that fits");
            assert_eq!(heap.top, top);
        }
    }
}
