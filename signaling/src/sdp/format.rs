//! One number for each media format, the same in every offer.
//!
//! A payload type means something on one transport only. The relay matches the payload types of a publisher with those
//! of its viewers by the format number in [`millrace_control::Codec`], which is therefore a pure function of
//! what the format is: no table of a room, nothing to keep over a restart.
//!
//! | number | format | parameters that matter |
//! |---|---|---|
//! | 1 | VP8 | none (RFC 7741) |
//! | 10 + n | VP9 | `profile-id` n, 0 to 3 (RFC 9628 §6) |
//! | 20 + 2·p + m | H.264 | profile p of [`H264Profile`], `packetization-mode` m, 0 or 1 (RFC 6184 §8.1); the level is left out, as levels may differ by direction |
//! | 40 + n | AV1 | `profile` n, 0 to 2 |
//! | 100 | opus | none: what is in its fmtp line are wishes of a receiver (RFC 7587 §7) |
//! | 101 | G722 | none |
//! | 102, 103 | PCMU, PCMA | none |
//! | 104 to 106 | CN | clock: 8, 16, 32 kHz (RFC 3389) |
//! | 107 to 110 | telephone-event | clock: 8, 16, 32, 48 kHz (RFC 4733) |
//! | 1000 + n | RED of opus | n = payload type of opus: it stands inside the packets (RFC 2198 §3), which are forwarded as they are |
//!
//! Numbers are never given another meaning: both ends of a call may have been negotiated by different releases.

use millrace_control::{CodecKind, MediaKind};

/// What the answer has to know of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Format {
    /// The number.
    pub number: u32,
    /// As what the relay treats its payload.
    pub kind: CodecKind,
}

impl Format {
    /// The format that every browser must have of its family (RFC 7742 §6.2, RFC 7874 §3) and that is therefore put
    /// first in an answer: profile 0, Constrained Baseline with packetization mode 1, opus.
    #[must_use]
    pub const fn is_common(&self) -> bool {
        matches!(self.number, 1 | 10 | 21 | 40 | OPUS)
    }
}

/// H.264 profiles that browsers offer, by `profile-level-id` (RFC 6184 §8.1 table 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum H264Profile {
    /// Constrained Baseline, `42e0` and its equivalents.
    ConstrainedBaseline = 0,
    /// Baseline, `4200`.
    Baseline = 1,
    /// Main, `4d00`.
    Main = 2,
    /// Constrained High, `640c`.
    ConstrainedHigh = 3,
    /// High, `6400`.
    High = 4,
    /// High 4:4:4 Predictive, `f400`.
    High444 = 5,
}

/// Number of opus; the one format that others refer to.
pub(super) const OPUS: u32 = 100;
const RED_BASE: u32 = 1000;
const RED_MAX: u32 = RED_BASE + 127;
const VIDEO_CLOCK_HZ: u32 = 90_000;
/// `profile-level-id` where none is given: Baseline at level 1 (RFC 6184 §8.1).
const H264_DEFAULT_PROFILE_LEVEL_ID: &str = "42000a";

/// The format of one payload type, from its `a=rtpmap` (name, clock, channels; 1 where none are given) and `a=fmtp`
/// (empty where there is none). `None` for what the relay does not carry: RTX and FEC formats, other codecs,
/// parameters out of range.
#[must_use]
pub fn format(media: MediaKind, name: &str, clock_rate_hz: u32, channels: u32, fmtp: &str) -> Option<Format> {
    let name = name.to_ascii_lowercase();
    match media {
        MediaKind::Audio => audio(&name, clock_rate_hz, channels, fmtp),
        MediaKind::Video if clock_rate_hz == VIDEO_CLOCK_HZ => video(&name, fmtp),
        MediaKind::Video => None,
    }
}

fn audio(name: &str, clock_rate_hz: u32, channels: u32, fmtp: &str) -> Option<Format> {
    let number = match (name, clock_rate_hz, channels) {
        ("opus", 48_000, 2) => OPUS,
        // The clock of G.722 is 8 kHz in RTP by an old mistake (RFC 3551 §4.5.2).
        ("g722", 8_000, 1) => 101,
        ("pcmu", 8_000, 1) => 102,
        ("pcma", 8_000, 1) => 103,
        ("cn", 8_000, 1) => 104,
        ("cn", 16_000, 1) => 105,
        ("cn", 32_000, 1) => 106,
        ("telephone-event", 8_000, 1) => 107,
        ("telephone-event", 16_000, 1) => 108,
        ("telephone-event", 32_000, 1) => 109,
        ("telephone-event", 48_000, 1) => 110,
        ("red", 48_000, 2) => RED_BASE + u32::from(red_primary(fmtp)?),
        _ => return None,
    };
    Some(Format { number, kind: CodecKind::Opaque })
}

fn video(name: &str, fmtp: &str) -> Option<Format> {
    match name {
        "vp8" => Some(Format { number: 1, kind: CodecKind::Vp8 }),
        "vp9" => Some(Format { number: 10 + small_number(fmtp, "profile-id", 3)?, kind: CodecKind::Vp9 }),
        "h264" => {
            let mode = small_number(fmtp, "packetization-mode", 1)?;
            let id = parameter(fmtp, "profile-level-id").unwrap_or(H264_DEFAULT_PROFILE_LEVEL_ID);
            let profile = h264_profile(id)?;
            Some(Format { number: 20 + 2 * profile as u32 + mode, kind: CodecKind::H264 })
        }
        "av1" => Some(Format { number: 40 + small_number(fmtp, "profile", 2)?, kind: CodecKind::Av1 }),
        _ => None,
    }
}

/// What [`format`] would give that number for: the value of `a=rtpmap`, and of `a=fmtp` where there is one. `None` for
/// a number that no format has.
pub(super) fn describe(number: u32) -> Option<(&'static str, String)> {
    let (encoding, fmtp) = match number {
        1 => ("VP8/90000", String::new()),
        10..=13 => ("VP9/90000", format!("profile-id={}", number - 10)),
        20..=31 => {
            let (profile, mode) = ((number - 20) / 2, (number - 20) % 2);
            // Level 3.1, which means little: levels may differ by direction.
            let id = ["42e01f", "42001f", "4d001f", "640c1f", "64001f", "f4001f"][profile as usize];
            let fmtp = format!("level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={id}");
            ("H264/90000", fmtp)
        }
        40..=42 => ("AV1/90000", format!("profile={}", number - 40)),
        OPUS => ("opus/48000/2", "minptime=10;useinbandfec=1".to_owned()),
        101 => ("G722/8000", String::new()),
        102 => ("PCMU/8000", String::new()),
        103 => ("PCMA/8000", String::new()),
        104 => ("CN/8000", String::new()),
        105 => ("CN/16000", String::new()),
        106 => ("CN/32000", String::new()),
        107 => ("telephone-event/8000", String::new()),
        108 => ("telephone-event/16000", String::new()),
        109 => ("telephone-event/32000", String::new()),
        110 => ("telephone-event/48000", String::new()),
        RED_BASE..=RED_MAX => {
            let primary = number - RED_BASE;
            ("red/48000/2", format!("{primary}/{primary}"))
        }
        _ => return None,
    };
    Some((encoding, fmtp))
}

/// The payload type inside RED, from `a=fmtp:<red> 111/111`: all blocks must be of one type (RFC 2198 §5).
pub(super) fn red_primary(fmtp: &str) -> Option<u8> {
    let mut blocks =
        fmtp.trim().split('/').map(|block| block.parse::<u8>().ok().filter(|block| *block <= 127));
    let first = blocks.next()??;
    blocks.all(|block| block == Some(first)).then_some(first)
}

/// Value of a numeric parameter, 0 where it is not given, `None` where it is over `max`.
fn small_number(fmtp: &str, key: &str, max: u32) -> Option<u32> {
    let value = parameter(fmtp, key).map_or(Some(0), |value| value.parse().ok())?;
    (value <= max).then_some(value)
}

/// Value of `key` in `a=1;b=2`. Names compare without case, as media type parameters do (RFC 2045 §5.1).
pub(super) fn parameter<'a>(fmtp: &'a str, key: &str) -> Option<&'a str> {
    fmtp.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case(key).then(|| value.trim())
    })
}

/// RFC 6184 §8.1 table 5, on profile_idc and profile-iop.
fn h264_profile(profile_level_id: &str) -> Option<H264Profile> {
    if profile_level_id.len() != 6 || !profile_level_id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let number = u32::from_str_radix(profile_level_id, 16).ok()?;
    let (idc, iop) = (number >> 16, (number >> 8) & 0xff);
    match idc {
        0x42 if iop & 0x40 != 0 => Some(H264Profile::ConstrainedBaseline),
        0x42 => Some(H264Profile::Baseline),
        0x4d if iop & 0x80 != 0 => Some(H264Profile::ConstrainedBaseline),
        0x4d => Some(H264Profile::Main),
        0x58 if iop & 0xc0 == 0xc0 => Some(H264Profile::ConstrainedBaseline),
        0x58 if iop & 0xc0 == 0x80 => Some(H264Profile::Baseline),
        0x64 if iop == 0x0c => Some(H264Profile::ConstrainedHigh),
        0x64 => Some(H264Profile::High),
        0xf4 => Some(H264Profile::High444),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(media: MediaKind, name: &str, clock_rate_hz: u32, channels: u32, fmtp: &str) -> Option<u32> {
        format(media, name, clock_rate_hz, channels, fmtp).map(|format| format.number)
    }

    #[test]
    fn every_number_has_words_that_mean_it() {
        let mut count = 0;
        for wanted in 0..2_000 {
            let Some((encoding, fmtp)) = describe(wanted) else { continue };
            let parts: Vec<&str> = encoding.split('/').collect();
            let clock = parts[1].parse().unwrap();
            let channels = parts.get(2).map_or(1, |channels| channels.parse().unwrap());
            let media = if clock == VIDEO_CLOCK_HZ { MediaKind::Video } else { MediaKind::Audio };
            assert_eq!(number(media, parts[0], clock, channels, &fmtp), Some(wanted), "{encoding} {fmtp}");
            count += 1;
        }
        assert_eq!(count, 1 + 4 + 12 + 3 + 11 + 128);
    }

    fn video_number(name: &str, fmtp: &str) -> Option<u32> {
        number(MediaKind::Video, name, 90_000, 1, fmtp)
    }

    #[test]
    fn numbers_of_video_never_change() {
        assert_eq!(video_number("VP8", ""), Some(1));
        assert_eq!(video_number("vp9", ""), Some(10));
        assert_eq!(video_number("VP9", "profile-id=2"), Some(12));
        assert_eq!(video_number("VP9", "profile-id=4"), None);
        assert_eq!(video_number("AV1", "level-idx=5;profile=1;tier=0"), Some(41));
        assert_eq!(video_number("AV1", "level-idx=5; PROFILE = 1"), Some(41));
        for (fmtp, expected) in [
            ("", Some(22)),
            ("packetization-mode=1;profile-level-id=42e01f", Some(21)),
            ("packetization-mode=1;profile-level-id=42E034", Some(21)),
            ("packetization-mode=1;profile-level-id=58c01f", Some(21)),
            ("packetization-mode=0;profile-level-id=42001f", Some(22)),
            ("packetization-mode=1;profile-level-id=4d001f", Some(25)),
            ("packetization-mode=1;profile-level-id=640c1f", Some(27)),
            ("packetization-mode=1;profile-level-id=64001f", Some(29)),
            ("packetization-mode=1;profile-level-id=f4001f", Some(31)),
            ("packetization-mode=2;profile-level-id=42e01f", None),
            ("profile-level-id=42e0", None),
            ("profile-level-id=+2e01f", None),
            ("profile-level-id=7a001f", None),
        ] {
            assert_eq!(video_number("H264", fmtp), expected, "{fmtp}");
        }
        for declined in ["red", "ulpfec", "flexfec-03", "rtx", "H265"] {
            assert_eq!(video_number(declined, ""), None, "{declined}");
        }
        assert_eq!(number(MediaKind::Video, "VP8", 48_000, 1, ""), None);
        assert_eq!(number(MediaKind::Audio, "VP8", 90_000, 1, ""), None);
    }

    #[test]
    fn numbers_of_audio_never_change() {
        let audio = |name, clock, channels, fmtp| number(MediaKind::Audio, name, clock, channels, fmtp);
        assert_eq!(audio("opus", 48_000, 2, "minptime=10;useinbandfec=1"), Some(100));
        assert_eq!(audio("opus", 48_000, 2, "stereo=1"), Some(100));
        assert_eq!(audio("G722", 8_000, 1, ""), Some(101));
        assert_eq!(audio("PCMU", 8_000, 1, ""), Some(102));
        assert_eq!(audio("PCMA", 8_000, 1, ""), Some(103));
        assert_eq!(audio("CN", 16_000, 1, ""), Some(105));
        assert_eq!(audio("telephone-event", 48_000, 1, "0-16"), Some(110));
        assert_eq!(audio("red", 48_000, 2, "111/111"), Some(1111));
        assert_eq!(audio("red", 48_000, 2, "111/0"), None);
        assert_eq!(audio("red", 48_000, 2, "211/211"), None);
        assert_eq!(audio("red", 48_000, 2, ""), None);
        assert_eq!(audio("multiopus", 48_000, 6, ""), None);
    }
}
