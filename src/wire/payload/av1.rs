//! AV1 over RTP (AV1 RTP payload format §4): an aggregation header, then OBU elements.
//!
//! ```text
//!  aggregation header:  Z  Y  W W  N - - -
//!  OBU header:          F  type(4)  X  S  -      a byte of extension behind it when X
//! ```

const CONTINUES: u8 = 0x80; // Z: the first element goes on from the packet before
const COUNT_MASK: u8 = 0x30; // W: number of elements, 0 when each has a length
const NEW_SEQUENCE: u8 = 0x08; // N: first packet of a coded video sequence
const OBU_TYPE_MASK: u8 = 0x78;
const OBU_SEQUENCE_HEADER: u8 = 1 << 3;
/// leb128 of AV1 takes eight bytes at most (AV1 §4.10.5).
const LEB128_LEN_MAX: usize = 8;

/// True when `payload` begins a coded video sequence: the N bit says so, or it holds a sequence header.
#[inline]
pub fn is_keyframe_start(payload: &[u8]) -> bool {
    let Some((&head, rest)) = payload.split_first() else { return false };
    if head & CONTINUES != 0 || rest.is_empty() {
        return false;
    }
    head & NEW_SEQUENCE != 0
        || elements(head, rest)
            .any(|element| element.first().is_some_and(|obu| obu & OBU_TYPE_MASK == OBU_SEQUENCE_HEADER))
}

/// OBU elements, up to the first that leaves the packet. The last of a counted list has no length.
fn elements(head: u8, mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    let count = (head & COUNT_MASK) >> 4;
    let mut index = 0;
    std::iter::from_fn(move || {
        index += 1;
        if rest.is_empty() {
            return None;
        }
        if index == count {
            return Some(std::mem::take(&mut rest));
        }
        let (len, behind) = split_leb128(rest)?;
        let (element, behind) = behind.split_at_checked(len)?;
        rest = behind;
        Some(element)
    })
}

/// Reads a leb128 number off the start of `bytes`; `None` when it is cut or more than 32 bits.
fn split_leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(LEB128_LEN_MAX).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).ok()?;
            return Some((usize::try_from(value).ok()?, &bytes[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEQUENCE_HEADER: u8 = 0x08;
    const FRAME: u8 = 0x30;

    #[test]
    fn the_n_bit_is_believed_on_a_first_packet() {
        assert!(is_keyframe_start(&[0x18, SEQUENCE_HEADER, 1, 2]));
        assert!(is_keyframe_start(&[0x58, SEQUENCE_HEADER]), "the last element goes on in the next packet");
        assert!(!is_keyframe_start(&[0x98, FRAME]), "but not on a continuation");
        assert!(!is_keyframe_start(&[0x18]), "nor on nothing");
    }

    #[test]
    fn without_it_a_sequence_header_is_searched() {
        assert!(is_keyframe_start(&[0x10, SEQUENCE_HEADER, 1]), "one element");
        assert!(is_keyframe_start(&[0x20, 1, FRAME, SEQUENCE_HEADER, 7]), "the second of two");
        assert!(
            is_keyframe_start(&[0x00, 2, FRAME, 9, 0x81, 0x00, SEQUENCE_HEADER]),
            "uncounted, with a long length"
        );
        assert!(!is_keyframe_start(&[0x10, FRAME, SEQUENCE_HEADER]));
        assert!(!is_keyframe_start(&[0x20, 9, FRAME, SEQUENCE_HEADER]), "a length past the end");
    }

    #[test]
    fn a_size_that_overflows_ends_the_search() {
        let mut payload = vec![0x00];
        payload.extend([0xff; 7]);
        payload.extend([0x7f, SEQUENCE_HEADER]);
        assert!(!is_keyframe_start(&payload));
        payload[8] = 0xff;
        assert!(!is_keyframe_start(&payload), "no end within eight bytes");
    }
}
