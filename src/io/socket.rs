//! The UDP sockets of a shard: one for IPv4, one for IPv6, on one port number, and beside each one for reports.

use super::cmsg::UDP_GRO;
use super::reports;
use crate::egress::Via;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::{io, mem};

/// Asked of the kernel for each direction. At 1 Gbit/s it bridges 30 ms in which a shard does something else.
const BUFFER_BYTES: i32 = 4 << 20;

/// How often a pair of free ports is looked for before giving up.
const FREE_PORT_TRIES: u32 = 32;

/// Why a shard has no sockets.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The port belongs to somebody else, or needs a right this process lacks.
    #[error("cannot bind UDP media port {port} on {family}: {source}; choose another one with --media-port")]
    Port {
        /// The port asked for; 0 was any.
        port: u16,
        /// "IPv4" or "IPv6".
        family: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A socket could not be set up as a shard needs it.
    #[error("cannot set {option} on the UDP media socket: {source}")]
    Option {
        /// The option's name in socket(7), ip(7) or ipv6(7).
        option: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The sockets of one shard, bound to the wildcard; each datagram tells the local address it came to.
#[derive(Debug)]
pub struct Sockets {
    ipv4: OwnedFd,
    ipv6: Option<OwnedFd>,
    /// By family: what reports come to, where the kernel can tell them apart.
    reports: [Option<OwnedFd>; 2],
    /// What others than media peers speak to, by family.
    side: Vec<(Via, [Option<OwnedFd>; 2])>,
    port: u16,
}

impl Sockets {
    /// Binds `port`, or any free one if that is 0. A host without IPv6 gets IPv4 alone.
    ///
    /// # Errors
    /// When the port is taken on either family, or an option every supported kernel has is refused.
    pub fn bind(port: u16) -> Result<Self, BindError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::bind_once(port) {
                // The kernel picked a number for IPv4 that somebody has on IPv6.
                Err(BindError::Port { source, .. })
                    if port == 0 && tries < FREE_PORT_TRIES && source.kind() == io::ErrorKind::AddrInUse => {}
                result => return result,
            }
        }
    }

    fn bind_once(port: u16) -> Result<Self, BindError> {
        let failed = |source| BindError::Port { port, family: "IPv4", source };
        let ipv4 =
            Socket::new(Domain::IPV4, Type::DGRAM.nonblocking(), Some(Protocol::UDP)).map_err(failed)?;
        prepare_ipv4(&ipv4)?;
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        ipv4.bind(&SockAddr::from(address)).map_err(failed)?;
        let bound = ipv4.local_addr().map_err(failed)?;
        let port = bound.as_socket().map_or(port, |address| address.port());
        let ipv6 = bind_ipv6(port)?;
        let reports = [Some(&ipv4), ipv6.as_ref()].map(|media| media.and_then(beside));
        Ok(Self { ipv4: ipv4.into(), ipv6: ipv6.map(OwnedFd::from), reports, side: Vec::new(), port })
    }

    /// The port both are bound to.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// True when the host has IPv6.
    pub const fn has_ipv6(&self) -> bool {
        self.ipv6.is_some()
    }

    /// What the kernel granted for receiving, in bytes of its own accounting. Small when `net.core.rmem_max` is and
    /// the process has no CAP_NET_ADMIN.
    ///
    /// # Errors
    /// None that a live socket gives.
    pub fn receive_buffer_bytes(&self) -> io::Result<usize> {
        socket2::SockRef::from(&self.ipv4).recv_buffer_size()
    }

    /// Whether the kernel may hand over several datagrams of one sender in one piece; so they begin where it can.
    ///
    /// # Errors
    /// On kernels before 5.0, which do not know it.
    pub fn set_gathering(&self, wanted: bool) -> io::Result<()> {
        self.descriptors().try_for_each(|socket| {
            set_option(socket.as_raw_fd(), libc::IPPROTO_UDP, UDP_GRO, i32::from(wanted))
        })
    }

    /// The descriptors, IPv4 first, to hand over or to look at.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [Some(self.ipv4.as_fd()), self.ipv6.as_ref().map(AsFd::as_fd)].into_iter().flatten()
    }

    /// The sockets that reports come to, by family; none when they come with everything else.
    pub(super) fn take_reports(&mut self) -> [Option<OwnedFd>; 2] {
        mem::take(&mut self.reports)
    }

    /// Listens on `port` besides, as `via`; gives the port, which the kernel chooses if that is 0. Every shard listens on
    /// the same one, and the kernel spreads the clients.
    ///
    /// # Errors
    /// When somebody else has the port. The `first` shard finds that out; the others share it.
    pub fn listen(&mut self, via: Via, port: u16, first: bool) -> io::Result<u16> {
        let purpose = if first { Purpose::FirstListener } else { Purpose::Listener };
        let mut tries = 0;
        loop {
            tries += 1;
            let ipv4 = bind_side((Ipv4Addr::UNSPECIFIED, port).into(), purpose)?;
            let bound = local_port(&ipv4)?;
            let ipv6 = match bind_side((Ipv6Addr::UNSPECIFIED, bound).into(), purpose) {
                Ok(ipv6) => Some(ipv6),
                // The kernel picked a number for IPv4 that somebody has on IPv6.
                Err(error)
                    if port == 0 && tries < FREE_PORT_TRIES && error.kind() == io::ErrorKind::AddrInUse =>
                {
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
                // Without IPv6.
                Err(_) => None,
            };
            self.side.push((via, [Some(ipv4), ipv6]));
            return Ok(bound);
        }
    }

    /// What [`Sockets::listen`] bound.
    pub(super) fn take_side(&mut self) -> Vec<(Via, [Option<OwnedFd>; 2])> {
        mem::take(&mut self.side)
    }

    /// Descriptor by [`Family`], or none.
    pub(super) fn get(&self, family: Family) -> Option<RawFd> {
        match family {
            Family::Ipv4 => Some(self.ipv4.as_raw_fd()),
            Family::Ipv6 => self.ipv6.as_ref().map(AsRawFd::as_raw_fd),
        }
    }
}

/// Which of the two sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Ipv4 = 0,
    Ipv6 = 1,
}

impl Family {
    pub(super) const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    pub(super) const fn of(address: &SocketAddr) -> Self {
        match address {
            SocketAddr::V4(_) => Self::Ipv4,
            SocketAddr::V6(_) => Self::Ipv6,
        }
    }
}

/// What a side socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The first shard's: somebody else who holds the port is an error. Then others may join.
    FirstListener,
    /// Another shard's, on the same port.
    Listener,
    /// One allocation's.
    Allocation,
}

/// Binds a socket on the wildcard of the family and port of `address`.
pub(super) fn bind_side(address: SocketAddr, purpose: Purpose) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    let prepared = match Family::of(&address) {
        Family::Ipv4 => prepare_ipv4(&socket),
        Family::Ipv6 => prepare_ipv6(&socket),
    };
    prepared.map_err(io::Error::other)?;
    if purpose == Purpose::Listener {
        socket.set_reuse_port(true)?;
    }
    let wildcard = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port())),
    };
    socket.bind(&SockAddr::from(wildcard))?;
    if purpose == Purpose::FirstListener {
        socket.set_reuse_port(true)?;
    }
    Ok(socket.into())
}

pub(super) fn local_port(socket: &OwnedFd) -> io::Result<u16> {
    let address = socket2::SockRef::from(socket).local_addr()?;
    address.as_socket().map(|address| address.port()).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

fn prepare_ipv4(socket: &Socket) -> Result<(), BindError> {
    set(socket, "IP_PKTINFO", libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
    // No DF, and no trust in "fragmentation needed" from strangers: routers may fragment what a publisher's browser
    // chose to send that long, which is better than a viewer who sees nothing.
    set(socket, "IP_MTU_DISCOVER", libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT)?;
    gather(socket);
    enlarge_buffers(socket);
    Ok(())
}

fn prepare_ipv6(socket: &Socket) -> Result<(), BindError> {
    set(socket, "IPV6_V6ONLY", libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    set(socket, "IPV6_RECVPKTINFO", libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
    // IPv6 routers never fragment, so here the path's MTU is obeyed and the kernel fragments for it.
    set(socket, "IPV6_MTU_DISCOVER", libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_WANT)?;
    gather(socket);
    enlarge_buffers(socket);
    Ok(())
}

fn bind_ipv6(port: u16) -> Result<Option<Socket>, BindError> {
    // The kernel was built or booted without IPv6.
    let Ok(socket) = Socket::new(Domain::IPV6, Type::DGRAM.nonblocking(), Some(Protocol::UDP)) else {
        return Ok(None);
    };
    prepare_ipv6(&socket)?;
    let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match socket.bind(&SockAddr::from(address)) {
        Ok(()) => Ok(Some(socket)),
        // net.ipv6.conf.all.disable_ipv6 lets sockets be made and not bound.
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Ok(None),
        Err(source) => Err(BindError::Port { port, family: "IPv6", source }),
    }
}

/// A second socket on the address of `media`, for reports alone. `None` where the kernel refuses: then they come with
/// everything else.
fn beside(media: &Socket) -> Option<OwnedFd> {
    let address = media.local_addr().ok()?;
    let socket = Socket::new(address.domain(), Type::DGRAM.nonblocking(), Some(Protocol::UDP)).ok()?;
    match Family::of(&address.as_socket()?) {
        Family::Ipv4 => prepare_ipv4(&socket).ok()?,
        Family::Ipv6 => prepare_ipv6(&socket).ok()?,
    }
    // Not before `media` has its port: while it was bound, somebody who holds it was to be an error.
    media.set_reuse_port(true).ok()?;
    socket.set_reuse_port(true).ok()?;
    socket.bind(&address).ok()?;
    reports::steer(media.as_raw_fd()).ok()?;
    Some(socket.into())
}

/// Lets the kernel hand over datagrams of one sender in one piece. Kernels before 5.0 do not know it.
fn gather(socket: &Socket) {
    let _ = set_option(socket.as_raw_fd(), libc::IPPROTO_UDP, UDP_GRO, 1);
}

/// Best effort: beyond the sysctl limit with CAP_NET_ADMIN, up to it without.
fn enlarge_buffers(socket: &Socket) {
    for (force, plain) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)] {
        if set_option(socket.as_raw_fd(), libc::SOL_SOCKET, force, BUFFER_BYTES).is_err() {
            let _ = set_option(socket.as_raw_fd(), libc::SOL_SOCKET, plain, BUFFER_BYTES);
        }
    }
}

fn set(socket: &Socket, option: &'static str, level: i32, name: i32, value: i32) -> Result<(), BindError> {
    set_option(socket.as_raw_fd(), level, name, value).map_err(|source| BindError::Option { option, source })
}

/// setsockopt(2) with an integer.
pub(super) fn set_option(fd: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
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
    fn any_free_port_is_the_same_on_both_families() {
        let sockets = Sockets::bind(0).unwrap();
        assert_ne!(sockets.port(), 0);
        for fd in sockets.descriptors() {
            let socket = Socket::from(fd.try_clone_to_owned().unwrap());
            assert_eq!(socket.local_addr().unwrap().as_socket().unwrap().port(), sockets.port());
            assert!(socket.nonblocking().unwrap());
        }
        assert_eq!(sockets.descriptors().count(), 1 + usize::from(sockets.has_ipv6()));
    }

    #[test]
    fn a_taken_port_is_named_in_the_error() {
        let first = Sockets::bind(0).unwrap();
        let error = Sockets::bind(first.port()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&first.port().to_string()) && text.contains("IPv4"), "{text}");
    }

    #[test]
    fn a_port_taken_on_ipv6_alone_is_not_shared() {
        if !Sockets::bind(0).unwrap().has_ipv6() {
            return;
        }
        // Another program may hold the same number on IPv4, so look for one that is free there.
        let named = (0..20).any(|_| {
            let other = Socket::new(Domain::IPV6, Type::DGRAM, None).unwrap();
            other.set_only_v6(true).unwrap();
            other.bind(&SockAddr::from(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)))).unwrap();
            let port = other.local_addr().unwrap().as_socket().unwrap().port();
            Sockets::bind(port).unwrap_err().to_string().contains("IPv6")
        });
        assert!(named);
    }
}
