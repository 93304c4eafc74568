//! UDP sockets of a load generator, and waiting for them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::cmsg::UDP_GRO;

/// What a socket is asked for besides its address.
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    /// Buffer for each direction in bytes of payload; the kernel doubles it for its own accounting. Beyond the sysctl
    /// limit it takes CAP_NET_ADMIN; without that right the limit is what there is.
    pub buffer_bytes: usize,
    /// Each receive tells the local address it came to (IP_PKTINFO).
    pub pktinfo: bool,
    /// Datagrams of one train come glued together (UDP_GRO, udp(7)); buffers must then hold 64 KiB.
    pub gro: bool,
    /// Several sockets may have the address (SO_REUSEADDR).
    pub reuse_address: bool,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self { buffer_bytes: 4 << 20, pktinfo: true, gro: false, reuse_address: false }
    }
}

/// A bound UDP socket. Nothing blocks but [`wait_readable`].
#[derive(Debug)]
pub struct UdpSocket {
    fd: OwnedFd,
    address: SocketAddr,
}

impl UdpSocket {
    /// Binds `address`; port 0 is any free one.
    ///
    /// # Errors
    /// When the address is taken or not ours, or the kernel refuses an option every supported kernel has.
    pub fn bind(address: SocketAddr, options: &SocketOptions) -> io::Result<Self> {
        let socket =
            Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        socket.set_reuse_address(options.reuse_address)?;
        let fd = socket.as_raw_fd();
        if options.pktinfo {
            match address.ip() {
                IpAddr::V4(_) => set_option(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?,
                IpAddr::V6(_) => set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?,
            }
        }
        if address.is_ipv4() {
            // Like the relay's: no DF, the path's MTU is not asked for.
            set_option(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT)?;
        }
        if options.gro {
            set_option(fd, libc::IPPROTO_UDP, UDP_GRO, 1)?;
        }
        enlarge_buffers(fd, options.buffer_bytes);
        socket.bind(&SockAddr::from(address))?;
        let address = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok(Self { fd: socket.into(), address })
    }

    /// Where it is bound.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the kernel granted for receiving, in bytes of its own accounting: twice what was asked for, or less.
    ///
    /// # Errors
    /// None that a live socket gives.
    pub fn receive_buffer_bytes(&self) -> io::Result<usize> {
        socket2::SockRef::from(self).recv_buffer_size()
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Waits until one of the sockets has something to receive; false when `timeout` is over first (`None` waits for
/// ever), or a signal came.
///
/// # Errors
/// When the kernel is out of memory.
pub fn wait_readable(sockets: &[&UdpSocket], timeout: Option<Duration>) -> io::Result<bool> {
    let mut polls: Vec<libc::pollfd> = sockets.iter().map(|socket| pollfd(socket, libc::POLLIN)).collect();
    poll(&mut polls, timeout)
}

pub(super) fn pollfd(socket: &UdpSocket, events: libc::c_short) -> libc::pollfd {
    libc::pollfd { fd: socket.fd.as_raw_fd(), events, revents: 0 }
}

pub(super) fn poll(polls: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<bool> {
    let time = timeout.map(|timeout| libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let time = time.as_ref().map_or(std::ptr::null(), |time| &raw const *time);
    // SAFETY: `polls` and the time, if there is one, are valid for the call; no signal mask is changed.
    let found =
        unsafe { libc::ppoll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, time, std::ptr::null()) };
    match found {
        0.. => Ok(found > 0),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            error => Err(error),
        },
    }
}

fn enlarge_buffers(fd: RawFd, bytes: usize) {
    let bytes = i32::try_from(bytes).unwrap_or(i32::MAX / 2);
    for (force, plain) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)] {
        if set_option(fd, libc::SOL_SOCKET, force, bytes).is_err() {
            let _ = set_option(fd, libc::SOL_SOCKET, plain, bytes);
        }
    }
}

fn set_option(fd: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: `value` is readable for the length given.
    match unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), len) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_a_datagram_or_with_the_time() {
        let socket = UdpSocket::bind(([127, 0, 0, 1], 0).into(), &SocketOptions::default()).unwrap();
        assert!(!wait_readable(&[&socket], Some(Duration::from_millis(1))).unwrap());
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", socket.address()).unwrap();
        assert!(wait_readable(&[&socket], None).unwrap());
    }

    #[test]
    fn an_address_is_shared_only_when_asked_for() {
        let open = SocketOptions { reuse_address: true, ..SocketOptions::default() };
        let first = UdpSocket::bind(([127, 0, 0, 1], 0).into(), &open).unwrap();
        assert!(UdpSocket::bind(first.address(), &open).is_ok());
        assert!(UdpSocket::bind(first.address(), &SocketOptions::default()).is_err());
    }

    #[test]
    fn a_larger_buffer_is_asked_for_than_the_default() {
        let bytes = |buffer_bytes| {
            let options = SocketOptions { buffer_bytes, ..SocketOptions::default() };
            let socket = UdpSocket::bind(([127, 0, 0, 1], 0).into(), &options).unwrap();
            socket.receive_buffer_bytes().unwrap()
        };
        assert!(bytes(64 << 10) < bytes(128 << 10));
    }
}
