//! The words that the server and its caller share.

use std::net::SocketAddr;
use std::ops::Range;

use crate::server::policy::{Reach, canonical};

/// The time, as the caller read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Of a monotonic clock that records and server share, in nanoseconds: deadlines.
    pub monotonic_ns: u64,
    /// Seconds since 1970: the expiry of credentials and nonces, and nothing else.
    pub unix_s: u64,
}

/// What lies between the client and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Transport {
    /// Datagrams.
    Udp = 0,
    /// A stream; ChannelData is padded to four bytes (RFC 8656 §12.5).
    Tcp = 1,
    /// A stream within TLS.
    Tls = 2,
}

impl Transport {
    /// Whether it is a stream.
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }

    pub(super) const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Tcp,
            2 => Self::Tls,
            _ => Self::Udp,
        }
    }
}

/// A client: the 5-tuple, and how the caller reaches it.
///
/// IPv4 addresses in IPv6 form are the same as IPv4 addresses; what the server gives back is IPv4. Two clients are the
/// same when transport and addresses are, whatever `via` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// How it speaks to us.
    pub transport: Transport,
    /// Its address as we see it.
    pub remote: SocketAddr,
    /// The address of ours that it speaks to.
    pub local: SocketAddr,
    /// The caller's own way to it, kept with the allocation: the number of a socket or of a connection. The server takes
    /// it over at each request that is authenticated.
    pub via: u32,
}

impl Client {
    pub(super) fn key(&self) -> ClientKey {
        let words = |address: SocketAddr| match canonical(address) {
            SocketAddr::V4(v4) => (0xffff, u64::from(v4.ip().to_bits())),
            SocketAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h] = v6.ip().segments().map(u64::from);
                (a << 48 | b << 32 | c << 16 | d, e << 48 | f << 32 | g << 16 | h)
            }
        };
        let (remote, local) = (words(self.remote), words(self.local));
        let ports = u64::from(self.remote.port()) << 16 | u64::from(self.local.port());
        ClientKey([remote.0, remote.1, local.0, local.1, ports << 8 | self.transport as u64])
    }
}

/// A 5-tuple as five words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientKey([u64; 5]);

impl std::hash::Hash for ClientKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        for word in self.0 {
            state.write_u64(word);
        }
    }
}

/// The place of an allocation among the records. It may have been given away since: [`super::Server::frame`] therefore
/// takes the relayed address too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

impl Slot {
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What is to be done with bytes from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// So many bytes of the answer go back to the client.
    Answer(usize),
    /// A part of the message goes to a peer.
    ToPeer(ToPeer),
    /// Nothing; it is counted.
    Silence(Reason),
}

/// Data on its way to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToPeer {
    /// Whose data.
    pub allocation: Slot,
    /// The address it comes from, as the peer sees it: the allocation's, of the peer's family.
    pub relayed: SocketAddr,
    /// Where it goes.
    pub peer: SocketAddr,
    /// Which way.
    pub reach: Reach,
    /// Where in the message the data lies; never empty.
    pub data: Range<usize>,
    /// Whether it must travel in one piece (RFC 8656 §18.9).
    pub dont_fragment: bool,
}

/// Why there is no answer, or nothing relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// Neither STUN nor ChannelData.
    Foreign = 0,
    /// STUN that is not well-formed, or whose fingerprint is wrong.
    Malformed,
    /// Neither a request nor a Send indication.
    Class,
    /// A method that we do not speak; RFC 6062 and others.
    Method,
    /// The source has had what strangers get.
    RateLimited,
    /// ChannelData whose length does not fit its message.
    Framing,
    /// No data in it.
    Empty,
    /// This client has no allocation.
    NoAllocation,
    /// Nothing is bound to this channel.
    NoChannel,
    /// No permission for this peer.
    NoPermission,
    /// Nobody may reach this peer through here.
    Forbidden,
    /// The socket towards outside peers could not be opened.
    NoSocket,
    /// More than the user, or all together, may relay.
    OverBandwidth,
    /// The allocation has no address of the peer's family.
    Family,
    /// A Send indication with an attribute that had to be understood, or without peer or data.
    BadIndication,
    /// The caller's slot for the answer was too small.
    NoRoom,
}

impl Reason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 16] = [
        Self::Foreign,
        Self::Malformed,
        Self::Class,
        Self::Method,
        Self::RateLimited,
        Self::Framing,
        Self::Empty,
        Self::NoAllocation,
        Self::NoChannel,
        Self::NoPermission,
        Self::Forbidden,
        Self::NoSocket,
        Self::OverBandwidth,
        Self::Family,
        Self::BadIndication,
        Self::NoRoom,
    ];

    /// A name for metrics: lower case, words joined by `_`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Malformed => "malformed",
            Self::Class => "class",
            Self::Method => "method",
            Self::RateLimited => "rate_limited",
            Self::Framing => "framing",
            Self::Empty => "empty",
            Self::NoAllocation => "no_allocation",
            Self::NoChannel => "no_channel",
            Self::NoPermission => "no_permission",
            Self::Forbidden => "forbidden",
            Self::NoSocket => "no_socket",
            Self::OverBandwidth => "over_bandwidth",
            Self::Family => "family",
            Self::BadIndication => "bad_indication",
            Self::NoRoom => "no_room",
        }
    }
}

/// The sockets towards outside peers, which the caller owns. Towards our own media addresses there are none.
pub trait Relay {
    /// Opens the socket at `relayed` of this allocation; if it is open already, that is well too.
    ///
    /// # Errors
    /// [`OpenFailed`]: the client is told 508, and the port rests for a while once the allocation ends.
    fn open(&mut self, allocation: Slot, relayed: SocketAddr) -> Result<(), OpenFailed>;

    /// Whether a socket could be opened at this address, as far as one can tell: a relayed address that nothing could ever
    /// open is better not given out. Asked only where outside peers may be reached at all.
    fn is_free(&mut self, relayed: SocketAddr) -> bool {
        let _ = relayed;
        true
    }

    /// Closes it: the allocation ended.
    fn close(&mut self, allocation: Slot, relayed: SocketAddr);
}

/// A socket could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFailed;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_its_five_tuple() {
        let client = |transport, remote: &str, local: &str, via| Client {
            transport,
            remote: remote.parse().unwrap(),
            local: local.parse().unwrap(),
            via,
        };
        let one = client(Transport::Udp, "192.0.2.1:1000", "192.0.2.2:3478", 1);
        let same = client(Transport::Udp, "[::ffff:192.0.2.1]:1000", "[::ffff:192.0.2.2]:3478", 2);
        assert_eq!(one.key(), same.key());
        for other in [
            client(Transport::Tcp, "192.0.2.1:1000", "192.0.2.2:3478", 1),
            client(Transport::Udp, "192.0.2.1:1001", "192.0.2.2:3478", 1),
            client(Transport::Udp, "192.0.2.1:1000", "192.0.2.2:3479", 1),
            client(Transport::Udp, "192.0.2.2:1000", "192.0.2.1:3478", 1),
            client(Transport::Udp, "[::192.0.2.1]:1000", "192.0.2.2:3478", 1),
        ] {
            assert_ne!(one.key(), other.key(), "{other:?}");
        }
    }

    #[test]
    fn reasons_are_numbered_in_order() {
        assert!(Reason::ALL.iter().enumerate().all(|(number, reason)| *reason as usize == number));
    }
}
