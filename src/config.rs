//! What an operator can set of the relay.

pub mod turn;

use std::net::IpAddr;
use std::path::PathBuf;

use millrace_signaling::config::{Certificate, Log};

/// The relay's command line. Every flag can be given as an environment variable too.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "millrace-relay", version, about = "Millrace's media relay")]
pub struct Config {
    /// UDP port of shard 0; shard i uses this + i. 0 means any free port for each.
    #[arg(long, env = "MILLRACE_MEDIA_PORT", default_value_t = 40_000)]
    pub media_port: u16,

    /// Shards: threads, each on a core of its own. 0 means one for each core.
    #[arg(long, env = "MILLRACE_SHARDS", default_value_t = 0)]
    pub shards: usize,

    /// Directory of the DTLS certificate.
    #[arg(long, env = "MILLRACE_DATA_DIR", default_value = "millrace-data")]
    pub data_dir: PathBuf,

    /// Unix socket on which signaling reaches the relay [default: control.sock in the data directory]
    #[arg(long, env = "MILLRACE_CONTROL_SOCKET")]
    pub control_socket: Option<PathBuf>,

    /// Address to announce besides those of this machine's interfaces, such as the public one of a 1:1 NAT. Repeatable;
    /// announced in this order, before the others.
    #[arg(long = "public-ip", env = "MILLRACE_PUBLIC_IP", value_name = "IP", value_delimiter = ',')]
    pub public_ips: Vec<IpAddr>,

    /// What clients reach by TCP and TLS.
    #[command(flatten)]
    pub edge: Edge,

    /// How packets reach the kernel. Without it: io_uring where the kernel allows it, else recvmmsg and sendmmsg.
    #[arg(long, env = "MILLRACE_BACKEND", value_enum)]
    pub backend: Option<BackendChoice>,

    /// Its TURN server.
    #[command(flatten)]
    pub turn: turn::TurnOptions,

    /// How much is logged.
    #[command(flatten)]
    pub log: Log,

    /// File to write one line of JSON to once every shard runs: {"backend":…,"shards":[{"id":…,"port":…}],"turn_port":…,"https_port":…,"pid":…}.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,

    /// Let the control socket make a shard panic (tests of recovery).
    #[arg(long, env = "MILLRACE_ALLOW_FAULT_INJECTION", hide = true)]
    pub allow_fault_injection: bool,
}

/// What clients reach by TCP and TLS. What signaling has too is told there.
#[derive(Clone, Debug, clap::Args)]
pub struct Edge {
    /// Unix socket between the relay and signaling. With it the relay serves the port of HTTPS, together with TURN, and signaling
    /// takes HTTP there; without it signaling serves HTTPS by itself.
    #[arg(long, env = "MILLRACE_HTTP_SOCKET", value_name = "PATH")]
    pub http_socket: Option<PathBuf>,

    /// Port of HTTPS, on every address; 0 is any free one. Only served with --http-socket.
    #[arg(long, env = "MILLRACE_HTTPS_PORT", default_value_t = 4443)]
    pub https_port: u16,

    /// Takes media by TCP too (ICE-TCP), on the numbers of the media ports.
    #[arg(long, env = "MILLRACE_ICE_TCP")]
    pub ice_tcp: bool,

    /// Whose certificate HTTPS has.
    #[command(flatten)]
    pub certificate: Certificate,

    /// Most TCP connections of each port; beyond, idle ones go, and then new ones.
    #[arg(long, env = "MILLRACE_SOCKETS_MAX", default_value_t = 16_384)]
    pub sockets_max: usize,

    /// Most of them from one address. 0 is any number; from loopback any number may come.
    #[arg(long, env = "MILLRACE_SOCKETS_PER_ADDRESS_MAX", default_value_t = 4_096)]
    pub sockets_per_address_max: usize,
}

/// An IO backend by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BackendChoice {
    /// io_uring.
    Uring,
    /// recvmmsg and sendmmsg with GSO.
    Mmsg,
}

impl Config {
    /// Where signaling reaches the relay.
    pub fn control_socket(&self) -> PathBuf {
        self.control_socket.clone().unwrap_or_else(|| self.data_dir.join("control.sock"))
    }

    /// How many shards to run.
    pub fn shard_count(&self) -> usize {
        match self.shards {
            0 => std::thread::available_parallelism().map_or(1, Into::into),
            count => count,
        }
    }
}
