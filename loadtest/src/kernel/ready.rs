//! Which of many sockets have something to receive (epoll(7)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use super::socket::UdpSocket;

/// Sockets told of by one look.
const EVENTS_MAX: usize = 256;

/// A set of sockets.
pub struct Ready {
    epoll: OwnedFd,
    events: Box<[libc::epoll_event]>,
}

impl Ready {
    /// An empty set.
    ///
    /// # Errors
    /// When there is no descriptor to be had.
    pub fn new() -> io::Result<Self> {
        // SAFETY: a plain call that touches no memory.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel gave it to us just now, and nobody else has it.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX].into() })
    }

    /// Adds a socket, which is told of by `number` from now on. It leaves the set when it is closed.
    ///
    /// # Errors
    /// When the kernel is out of memory, or the socket is in the set.
    pub fn add(&self, socket: &UdpSocket, number: usize) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: number as u64 };
        let (epoll, fd) = (self.epoll.as_raw_fd(), socket.as_fd().as_raw_fd());
        // SAFETY: `event` is readable for the call.
        match unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Numbers of sockets that have something now, some of them if they are many; never waits.
    pub fn look(&mut self) -> impl Iterator<Item = usize> + '_ {
        let room = self.events.len() as libc::c_int;
        // SAFETY: `events` is writable for as many entries as are named.
        let found = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), self.events.as_mut_ptr(), room, 0) };
        // An interrupted look is one that found nothing.
        let found = usize::try_from(found).unwrap_or(0);
        self.events[..found].iter().map(|event| event.u64 as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::socket::{SocketOptions, wait_readable};

    #[test]
    fn sockets_with_something_to_receive_are_told_of_by_number() {
        let bind = || UdpSocket::bind(([127, 0, 0, 1], 0).into(), &SocketOptions::default()).unwrap();
        let sockets = [bind(), bind(), bind()];
        let mut ready = Ready::new().unwrap();
        for (number, socket) in sockets.iter().enumerate() {
            ready.add(socket, 10 + number).unwrap();
        }
        assert_eq!(ready.look().count(), 0);
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", sockets[1].address()).unwrap();
        assert!(wait_readable(&[&sockets[1]], None).unwrap());
        assert_eq!(ready.look().collect::<Vec<_>>(), [11]);
        assert!(ready.add(&sockets[1], 7).is_err(), "it is in the set");
    }
}
