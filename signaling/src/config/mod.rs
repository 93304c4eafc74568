//! What the operator says, and what it means: one file for each group of options.

mod certificate;
mod compat;
mod events;
mod garbage;
mod ice;
mod limits;
mod log;
mod plain;
mod private_dir;
mod rest;
mod server;
mod sockets;
mod streams;
mod timing;
mod turn;

use clap::Parser;

use crate::access::SecretsError;
pub use crate::tls::Choice;
pub use certificate::{Acme, Certificate, CertificateType, LETS_ENCRYPT};
pub use compat::{Compat, ReportedVersion, VERSION};
pub use events::Events;
pub use garbage::Garbage;
pub use ice::Ice;
pub use limits::Limits;
pub use log::Log;
pub use plain::Plain;
pub use rest::{Rest, SECRET_FILE, invitations};
pub use server::Server;
pub use sockets::Sockets;
pub use streams::Streams;
pub use timing::Timing;
pub use turn::Turn;

/// Signaling of Millrace: OpenVidu-compatible REST and WebSocket RPC.
#[derive(Clone, Debug, Parser)]
#[command(name = "millrace-signaling", version)]
pub struct Config {
    /// Where the server is found, and what it keeps where.
    #[command(flatten)]
    pub server: Server,

    /// Plain HTTP on this machine.
    #[command(flatten)]
    pub plain: Plain,

    /// How certificates are fetched.
    #[command(flatten)]
    pub acme: Acme,

    /// What streams may be and where they go.
    #[command(flatten)]
    pub streams: Streams,

    /// When sessions that nobody uses are removed.
    #[command(flatten)]
    pub garbage: Garbage,

    /// Who is told what happens, and what is written down of it.
    #[command(flatten)]
    pub events: Events,

    /// The ICE servers that clients are offered.
    #[command(flatten)]
    pub ice: Ice,

    /// The relay's TURN server.
    #[command(flatten)]
    pub turn: Turn,

    /// What older clients may do.
    #[command(flatten)]
    pub compat: Compat,

    /// How much of everything there may be.
    #[command(flatten)]
    pub limits: Limits,

    /// What of the REST API is served.
    #[command(flatten)]
    pub rest: Rest,

    /// How much is logged.
    #[command(flatten)]
    pub log: Log,

    /// Periods that only tests change.
    #[arg(skip)]
    pub timing: Timing,
}

/// A setting that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The secrets cannot be used.
    #[error(transparent)]
    Secrets(SecretsError),
    /// Events cannot be told as wanted.
    #[error("{option}: {why}")]
    Events {
        /// The option that names it.
        option: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A certificate is nothing without its key.
    #[error("--certificate-file and --certificate-key-file: give both or neither")]
    HalfCertificate,
    /// What is said about the certificate does not go together.
    #[error("--certificate-type: {0}")]
    Certificate(String),
    /// A file or directory of the data directory cannot be used.
    #[error("--data-dir: {path}: {error}")]
    DataDir {
        /// Which one.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked() {
        let parse = |option: &str, value: &str| Config::try_parse_from(["x", option, value]);
        assert!(parse("--forced-video-codec", "VP9").is_ok());
        assert!(parse("--forced-video-codec", "vp9").is_err());
        assert_eq!(parse("--public-ip", "10.0.0.1,::1").unwrap().server.public_ip.len(), 2);
    }
}
