//! The command line of `millrace`.

use std::net::IpAddr;
use std::path::PathBuf;

use millrace_signaling::config::Log;

use crate::config::BackendChoice;
use crate::config::turn::TurnOptions;

/// Video calls on your own machine: starts the media relay and signaling, and keeps both running.
///
/// Without any flag it works: embedded defaults, a certificate of its own, a secret made at the first start and kept
/// in the data directory. `millrace config --help` tells of the file of settings.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "millrace", version)]
pub struct Options {
    /// Port of HTTPS: page, REST API and WebSocket. 0 means any free one.
    #[arg(long, env = "MILLRACE_HTTPS_PORT", default_value_t = 4443, value_name = "N")]
    pub https_port: u16,

    /// Port of plain HTTP, on loopback only, for trying it without a certificate warning. 0 means any free one.
    #[arg(long, env = "MILLRACE_HTTP_PORT", default_value_t = 4480, value_name = "N")]
    pub http_port: u16,

    /// UDP port of shard 0; shard i uses N+i. 0 means any free ones.
    #[arg(long, env = "MILLRACE_MEDIA_PORT", default_value_t = 40_000, value_name = "N")]
    pub media_port: u16,

    /// Shards of the relay: threads, each on a core of its own. 0 means one for each core.
    #[arg(long, env = "MILLRACE_SHARDS", default_value_t = 0, value_name = "N")]
    pub shards: usize,

    /// The relay's TURN server.
    #[command(flatten)]
    pub turn: TurnOptions,

    /// Where everything that must last is kept: secret, certificates, sessions.
    #[arg(long, env = "MILLRACE_DATA_DIR", default_value = "millrace-data", value_name = "DIR")]
    pub data_dir: PathBuf,

    /// Secret of the REST API. Without it one is made and kept in the data directory.
    #[arg(long, env = "MILLRACE_SECRET", value_name = "S", hide_env_values = true)]
    pub secret: Option<String>,

    /// Address to announce to browsers besides those of this machine, such as the public one of a 1:1 NAT. Repeatable.
    #[arg(long = "public-ip", env = "MILLRACE_PUBLIC_IP", value_name = "IP", value_delimiter = ',')]
    pub public_ips: Vec<IpAddr>,

    /// Where applications and browsers reach this server, such as `https://meet.example.org`. Without it the name that a
    /// request came under counts.
    #[arg(long, env = "MILLRACE_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,

    /// Takes media by TCP too (ICE-TCP), on the numbers of the media ports.
    #[arg(long, env = "MILLRACE_ICE_TCP")]
    pub ice_tcp: bool,

    /// How packets reach the kernel. Without it: io_uring where the kernel allows it, else recvmmsg and sendmmsg.
    #[arg(long, env = "MILLRACE_BACKEND", value_enum)]
    pub backend: Option<BackendChoice>,

    /// Most that a publisher may send, in kbit/s; 0 is unlimited (OPENVIDU_STREAMS_VIDEO_MAX_RECV_BANDWIDTH).
    #[arg(
        long,
        env = "OPENVIDU_STREAMS_VIDEO_MAX_RECV_BANDWIDTH",
        default_value_t = 1000,
        value_name = "KBPS"
    )]
    pub video_max_recv_kbps: u32,

    /// Viewers' connections of one session on the shard of its publishers; more go to other shards. 0 keeps every session
    /// on one shard.
    #[arg(long, env = "MILLRACE_VIEWERS_PER_SHARD", default_value_t = 150, value_name = "N")]
    pub viewers_per_shard: usize,

    /// Let applications on openvidu-browser 1.x make and enter sessions by `?secret=` in the URL. For development: whoever
    /// reads such a page has the secret.
    #[arg(long, env = "MILLRACE_FIRST_GENERATION_SECRET")]
    pub first_generation_secret: bool,

    /// How much is logged.
    #[command(flatten)]
    pub log: Log,

    /// Print one line of JSON on standard output once all is ready, for programs; logs go to standard error.
    #[arg(long)]
    pub json: bool,

    /// Let tests make parts fail on purpose.
    #[arg(long, hide = true)]
    pub allow_fault_injection: bool,
}
