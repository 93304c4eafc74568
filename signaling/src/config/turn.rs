//! The relay's TURN server, as both processes know it.

use clap::{ArgAction, Args};

#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Turn {
    /// Runs a TURN server in the relay; `false` turns it off.
    #[arg(id = "turn", long = "turn", value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub enabled: bool,

    /// UDP and TCP port of TURN. 0 takes any free port.
    #[arg(id = "turn-port", long = "turn-port", value_name = "N", default_value_t = 3478)]
    pub port: u16,

    /// TCP port of TURN over TLS; 0 turns it off. The HTTPS port takes TURN over TLS as well, for networks that allow
    /// nothing else. Clients get turns: addresses only with a public URL and a certificate that browsers trust.
    #[arg(id = "turn-tls-port", long = "turn-tls-port", value_name = "N", default_value_t = 5349)]
    pub tls_port: u16,

    /// Takes TURN on UDP port 443 too, for networks that block other UDP ports.
    #[arg(id = "turn-udp-443", long = "turn-udp-443")]
    pub udp_443: bool,

    /// Secret from which time-limited credentials are computed (coturn's static-auth-secret). Without it, the file
    /// `turn.secret` in the data directory is used; the first start creates it.
    #[arg(id = "turn-secret", long = "turn-secret", value_name = "S")]
    pub secret: Option<String>,
}
