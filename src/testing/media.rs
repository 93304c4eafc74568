//! Media that looks like media to the relay: right at the front, numbered, else fill.

use std::time::Duration;

use millrace_control as contract;

/// What a source sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Opus,
    Vp8,
    Vp9,
    H264,
    Av1,
}

impl Codec {
    pub(crate) const fn is_video(self) -> bool {
        !matches!(self, Self::Opus)
    }

    pub(crate) const fn media_kind(self) -> contract::MediaKind {
        if self.is_video() { contract::MediaKind::Video } else { contract::MediaKind::Audio }
    }

    pub(crate) const fn clock_rate_hz(self) -> u32 {
        if self.is_video() { 90_000 } else { 48_000 }
    }

    pub(crate) const fn frame_time(self) -> Duration {
        Duration::from_millis(if self.is_video() { 40 } else { 20 })
    }

    /// As signaling would describe it; RTX goes by the next payload type.
    pub(crate) fn on(self, payload_type: u8) -> contract::Codec {
        let kind = match self {
            Self::Opus => contract::CodecKind::Opaque,
            Self::Vp8 => contract::CodecKind::Vp8,
            Self::Vp9 => contract::CodecKind::Vp9,
            Self::H264 => contract::CodecKind::H264,
            Self::Av1 => contract::CodecKind::Av1,
        };
        contract::Codec {
            format: self as u32 + 1,
            kind: kind as i32,
            payload_type: payload_type.into(),
            clock_rate_hz: self.clock_rate_hz(),
            rtx_payload_type: self.is_video().then_some(u32::from(payload_type) + 1),
        }
    }

    /// First bytes of a payload.
    const fn head(self, key: bool, first: bool) -> &'static [u8] {
        match (self, key, first) {
            (Self::Opus, ..) => &[0x78],
            (Self::Vp8, true, true) => &[0x90, 0x80, 0x11, 0x10, 0x02],
            (Self::Vp8, false, true) => &[0x90, 0x80, 0x11, 0x11, 0x02],
            (Self::Vp8, _, false) => &[0x80, 0x80, 0x11],
            (Self::Vp9, true, true) => &[0x88, 0x11, 0x82],
            (Self::Vp9, false, true) => &[0xC8, 0x11, 0x82],
            (Self::Vp9, true, false) => &[0x80, 0x11],
            (Self::Vp9, false, false) => &[0xC0, 0x11],
            (Self::H264, true, true) => &[0x7C, 0x85, 0x88],
            (Self::H264, false, true) => &[0x7C, 0x81, 0x88],
            (Self::H264, true, false) => &[0x7C, 0x05],
            (Self::H264, false, false) => &[0x7C, 0x01],
            (Self::Av1, true, true) => &[0x58, 0x08],
            (Self::Av1, false, true) => &[0x50, 0x30],
            (Self::Av1, _, false) => &[0x90, 0x30],
        }
    }

    /// A payload nobody else has.
    pub(crate) fn payload(self, key: bool, first: bool, number: u32) -> Vec<u8> {
        let len = if self.is_video() { 200 + number as usize % 900 } else { 80 };
        let fill = (0..len).map(|place| (number as usize * 31 + place) as u8);
        self.head(key, first).iter().copied().chain(number.to_be_bytes()).chain(fill).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::CodecKind;

    #[test]
    fn the_relay_finds_our_key_frames_and_no_others() {
        let kinds = [CodecKind::Vp8, CodecKind::Vp9, CodecKind::H264, CodecKind::Av1];
        for (codec, kind) in [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1].into_iter().zip(kinds) {
            for (key, first) in [(true, true), (true, false), (false, true), (false, false)] {
                let payload = codec.payload(key, first, 7);
                assert_eq!(kind.is_keyframe_start(&payload), key && first, "{codec:?} {key} {first}");
            }
        }
    }
}
