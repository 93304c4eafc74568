//! A published stream, and one viewer's subscription to it.

use millrace_control::MediaKind;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Endpoint;

/// What a publisher says about its stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MediaOptions {
    /// Whether there is audio.
    pub has_audio: bool,
    /// Whether there is video.
    pub has_video: bool,
    /// Whether the audio is on; absent without audio.
    pub audio_active: Option<bool>,
    /// Whether the video is on; absent without video.
    pub video_active: Option<bool>,
    /// `CAMERA`, `SCREEN` or `CUSTOM`; absent without video.
    pub type_of_video: Option<String>,
    /// Frames a second, -1 when not specified.
    pub frame_rate: Option<i64>,
    /// Width and height as a JSON text; absent without video.
    pub video_dimensions: Option<String>,
    /// Always `{}` today.
    pub filter: Map<String, Value>,
}

impl MediaOptions {
    /// The three letters of a stream id that tell what it is.
    pub fn id_type(&self) -> String {
        match &self.type_of_video {
            Some(kind) if self.has_video => kind.chars().take(3).collect(),
            _ if self.has_video => "CAM".into(),
            _ => "MIC".into(),
        }
    }
}

/// A published stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stream {
    /// Its id.
    pub id: String,
    /// When it was made, in ms since 1970.
    pub created_at_ms: u64,
    /// What it carries.
    pub options: MediaOptions,
    /// Relay's id of its audio. It stays when the publisher comes back on another PeerConnection, so that viewers,
    /// who are bound to it, go on.
    pub audio_track: u64,
    /// Relay's id of its video.
    pub video_track: u64,
    /// The endpoint it comes in over now.
    #[serde(default)]
    pub endpoint: u64,
    /// What releases up to 0.1 stored in place of the endpoint's id.
    #[serde(default, rename = "media", skip_serializing)]
    pub(super) stored_endpoint: Option<Box<Endpoint>>,
}

impl Stream {
    /// A new stream that comes in over `endpoint`.
    pub const fn new(
        id: String,
        created_at_ms: u64,
        options: MediaOptions,
        [audio_track, video_track]: [u64; 2],
        endpoint: u64,
    ) -> Self {
        Self { id, created_at_ms, options, audio_track, video_track, endpoint, stored_endpoint: None }
    }

    /// Relay's id of its track of that kind.
    pub const fn track(&self, kind: MediaKind) -> u64 {
        match kind {
            MediaKind::Audio => self.audio_track,
            MediaKind::Video => self.video_track,
        }
    }

    /// Relay's ids of both tracks.
    pub const fn tracks(&self) -> [u64; 2] {
        [self.audio_track, self.video_track]
    }
}

/// One viewer's subscription to one stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Subscription {
    /// When it was made, in ms since 1970.
    pub created_at_ms: u64,
    /// The stream.
    pub stream: String,
    /// Connection id of the stream's publisher.
    pub publisher: String,
    /// The endpoint it goes out over.
    #[serde(default)]
    pub endpoint: u64,
    /// What releases up to 0.1 stored in place of the endpoint's id.
    #[serde(default, rename = "media", skip_serializing)]
    pub(super) stored_endpoint: Option<Box<Endpoint>>,
}

impl Subscription {
    /// A new subscription that goes out over `endpoint`.
    pub const fn new(created_at_ms: u64, stream: String, publisher: String, endpoint: u64) -> Self {
        Self { created_at_ms, stream, publisher, endpoint, stored_endpoint: None }
    }
}
