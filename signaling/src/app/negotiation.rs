//! Negotiates session descriptions. It makes a description for the browser and an endpoint for the relay from the
//! SDP, the session's policy and the relay's facts.

use std::net::{IpAddr, SocketAddr};

use millrace_control::{CodecKind, MediaKind, RelayHello};

use super::CallError;
use crate::config::Config;
use crate::ids;
use crate::sdp::{
    self, ForcedCodec, Formats, IceCredentials, Ids, KindIds, Negotiated, SdpError, Ssrcs, Terms,
};
use crate::session::{
    ConnectionProperties, Endpoint, ForcedVideoCodec, MediaOptions, Offer, Offerer, Session, Stream,
};

/// Length of the server's ICE user fragment, in characters. It has 71 bits, so that no two in one relay are the same.
/// The relay takes 4 to 32 characters. RFC 8839 §5.4 requires 4 at least.
const UFRAG_LEN: usize = 12;
/// Length of the server's ICE password, in characters. It has 142 bits. RFC 8839 §5.4 requires 128 bits at least. The
/// relay takes 22 to 64 characters.
const PWD_LEN: usize = 24;
const _: () = assert!(UFRAG_LEN >= 4 && UFRAG_LEN <= 32 && PWD_LEN >= 22 && PWD_LEN <= 64);

/// The inputs of a negotiation.
pub(super) struct Context<'a> {
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
    /// Decides who makes the offers to viewers in the session. The preferred video codec depends on it.
    pub offerer: Offerer,
    /// Whether a publisher may use another codec when it does not have that one.
    pub fall_back: bool,
    /// The video codec of the streams in the session, if there are any.
    pub family: Option<CodecKind>,
    /// The properties of the connection that negotiates.
    pub connection: &'a ConnectionProperties,
}

/// The tracks of a stream that a negotiation is about.
#[derive(Clone, Debug)]
pub(super) struct Tracks {
    /// The stream's audio, if it has any.
    pub audio: Option<u64>,
    /// The stream's video, if it has any.
    pub video: Option<u64>,
    /// Formats of its audio. The first one is sent. Empty for a new stream.
    pub audio_formats: Vec<u32>,
    /// Formats of its video.
    pub video_formats: Vec<u32>,
}

impl Tracks {
    /// The tracks of a stream that is not published yet.
    pub(super) fn new(options: &MediaOptions, audio: u64, video: u64) -> Self {
        Self {
            audio: options.has_audio.then_some(audio),
            video: options.has_video.then_some(video),
            audio_formats: Vec::new(),
            video_formats: Vec::new(),
        }
    }

    /// The tracks of a published stream.
    pub(super) fn of(session: &Session, stream: &Stream) -> Self {
        Self {
            audio_formats: session.formats(stream, MediaKind::Audio),
            video_formats: session.formats(stream, MediaKind::Video),
            ..Self::new(&stream.options, stream.audio_track, stream.video_track)
        }
    }
}

impl Context<'_> {
    /// Answers a publisher.
    ///
    /// # Errors
    /// When the offer cannot be used, or the relay has not announced a port, an address or a fingerprint.
    pub(super) fn publish(
        &self,
        offer: &str,
        stream: &str,
        tracks: &Tracks,
        loopback: bool,
    ) -> Result<Agreed, CallError> {
        self.negotiate(offer, stream, tracks, loopback, sdp::negotiate_publish)
    }

    /// Answers a viewer.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub(super) fn subscribe(&self, offer: &str, stream: &str, tracks: &Tracks) -> Result<Agreed, CallError> {
        self.negotiate(offer, stream, tracks, false, sdp::negotiate_subscribe)
    }

    fn negotiate(
        &self,
        offer: &str,
        stream: &str,
        tracks: &Tracks,
        loopback: bool,
        negotiate: fn(&str, &Terms<'_>) -> Result<Negotiated, SdpError>,
    ) -> Result<Agreed, CallError> {
        let local = self.local(tracks)?;
        let terms = self.terms(&local, stream, tracks, loopback);
        let agreed = negotiate(offer, &terms).map_err(CallError::from)?;
        Ok(self.agreed(agreed.answer.clone(), agreed))
    }

    /// Makes an offer of a stream to a viewer. Returns its text and the server's end of the transport.
    ///
    /// # Errors
    /// When the stream has nothing to offer, or the relay has not announced a port, an address or a fingerprint.
    pub(super) fn offer(&self, session: &Session, stream: &Stream) -> Result<(String, Endpoint), CallError> {
        let tracks = Tracks::of(session, stream);
        let local = self.local(&tracks)?;
        let terms = self.terms(&local, &stream.id, &tracks, false);
        let (audio, video) =
            (session.codecs(stream, MediaKind::Audio), session.codecs(stream, MediaKind::Video));
        let offered = sdp::offer_subscribe(audio, video, &terms).map_err(CallError::from)?;
        let endpoint = Endpoint {
            peer: offered.peer,
            inputs: Vec::new(),
            outputs: offered.subscriptions,
            shard: (self.shard != self.home).then_some(self.shard),
        };
        Ok((offered.offer, endpoint))
    }

    /// Takes a viewer's answer to `offer`.
    ///
    /// # Errors
    /// When the answer cannot be used.
    pub(super) fn accept(&self, answer: &str, tracks: &Tracks, offer: &Offer) -> Result<Agreed, CallError> {
        let local = self.local_of(&offer.local)?;
        let terms = self.terms(&local, &offer.stream, tracks, false);
        let accepted =
            sdp::accept_subscribe(answer, &offer.local.outputs, &terms).map_err(CallError::from)?;
        Ok(self.agreed(offer.local_sdp.clone(), accepted))
    }

    fn agreed(&self, local_sdp: String, negotiated: Negotiated) -> Agreed {
        let endpoint = Endpoint {
            peer: negotiated.peer,
            inputs: negotiated.tracks,
            outputs: negotiated.subscriptions,
            shard: (self.shard != self.home).then_some(self.shard),
        };
        Agreed { local_sdp, endpoint }
    }

    /// Makes the server's end of a new transport.
    fn local(&self, tracks: &Tracks) -> Result<Local, CallError> {
        let kind = |track| KindIds { track, subscription: ids::relay() };
        Ok(Local {
            ids: Ids {
                room: self.room,
                peer: ids::relay(),
                audio: tracks.audio.map(kind),
                video: tracks.video.map(kind),
            },
            ice: IceCredentials { ufrag: ids::ice(UFRAG_LEN), pwd: ids::ice(PWD_LEN) },
            fingerprint: self.fingerprint()?,
            candidates: self.candidates()?,
            // Audio and video of one stream have the same CNAME, so that players synchronise them.
            cname: format!("{:016x}", tracks.audio.or(tracks.video).unwrap_or_default()),
            audio_ssrcs: ssrcs(),
            video_ssrcs: ssrcs(),
        })
    }

    /// Makes the server's end of a transport again from the offer.
    fn local_of(&self, offered: &Endpoint) -> Result<Local, CallError> {
        let of = |kind: MediaKind| offered.outputs.iter().find(|it| it.kind() == kind);
        let kind_ids = |kind| of(kind).map(|it| KindIds { track: it.track, subscription: it.subscription });
        let ssrcs = |kind| {
            let ssrcs = of(kind).map(|it| Ssrcs { media: it.ssrc, rtx: it.rtx_ssrc.unwrap_or_default() });
            ssrcs.unwrap_or_default()
        };
        let peer = &offered.peer;
        Ok(Local {
            ids: Ids {
                room: peer.room,
                peer: peer.peer,
                audio: kind_ids(MediaKind::Audio),
                video: kind_ids(MediaKind::Video),
            },
            ice: IceCredentials { ufrag: peer.local_ufrag.clone(), pwd: peer.local_pwd.clone() },
            fingerprint: self.fingerprint()?,
            candidates: self.candidates()?,
            cname: offered.outputs.first().map(|it| it.cname.clone()).unwrap_or_default(),
            audio_ssrcs: ssrcs(MediaKind::Audio),
            video_ssrcs: ssrcs(MediaKind::Video),
        })
    }

    fn terms<'t>(&self, local: &'t Local, stream: &'t str, tracks: &'t Tracks, loopback: bool) -> Terms<'t> {
        let options = self.connection.bandwidth.clone().unwrap_or_default();
        let server = &self.config.streams;
        Terms {
            ids: &local.ids,
            ice: local.ice.clone(),
            fingerprint: local.fingerprint,
            candidates: &local.candidates,
            ice_tcp: self.takes_tcp(),
            forced_video_codec: forced(self.codec, self.offerer),
            fall_back: self.fall_back,
            family: self.family,
            formats: Formats { audio: &tracks.audio_formats, video: &tracks.video_formats },
            receive_max_kbps: options.video_max_recv_bandwidth.unwrap_or(server.video_max_recv_kbps),
            receive_min_kbps: options.video_min_recv_bandwidth.unwrap_or(server.video_min_recv_kbps),
            loopback,
            stream_id: stream,
            cname: &local.cname,
            audio_ssrcs: local.audio_ssrcs,
            video_ssrcs: local.video_ssrcs,
        }
    }

    /// The shard's port, in as many bits as the contract has.
    fn port(&self) -> Option<u32> {
        self.relay.shards.iter().find(|shard| shard.shard == self.shard).map(|shard| shard.port)
    }

    fn takes_tcp(&self) -> bool {
        self.port().is_some_and(|port| self.relay.ice_tcp_ports.contains(&port))
    }

    /// Every announced address with the shard's port.
    fn candidates(&self) -> Result<Vec<SocketAddr>, CallError> {
        let port = self
            .port()
            .and_then(|port| u16::try_from(port).ok())
            .ok_or_else(|| CallError::incomplete("a port"))?;
        let addresses = self.relay.addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok());
        let candidates: Vec<SocketAddr> = addresses.map(|address| SocketAddr::new(address, port)).collect();
        if candidates.is_empty() { Err(CallError::incomplete("an address")) } else { Ok(candidates) }
    }

    fn fingerprint(&self) -> Result<[u8; 32], CallError> {
        self.relay.fingerprint.as_slice().try_into().map_err(|_| CallError::incomplete("a fingerprint"))
    }
}

/// The server's end of a transport, and the names of the media on it.
struct Local {
    ids: Ids,
    ice: IceCredentials,
    fingerprint: [u8; 32],
    candidates: Vec<SocketAddr>,
    cname: String,
    audio_ssrcs: Ssrcs,
    video_ssrcs: Ssrcs,
}

/// The server's description, and the endpoint that belongs to it.
pub(super) struct Agreed {
    /// The server's description, as the browser gets it.
    pub local_sdp: String,
    /// The endpoint that the relay must hold.
    pub endpoint: Endpoint,
}

fn ssrcs() -> Ssrcs {
    let media = ids::ssrc();
    let rtx = std::iter::repeat_with(ids::ssrc).find(|&rtx| rtx != media).unwrap_or_default();
    Ssrcs { media, rtx }
}

const fn forced(codec: ForcedVideoCodec, offerer: Offerer) -> ForcedCodec {
    match codec {
        ForcedVideoCodec::MediaServerPreferred if matches!(offerer, Offerer::Server) => ForcedCodec::None,
        ForcedVideoCodec::MediaServerPreferred | ForcedVideoCodec::Vp8 => ForcedCodec::Vp8,
        ForcedVideoCodec::Vp9 => ForcedCodec::Vp9,
        ForcedVideoCodec::H264 => ForcedCodec::H264,
        ForcedVideoCodec::Av1 => ForcedCodec::Av1,
        ForcedVideoCodec::None => ForcedCodec::None,
    }
}
