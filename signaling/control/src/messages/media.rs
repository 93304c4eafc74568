//! Peers, tracks and subscriptions: what signaling wants the relay to hold.

use prost::{Enumeration, Message};

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
    /// What signaling wants to find again with the peer, at most [`MEMO_BYTES_MAX`](crate::MEMO_BYTES_MAX) bytes. The
    /// relay keeps it as long as the peer, also through a panic of the shard, and gives it back in snapshots. It never
    /// looks into it.
    #[prost(bytes = "vec", tag = "13")]
    pub memo: Vec<u8>,
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

/// Ends several peers. What holds for one of them holds for each: unknown ids are `Done`.
#[derive(Clone, PartialEq, Message)]
pub struct RemovePeers {
    /// Their ids, at most [`REMOVED_PEERS_MAX`](crate::REMOVED_PEERS_MAX).
    #[prost(uint64, repeated, tag = "1")]
    pub peers: Vec<u64>,
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
///
/// Under an id that exists it changes that subscription. Since version 2 the track may be another one of the same kind:
/// the subscription is then pointed at it, and sequence numbers and timestamps go on. Video waits for a key frame of the
/// new track, which the relay asks for. Viewer, SSRCs and kind stay as they were.
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
    /// counts for all of its viewers on this shard. Only for a relay that [bridges](super::RelayHello::bridges).
    #[prost(uint32, optional, tag = "10")]
    pub home: Option<u32>,
    /// Whether nothing is sent for now. Video that goes on waits for a key frame, which the relay asks for. Since
    /// version 2, as everything below.
    #[prost(bool, tag = "11")]
    pub paused: bool,
    /// Which subscriptions of a peer get bandwidth first, 0 to 255, the higher the earlier. Not used yet.
    #[prost(uint32, tag = "12")]
    pub priority: u32,
    /// Highest spatial layer to send, from 0. Not used yet.
    #[prost(uint32, optional, tag = "13")]
    pub spatial_max: Option<u32>,
    /// Highest temporal layer to send, from 0. Not used yet.
    #[prost(uint32, optional, tag = "14")]
    pub temporal_max: Option<u32>,
    /// Subscriptions of one peer with the same group, other than 0, are switched together, such as the audio and video of
    /// one tile. Not used yet.
    #[prost(uint64, tag = "15")]
    pub group: u64,
}

/// Ends a subscription.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct RemoveSubscription {
    /// The subscription's id.
    #[prost(uint64, tag = "1")]
    pub subscription: u64,
}

/// Asks a track's publisher for a key frame.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct RequestKeyframe {
    /// The track's id.
    #[prost(uint64, tag = "1")]
    pub track: u64,
}
