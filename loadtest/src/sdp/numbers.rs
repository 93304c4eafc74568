//! Two families of payload type and header extension numbers. Half of the viewers offer other numbers than the
//! publisher, so that a relay that forwards them unchanged is found out.

/// `urn:ietf:params:rtp-hdrext:sdes:mid` (RFC 9143).
pub const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
/// Absolute send time, 24 bits.
pub const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
/// Transport-wide sequence number.
pub const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
/// Client-to-mixer audio level (RFC 6464).
pub const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

/// A browser's way to number codecs and extensions.
#[derive(Debug)]
pub struct Numbers {
    /// Payload type of Opus.
    pub opus: u8,
    /// Payload type of VP8.
    pub vp8: u8,
    /// Payload type of VP8's retransmissions.
    pub vp8_rtx: u8,
    /// Other audio lines of the offer: payload type, rtpmap, fmtp.
    pub audio_more: &'static [(u8, &'static str, &'static str)],
    /// Other video lines of the offer: payload type, rtpmap, fmtp.
    pub video_more: &'static [(u8, &'static str, &'static str)],
    /// Header extensions of the audio section.
    pub audio_extensions: &'static [(u8, &'static str)],
    /// Header extensions of the video section.
    pub video_extensions: &'static [(u8, &'static str)],
}

/// Chromium's numbers.
pub static CHROMIUM: Numbers = Numbers {
    opus: 111,
    vp8: 96,
    vp8_rtx: 97,
    audio_more: &[
        (63, "red/48000/2", "111/111"),
        (9, "G722/8000", ""),
        (0, "PCMU/8000", ""),
        (8, "PCMA/8000", ""),
        (13, "CN/8000", ""),
        (110, "telephone-event/48000", ""),
        (126, "telephone-event/8000", ""),
    ],
    video_more: &[
        (103, "H264/90000", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f"),
        (104, "rtx/90000", "apt=103"),
        (98, "VP9/90000", "profile-id=0"),
        (99, "rtx/90000", "apt=98"),
        (45, "AV1/90000", "level-idx=5;profile=0;tier=0"),
        (46, "rtx/90000", "apt=45"),
        (114, "red/90000", ""),
        (115, "rtx/90000", "apt=114"),
        (116, "ulpfec/90000", ""),
    ],
    audio_extensions: &[(1, AUDIO_LEVEL), (2, ABS_SEND_TIME), (3, TRANSPORT_CC), (4, MID)],
    video_extensions: &[
        (14, "urn:ietf:params:rtp-hdrext:toffset"),
        (2, ABS_SEND_TIME),
        (13, "urn:3gpp:video-orientation"),
        (3, TRANSPORT_CC),
        (5, "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"),
        (6, "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type"),
        (7, "http://www.webrtc.org/experiments/rtp-hdrext/video-timing"),
        (8, "http://www.webrtc.org/experiments/rtp-hdrext/color-space"),
        (4, MID),
        (10, "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"),
        (11, "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"),
    ],
};

/// Numbers in the manner of Firefox.
pub static OTHER: Numbers = Numbers {
    opus: 109,
    vp8: 120,
    vp8_rtx: 124,
    audio_more: &[
        (9, "G722/8000/1", ""),
        (0, "PCMU/8000", ""),
        (8, "PCMA/8000", ""),
        (101, "telephone-event/8000/1", "0-15"),
    ],
    video_more: &[
        (121, "VP9/90000", "max-fs=12288;max-fr=60"),
        (125, "rtx/90000", "apt=121"),
        (126, "H264/90000", "profile-level-id=42e01f;level-asymmetry-allowed=1;packetization-mode=1"),
        (127, "rtx/90000", "apt=126"),
    ],
    audio_extensions: &[(1, AUDIO_LEVEL), (3, MID), (7, TRANSPORT_CC)],
    video_extensions: &[
        (3, MID),
        (4, ABS_SEND_TIME),
        (5, "urn:ietf:params:rtp-hdrext:toffset"),
        (6, "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"),
        (7, TRANSPORT_CC),
    ],
};
