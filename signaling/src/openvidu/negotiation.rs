//! From an offer to an answer and to what the relay must hold: the one place where SDP, policy and the relay's facts
//! meet.

use std::net::{IpAddr, SocketAddr};

use millrace_control::{CodecKind, MediaKind, RelayHello};

use super::errors::{self, RpcError};
use super::ids;
use crate::config::Config;
use crate::sdp::{
    self, ForcedCodec, Formats, IceCredentials, Ids, KindIds, Negotiated, SdpError, Ssrcs, Terms,
};
use crate::session::{ConnectionProperties, ForcedVideoCodec, Media, MediaOptions, Stream};

/// Length of our ICE user fragment: 71 bits, so that two never meet in one relay. It takes 4 to 32 (RFC 8839 §5.4).
const UFRAG_LEN: usize = 12;
/// Length of our ICE password: 142 bits, of which RFC 8839 §5.4 asks for 128. The relay takes 22 to 64.
const PWD_LEN: usize = 24;
const _: () = assert!(UFRAG_LEN >= 4 && UFRAG_LEN <= 32 && PWD_LEN >= 22 && PWD_LEN <= 64);

/// What a negotiation is about.
pub struct Context<'a> {
    /// The server's limits.
    pub config: &'a Config,
    /// The relay.
    pub relay: &'a RelayHello,
    /// The shard of this PeerConnection.
    pub shard: u32,
    /// The session's shard.
    pub home: u32,
    /// The relay's id of the session.
    pub room: u64,
    /// The session's codec policy.
    pub codec: ForcedVideoCodec,
    /// Whether a publisher may use another codec when it does not have that one.
    pub fall_back: bool,
    /// The video codec of the streams in the session, if there are any.
    pub family: Option<CodecKind>,
    /// Whose PeerConnection it is.
    pub connection: &'a ConnectionProperties,
}

/// The tracks of a stream that take part.
#[derive(Clone, Debug)]
pub struct Tracks {
    /// The stream's audio, if it has any.
    pub audio: Option<u64>,
    /// The stream's video, if it has any.
    pub video: Option<u64>,
    /// Formats of its audio, the one first that is sent; empty while it is new.
    pub audio_formats: Vec<u32>,
    /// Formats of its video.
    pub video_formats: Vec<u32>,
}

impl Tracks {
    /// Those of a stream that is about to be.
    pub fn new(options: &MediaOptions, audio: u64, video: u64) -> Self {
        Self {
            audio: options.has_audio.then_some(audio),
            video: options.has_video.then_some(video),
            audio_formats: Vec::new(),
            video_formats: Vec::new(),
        }
    }

    /// Those of a stream.
    pub fn of(stream: &Stream) -> Self {
        Self {
            audio_formats: stream.formats(MediaKind::Audio),
            video_formats: stream.formats(MediaKind::Video),
            ..Self::new(&stream.options, stream.audio_track, stream.video_track)
        }
    }
}

impl Context<'_> {
    /// Answers a publisher.
    ///
    /// # Errors
    /// When the offer cannot be used, or the relay has not told all it should.
    pub fn publish(
        &self,
        offer: &str,
        stream: &str,
        tracks: &Tracks,
        loopback: bool,
    ) -> Result<Agreed, RpcError> {
        self.negotiate(offer, stream, tracks, loopback, sdp::negotiate_publish)
    }

    /// Answers a viewer.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub fn subscribe(&self, offer: &str, stream: &str, tracks: &Tracks) -> Result<Agreed, RpcError> {
        self.negotiate(offer, stream, tracks, false, sdp::negotiate_subscribe)
    }

    fn negotiate(
        &self,
        offer: &str,
        stream: &str,
        tracks: &Tracks,
        loopback: bool,
        negotiate: fn(&str, &Terms<'_>) -> Result<Negotiated, SdpError>,
    ) -> Result<Agreed, RpcError> {
        let kind = |track| KindIds { track, subscription: ids::relay() };
        let relay_ids = Ids {
            room: self.room,
            peer: ids::relay(),
            audio: tracks.audio.map(kind),
            video: tracks.video.map(kind),
        };
        let candidates = self.candidates()?;
        let options = self.connection.kurento_options.clone().unwrap_or_default();
        // The same for the audio and the video of one stream, so that players synchronise them.
        let cname = format!("{:016x}", tracks.audio.or(tracks.video).unwrap_or_default());
        let terms = Terms {
            ids: &relay_ids,
            ice: IceCredentials { ufrag: ids::ice(UFRAG_LEN), pwd: ids::ice(PWD_LEN) },
            fingerprint: self.fingerprint()?,
            candidates: &candidates,
            forced_video_codec: forced(self.codec),
            fall_back: self.fall_back,
            family: self.family,
            formats: Formats { audio: &tracks.audio_formats, video: &tracks.video_formats },
            receive_max_kbps: options
                .video_max_recv_bandwidth
                .unwrap_or(self.config.streams.video_max_recv_kbps),
            receive_min_kbps: options
                .video_min_recv_bandwidth
                .unwrap_or(self.config.streams.video_min_recv_kbps),
            send_max_kbps: options
                .video_max_send_bandwidth
                .unwrap_or(self.config.streams.video_max_send_kbps),
            loopback,
            stream_id: stream,
            cname: &cname,
            audio_ssrcs: ssrcs(),
            video_ssrcs: ssrcs(),
        };
        let agreed =
            negotiate(offer, &terms).map_err(|error| RpcError::new(error.code(), error.to_string()))?;
        let media = Media {
            peer: agreed.peer,
            tracks: agreed.tracks,
            subscriptions: agreed.subscriptions,
            shard: (self.shard != self.home).then_some(self.shard),
        };
        Ok(Agreed { local_sdp: agreed.answer, media })
    }

    /// Every announced address with the shard's port.
    fn candidates(&self) -> Result<Vec<SocketAddr>, RpcError> {
        let shard = self.relay.shards.iter().find(|shard| shard.shard == self.shard);
        let port =
            shard.and_then(|shard| u16::try_from(shard.port).ok()).ok_or_else(|| incomplete("a port"))?;
        let addresses = self.relay.addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok());
        let candidates: Vec<SocketAddr> = addresses.map(|address| SocketAddr::new(address, port)).collect();
        if candidates.is_empty() { Err(incomplete("an address")) } else { Ok(candidates) }
    }

    fn fingerprint(&self) -> Result<[u8; 32], RpcError> {
        self.relay.fingerprint.as_slice().try_into().map_err(|_| incomplete("a fingerprint"))
    }
}

/// Our description, and what makes it true.
pub struct Agreed {
    /// Our side of the PeerConnection, as the browser is sent it.
    pub local_sdp: String,
    /// What the relay must hold first.
    pub media: Media,
}

fn incomplete(what: &str) -> RpcError {
    RpcError::new(errors::MEDIA_NODE, format!("the relay has not announced {what}"))
}

fn ssrcs() -> Ssrcs {
    let media = ids::ssrc();
    let rtx = std::iter::repeat_with(ids::ssrc).find(|&rtx| rtx != media).unwrap_or_default();
    Ssrcs { media, rtx }
}

const fn forced(codec: ForcedVideoCodec) -> ForcedCodec {
    match codec {
        ForcedVideoCodec::MediaServerPreferred | ForcedVideoCodec::Vp8 => ForcedCodec::Vp8,
        ForcedVideoCodec::Vp9 => ForcedCodec::Vp9,
        ForcedVideoCodec::H264 => ForcedCodec::H264,
        ForcedVideoCodec::Av1 => ForcedCodec::Av1,
        ForcedVideoCodec::None => ForcedCodec::None,
    }
}
