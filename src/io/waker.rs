//! Waking a shard's thread from another: one atomic for a burst, one write for a sleeper.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The thread is in its cycle and looks at its mailbox before it parks.
const RUNNING: u8 = 0;
/// The thread sleeps, or is about to.
const PARKED: u8 = 1;
/// Somebody has called since the thread last looked.
const NOTIFIED: u8 = 2;

/// Wakes one shard. Cheap to clone and to call: only the first call on a sleeping thread costs a system call.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    event: OwnedFd,
}

impl Waker {
    /// Makes the shard run one more cycle, after everything the caller did before. Never blocks.
    pub fn wake(&self) {
        if self.0.state.swap(NOTIFIED, Ordering::AcqRel) != PARKED {
            return;
        }
        let one = 1_u64.to_ne_bytes();
        // SAFETY: eight readable bytes. The write blocks only at 2^64 - 1 unread wakes, and each follows a park.
        unsafe { libc::write(self.0.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

/// The sleeper's end of a [`Waker`].
#[derive(Debug)]
pub(super) struct Parker(Arc<Shared>);

impl Parker {
    /// A new pair is [`Parker::new`] and [`Parker::waker`].
    pub(super) fn new() -> io::Result<Self> {
        // Blocking, for io_uring completes a read of a non-blocking one at once with EAGAIN. The other backend reads
        // after poll(2) alone.
        // SAFETY: a plain call.
        let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if event < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made, and nobody else owns it.
        let event = unsafe { OwnedFd::from_raw_fd(event) };
        Ok(Self(Arc::new(Shared { state: AtomicU8::new(RUNNING), event })))
    }

    pub(super) fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.0))
    }

    /// Becomes readable when a sleeper is woken.
    pub(super) fn event(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }

    /// Says that the thread goes to sleep; false when it must not, because somebody has called meanwhile.
    pub(super) fn begin(&self) -> bool {
        self.0.state.compare_exchange(RUNNING, PARKED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Says that the thread runs again; true when somebody has called.
    pub(super) fn end(&self) -> bool {
        self.0.state.swap(RUNNING, Ordering::AcqRel) == NOTIFIED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(parker: &Parker) -> u64 {
        let mut poll = libc::pollfd { fd: parker.event().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let mut count = [0; 8];
        // SAFETY: one valid pollfd, and eight writable bytes.
        unsafe {
            if libc::poll(&raw mut poll, 1, 0) == 1 {
                libc::read(poll.fd, count.as_mut_ptr().cast(), 8);
            }
        }
        u64::from_ne_bytes(count)
    }

    #[test]
    fn a_burst_on_a_sleeper_costs_one_write() {
        let parker = Parker::new().unwrap();
        let waker = parker.waker();
        assert!(parker.begin());
        for _ in 0..100 {
            waker.clone().wake();
        }
        assert_eq!(events(&parker), 1);
        assert!(parker.end());
        assert!(!parker.end());
    }

    #[test]
    fn a_call_on_a_running_thread_costs_none_and_keeps_it_from_sleeping_once() {
        let parker = Parker::new().unwrap();
        parker.waker().wake();
        assert!(!parker.begin());
        assert!(parker.end());
        assert!(parker.begin());
        assert_eq!(events(&parker), 0);
    }
}
