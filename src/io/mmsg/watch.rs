//! Which side sockets have something: an epoll (epoll(7)), for there may be thousands.

use crate::io::side::Token;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::{io, mem};

/// Answers of one call. What does not fit comes with the next one.
const READY_MAX: usize = 64;

/// The side sockets that are waited for. One that is closed leaves by itself.
#[derive(Debug)]
pub(super) struct Watch {
    epoll: OwnedFd,
}

impl Watch {
    /// # Errors
    /// When the process has no descriptor left.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: the call takes no memory.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and nobody else has it.
        Ok(Self { epoll: unsafe { OwnedFd::from_raw_fd(epoll) } })
    }

    /// Readable while a socket is.
    pub(super) fn descriptor(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }

    /// Waits for `socket` from now on.
    ///
    /// # Errors
    /// When the kernel has no memory for it.
    pub(super) fn add(&self, socket: RawFd, token: Token) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token.bits().into() };
        // SAFETY: `event` is readable for the call.
        let done =
            unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, socket, &raw mut event) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Puts those that have something at the end of `ready`. Never blocks.
    pub(super) fn ready(&self, ready: &mut Vec<Token>) {
        // SAFETY: plain numbers; all zero is an event.
        let mut events: [libc::epoll_event; READY_MAX] = unsafe { mem::zeroed() };
        // SAFETY: `events` has room for READY_MAX.
        let found =
            unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), READY_MAX as i32, 0) };
        let found = usize::try_from(found).unwrap_or(0);
        ready.extend(events[..found].iter().map(|event| Token::from_bits(event.u64 as u32)));
    }
}
