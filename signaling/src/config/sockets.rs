//! Maximum numbers of TCP connections.

use clap::Args;

#[derive(Clone, Copy, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Sockets {
    /// Maximum number of TCP connections on each port. A tenth of them may be connections that have not joined or shown the
    /// secret; when there are more, the oldest of the address with the most is closed. A twentieth is kept for the
    /// addresses in rest-allow. Should not be below participants-max.
    #[arg(long, default_value_t = 65_536, value_name = "N")]
    pub sockets_max: usize,

    /// Maximum number of TCP connections on each port from one address (IPv6: from one /64) that have not joined or shown
    /// the secret. One more closes the oldest of them. 0 means unlimited. Loopback and trusted proxies are not counted.
    #[arg(long, default_value_t = 256, value_name = "N")]
    pub sockets_per_address_max: usize,
}
