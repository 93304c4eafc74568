//! Where a shard writes what it sends: the buffer trait that the cores own and `io/` implements.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Two ends of one UDP path. The local address belongs to the path: an answer leaves from the address it was asked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The address on this machine, without the port (every datagram of a shard has its media port).
    pub local: IpAddr,
    /// The far end. IPv4 addresses are always in IPv4 form, never mapped into IPv6.
    pub remote: SocketAddr,
}

impl Path {
    /// No path: both ends unspecified.
    pub const NONE: Self = Self {
        local: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        remote: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
    };
}

/// Groups datagrams of one destination into a run that leaves in one send.
///
/// A small number, dense from 0: the slot of the peer. Datagrams under one key keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunKey(pub u32);

impl RunKey {
    /// For datagrams that belong to no peer, such as the answer to a plain STUN Binding: each leaves by itself.
    pub const NONE: Self = Self(u32::MAX);
}

/// Longest datagram a shard sends, in bytes: an Ethernet frame's payload less the IPv4 and UDP headers.
pub const DATAGRAM_BYTES_MAX: usize = 1472;

/// Takes datagrams from a shard. Reserve, write in place, commit; a reservation that is not committed is forgotten.
///
/// ```text
///   let slot = egress.reserve(key, path)?;      // DATAGRAM_BYTES_MAX bytes, contents undefined
///   let len = seal(…, slot);
///   egress.commit(len);                         // joins the run of `key`, sent at the end of the cycle
/// ```
pub trait Egress {
    /// A slot of [`DATAGRAM_BYTES_MAX`] bytes for one datagram along `path`, or `None` when every slot is taken and
    /// nothing can be flushed. A second `reserve` before `commit` takes the first back.
    fn reserve(&mut self, key: RunKey, path: &Path) -> Option<&mut [u8]>;

    /// Queues the first `len` bytes of the slot reserved last.
    ///
    /// # Panics
    /// Without a reservation, or when `len` is 0 or more than the slot: a bug of the caller.
    fn commit(&mut self, len: usize);
}
