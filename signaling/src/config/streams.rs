//! What streams may be and where they go.

use clap::Args;

use crate::session::{ForcedVideoCodec, MediaServer};

#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Streams {
    /// Most video a client may send, in kbit/s; 0 is unlimited.
    #[arg(long, env = "OPENVIDU_STREAMS_VIDEO_MAX_RECV_BANDWIDTH", default_value_t = 1_000)]
    pub video_max_recv_kbps: u32,

    /// Least video a client should send, in kbit/s.
    #[arg(long, env = "OPENVIDU_STREAMS_VIDEO_MIN_RECV_BANDWIDTH", default_value_t = 300)]
    pub video_min_recv_kbps: u32,

    /// Most video a client is sent of one stream, in kbit/s; 0 is unlimited, and so it is when not given. A publisher is
    /// held to what the viewer may be sent who may be sent most.
    #[arg(long, env = "OPENVIDU_STREAMS_VIDEO_MAX_SEND_BANDWIDTH")]
    pub video_max_send_kbps: Option<u32>,

    /// Least video a client should be sent of one stream, in kbit/s.
    #[arg(long, env = "OPENVIDU_STREAMS_VIDEO_MIN_SEND_BANDWIDTH", default_value_t = 300)]
    pub video_min_send_kbps: u32,

    /// Video codec of sessions that force none: MEDIA_SERVER_PREFERRED (VP8), NONE, VP8, VP9, H264 or
    /// AV1.
    #[arg(long, env = "OPENVIDU_STREAMS_FORCED_VIDEO_CODEC", value_parser = parse_codec,
          default_value = "MEDIA_SERVER_PREFERRED")]
    pub forced_video_codec: ForcedVideoCodec,

    /// Whether publishers without the forced codec may use another one, in sessions that do not say. Nothing is
    /// transcoded: a viewer who does not have what is sent is refused.
    #[arg(long, env = "OPENVIDU_STREAMS_ALLOW_TRANSCODING")]
    pub allow_transcoding: bool,

    /// How sessions negotiate that do not say: kurento (viewers offer) or mediasoup (the server offers).
    #[arg(long, env = "MILLRACE_MEDIA_SERVER", value_parser = parse_media_server, default_value = "kurento")]
    pub media_server: MediaServer,

    /// Viewers' connections of one session on the shard of its publishers; more go where there is least to do. 0 keeps
    /// every session on one shard.
    #[arg(long, env = "MILLRACE_VIEWERS_PER_SHARD", default_value_t = 150)]
    pub viewers_per_shard: usize,
}

fn parse_codec(name: &str) -> Result<ForcedVideoCodec, String> {
    ForcedVideoCodec::parse(name)
        .ok_or_else(|| "not one of MEDIA_SERVER_PREFERRED, NONE, VP8, VP9, H264, AV1".into())
}

fn parse_media_server(name: &str) -> Result<MediaServer, String> {
    MediaServer::parse(name).ok_or_else(|| "neither kurento nor mediasoup".into())
}
