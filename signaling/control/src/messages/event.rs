//! What the relay tells without being asked.

use prost::{Enumeration, Message, Oneof};

/// Something happened that no request asked for. Events may be merged on their way: of several about one peer, or several
/// loads of one shard, the last one arrives. A peer's end always arrives.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// The shard it happened on.
    #[prost(uint32, tag = "1")]
    pub shard: u32,
    /// What happened.
    #[prost(oneof = "EventKind", tags = "2, 3, 4, 5")]
    pub kind: Option<EventKind>,
}

/// Kinds of events.
#[derive(Clone, PartialEq, Oneof)]
pub enum EventKind {
    /// A peer changed. Carries the peer's whole state.
    #[prost(message, tag = "2")]
    Peer(PeerEvent),
    /// A shard panicked and was rebuilt from its records.
    #[prost(message, tag = "3")]
    Rebuilt(ShardRebuilt),
    /// What a shard has to do, once a second. Since version 2.
    #[prost(message, tag = "4")]
    Load(Load),
    /// A shard panicked again and again, and these peers are gone. In version 1 each is told as closed.
    #[prost(message, tag = "5")]
    GivenUp(GivenUp),
}

/// A peer changed.
#[derive(Clone, PartialEq, Message)]
pub struct PeerEvent {
    /// The peer's id.
    #[prost(uint64, tag = "1")]
    pub peer: u64,
    /// How far it got.
    #[prost(enumeration = "PeerState", tag = "2")]
    pub state: i32,
    /// Selected remote address, where there is one.
    #[prost(string, tag = "3")]
    pub remote: String,
    /// Why it closed, in words; empty otherwise.
    #[prost(string, tag = "4")]
    pub reason: String,
    /// State of its path.
    #[prost(enumeration = "IceState", tag = "5")]
    pub ice: i32,
    /// What flowed in the last second; absent in version 1.
    #[prost(message, optional, tag = "6")]
    pub flow: Option<MediaFlow>,
    /// Why it closed, for programs.
    #[prost(enumeration = "CloseCause", tag = "7")]
    pub cause: i32,
}

/// How far a peer got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum PeerState {
    /// Waiting for the first valid connectivity check.
    Ice = 0,
    /// A path is valid, the handshake is under way.
    Dtls = 1,
    /// Keys are there, media may flow.
    Live = 2,
    /// Over: consent expired, the handshake failed, or the browser closed it.
    Closed = 3,
}

/// State of a peer's path. The browser's own checks are what the relay sees of it (RFC 8445 §7.3): browsers send one every
/// 2 to 3 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum IceState {
    /// No valid check came yet.
    New = 0,
    /// The last check is not older than 7 s.
    Connected = 1,
    /// The last check is older than 7 s. The path may come back until its consent expires, 30 s after the last check
    /// (RFC 7675 §5.1).
    Disconnected = 2,
    /// The peer is over.
    Closed = 3,
}

/// Which media a peer had in the last second. Told once a second, when it changed.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct MediaFlow {
    /// Audio that it sends reached the relay.
    #[prost(bool, tag = "1")]
    pub audio_in: bool,
    /// Video that it sends reached the relay.
    #[prost(bool, tag = "2")]
    pub video_in: bool,
    /// Audio was sent to it.
    #[prost(bool, tag = "3")]
    pub audio_out: bool,
    /// Video was sent to it.
    #[prost(bool, tag = "4")]
    pub video_out: bool,
}

/// Why a peer closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum CloseCause {
    /// It is not closed, or the relay is of version 1.
    Unknown = 0,
    /// Its consent expired: no check for 30 s (RFC 7675 §5.1).
    ConsentExpired = 1,
    /// The handshake failed or took too long.
    HandshakeFailed = 2,
    /// The browser closed the connection (DTLS `close_notify`).
    ClosedByPeer = 3,
}

/// A shard was rebuilt.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ShardRebuilt {
    /// Peers whose calls go on.
    #[prost(uint32, tag = "1")]
    pub peers: u32,
}

/// The peers that a shard gave up, all of those it held.
#[derive(Clone, PartialEq, Message)]
pub struct GivenUp {
    /// Their ids.
    #[prost(uint64, repeated, tag = "1")]
    pub peers: Vec<u64>,
}

/// What one shard holds and does. Rates are of the last second.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Load {
    /// Peers it holds.
    #[prost(uint32, tag = "1")]
    pub peers: u32,
    /// Tracks it holds, mirrors included.
    #[prost(uint32, tag = "2")]
    pub tracks: u32,
    /// Subscriptions it holds.
    #[prost(uint32, tag = "3")]
    pub subscriptions: u32,
    /// RTP packets per second from publishers.
    #[prost(uint32, tag = "4")]
    pub packets_in_per_s: u32,
    /// RTP packets per second to viewers.
    #[prost(uint32, tag = "5")]
    pub packets_out_per_s: u32,
    /// Bits per second from publishers: RTP with its header and tag, without UDP and IP.
    #[prost(uint64, tag = "6")]
    pub bits_in_per_s: u64,
    /// Bits per second to viewers, counted alike.
    #[prost(uint64, tag = "7")]
    pub bits_out_per_s: u64,
    /// Processor time that the shard's thread used, in 1/1000 of one core.
    #[prost(uint32, tag = "8")]
    pub busy_permille: u32,
    /// Whether the relay drains ([`SetDrain`](super::SetDrain)).
    #[prost(bool, tag = "9")]
    pub draining: bool,
}
