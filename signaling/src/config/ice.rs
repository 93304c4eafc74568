//! The ICE servers that clients are offered.

use clap::Args;

use crate::ice_servers;
use crate::session::IceServer;

#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Ice {
    /// STUN or TURN server offered to every connection that sets none itself, as
    /// `url=turn:host:3478,username=u,credential=c`. With `staticAuthSecret=s` instead of the last two, each client gets
    /// credentials for one day. Repeatable. Without any, clients are offered the relay's own servers.
    #[arg(long = "ice-server", value_name = "SERVER", value_parser = ice_servers::parse_text)]
    pub servers: Vec<IceServer>,

    /// Lifetime in seconds of the credentials for the relay's TURN server.
    #[arg(
        long,
        value_name = "S",
        default_value_t = 86_400,
        value_parser = clap::value_parser!(u64).range(60..=31_536_000)
    )]
    pub turn_credential_lifetime_s: u64,
}
