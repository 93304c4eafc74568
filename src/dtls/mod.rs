//! DTLS-SRTP (RFC 5764): the handshake that gives a transport its SRTP keys, and nothing else.
//!
//! ```text
//!   Settings::new(certificate, version)            once a process
//!   Handshake::new(role, settings, expected, …)    once ICE has validated the path, never before
//!   loop: handle_datagram / handle_timeout, then poll_output until it says Timeout
//!   Output::Connected(keys)                        the peer owns the certificate that signaling announced
//! ```
//!
//! [`SrtpKeys`] is the proof: only a finished handshake whose certificate has the expected fingerprint makes one.
//! There is no data channel, so after that the association only answers repeats of the peer's last flight and waits
//! for its close_notify.
//!
//! # What a stranger can do
//!
//! Plaintext handshake records are not authenticated, and a spoofed source address on the validated path is enough to
//! send some. What no honest peer sends is dropped before the library sees it (`filter.rs`). What breaks the library
//! nevertheless costs that association only: a new one with the same certificate takes its place.

mod certificate;
mod filter;
mod handshake;
mod keys;
#[cfg(test)]
mod tests;

pub use crate::crypto::digest::Fingerprint;
pub use certificate::Certificate;
pub use handshake::{Handshake, HandshakeError, Output, Settings, Version};
pub use keys::SrtpKeys;

/// Which side of the handshake we play. The relay answers `a=setup:passive`, so it is the server; as client against
/// Chromium it would always get the profile without GCM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Waits for the peer's ClientHello.
    Server,
    /// Sends the ClientHello.
    Client,
}
