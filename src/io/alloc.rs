//! An allocator that counts: the proof that the media path allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Const and without a destructor, so that touching it never allocates itself.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system allocator with a counter for each thread. A program installs it by
/// `#[global_allocator] static ALLOCATOR: CountingAllocator = CountingAllocator;`.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountingAllocator;

/// How often the calling thread has allocated or grown memory since it began.
///
/// Stays 0 in a program that has not installed [`CountingAllocator`].
pub fn allocations_of_this_thread() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

fn count() {
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call goes to `System` unchanged; the counter neither allocates nor unwinds.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is `System`'s.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is `System`'s.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is `System`'s, whose memory this is.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Unit tests of the whole crate count too.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn a_box_and_a_growing_vector_are_seen_and_arithmetic_is_not() {
        let before = allocations_of_this_thread();
        let boxed = black_box(Box::new(1_u64));
        let one = allocations_of_this_thread();
        let mut vector = vec![*boxed];
        vector.push(black_box(2));
        let three = allocations_of_this_thread();
        let sum: u64 = vector.iter().sum();
        assert_eq!((one - before, three - one), (1, 2));
        assert_eq!((sum, allocations_of_this_thread()), (3, three));
    }
}
