//! A published stream, and one viewer's subscription to it.

use millrace_control::{Codec, MediaKind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Media;

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
    /// The transport it comes over now.
    pub media: Media,
}

impl Stream {
    /// Formats of that kind as its publisher agreed to them, the one first that it sends. They stay when it comes back.
    pub fn formats(&self, kind: MediaKind) -> Vec<u32> {
        self.codecs(kind).iter().map(|codec| codec.format).collect()
    }

    /// The publisher's payload types of that kind, the one first that it sends.
    pub fn codecs(&self, kind: MediaKind) -> &[Codec] {
        let track = self.media.tracks.iter().find(|track| track.kind() == kind);
        track.map_or(&[], |track| &track.codecs)
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
    /// The transport it goes over.
    pub media: Media,
}
