//! The ICE servers that clients are offered.

use clap::Args;

use crate::ice_servers;
use crate::session::IceServer;

#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Ice {
    /// STUN or TURN server for every connection that names none itself, as `url=turn:host:3478,username=u,credential=c`;
    /// `staticAuthSecret=s` in place of the last two makes credentials for a day. Repeatable. Without any, the relay's
    /// own STUN is offered.
    #[arg(
        long = "ice-server",
        env = "MILLRACE_ICE_SERVER",
        hide_env_values = true,
        value_name = "SERVER",
        value_parser = ice_servers::parse_text
    )]
    pub servers: Vec<IceServer>,
}
