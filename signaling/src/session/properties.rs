//! What the application asked for when it made a session or a connection.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Role;

/// Properties of a session, fixed at its creation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionProperties {
    /// `ROUTED` or `RELAYED`; kept for the answers only, media always goes through the relay.
    pub media_mode: String,
    /// `MANUAL` or `ALWAYS`.
    pub recording_mode: String,
    /// The id that the application chose. Empty when the server chooses it.
    pub custom_session_id: String,
    /// Kept and given back as it came, with its defaults filled in.
    pub default_recording_properties: Value,
    /// Which video codec everybody uses.
    pub forced_video_codec: ForcedVideoCodec,
    /// Whether a publisher without the forced codec may use another one. Nothing is ever transcoded: a viewer who does
    /// not have what is sent is refused.
    pub allow_transcoding: bool,
    /// Whether the viewer or the server makes the offer to watch a stream.
    #[serde(default, rename = "media_server")]
    pub offerer: Offerer,
}

impl Default for SessionProperties {
    fn default() -> Self {
        Self {
            media_mode: "ROUTED".into(),
            recording_mode: "MANUAL".into(),
            custom_session_id: String::new(),
            default_recording_properties: default_recording_properties(),
            forced_video_codec: ForcedVideoCodec::MediaServerPreferred,
            allow_transcoding: false,
            offerer: Offerer::default(),
        }
    }
}

/// The recording properties of a session that names none.
pub fn default_recording_properties() -> Value {
    json!({
        "name": "", "hasAudio": true, "hasVideo": true, "outputMode": "COMPOSED", "recordingLayout": "BEST_FIT",
        "resolution": "1280x720", "frameRate": 25, "shmSize": 536_870_912,
    })
}

/// The codec policy of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ForcedVideoCodec {
    /// The server chooses VP8, because every browser has it. If the server makes the offers to viewers, this means
    /// `None`.
    #[default]
    MediaServerPreferred,
    /// Any codec that the publisher and its viewers share.
    None,
    /// RFC 7741.
    Vp8,
    /// RFC 9628.
    Vp9,
    /// RFC 6184.
    H264,
    /// AV1. OpenVidu 2 has no such value.
    Av1,
}

impl ForcedVideoCodec {
    /// The name the protocol uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MediaServerPreferred => "MEDIA_SERVER_PREFERRED",
            Self::None => "NONE",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::H264 => "H264",
            Self::Av1 => "AV1",
        }
    }

    /// The policy of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::MediaServerPreferred, Self::None, Self::Vp8, Self::Vp9, Self::H264, Self::Av1]
            .into_iter()
            .find(|codec| codec.as_str() == name)
    }
}

/// Who makes the offer when a stream is watched. Publishers always make theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Offerer {
    /// The viewer.
    #[default]
    #[serde(rename = "kurento")]
    Viewer,
    /// The server.
    #[serde(rename = "mediasoup")]
    Server,
}

/// Properties of a connection, fixed when its token is made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConnectionProperties {
    /// What it may do.
    pub role: Role,
    /// The server's half of the connection's data.
    pub data: String,
    /// Whether recordings include it.
    pub record: bool,
    /// Bandwidth limits of this connection, absent where the server's apply.
    #[serde(rename = "kurento_options")]
    pub bandwidth: Option<BandwidthLimits>,
    /// ICE servers for this connection in place of our own.
    pub custom_ice_servers: Vec<IceServer>,
    /// Whether the client joined with the server's secret and without a token of an application. Its role does not
    /// limit it.
    #[serde(default)]
    pub by_secret: bool,
}

impl ConnectionProperties {
    /// Whether it may publish.
    pub const fn publishes(&self) -> bool {
        self.role.publishes() || self.by_secret
    }

    /// Whether it may end streams and connections of others.
    pub const fn moderates(&self) -> bool {
        self.role.moderates() || self.by_secret
    }
}

/// Limits in kbit/s; "receive" is from the client to us, 0 is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BandwidthLimits {
    /// Most that the client may send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video_max_recv_bandwidth: Option<u32>,
    /// Least that the client should send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video_min_recv_bandwidth: Option<u32>,
    /// Most that the client is sent of one stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video_max_send_bandwidth: Option<u32>,
    /// Least that the client should be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video_min_send_bandwidth: Option<u32>,
    /// Filters the client may apply; kept, but there are none.
    pub allowed_filters: Vec<String>,
}

/// One ICE server as the application gave it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IceServer {
    /// `stun:`, `stuns:`, `turn:` or `turns:` URL.
    pub url: String,
    /// User name, for TURN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password, for TURN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Secret for making short-lived TURN credentials. Clients never get it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub static_auth_secret: Option<String>,
}
