//! H.264 over RTP (RFC 6184 §5): single NAL units, STAP-A and FU-A, as modes 0 and 1 have them.

const NAL_TYPE_MASK: u8 = 0x1f;
// Types of NAL units (ITU-T H.264 table 7-1) and of packets (RFC 6184 table 1).
const NAL_IDR: u8 = 5;
const NAL_SPS: u8 = 7;
const PACKET_STAP_A: u8 = 24;
const PACKET_FU_A: u8 = 28;
/// S bit of the FU header (§5.8).
const FU_START: u8 = 0x80;

/// True when `payload` holds a sequence parameter set or the first slice of an IDR picture.
///
/// Senders put the parameter sets in front of each IDR picture, so a key frame usually says yes twice or more, each time
/// with the same timestamp.
#[inline]
pub fn is_keyframe_start(payload: &[u8]) -> bool {
    let Some((&head, rest)) = payload.split_first() else { return false };
    match head & NAL_TYPE_MASK {
        PACKET_STAP_A => aggregated(rest).any(|unit| {
            unit.split_first().is_some_and(|(&head, rest)| starts_keyframe(head & NAL_TYPE_MASK, rest))
        }),
        PACKET_FU_A => rest
            .split_first()
            .is_some_and(|(&fu, rest)| fu & FU_START != 0 && starts_keyframe(fu & NAL_TYPE_MASK, rest)),
        nal_type => starts_keyframe(nal_type, rest),
    }
}

/// True for parameter sets and for slices of an IDR picture that begin at its first macroblock.
fn starts_keyframe(nal_type: u8, rest: &[u8]) -> bool {
    // first_mb_in_slice comes first in a slice header as ue(v): 0 is a single set bit.
    nal_type == NAL_SPS || nal_type == NAL_IDR && rest.first().is_some_and(|byte| byte & 0x80 != 0)
}

/// Units of a STAP-A, each behind its 16-bit length (§5.7.1), up to the first that leaves the packet.
fn aggregated(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, behind) = rest.split_first_chunk::<2>()?;
        let (unit, behind) = behind.split_at_checked(u16::from_be_bytes(*len).into())?;
        rest = behind;
        Some(unit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_units() {
        assert!(is_keyframe_start(&[0x67, 0x42]), "SPS");
        assert!(is_keyframe_start(&[0x65, 0x88]), "first slice of an IDR picture");
        assert!(!is_keyframe_start(&[0x65, 0x48]), "a later slice of it");
        assert!(!is_keyframe_start(&[0x65]), "cut");
        assert!(!is_keyframe_start(&[0x68, 0xce]), "PPS");
        assert!(!is_keyframe_start(&[0x61, 0x88]), "slice of another picture");
    }

    #[test]
    fn aggregates_are_searched() {
        assert!(is_keyframe_start(&[0x78, 0, 2, 0x67, 0x42, 0, 2, 0x68, 0xce]), "SPS and PPS");
        assert!(is_keyframe_start(&[0x78, 0, 2, 0x06, 0x05, 0, 2, 0x65, 0x88]), "SEI and IDR");
        assert!(!is_keyframe_start(&[0x78, 0, 2, 0x06, 0x05, 0, 2, 0x61, 0x88]), "SEI and another slice");
        assert!(!is_keyframe_start(&[0x78, 0, 0, 0, 9, 0x67, 0x42]), "a length past the end");
    }

    #[test]
    fn fragments_count_at_their_start() {
        assert!(is_keyframe_start(&[0x7c, 0x85, 0x88]));
        assert!(!is_keyframe_start(&[0x7c, 0x05, 0x88]), "in the middle");
        assert!(!is_keyframe_start(&[0x7c, 0x45, 0x88]), "at the end");
        assert!(!is_keyframe_start(&[0x7c, 0x81, 0x88]), "of another picture");
        assert!(!is_keyframe_start(&[0x7c]), "cut");
    }
}
