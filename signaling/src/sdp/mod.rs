//! SDP in; SDP out, with the control messages that make the relay agree.
//!
//! Publishers always offer, [`negotiate_publish`] answers. Viewers offer and [`negotiate_subscribe`] answers (OpenVidu's
//! Kurento mode), or [`offer_subscribe`] offers and [`accept_subscribe`] reads what they answer (its mediasoup mode). All
//! are pure: ids, credentials and SSRCs come with [`Terms`], nothing is read or kept, and any input gives a result or
//! an [`SdpError`]. The relay never sees SDP, and this is the only place that does.
//!
//! ```text
//! offer ── lexer ── transport · codec · extension · stream ── plan ─┬─ answer ──── text for the browser
//!          lines    what each section says, what of it is taken    └─ negotiate ─ PutPeer, PutTrack, PutSubscription
//! ```
//!
//! One offer is one transport: all its sections are in one BUNDLE group with RTCP multiplexed, or it is refused. The
//! first audio and the first video section count; further ones and anything else, data channels of old clients for
//! example, are declined with port 0.

mod answer;
mod codec;
mod error;
mod extension;
mod feedback;
mod format;
mod lexer;
pub mod limits;
mod negotiate;
mod offer;
mod plan;
mod stream;
mod transport;

pub use codec::ForcedCodec;
pub use error::{CODE_FORCED_CODEC, CODE_SDP, SdpError};
pub use format::{Format, H264Profile, format};
pub use offer::{Offered, accept_subscribe, offer_subscribe};
pub use transport::{IceCredentials, add_candidate};

use millrace_control::{CodecKind, PutPeer, PutSubscription, PutTrack};
use std::net::SocketAddr;

/// What the offerer is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It sends.
    Publish,
    /// It receives.
    Subscribe,
}

/// Ids that the caller minted for what may come of one offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// The room.
    pub room: u64,
    /// The peer.
    pub peer: u64,
    /// Audio; `None` declines every audio section.
    pub audio: Option<KindIds>,
    /// Video; `None` declines every video section.
    pub video: Option<KindIds>,
}

/// Ids of one kind of media.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindIds {
    /// The track to publish, or to subscribe to.
    pub track: u64,
    /// The subscription. Not used by a publisher without [`Terms::loopback`].
    pub subscription: u64,
}

/// SSRCs that a viewer is to see. Not used by a publisher without [`Terms::loopback`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ssrcs {
    /// The media.
    pub media: u32,
    /// Its RTX, used where the offer has RTX.
    pub rtx: u32,
}

/// Format numbers of a stream that exists, of each kind the one first that its publisher sends. Empty for a new stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Formats<'a> {
    /// Of its audio.
    pub audio: &'a [u32],
    /// Of its video.
    pub video: &'a [u32],
}

/// What the server side brings to a negotiation.
#[derive(Clone, Debug)]
pub struct Terms<'a> {
    /// Ids for the relay.
    pub ids: &'a Ids,
    /// Our ICE credentials, unique in the relay.
    pub ice: IceCredentials,
    /// SHA-256 of the relay's certificate.
    pub fingerprint: [u8; 32],
    /// Where the shard can be reached, one host candidate each, best first.
    pub candidates: &'a [SocketAddr],
    /// Whether the same addresses and ports take media by TCP too.
    pub ice_tcp: bool,
    /// The codec family of the session.
    pub forced_video_codec: ForcedCodec,
    /// Whether a publisher without that family may use another one (`allowTranscoding`, though nothing is transcoded).
    pub fall_back: bool,
    /// What a publisher who is free to choose should use: what others in the session use already.
    pub family: Option<CodecKind>,
    /// The formats of the stream, if it exists: viewers, and a publisher who comes back, have to have them.
    pub formats: Formats<'a>,
    /// Most video a publisher may send, in kbit/s; 0 is unlimited. Goes into the answer and to the relay.
    pub receive_max_kbps: u32,
    /// Least video a publisher should send, in kbit/s. Accepted from OpenVidu's configuration, and without effect: SDP
    /// has no word for it but one that makes Chromium overrun a slow link.
    pub receive_min_kbps: u32,
    /// Whether a publisher that offers to receive gets its own stream back (`doLoopback`).
    pub loopback: bool,
    /// Id of the stream in `a=msid`, at most [`limits::MSID_LEN_MAX`] bytes. First-generation clients need it.
    pub stream_id: &'a str,
    /// CNAME of the stream, the same for its audio and video, at most [`limits::CNAME_LEN_MAX`] bytes.
    pub cname: &'a str,
    /// SSRCs of the audio we send.
    pub audio_ssrcs: Ssrcs,
    /// SSRCs of the video we send.
    pub video_ssrcs: Ssrcs,
}

/// The outcome of a negotiation.
#[derive(Clone, Debug, PartialEq)]
pub struct Negotiated {
    /// Text for the browser.
    pub answer: String,
    /// Its transport. To be put before the rest.
    pub peer: PutPeer,
    /// What it publishes.
    pub tracks: Vec<PutTrack>,
    /// What it views.
    pub subscriptions: Vec<PutSubscription>,
}

/// Answers a publisher (`publishVideo`, `reconnectStream`): we receive what it offers to send and, with
/// [`Terms::loopback`], send it back where it offers to receive.
///
/// # Errors
/// See [`SdpError`]; nothing has to be undone after one.
pub fn negotiate_publish(offer: &str, terms: &Terms<'_>) -> Result<Negotiated, SdpError> {
    negotiate::negotiate(offer, terms, Role::Publish)
}

/// Answers a viewer (`receiveVideoFrom`, `reconnectStream`): we send what it offers to receive.
///
/// # Errors
/// See [`SdpError`]; nothing has to be undone after one.
pub fn negotiate_subscribe(offer: &str, terms: &Terms<'_>) -> Result<Negotiated, SdpError> {
    negotiate::negotiate(offer, terms, Role::Subscribe)
}
