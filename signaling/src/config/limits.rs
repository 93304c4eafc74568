//! How much of everything there may be.

use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;

use crate::rate::Rate;

/// What a message may be set to, in bytes: an offer of a browser has to fit.
const MESSAGE_LEN_BYTES: std::ops::RangeInclusive<u64> = 16 * 1024..=1024 * 1024;

/// What the data of a connection may be set to, in bytes. Everybody is sent all of it.
const DATA_LEN_BYTES: std::ops::RangeInclusive<u64> = 0..=65_536;

#[derive(Clone, Copy, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Limits {
    /// Most sessions at a time; beyond, POST /sessions answers 503.
    #[arg(long, env = "MILLRACE_SESSIONS_MAX", default_value_t = 20_000)]
    pub sessions_max: usize,

    /// Most connections of one session, those that wait to be used included; beyond, 503.
    #[arg(long, env = "MILLRACE_CONNECTIONS_PER_SESSION_MAX", default_value_t = 2_000)]
    pub connections_per_session_max: usize,

    /// Most TCP connections of each port; beyond, new ones wait. Where the relay has the port, idle ones go first.
    #[arg(long, env = "MILLRACE_SOCKETS_MAX", default_value_t = 16_384)]
    pub sockets_max: usize,

    /// Most of them from one address; beyond, new ones are closed. 0 is any number, for a server behind a proxy; from
    /// loopback any number may come.
    #[arg(long, env = "MILLRACE_SOCKETS_PER_ADDRESS_MAX", default_value_t = 4_096)]
    pub sockets_per_address_max: usize,

    /// Most participants of all sessions; beyond, joinRoom answers 204.
    #[arg(long, env = "MILLRACE_PARTICIPANTS_MAX", default_value_t = 50_000)]
    pub participants_max: usize,

    /// Most connections of all sessions that wait to be used, each of which is a token; beyond, 503.
    #[arg(long, env = "MILLRACE_PENDING_CONNECTIONS_MAX", default_value_t = 100_000)]
    pub pending_connections_max: usize,

    /// RPC requests a second on one WebSocket, pings and signals included; beyond, they are refused with -32000, and
    /// who goes on is closed with 1008. 0 is any number.
    #[arg(long, env = "MILLRACE_RPC_PER_S_MAX", default_value_t = 200)]
    pub rpc_per_s_max: u32,

    /// As many of them may come at once. Who enters a large session watches everybody in it, with some ten requests each.
    #[arg(long, env = "MILLRACE_RPC_BURST_MAX", default_value_t = 5_000)]
    pub rpc_burst_max: u32,

    /// Bytes a second of signals and changed properties that one participant may make the others be sent; beyond, they
    /// are refused.
    #[arg(long, env = "MILLRACE_SIGNAL_BYTES_PER_S_MAX", default_value_t = 65_536,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub signal_bytes_per_s_max: u32,

    /// REST requests a second from one address; beyond, 429. 0 is any number, for a server behind a proxy.
    #[arg(long, env = "MILLRACE_REST_PER_S_MAX", default_value_t = 1_000)]
    pub rest_per_s_max: u32,

    /// As many of them may come at once.
    #[arg(long, env = "MILLRACE_REST_BURST_MAX", default_value_t = 5_000)]
    pub rest_burst_max: u32,

    /// Wrong secrets a minute from one address; beyond, no secret is looked at, and the answer is 429. 0 is any number,
    /// for a server behind a proxy, where somebody who guesses would shut everybody out.
    #[arg(long, env = "MILLRACE_WRONG_SECRETS_PER_MIN_MAX", default_value_t = 60)]
    pub wrong_secrets_per_min_max: u32,

    /// Longest RPC message and longest body of a REST request, in bytes; beyond, 1009 closes the WebSocket, and REST
    /// answers 413.
    #[arg(long, env = "MILLRACE_MESSAGE_LEN_BYTES_MAX", default_value_t = 65_536,
          value_parser = RangedU64ValueParser::<usize>::from(MESSAGE_LEN_BYTES))]
    pub message_len_bytes_max: usize,

    /// Longest data of a connection, in bytes: the application's, and as much again the client's.
    #[arg(long, env = "MILLRACE_DATA_LEN_BYTES_MAX", default_value_t = 10_000,
          value_parser = RangedU64ValueParser::<usize>::from(DATA_LEN_BYTES))]
    pub data_len_bytes_max: usize,
}

impl Limits {
    /// Requests on one WebSocket. `None` is any number.
    pub fn rpc(&self) -> Option<Rate> {
        Rate::per_second(self.rpc_per_s_max, self.rpc_burst_max)
    }

    /// REST requests from one address. `None` is any number.
    pub fn rest(&self) -> Option<Rate> {
        Rate::per_second(self.rest_per_s_max, self.rest_burst_max)
    }

    /// Wrong secrets from one address. `None` is any number.
    pub fn wrong_secrets(&self) -> Option<Rate> {
        let most = self.wrong_secrets_per_min_max;
        Rate::new(most, Duration::from_secs(60), most)
    }
}
