//! Where a shard writes what it sends: the buffer trait that the cores own and `io/` implements.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Two ends of one UDP path. The local address belongs to the path: an answer leaves from the address it was asked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The address on this machine; its port is that of `via`.
    pub local: IpAddr,
    /// The far end. IPv4 addresses are always in IPv4 form, never mapped into IPv6.
    pub remote: SocketAddr,
    /// Which socket of ours, or which TURN allocation.
    pub via: Via,
}

impl Path {
    /// No path: both ends unspecified.
    pub const NONE: Self = Self {
        local: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        remote: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        via: Via::MEDIA,
    };
}

/// What a path goes through at our end: a socket of the shard, or a TURN allocation of some shard, whose client the
/// datagram is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Via(u32);

impl Via {
    /// The shard's media socket.
    pub const MEDIA: Self = Self(0);
    /// What TURN clients speak to.
    pub const TURN: Self = Self(1);
    /// The same on port 443.
    pub const TURN_HTTPS: Self = Self(2);

    /// Places of sockets before those of allocations.
    const LISTENERS: u32 = 4;
    const INSIDE: u32 = 1 << 31;
    const SHARD_SHIFT: u32 = 16;

    /// The real socket of allocation `slot` of this shard.
    pub const fn relayed(slot: u16) -> Self {
        Self(Self::LISTENERS + slot as u32)
    }

    /// No socket at all: the far end is the client of allocation `slot` of `shard`, and nothing between is on a wire.
    pub const fn inside(shard: u8, slot: u16) -> Self {
        Self(Self::INSIDE | (shard as u32) << Self::SHARD_SHIFT | slot as u32)
    }

    /// Shard and slot of a path without a socket.
    #[inline]
    pub const fn allocation(self) -> Option<(u8, u16)> {
        if self.0 & Self::INSIDE == 0 {
            None
        } else {
            Some(((self.0 >> Self::SHARD_SHIFT) as u8, self.0 as u16))
        }
    }

    /// The allocation whose real socket this is.
    pub const fn relayed_slot(self) -> Option<u16> {
        match self.0.checked_sub(Self::LISTENERS) {
            Some(slot) if slot <= u16::MAX as u32 => Some(slot as u16),
            _ => None,
        }
    }

    /// Place of the socket among those of the shard; 0 is the media socket's. `None` where there is none.
    pub const fn place(self) -> Option<usize> {
        if self.0 & Self::INSIDE == 0 { Some(self.0 as usize) } else { None }
    }

    /// The socket at `place`.
    pub const fn at(place: u32) -> Self {
        Self(place)
    }

    /// As a number that stands in records and comes back by [`Via::from_bits`].
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// What [`Via::to_bits`] gave.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
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

    /// The slot reserved last, once more: for whoever writes around what another wrote.
    ///
    /// # Panics
    /// Without a reservation.
    fn reserved(&mut self) -> &mut [u8];

    /// Opens the real socket of an allocation on `address` of this machine; what comes there arrives by a path of the
    /// same `via`. A second address of the other family joins the first; one that is open already stays, as after a panic
    /// of the shard; another port of the same family takes the place of the first.
    ///
    /// # Errors
    /// What the kernel said, such as a port in use.
    fn open(&mut self, via: Via, address: SocketAddr) -> io::Result<()> {
        let _ = (via, address);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether [`Egress::open`] would succeed on this address now.
    fn is_free(&self, address: SocketAddr) -> bool {
        let _ = address;
        false
    }

    /// Closes what [`Egress::open`] opened for the family of `address`. What was queued for it still leaves.
    fn close(&mut self, via: Via, address: SocketAddr) {
        let _ = (via, address);
    }
}
