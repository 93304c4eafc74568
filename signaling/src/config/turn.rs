//! What clients are told of the relay's TURN server.

use clap::{ArgAction, Args};

#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Turn {
    /// Whether the relay has a TURN server of its own, which clients are told of; `false` for none.
    #[arg(
        id = "turn", long = "turn",
        env = "MILLRACE_TURN",
        value_name = "BOOL",
        default_value_t = true,
        action = ArgAction::Set
    )]
    pub enabled: bool,

    /// Port of TURN, UDP and TCP.
    #[arg(id = "turn_port", long = "turn-port", env = "MILLRACE_TURN_PORT", default_value_t = 3478)]
    pub port: u16,

    /// Port of TURN over TLS; 0 is off. Clients are told of it where there is a public URL and a certificate of the operator's.
    #[arg(
        id = "turn_tls_port",
        long = "turn-tls-port",
        env = "MILLRACE_TURN_TLS_PORT",
        default_value_t = 5349
    )]
    pub tls_port: u16,

    /// TURN is on UDP port 443 too.
    #[arg(id = "turn_udp_443", long = "turn-udp-443", env = "MILLRACE_TURN_UDP_443")]
    pub udp_443: bool,

    /// Secret that credentials of TURN are made from. Without it, the one that the relay keeps in the data directory.
    #[arg(id = "turn_secret", long = "turn-secret", env = "MILLRACE_TURN_SECRET", hide_env_values = true)]
    pub secret: Option<String>,

    /// Seconds that credentials of TURN are good.
    #[arg(
        id = "turn_credential_lifetime_s",
        long = "turn-credential-lifetime-s",
        env = "MILLRACE_TURN_CREDENTIAL_LIFETIME_S",
        value_name = "S",
        default_value_t = 86_400,
        value_parser = clap::value_parser!(u64).range(60..=31_536_000)
    )]
    pub credential_lifetime_s: u64,
}
