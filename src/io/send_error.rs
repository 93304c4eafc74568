//! What a failed send means, and the way out that both backends share.

use super::address::Name;
use super::cmsg::SendControl;
use super::counters::Counters;
use super::send_queue::{Run, SendQueue};
use std::mem;
use std::os::fd::RawFd;

/// How often a datagram is tried again at once when the kernel is short of buffers.
pub(super) const RETRIES_MAX: u8 = 3;

/// What to do about a failed send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendError {
    /// The kernel would not cut the run: send its datagrams one by one.
    GsoRefused,
    /// The socket's buffer is full (EAGAIN): wait for room.
    NoRoom,
    /// A signal, or a passing shortage: try again.
    Again,
    /// No route, a firewall, an ICMP error of an earlier datagram: the network's business. Drop it.
    Lost,
}

impl SendError {
    /// From the errno of a send of `datagrams`.
    pub(super) const fn of(errno: i32, datagrams: u16) -> Self {
        match errno {
            // EMSGSIZE, EINVAL on older kernels: a segment exceeds the MTU; alone it may be fragmented.
            // EIO: the device cannot fill in checksums, or the route is encrypted. EINVAL: the socket sends none.
            libc::EINVAL | libc::EMSGSIZE | libc::EIO if datagrams > 1 => Self::GsoRefused,
            libc::EAGAIN => Self::NoRoom,
            // ENOBUFS: the device's queue; ENOMEM: the kernel's memory.
            libc::EINTR | libc::ENOBUFS | libc::ENOMEM => Self::Again,
            _ => Self::Lost,
        }
    }
}

/// Sends the datagrams of a refused run one by one, in order, and counts them. Does not block.
pub(super) fn send_singly(fd: RawFd, queue: &SendQueue, run: &Run, counters: &mut Counters) {
    counters.gso_refused += 1;
    let mut name = Name::EMPTY;
    let mut control = SendControl::EMPTY;
    let name_len = name.write(&run.path.remote);
    control.write(&run.path.local, None);
    for mut segment in queue.segments(run) {
        // SAFETY: msghdr is plain numbers and pointers; all zero is an empty message.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        message.msg_name = name.as_mut_ptr();
        message.msg_namelen = name_len;
        message.msg_control = control.as_mut_ptr();
        message.msg_controllen = control.len();
        message.msg_iov = &raw mut segment;
        message.msg_iovlen = 1;
        if send_one(fd, &message, counters) {
            counters.sends += 1;
            counters.datagrams_out += 1;
            counters.bytes_out += segment.iov_len as u64;
        } else {
            counters.send_errors += 1;
        }
    }
}

fn send_one(fd: RawFd, message: &libc::msghdr, counters: &mut Counters) -> bool {
    for _ in 0..=RETRIES_MAX {
        // SAFETY: `message` points to a name, a control buffer and a slot that live across the call.
        if unsafe { libc::sendmsg(fd, message, libc::MSG_DONTWAIT) } >= 0 {
            return true;
        }
        match SendError::of(last_errno(), 1) {
            SendError::NoRoom | SendError::Again => counters.send_retries += 1,
            SendError::GsoRefused | SendError::Lost => return false,
        }
    }
    false
}

/// errno of the last call of this thread.
pub(super) fn last_errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_refusals_are_repeated_one_by_one_but_a_single_is_lost() {
        for errno in [libc::EINVAL, libc::EMSGSIZE, libc::EIO] {
            assert_eq!(SendError::of(errno, 2), SendError::GsoRefused);
            assert_eq!(SendError::of(errno, 1), SendError::Lost);
        }
        for errno in [libc::ENETUNREACH, libc::EPERM, libc::ECONNREFUSED, libc::EACCES] {
            assert_eq!(SendError::of(errno, 5), SendError::Lost);
        }
        assert_eq!(SendError::of(libc::EAGAIN, 5), SendError::NoRoom);
        assert_eq!(SendError::of(libc::ENOBUFS, 5), SendError::Again);
    }
}
