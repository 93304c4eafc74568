//! Memory whose address is handed to the kernel.

use std::alloc::{self, Layout};
use std::ptr::NonNull;
use std::{fmt, slice};

/// Buffers and rings of buffers start at a page.
const ALIGNMENT: usize = 4096;

/// Zeroed bytes that stay where they are. Pages come with their first use.
pub(super) struct Memory {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the memory is owned alone, as a Box owns its own; nothing in it belongs to a thread.
unsafe impl Send for Memory {}

impl Memory {
    /// `len_bytes` is above 0.
    pub(super) fn new(len_bytes: usize) -> Self {
        assert!(len_bytes > 0, "memory of no bytes");
        let layout =
            Layout::from_size_align(len_bytes, ALIGNMENT).expect("a length below half the address space");
        // SAFETY: the layout is not empty.
        let base = unsafe { alloc::alloc_zeroed(layout) };
        let Some(base) = NonNull::new(base) else { alloc::handle_alloc_error(layout) };
        Self { base, layout }
    }

    pub(super) const fn len(&self) -> usize {
        self.layout.size()
    }

    /// Where byte `at` lies, for the kernel.
    pub(super) fn address(&self, at: usize) -> *mut u8 {
        assert!(at <= self.len(), "an address beyond the memory");
        // SAFETY: at most one past the end, checked above.
        unsafe { self.base.as_ptr().add(at) }
    }

    /// The bytes from `at` on.
    pub(super) fn bytes(&self, at: usize, len: usize) -> &[u8] {
        assert!(at <= self.len() && len <= self.len() - at, "bytes beyond the memory");
        // SAFETY: in bounds, initialized (zeroed once), and borrowed through `self`.
        unsafe { slice::from_raw_parts(self.base.as_ptr().add(at), len) }
    }

    /// The bytes from `at` on, to write.
    pub(super) fn bytes_mut(&mut self, at: usize, len: usize) -> &mut [u8] {
        assert!(at <= self.len() && len <= self.len() - at, "bytes beyond the memory");
        // SAFETY: as in `bytes`, and `&mut self` makes this borrow the only one.
        unsafe { slice::from_raw_parts_mut(self.base.as_ptr().add(at), len) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this very layout, and every borrow has ended with `self`.
        unsafe { alloc::dealloc(self.base.as_ptr(), self.layout) };
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("len", &self.len()).finish_non_exhaustive()
    }
}
