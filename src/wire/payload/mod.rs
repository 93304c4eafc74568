//! Payload formats, as far as the relay looks into them: does a key frame start here?
//!
//! Every function takes a decrypted payload without its padding and is total: bytes cut anywhere say no.

pub mod av1;
pub mod h264;
pub mod vp8;
pub mod vp9;

use crate::records::CodecKind;

impl CodecKind {
    /// True when `payload` is the first packet of a key frame.
    #[inline]
    pub fn is_keyframe_start(self, payload: &[u8]) -> bool {
        match self {
            Self::Opaque => false,
            Self::Vp8 => vp8::is_keyframe_start(payload),
            Self::Vp9 => vp9::is_keyframe_start(payload),
            Self::H264 => h264::is_keyframe_start(payload),
            Self::Av1 => av1::is_keyframe_start(payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::records::CodecKind as Codec;
    use crate::wire::testing::{Random, every_cut_and_change, every_length_and_first_byte};

    const ALL: [Codec; 5] = [Codec::Opaque, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];

    #[test]
    fn any_bytes_get_an_answer() {
        let check = |payload: &[u8]| ALL.iter().for_each(|codec| _ = codec.is_keyframe_start(payload));
        every_length_and_first_byte(check);
        let mut random = Random::new(71);
        for first in 0..=255 {
            let mut payload = random.bytes(24);
            payload[0] = first;
            every_cut_and_change(&payload, check);
        }
    }

    #[test]
    fn an_empty_payload_starts_nothing() {
        assert!(ALL.iter().all(|codec| !codec.is_keyframe_start(&[])));
    }

    #[test]
    fn numbers_are_those_of_the_control_contract() {
        for codec in ALL {
            assert_eq!(Codec::from_number(codec as u8), codec);
        }
        assert_eq!(Codec::from_number(200), Codec::Opaque);
    }
}
