//! The way in through the relay's control socket: this program is signaling, with ids and credentials of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use millrace_control as contract;
use millrace_control::{Command, ExtensionKind, MediaKind};

use super::cast::PeerPlan;
use super::control::Control;
use super::join::Far;
use super::scenario::{Scenario, Stream};
use super::source::{ExtensionIds, SourceSpec, turn};
use super::track::TrackSpec;
use crate::failure::Failure;
use crate::sdp::{IceCredentials, Kind};

/// Streams of one publisher: audio and video.
pub const STREAMS_PER_PUBLISHER: usize = 2;
/// SSRCs that a viewer sees, in the order of its tracks; its retransmissions are this much further.
const VIEWER_SSRC: u32 = 0x1000_0000;
const VIEWER_RTX: u32 = 0x0100_0000;
/// SSRC of a publisher's stream; its retransmissions have the next one.
const PUBLISHER_SSRC: u32 = 0x2000_0000;
/// Numbers of the two formats, payload types as Chromium gives them.
const AUDIO_FORMAT: u32 = 1;
const VIDEO_FORMAT: u32 = 2;
const OPUS: u8 = 111;
const VP8: u8 = 96;
const VP8_RTX: u8 = 97;
/// Extension ids, as Chromium gives them.
const IDS: [(ExtensionKind, u8); 4] = [
    (ExtensionKind::AudioLevel, 1),
    (ExtensionKind::AbsSendTime, 2),
    (ExtensionKind::TransportCc, 3),
    (ExtensionKind::Mid, 4),
];
/// Subscriptions of one peer at most, so that ids never meet.
const SUBSCRIPTIONS_MAX: u64 = 1 << 16;

/// What a peer needs to come up.
pub struct Prepared {
    /// The relay.
    pub far: Far,
    /// What it will see.
    pub tracks: Vec<TrackSpec>,
    /// What it will publish.
    pub sources: Vec<SourceSpec>,
    /// Extension id of the transport-wide number it gives feedback on.
    pub transport_cc: Option<u8>,
}

/// Number of a publisher's stream.
#[must_use]
pub const fn stream_number(publisher: usize, kind: Kind) -> usize {
    publisher * STREAMS_PER_PUBLISHER + kind as usize
}

/// The control socket, and how shards are chosen.
pub struct Direct {
    /// The connection.
    pub control: Control,
    shard: Option<u32>,
}

impl Direct {
    /// Over a connection; every session on `shard`, or one after the other on all.
    ///
    /// # Errors
    /// When there is no such shard.
    pub fn new(control: Control, shard: Option<u32>) -> Result<Self, Failure> {
        let shards = control.relay.shards.len();
        match shard {
            Some(shard) if shard as usize >= shards => {
                Err(Failure::Usage(format!("--shard {shard}: the relay has {shards}")))
            }
            _ => Ok(Self { control, shard }),
        }
    }

    fn shard_of(&self, session: usize, sessions: usize) -> (u32, u16) {
        let shards = &self.control.relay.shards;
        // The bystanders' session, behind all others, is with the first.
        let place = (session % sessions) % shards.len();
        let shard = self.shard.map_or(place, |shard| shard as usize);
        (shards[shard].shard, u16::try_from(shards[shard].port).unwrap_or(0))
    }

    /// Removes peers.
    ///
    /// # Errors
    /// When the relay is gone.
    pub async fn remove(&self, sessions: usize, peers: &[(usize, &PeerPlan)]) -> Result<(), Failure> {
        for (peer, plan) in peers {
            let (shard, _) = self.shard_of(plan.session, sessions);
            let remove = contract::RemovePeer { peer: *peer as u64 + 1 };
            self.control.put(shard, Command::RemovePeer(remove)).await?;
        }
        Ok(())
    }

    /// Puts a peer, its tracks and its subscriptions.
    ///
    /// # Errors
    /// With the relay's words when it refuses.
    pub async fn prepare(
        &self,
        scenario: &Scenario,
        peer: usize,
        plan: &PeerPlan,
        local: &IceCredentials,
        digest: [u8; 32],
    ) -> Result<Prepared, Failure> {
        let (shard, port) = self.shard_of(plan.session, scenario.sessions);
        let ours = IceCredentials { ufrag: format!("lt{peer:06}"), ..IceCredentials::generate() };
        let put = put_peer(scenario, peer, plan, (&ours, local), digest);
        self.control.put(shard, Command::PutPeer(put)).await?;
        let mut sources = Vec::new();
        for (mid, stream) in scenario.streams.iter().enumerate() {
            let Some(publisher) = plan.publishes else { break };
            let put = put_track(peer, publisher, mid, stream);
            sources.push(source(scenario, peer, publisher, mid, stream, &put));
            self.control.put(shard, Command::PutTrack(put)).await?;
        }
        let mut tracks = Vec::new();
        for publisher in &plan.watches {
            for stream in &scenario.streams {
                let number = stream_number(*publisher, stream.kind);
                let ssrc = VIEWER_SSRC + tracks.len() as u32;
                let put = put_subscription(peer, tracks.len(), ssrc, number, stream.kind);
                self.control.put(shard, Command::PutSubscription(put)).await?;
                tracks.push(TrackSpec { ssrc, stream: number, group: plan.group });
            }
        }
        let fingerprint = self.control.relay.fingerprint.as_slice().try_into();
        let fingerprint = fingerprint
            .map_err(|_| Failure::Late("the relay's fingerprint is not of 32 bytes".to_owned()))?;
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let transport_cc = scenario.twcc.then_some(3);
        Ok(Prepared { far: Far { address, ice: ours, fingerprint }, tracks, sources, transport_cc })
    }
}

fn put_peer(
    scenario: &Scenario,
    peer: usize,
    plan: &PeerPlan,
    (ours, theirs): (&IceCredentials, &IceCredentials),
    digest: [u8; 32],
) -> contract::PutPeer {
    let publishes = plan.publishes.is_some();
    // What signaling takes from Chromium's offer: a viewer gets what is forwarded, and what the relay stamps itself only
    // where it gives feedback on it.
    let wanted = |kind: ExtensionKind| match kind {
        ExtensionKind::AbsSendTime | ExtensionKind::TransportCc => publishes || scenario.twcc,
        _ => true,
    };
    let extensions = IDS
        .iter()
        .filter(|(kind, _)| wanted(*kind))
        .map(|(kind, id)| contract::Extension { kind: *kind as i32, id: u32::from(*id) })
        .collect();
    contract::PutPeer {
        room: plan.session as u64 + 1,
        peer: peer as u64 + 1,
        local_ufrag: ours.ufrag.clone(),
        local_pwd: ours.pwd.clone(),
        remote_ufrag: theirs.ufrag.clone(),
        remote_pwd: theirs.pwd.clone(),
        dtls_role: contract::DtlsRole::Server as i32,
        remote_fingerprint: digest.to_vec(),
        extensions,
        receive_max_bps: 0,
        transport_cc: publishes,
        ..contract::PutPeer::default()
    }
}

fn put_track(peer: usize, publisher: usize, mid: usize, stream: &Stream) -> contract::PutTrack {
    let number = stream_number(publisher, stream.kind);
    let video = stream.kind == Kind::Video;
    let ssrc = PUBLISHER_SSRC + 2 * number as u32;
    contract::PutTrack {
        track: number as u64 + 1,
        peer: peer as u64 + 1,
        mid: mid.to_string(),
        kind: media_kind(stream.kind) as i32,
        codecs: vec![codec(stream.kind)],
        ssrcs: vec![contract::SignaledSsrc { ssrc, rtx_ssrc: video.then_some(ssrc + 1) }],
        nack: video,
        pli: video,
        fir: video,
    }
}

fn put_subscription(
    peer: usize,
    at: usize,
    ssrc: u32,
    stream: usize,
    kind: Kind,
) -> contract::PutSubscription {
    contract::PutSubscription {
        subscription: (peer as u64 + 1) * SUBSCRIPTIONS_MAX + at as u64,
        peer: peer as u64 + 1,
        track: stream as u64 + 1,
        mid: (16 + at).to_string(),
        ssrc,
        rtx_ssrc: (kind == Kind::Video).then_some(ssrc + VIEWER_RTX),
        codecs: vec![codec(kind)],
        cname: format!("p{}", stream / STREAMS_PER_PUBLISHER),
        kind: media_kind(kind) as i32,
        ..contract::PutSubscription::default()
    }
}

fn source(
    scenario: &Scenario,
    peer: usize,
    publisher: usize,
    mid: usize,
    stream: &Stream,
    put: &contract::PutTrack,
) -> SourceSpec {
    let extensions =
        ExtensionIds { mid: Some(4), abs_send_time: Some(2), transport_cc: Some(3), audio_level: Some(1) };
    SourceSpec {
        peer,
        stream: stream_number(publisher, stream.kind),
        kind: stream.kind,
        frames: stream.frames.clone(),
        ssrc: put.ssrcs.first().map_or(0, |signaled| signaled.ssrc),
        payload_type: if stream.kind == Kind::Video { VP8 } else { OPUS },
        extensions,
        mid: mid.to_string(),
        offset: turn(publisher, scenario.seed),
    }
}

const fn media_kind(kind: Kind) -> MediaKind {
    match kind {
        Kind::Audio => MediaKind::Audio,
        Kind::Video => MediaKind::Video,
    }
}

fn codec(kind: Kind) -> contract::Codec {
    let (format, codec, payload_type, rtx) = match kind {
        Kind::Audio => (AUDIO_FORMAT, contract::CodecKind::Opaque, OPUS, None),
        Kind::Video => (VIDEO_FORMAT, contract::CodecKind::Vp8, VP8, Some(VP8_RTX)),
    };
    contract::Codec {
        format,
        kind: codec as i32,
        payload_type: u32::from(payload_type),
        clock_rate_hz: kind.clock_hz(),
        rtx_payload_type: rtx.map(u32::from),
    }
}
