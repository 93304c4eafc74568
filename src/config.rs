//! What an operator can set of the relay.

pub mod turn;

use millrace_signaling::config::{Log, Server, Sockets, Turn};

/// The command line of `millrace-relay`. The groups of [`millrace_signaling::config`] are options of both processes.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "millrace-relay", version, about = "Millrace's media relay")]
pub struct Config {
    /// Ports, sockets, addresses and the data directory.
    #[command(flatten)]
    pub server: Server,

    /// How many TCP connections the ports take.
    #[command(flatten)]
    pub sockets: Sockets,

    /// Shards and their ports.
    #[command(flatten)]
    pub media: Media,

    /// What both processes know of the TURN server.
    #[command(flatten)]
    pub turn: Turn,

    /// What only the relay knows of it.
    #[command(flatten)]
    pub turn_server: turn::TurnServer,

    /// How much is logged.
    #[command(flatten)]
    pub log: Log,
}

// A doc comment on a group of options would become the description of the whole program.
#[derive(Clone, Debug, clap::Args)]
#[allow(missing_docs, reason = "see above")]
pub struct Media {
    /// UDP port of shard 0; shard i uses N+i. 0 takes any free port for each.
    #[arg(long, default_value_t = 40_000, value_name = "N")]
    pub media_port: u16,

    /// Number of shards: threads of the relay, each on its own core. 0 means one for each core.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub shards: usize,

    /// Takes media over TCP too (ICE-TCP, RFC 6544), on the same port numbers as UDP.
    #[arg(long)]
    pub ice_tcp: bool,

    /// How packets reach the kernel. Without it, io_uring if the kernel allows it, else recvmmsg and sendmmsg.
    #[arg(long, value_enum)]
    pub backend: Option<BackendChoice>,
}

/// An IO backend by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BackendChoice {
    /// io_uring.
    Uring,
    /// recvmmsg and sendmmsg with GSO.
    Mmsg,
}

impl Media {
    /// How many shards to run.
    pub fn shard_count(&self) -> usize {
        match self.shards {
            0 => std::thread::available_parallelism().map_or(1, Into::into),
            count => count,
        }
    }
}
