//! Maximum numbers of TCP connections.

use clap::Args;

#[derive(Clone, Copy, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Sockets {
    /// Maximum number of TCP connections on each port. When it is reached, the relay closes idle connections first and
    /// then refuses new ones; signaling on its own lets new ones wait.
    #[arg(long, default_value_t = 16_384, value_name = "N")]
    pub sockets_max: usize,

    /// Maximum number of TCP connections on each port from one address; further ones are closed. 0 means unlimited, for a
    /// server behind a proxy. Connections from this machine (loopback) are not counted.
    #[arg(long, default_value_t = 4_096, value_name = "N")]
    pub sockets_per_address_max: usize,
}
