//! One payload type as a record.

use bytemuck::{Pod, Zeroable};

use crate::limits::CODECS_MAX;

/// What a payload is, as far as the relay looks into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CodecKind {
    /// Forwarded without a look: audio, and whatever we do not know.
    Opaque = 0,
    /// RFC 7741.
    Vp8 = 1,
    /// RFC 9628.
    Vp9 = 2,
    /// RFC 6184.
    H264 = 3,
    /// The AV1 RTP payload format.
    Av1 = 4,
}

impl CodecKind {
    /// The kind with this number; every other number is opaque.
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Vp8,
            2 => Self::Vp9,
            3 => Self::H264,
            4 => Self::Av1,
            _ => Self::Opaque,
        }
    }

    /// Whether it has key frames that we can tell: a viewer can begin at these only.
    pub const fn has_keyframes(self) -> bool {
        !matches!(self, Self::Opaque)
    }
}

/// One payload type of a track or a subscription. A `format` of 0 is an empty place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct CodecRecord {
    /// Signaling's number for the format, from 1.
    pub format: u32,
    /// RTP clock in Hz.
    pub clock_rate_hz: u32,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Payload type of its RTX, [`CodecRecord::NO_RTX`] where there is none.
    pub rtx_payload_type: u8,
    kind: u8,
    reserved: u8,
}

impl CodecRecord {
    /// In `rtx_payload_type`: no RTX was negotiated.
    pub const NO_RTX: u8 = u8::MAX;

    /// A codec in use.
    pub const fn new(
        format: u32,
        kind: CodecKind,
        clock_rate_hz: u32,
        payload_type: u8,
        rtx: Option<u8>,
    ) -> Self {
        let rtx_payload_type = match rtx {
            Some(payload_type) => payload_type,
            None => Self::NO_RTX,
        };
        Self { format, clock_rate_hz, payload_type, rtx_payload_type, kind: kind as u8, reserved: 0 }
    }

    /// What the payload is.
    pub const fn kind(&self) -> CodecKind {
        CodecKind::from_number(self.kind)
    }
}

/// The payload types of one track or one subscription.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct CodecTable {
    codecs: [CodecRecord; CODECS_MAX],
}

impl CodecTable {
    /// The first [`CODECS_MAX`] of `codecs`; the rest is forgotten.
    pub fn new(codecs: impl IntoIterator<Item = CodecRecord>) -> Self {
        let mut table = Self::zeroed();
        for (place, codec) in table.codecs.iter_mut().zip(codecs) {
            *place = codec;
        }
        table
    }

    /// The codecs in use.
    pub fn iter(&self) -> impl Iterator<Item = &CodecRecord> {
        self.codecs.iter().take_while(|codec| codec.format != 0)
    }

    /// The codec that media of `payload_type` is.
    pub fn by_payload_type(&self, payload_type: u8) -> Option<&CodecRecord> {
        self.iter().find(|codec| codec.payload_type == payload_type)
    }

    /// The codec that RTX of `payload_type` repairs.
    pub fn by_rtx_payload_type(&self, payload_type: u8) -> Option<&CodecRecord> {
        self.iter().find(|codec| codec.rtx_payload_type == payload_type)
    }

    /// The codec of a format.
    pub fn by_format(&self, format: u32) -> Option<&CodecRecord> {
        self.iter().find(|codec| codec.format == format)
    }

    /// The payload type of a format's RTX.
    pub fn rtx_of_format(&self, format: u32) -> Option<u8> {
        self.by_format(format).map(|codec| codec.rtx_payload_type).filter(|&rtx| rtx != CodecRecord::NO_RTX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_found_by_each_of_their_numbers() {
        let vp8 = CodecRecord::new(1, CodecKind::Vp8, 90_000, 96, Some(97));
        let opus = CodecRecord::new(9, CodecKind::Opaque, 48_000, 111, None);
        let table = CodecTable::new([vp8, opus]);
        assert_eq!(table.by_payload_type(96), Some(&vp8));
        assert_eq!(table.by_rtx_payload_type(97), Some(&vp8));
        assert_eq!(table.by_format(9), Some(&opus));
        assert_eq!(table.by_payload_type(0), None, "an empty place is no codec of payload type 0");
        assert_eq!(vp8.kind(), CodecKind::Vp8);
    }
}
