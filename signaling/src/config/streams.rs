//! Defaults of streams, and their placement.

use clap::Args;

use crate::session::{ForcedVideoCodec, Offerer};

#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Streams {
    /// Maximum video bit rate that a client may send, in kbit/s. 0 means unlimited.
    #[arg(long, default_value_t = 1_000)]
    pub video_max_recv_kbps: u32,

    /// Minimum video bit rate that a client should send, in kbit/s.
    #[arg(long, default_value_t = 300)]
    pub video_min_recv_kbps: u32,

    /// Maximum video bit rate that a client receives of one stream, in kbit/s. 0 means unlimited, as does no value. All
    /// viewers of a stream get the same encoding, so the publisher is limited to the highest limit of its viewers.
    #[arg(long)]
    pub video_max_send_kbps: Option<u32>,

    /// Minimum video bit rate that a client should receive of one stream, in kbit/s.
    #[arg(long, default_value_t = 300)]
    pub video_min_send_kbps: u32,

    /// Video codec of sessions that set none: MEDIA_SERVER_PREFERRED (VP8), NONE, VP8, VP9, H264 or AV1.
    #[arg(long, value_parser = parse_codec,
          default_value = "MEDIA_SERVER_PREFERRED")]
    pub forced_video_codec: ForcedVideoCodec,

    /// Lets publishers without the forced codec use another one, in sessions that set nothing. Nothing is transcoded: a
    /// viewer that cannot decode the stream's codec gets error 800.
    #[arg(long)]
    pub allow_transcoding: bool,

    /// Negotiation in sessions that set none: kurento (viewers send the offer) or mediasoup (the server sends the
    /// offer).
    #[arg(long, value_parser = parse_media_server, default_value = "kurento")]
    pub media_server: Offerer,

    /// Maximum number of viewer connections of one session on the shard of its publishers. Further ones go to the shard
    /// with the least load. 0 keeps every session on one shard.
    #[arg(long, default_value_t = 150)]
    pub viewers_per_shard: usize,
}

fn parse_codec(name: &str) -> Result<ForcedVideoCodec, String> {
    ForcedVideoCodec::parse(name)
        .ok_or_else(|| "not one of MEDIA_SERVER_PREFERRED, NONE, VP8, VP9, H264, AV1".into())
}

fn parse_media_server(name: &str) -> Result<Offerer, String> {
    media_server_named(name).ok_or_else(|| "neither kurento nor mediasoup".into())
}

/// The OpenVidu media server whose clients negotiate in that way.
pub const fn media_server(offerer: Offerer) -> &'static str {
    match offerer {
        Offerer::Viewer => "kurento",
        Offerer::Server => "mediasoup",
    }
}

/// How clients of the OpenVidu media server of that name negotiate.
pub fn media_server_named(name: &str) -> Option<Offerer> {
    [Offerer::Viewer, Offerer::Server].into_iter().find(|offerer| media_server(*offerer) == name)
}
