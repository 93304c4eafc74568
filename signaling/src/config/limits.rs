//! How much of everything there may be.

use clap::Args;

#[derive(Clone, Copy, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Limits {
    /// Most sessions at a time; beyond, POST /sessions answers 503.
    #[arg(long, env = "MILLRACE_SESSIONS_MAX", default_value_t = 20_000)]
    pub sessions_max: usize,

    /// Most connections of one session, those that wait to be used included; beyond, 503.
    #[arg(long, env = "MILLRACE_CONNECTIONS_PER_SESSION_MAX", default_value_t = 2_000)]
    pub connections_per_session_max: usize,

    /// Most TCP connections of each of the two ports; beyond, new ones wait.
    #[arg(long, env = "MILLRACE_SOCKETS_MAX", default_value_t = 16_384)]
    pub sockets_max: usize,

    /// Most of them from one address; beyond, new ones are closed. 0 is any number, for a server behind a proxy; from
    /// loopback any number may come.
    #[arg(long, env = "MILLRACE_SOCKETS_PER_ADDRESS_MAX", default_value_t = 4_096)]
    pub sockets_per_address_max: usize,
}
