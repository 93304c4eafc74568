//! The few parts of SDP a simulated peer needs: an offer that looks like a browser's and the facts of the answer.

pub mod answer;
pub mod numbers;
pub mod offer;

/// What an m-section carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Opus.
    Audio,
    /// VP8.
    Video,
}

impl Kind {
    /// As written in the m-line and in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }

    /// RTP clock of the codec in Hz.
    #[must_use]
    pub fn clock_hz(self) -> u32 {
        match self {
            Self::Audio => 48_000,
            Self::Video => 90_000,
        }
    }

    /// The codec's rtpmap name.
    #[must_use]
    pub fn codec(self) -> &'static str {
        match self {
            Self::Audio => "opus/48000/2",
            Self::Video => "VP8/90000",
        }
    }
}

/// One side's ICE credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceCredentials {
    /// User fragment.
    pub ufrag: String,
    /// Password.
    pub pwd: String,
}

impl IceCredentials {
    /// Fresh ones in Chromium's lengths (4 and 24 characters).
    #[must_use]
    pub fn generate() -> Self {
        Self { ufrag: random_ice_chars(4), pwd: random_ice_chars(24) }
    }
}

fn random_ice_chars(len: usize) -> String {
    /// ice-char (RFC 8839 §5.4).
    const CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    (0..len).map(|_| char::from(CHARS[usize::from(rand::random::<u8>() & 63)])).collect()
}
