//! The messages themselves. Units end names; `0` or an empty string means "not given" as usual in protobuf.

use prost::{Enumeration, Message, Oneof};

// ---------------------------------------------------------------------------------------- signaling -> relay

/// One frame from signaling to the relay.
#[derive(Clone, PartialEq, Message)]
pub struct ToRelay {
    /// Number of this request, from 1; the answer carries it back.
    #[prost(uint64, tag = "1")]
    pub request: u64,
    /// The shard that is to carry it out: the room's own, or for a viewer of a large room another one. Ignored by
    /// `Hello`, `SnapshotRequest` and `CountersRequest`, which are about the whole relay.
    #[prost(uint32, tag = "2")]
    pub shard: u32,
    /// What is asked.
    #[prost(oneof = "Command", tags = "3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13")]
    pub command: Option<Command>,
}

/// What signaling can ask of the relay.
#[derive(Clone, PartialEq, Oneof)]
pub enum Command {
    /// First frame on every connection.
    #[prost(message, tag = "3")]
    Hello(ClientHello),
    /// Create a peer or bring it to this state.
    #[prost(message, tag = "4")]
    PutPeer(PutPeer),
    /// End a peer with its tracks and subscriptions. Unknown ids are `Done`.
    #[prost(message, tag = "5")]
    RemovePeer(RemovePeer),
    /// Create a published stream or bring it to this state.
    #[prost(message, tag = "6")]
    PutTrack(PutTrack),
    /// End a published stream; its subscriptions stay and wait for the track to come back.
    #[prost(message, tag = "7")]
    RemoveTrack(RemoveTrack),
    /// Create one viewer's subscription to one track or bring it to this state.
    #[prost(message, tag = "8")]
    PutSubscription(PutSubscription),
    /// End a subscription.
    #[prost(message, tag = "9")]
    RemoveSubscription(RemoveSubscription),
    /// Ask for everything the relay holds.
    #[prost(message, tag = "10")]
    Snapshot(SnapshotRequest),
    /// Ask for the counters of every shard.
    #[prost(message, tag = "11")]
    Counters(CountersRequest),
    /// Make the shard panic. Refused unless the relay runs with fault injection switched on.
    #[prost(message, tag = "12")]
    InjectPanic(InjectPanic),
    /// Ask the publisher of a track for a key frame (subject to the relay's own throttle).
    #[prost(message, tag = "13")]
    RequestKeyframe(RequestKeyframe),
}

/// Who signaling is.
#[derive(Clone, PartialEq, Message)]
pub struct ClientHello {
    /// The version of the sender.
    #[prost(uint32, tag = "1")]
    pub version: u32,
}

/// One browser's transport: one ICE component, one DTLS association, any number of tracks and subscriptions.
#[derive(Clone, PartialEq, Message)]
pub struct PutPeer {
    /// Id of the room (OpenVidu session) the peer belongs to.
    #[prost(uint64, tag = "1")]
    pub room: u64,
    /// Id of the peer, unique in the relay.
    #[prost(uint64, tag = "2")]
    pub peer: u64,
    /// Our ICE user fragment, 4 to 32 ice-chars, unique in the relay (RFC 8839 §5.4).
    #[prost(string, tag = "3")]
    pub local_ufrag: String,
    /// Our ICE password, 22 to 64 ice-chars.
    #[prost(string, tag = "4")]
    pub local_pwd: String,
    /// The browser's ICE user fragment.
    #[prost(string, tag = "5")]
    pub remote_ufrag: String,
    /// The browser's ICE password.
    #[prost(string, tag = "6")]
    pub remote_pwd: String,
    /// The relay's side of the DTLS handshake.
    #[prost(enumeration = "DtlsRole", tag = "7")]
    pub dtls_role: i32,
    /// SHA-256 of the browser's certificate, 32 bytes (RFC 8122).
    #[prost(bytes = "vec", tag = "8")]
    pub remote_fingerprint: Vec<u8>,
    /// RTP header extensions negotiated on this transport, valid in both directions.
    #[prost(message, repeated, tag = "9")]
    pub extensions: Vec<Extension>,
    /// Most that this peer may send us, in bit/s; 0 is unlimited. Announced by REMB where that was negotiated.
    #[prost(uint64, tag = "10")]
    pub receive_max_bps: u64,
    /// Whether the peer negotiated `transport-cc` feedback for what it sends.
    #[prost(bool, tag = "11")]
    pub transport_cc: bool,
    /// Whether the peer negotiated `goog-remb` for what it sends.
    #[prost(bool, tag = "12")]
    pub remb: bool,
}

/// Which DTLS role the relay takes: `Server`, unless the offer itself is `a=setup:passive`. Browsers offer `actpass`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum DtlsRole {
    /// The browser sends the ClientHello.
    Server = 0,
    /// The relay sends the ClientHello.
    Client = 1,
}

/// One negotiated header extension (RFC 8285).
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Extension {
    /// Which extension.
    #[prost(enumeration = "ExtensionKind", tag = "1")]
    pub kind: i32,
    /// Its id on this transport, 1 to 14 or, in two-byte form, to 255 without 15.
    #[prost(uint32, tag = "2")]
    pub id: u32,
}

/// Header extensions the relay understands or forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum ExtensionKind {
    /// Not one of ours; refused.
    Unknown = 0,
    /// `urn:ietf:params:rtp-hdrext:sdes:mid`
    Mid = 1,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id`
    Rid = 2,
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id`
    RepairedRid = 3,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time`
    AbsSendTime = 4,
    /// `http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01`
    TransportCc = 5,
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level`
    AudioLevel = 6,
    /// `urn:3gpp:video-orientation`
    VideoOrientation = 7,
    /// `urn:ietf:params:rtp-hdrext:toffset`
    TransmissionOffset = 8,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/playout-delay`
    PlayoutDelay = 9,
    /// `https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension`
    DependencyDescriptor = 10,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/video-content-type`
    VideoContentType = 11,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/video-timing`
    VideoTiming = 12,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/color-space`
    ColorSpace = 13,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time`
    AbsCaptureTime = 14,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00`
    VideoLayersAllocation = 15,
}

/// Ends a peer.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct RemovePeer {
    /// The peer's id.
    #[prost(uint64, tag = "1")]
    pub peer: u64,
}

/// A published stream: one incoming m-section of a peer.
#[derive(Clone, PartialEq, Message)]
pub struct PutTrack {
    /// Id of the track. It outlives its publisher's transport: the same track may come back on another peer
    /// (reconnection), and its subscribers go on.
    #[prost(uint64, tag = "1")]
    pub track: u64,
    /// The peer that sends it.
    #[prost(uint64, tag = "2")]
    pub peer: u64,
    /// Value of `a=mid`, at most 16 bytes.
    #[prost(string, tag = "3")]
    pub mid: String,
    /// Audio or video.
    #[prost(enumeration = "MediaKind", tag = "4")]
    pub kind: i32,
    /// Payload types the publisher may use, at most 16.
    #[prost(message, repeated, tag = "5")]
    pub codecs: Vec<Codec>,
    /// Streams signaled by `a=ssrc`; empty when they are to be latched by MID or RID.
    #[prost(message, repeated, tag = "6")]
    pub ssrcs: Vec<SignaledSsrc>,
    /// Whether generic NACK was negotiated.
    #[prost(bool, tag = "7")]
    pub nack: bool,
    /// Whether PLI was negotiated (else FIR is used where that was, else nothing).
    #[prost(bool, tag = "8")]
    pub pli: bool,
    /// Whether FIR was negotiated.
    #[prost(bool, tag = "9")]
    pub fir: bool,
}

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum MediaKind {
    /// Audio.
    Audio = 0,
    /// Video.
    Video = 1,
}

/// One payload type on one transport.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Codec {
    /// Number that signaling gives to one format (name, clock and the parameters that matter) within a room. A
    /// track's payload type becomes the subscription's payload type of the same format.
    #[prost(uint32, tag = "1")]
    pub format: u32,
    /// What the payload is, as far as the relay looks into it.
    #[prost(enumeration = "CodecKind", tag = "2")]
    pub kind: i32,
    /// Payload type, 0 to 127.
    #[prost(uint32, tag = "3")]
    pub payload_type: u32,
    /// RTP clock in Hz.
    #[prost(uint32, tag = "4")]
    pub clock_rate_hz: u32,
    /// Payload type of its RTX (RFC 4588), absent where none was negotiated.
    #[prost(uint32, optional, tag = "5")]
    pub rtx_payload_type: Option<u32>,
}

/// Payload formats the relay can tell key frames in, and the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum CodecKind {
    /// Forwarded without a look: Opus, RED audio, G.711, comfort noise, telephone-event.
    Opaque = 0,
    /// RFC 7741.
    Vp8 = 1,
    /// RFC 9628.
    Vp9 = 2,
    /// RFC 6184.
    H264 = 3,
    /// The AV1 RTP payload format.
    Av1 = 4,
}

/// One signaled stream of a track.
#[derive(Clone, PartialEq, Message)]
pub struct SignaledSsrc {
    /// SSRC of the media.
    #[prost(uint32, tag = "1")]
    pub ssrc: u32,
    /// SSRC of its RTX, absent where there is none.
    #[prost(uint32, optional, tag = "2")]
    pub rtx_ssrc: Option<u32>,
}

/// Ends a published stream.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct RemoveTrack {
    /// The track's id.
    #[prost(uint64, tag = "1")]
    pub track: u64,
}

/// One viewer's copy of one track: one outgoing m-section of a peer.
#[derive(Clone, PartialEq, Message)]
pub struct PutSubscription {
    /// Id of the subscription.
    #[prost(uint64, tag = "1")]
    pub subscription: u64,
    /// The viewing peer.
    #[prost(uint64, tag = "2")]
    pub peer: u64,
    /// The track to see. It need not exist yet.
    #[prost(uint64, tag = "3")]
    pub track: u64,
    /// Value of `a=mid` of the viewer's m-section, at most 16 bytes.
    #[prost(string, tag = "4")]
    pub mid: String,
    /// SSRC the viewer sees, as in the SDP.
    #[prost(uint32, tag = "5")]
    pub ssrc: u32,
    /// SSRC of the viewer's RTX, absent where none was negotiated.
    #[prost(uint32, optional, tag = "6")]
    pub rtx_ssrc: Option<u32>,
    /// The viewer's payload types.
    #[prost(message, repeated, tag = "7")]
    pub codecs: Vec<Codec>,
    /// CNAME for SDES, the same for all subscriptions of one stream so that players synchronise them (RFC 3550
    /// §6.5.1). At most 31 bytes.
    #[prost(string, tag = "8")]
    pub cname: String,
    /// Audio or video.
    #[prost(enumeration = "MediaKind", tag = "9")]
    pub kind: i32,
    /// The shard that the track's publisher is on, where that is not the viewer's own. The latest word on a track
    /// counts for all of its viewers on this shard. Only for a relay that [bridges](RelayHello::bridges).
    #[prost(uint32, optional, tag = "10")]
    pub home: Option<u32>,
}

/// Ends a subscription.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct RemoveSubscription {
    /// The subscription's id.
    #[prost(uint64, tag = "1")]
    pub subscription: u64,
}

/// Asks for a [`Snapshot`].
#[derive(Clone, Copy, PartialEq, Message)]
pub struct SnapshotRequest {}

/// Asks for [`Counters`].
#[derive(Clone, Copy, PartialEq, Message)]
pub struct CountersRequest {}

/// Makes one shard panic, for tests of recovery.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct InjectPanic {}

/// Asks a track's publisher for a key frame.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct RequestKeyframe {
    /// The track's id.
    #[prost(uint64, tag = "1")]
    pub track: u64,
}

// ---------------------------------------------------------------------------------------- relay -> signaling

/// One frame from the relay to signaling.
#[derive(Clone, PartialEq, Message)]
pub struct FromRelay {
    /// Number of the request this answers; 0 for an event.
    #[prost(uint64, tag = "1")]
    pub request: u64,
    /// The answer or the event.
    #[prost(oneof = "Reply", tags = "2, 3, 4, 5, 6, 7")]
    pub reply: Option<Reply>,
}

/// What the relay says.
#[derive(Clone, PartialEq, Oneof)]
pub enum Reply {
    /// Answer to `Hello`.
    #[prost(message, tag = "2")]
    Hello(RelayHello),
    /// The command was carried out.
    #[prost(message, tag = "3")]
    Done(Done),
    /// The command was refused and changed nothing.
    #[prost(message, tag = "4")]
    Rejected(Rejected),
    /// Answer to `SnapshotRequest`.
    #[prost(message, tag = "5")]
    Snapshot(Snapshot),
    /// Answer to `CountersRequest`.
    #[prost(message, tag = "6")]
    Counters(Counters),
    /// Something happened that nobody asked for.
    #[prost(message, tag = "7")]
    Event(Event),
}

/// Who the relay is.
#[derive(Clone, PartialEq, Message)]
pub struct RelayHello {
    /// The version of the relay.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Changes with every loss of state: the same epoch means that the relay still holds what it held.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// Every shard, in order of its id.
    #[prost(message, repeated, tag = "3")]
    pub shards: Vec<ShardInfo>,
    /// SHA-256 of the relay's DTLS certificate, 32 bytes.
    #[prost(bytes = "vec", tag = "4")]
    pub fingerprint: Vec<u8>,
    /// Announced IP addresses, one host candidate each, best first, as text.
    #[prost(string, repeated, tag = "5")]
    pub addresses: Vec<String>,
    /// Name of the IO backend in use, `uring` or `mmsg`.
    #[prost(string, tag = "6")]
    pub backend: String,
    /// Process id of the relay.
    #[prost(uint32, tag = "7")]
    pub pid: u32,
    /// Whether a viewer may be on another shard than the publisher ([`PutSubscription::home`]).
    #[prost(bool, tag = "8")]
    pub bridges: bool,
    /// Port of the relay's TURN server, UDP; 0 when it is off.
    #[prost(uint32, tag = "9")]
    pub turn_port: u32,
    /// Those of the shards' ports that take media by TCP too (RFC 6544).
    #[prost(uint32, repeated, tag = "10")]
    pub ice_tcp_ports: Vec<u32>,
    /// Port of TURN over TLS; 0 when there is none.
    #[prost(uint32, tag = "11")]
    pub turn_tls_port: u32,
    /// Port of HTTPS where the relay has it, and TURN over TLS and TCP with it; 0 when it has not.
    #[prost(uint32, tag = "12")]
    pub https_port: u32,
}

/// One shard.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ShardInfo {
    /// Id, from 0.
    #[prost(uint32, tag = "1")]
    pub shard: u32,
    /// UDP media port; a plain STUN Binding is answered there too.
    #[prost(uint32, tag = "2")]
    pub port: u32,
    /// Peers it holds now. For operators: signaling places by what it has itself asked for.
    #[prost(uint32, tag = "3")]
    pub peers: u32,
}

/// The command was carried out.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Done {}

/// The command was refused.
#[derive(Clone, PartialEq, Message)]
pub struct Rejected {
    /// Why, for programs.
    #[prost(enumeration = "Rejection", tag = "1")]
    pub reason: i32,
    /// Why, in words an operator can act on.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// Reasons of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Rejection {
    /// A field is missing or out of range.
    Invalid = 0,
    /// The shard's mailbox is full; try again.
    Busy = 1,
    /// A table of the shard is full; place the session elsewhere.
    Full = 2,
    /// No such shard, peer or track.
    Unknown = 3,
    /// The contract versions do not match, or the command is not allowed here.
    Refused = 4,
}

/// Everything the relay holds, by id.
#[derive(Clone, PartialEq, Message)]
pub struct Snapshot {
    /// Peers.
    #[prost(message, repeated, tag = "1")]
    pub peers: Vec<PeerInfo>,
    /// Tracks.
    #[prost(message, repeated, tag = "2")]
    pub tracks: Vec<TrackInfo>,
    /// Subscriptions.
    #[prost(message, repeated, tag = "3")]
    pub subscriptions: Vec<SubscriptionInfo>,
}

/// One peer in a snapshot.
#[derive(Clone, PartialEq, Message)]
pub struct PeerInfo {
    /// The shard that holds it.
    #[prost(uint32, tag = "1")]
    pub shard: u32,
    /// Its room.
    #[prost(uint64, tag = "2")]
    pub room: u64,
    /// Its id.
    #[prost(uint64, tag = "3")]
    pub peer: u64,
    /// How far it got.
    #[prost(enumeration = "PeerState", tag = "4")]
    pub state: i32,
    /// Selected remote address, empty before the first valid check.
    #[prost(string, tag = "5")]
    pub remote: String,
}

/// One track in a snapshot.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct TrackInfo {
    /// The shard that holds it.
    #[prost(uint32, tag = "1")]
    pub shard: u32,
    /// Its id.
    #[prost(uint64, tag = "2")]
    pub track: u64,
    /// Its publisher.
    #[prost(uint64, tag = "3")]
    pub peer: u64,
}

/// One subscription in a snapshot.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct SubscriptionInfo {
    /// The shard that holds it.
    #[prost(uint32, tag = "1")]
    pub shard: u32,
    /// Its id.
    #[prost(uint64, tag = "2")]
    pub subscription: u64,
    /// Its viewer.
    #[prost(uint64, tag = "3")]
    pub peer: u64,
    /// Its track.
    #[prost(uint64, tag = "4")]
    pub track: u64,
    /// Where the track is fetched from, as in [`PutSubscription::home`].
    #[prost(uint32, optional, tag = "5")]
    pub home: Option<u32>,
}

/// How far a peer got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum PeerState {
    /// Waiting for the first valid connectivity check.
    Ice = 0,
    /// A path is valid, the handshake is under way.
    Dtls = 1,
    /// Keys are there, media flows.
    Live = 2,
    /// Over: consent expired, fingerprint wrong, or closed by the browser.
    Closed = 3,
}

/// Something happened that nobody asked for.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// The shard it happened on.
    #[prost(uint32, tag = "1")]
    pub shard: u32,
    /// What happened.
    #[prost(oneof = "EventKind", tags = "2, 3")]
    pub kind: Option<EventKind>,
}

/// Kinds of events.
#[derive(Clone, PartialEq, Oneof)]
pub enum EventKind {
    /// A peer changed its state.
    #[prost(message, tag = "2")]
    Peer(PeerEvent),
    /// A shard panicked and was rebuilt from its records.
    #[prost(message, tag = "3")]
    Rebuilt(ShardRebuilt),
}

/// A peer changed its state.
#[derive(Clone, PartialEq, Message)]
pub struct PeerEvent {
    /// The peer's id.
    #[prost(uint64, tag = "1")]
    pub peer: u64,
    /// Its new state.
    #[prost(enumeration = "PeerState", tag = "2")]
    pub state: i32,
    /// Selected remote address, where there is one.
    #[prost(string, tag = "3")]
    pub remote: String,
    /// Why it closed, in words; empty otherwise.
    #[prost(string, tag = "4")]
    pub reason: String,
}

/// A shard was rebuilt.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ShardRebuilt {
    /// Peers whose calls go on.
    #[prost(uint32, tag = "1")]
    pub peers: u32,
}

/// Counters of every shard, and of what is beside them.
#[derive(Clone, PartialEq, Message)]
pub struct Counters {
    /// One entry a shard.
    #[prost(message, repeated, tag = "1")]
    pub shards: Vec<ShardCounters>,
    /// Those of the thread that TCP and TLS clients reach, in a fixed order; none when there is none.
    #[prost(message, repeated, tag = "2")]
    pub edge: Vec<Counter>,
}

/// Counters of one shard since it started.
#[derive(Clone, PartialEq, Message)]
pub struct ShardCounters {
    /// The shard.
    #[prost(uint32, tag = "1")]
    pub shard: u32,
    /// Its counters, in a fixed order.
    #[prost(message, repeated, tag = "2")]
    pub counters: Vec<Counter>,
}

/// One counter.
#[derive(Clone, PartialEq, Message)]
pub struct Counter {
    /// Its name, snake case, as in the relay's documentation.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its value.
    #[prost(uint64, tag = "2")]
    pub value: u64,
}
