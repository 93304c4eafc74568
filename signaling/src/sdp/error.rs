//! Why an offer was refused, in words for its sender and in OpenVidu's numbers.

use millrace_control::MediaKind;
use thiserror::Error;

/// OpenVidu's code for an offer that cannot be negotiated (`MEDIA_SDP_ERROR_CODE`).
pub const CODE_SDP: i32 = 302;
/// OpenVidu's code for an offer without the video codec that the session forces, or that the stream has.
pub const CODE_FORCED_CODEC: i32 = 800;

/// Why an offer or a candidate was refused. The text goes to the client as it is; it quotes nothing of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SdpError {
    /// One of the limits of [`super::limits`] is exceeded.
    #[error("the session description is too large: {what}")]
    TooLarge {
        /// The limit.
        what: &'static str,
    },
    /// The text is no session description.
    #[error("malformed session description, line {line}: {what}")]
    Malformed {
        /// Number of the line, from 1; 0 where the fault is no single line's.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// No section can carry what is asked for: none of a wanted kind, or none in the wanted direction.
    #[error("the offer has no audio or video section that can be used here")]
    NoMedia,
    /// `a=ice-ufrag` or `a=ice-pwd` is missing (RFC 8839 §5.4).
    #[error("the offer has no ICE credentials (a=ice-ufrag, a=ice-pwd)")]
    NoIceCredentials,
    /// No `a=fingerprint` at all; plain RTP is never accepted (RFC 8827 §6.5).
    #[error("the offer has no DTLS fingerprint (a=fingerprint)")]
    NoFingerprint,
    /// There are fingerprints, but none by SHA-256.
    #[error("the offer has no sha-256 DTLS fingerprint; other hash functions are not supported")]
    UnsupportedFingerprint,
    /// `a=setup` is missing or `holdconn` (RFC 8842 §5.2).
    #[error("the offer has no usable DTLS role (a=setup)")]
    NoSetup,
    /// Several sections, but not all in one BUNDLE group (RFC 9143).
    #[error("the offer does not bundle its sections (a=group:BUNDLE)")]
    NotBundled,
    /// RTCP on a port of its own is not supported (RFC 8834 §4.5).
    #[error("the offer does not multiplex RTCP (a=rtcp-mux)")]
    NoRtcpMux,
    /// None of the offered codecs may be used, or the one is missing that the stream has.
    #[error("the offer has no {} codec that this session can use", name(.kind))]
    NoCodec {
        /// Kind of the section.
        kind: MediaKind,
    },
    /// A trickled candidate that is none (RFC 8839 §5.1).
    #[error("malformed ICE candidate: {what}")]
    BadCandidate {
        /// What is wrong with it.
        what: &'static str,
    },
}

impl SdpError {
    /// The number that OpenVidu clients find in `error.code`.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::NoCodec { kind: MediaKind::Video } => CODE_FORCED_CODEC,
            Self::NoCodec { kind: MediaKind::Audio }
            | Self::TooLarge { .. }
            | Self::Malformed { .. }
            | Self::NoMedia
            | Self::NoIceCredentials
            | Self::NoFingerprint
            | Self::UnsupportedFingerprint
            | Self::NoSetup
            | Self::NotBundled
            | Self::NoRtcpMux
            | Self::BadCandidate { .. } => CODE_SDP,
        }
    }
}

const fn name(kind: &MediaKind) -> &'static str {
    match kind {
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
    }
}
