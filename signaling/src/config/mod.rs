//! The options of signaling: one file for each group.

mod addresses;
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
pub use addresses::Addresses;
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
pub use streams::{Streams, media_server, media_server_named};
pub use timing::Timing;
pub use turn::Turn;

/// Signaling of Millrace: OpenVidu-compatible REST and WebSocket RPC.
#[derive(Clone, Debug, Parser)]
#[command(name = "millrace-signaling", version)]
pub struct Config {
    /// Ports, sockets, addresses and the data directory.
    #[command(flatten)]
    pub server: Server,

    /// Plain HTTP on this machine.
    #[command(flatten)]
    pub plain: Plain,

    /// How certificates are fetched.
    #[command(flatten)]
    pub acme: Acme,

    /// Defaults of streams, and their placement.
    #[command(flatten)]
    pub streams: Streams,

    /// Removal of unused sessions.
    #[command(flatten)]
    pub garbage: Garbage,

    /// Webhook and call detail records.
    #[command(flatten)]
    pub events: Events,

    /// The ICE servers that clients are offered.
    #[command(flatten)]
    pub ice: Ice,

    /// The relay's TURN server.
    #[command(flatten)]
    pub turn: Turn,

    /// Compatibility with older clients.
    #[command(flatten)]
    pub compat: Compat,

    /// Limits on what clients can make grow.
    #[command(flatten)]
    pub limits: Limits,

    /// The secret of the REST API, and who may use it.
    #[command(flatten)]
    pub rest: Rest,

    /// Logging.
    #[command(flatten)]
    pub log: Log,

    /// Times that are no options; tests change them.
    #[arg(skip)]
    pub timing: Timing,
}

/// A wrong setting.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The secrets cannot be used.
    #[error(transparent)]
    Secrets(SecretsError),
    /// An option of events is wrong.
    #[error("{option}: {why}")]
    Events {
        /// The option that names it.
        option: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A certificate without a key, or a key without a certificate.
    #[error("--certificate-file and --certificate-key-file: give both or neither")]
    HalfCertificate,
    /// The options of the certificate contradict each other.
    #[error("--certificate-type: {0}")]
    Certificate(String),
    /// A file or directory of the data directory cannot be used.
    #[error("--data-dir: {path}: {error}")]
    DataDir {
        /// Its path.
        path: String,
        /// The system's error.
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
