//! Limits on what clients can make grow.

use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;

use super::Sockets;
use crate::access::AccessRates;
use crate::rate::Rate;

/// Range of the message size, in bytes. An offer of a browser must fit.
const MESSAGE_LEN_BYTES: std::ops::RangeInclusive<u64> = 16 * 1024..=1024 * 1024;

/// Range of the size of a connection's data, in bytes. Every participant receives all of it.
const DATA_LEN_BYTES: std::ops::RangeInclusive<u64> = 0..=65_536;

#[derive(Clone, Copy, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Limits {
    /// Maximum number of sessions. When it is reached, POST /sessions answers 503.
    #[arg(long, default_value_t = 20_000)]
    pub sessions_max: usize,

    /// Maximum number of connections of one session, unused tokens included. When it is reached, creating one answers
    /// 503.
    #[arg(long, default_value_t = 2_000)]
    pub connections_per_session_max: usize,

    /// How many TCP connections the ports take.
    #[command(flatten)]
    pub sockets: Sockets,

    /// Maximum number of participants of all sessions. When it is reached, joinRoom answers with error 204.
    #[arg(long, default_value_t = 50_000)]
    pub participants_max: usize,

    /// Maximum number of unused tokens of all sessions. When it is reached, creating one answers 503.
    #[arg(long, default_value_t = 100_000)]
    pub pending_connections_max: usize,

    /// Requests per second that one WebSocket may send, pings and signals included. Further ones get error -32000; a
    /// client that continues is disconnected with close code 1008. 0 means unlimited.
    #[arg(long, default_value_t = 200)]
    pub rpc_per_s_max: u32,

    /// Requests that one WebSocket may send at once. A participant that joins a large session sends about ten for every
    /// stream it watches.
    #[arg(long, default_value_t = 5_000)]
    pub rpc_burst_max: u32,

    /// Ping intervals without a ping after which a client leaves its session as lost. openvidu-browser pings every 5 s, so
    /// 3 means 15 s.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub pings_missed_max: u32,

    /// Bytes per second of signals and property changes that one participant may cause to be sent to others. Further
    /// ones are refused.
    #[arg(long, default_value_t = 65_536,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub signal_bytes_per_s_max: u32,

    /// REST requests per second from one address. Further ones answer 429. 0 means unlimited, for a server behind a
    /// proxy.
    #[arg(long, default_value_t = 1_000)]
    pub rest_per_s_max: u32,

    /// REST requests that one address may send at once.
    #[arg(long, default_value_t = 5_000)]
    pub rest_burst_max: u32,

    /// Wrong secrets per minute from one address. Further wrong ones answer 429; a right secret always passes. 0 means
    /// unlimited.
    #[arg(long, default_value_t = 60)]
    pub wrong_secrets_per_min_max: u32,

    /// Attempts per minute from one address to enter by an invitation. Further ones answer 429. 0 means unlimited,
    /// for a server behind a proxy.
    #[arg(long, default_value_t = 120)]
    pub invitations_per_min_max: u32,

    /// Maximum size in bytes of an RPC message and of a REST request's body. A larger message closes the WebSocket with
    /// code 1009; a larger body answers 413.
    #[arg(long, default_value_t = 65_536,
          value_parser = RangedU64ValueParser::<usize>::from(MESSAGE_LEN_BYTES))]
    pub message_len_bytes_max: usize,

    /// Maximum size in bytes of the data of a connection. It holds for the application's data and for the client's
    /// data, each.
    #[arg(long, default_value_t = 10_000,
          value_parser = RangedU64ValueParser::<usize>::from(DATA_LEN_BYTES))]
    pub data_len_bytes_max: usize,
}

impl Limits {
    /// Rate of requests on one WebSocket. `None` means unlimited.
    pub fn rpc(&self) -> Option<Rate> {
        Rate::per_second(self.rpc_per_s_max, self.rpc_burst_max)
    }

    /// Rate of REST requests from one address. `None` means unlimited.
    pub fn rest(&self) -> Option<Rate> {
        Rate::per_second(self.rest_per_s_max, self.rest_burst_max)
    }

    /// Wrong secrets, and attempts to enter by an invitation, from one address.
    pub fn access(&self) -> AccessRates {
        let per_minute = |most| Rate::new(most, Duration::from_secs(60), most);
        AccessRates {
            wrong_secrets: per_minute(self.wrong_secrets_per_min_max),
            entries: per_minute(self.invitations_per_min_max),
        }
    }
}
