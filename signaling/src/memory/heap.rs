//! The one call for which there is no safe function: the C library is asked to give free memory back.
//!
//! Of itself it gives back only what is free at the end of a heap. What a crowd leaves behind is free almost
//! everywhere, with something that lasts in between.

/// Gives every free page of the heap back to the system. May take some milliseconds, during which allocations of
/// other threads wait; so not on a thread that serves clients.
#[allow(unsafe_code, reason = "the C library's allocator has no other door")]
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a plain number, may be called at any time from any thread, and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}
