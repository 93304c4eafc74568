//! VP8 over RTP (RFC 7741 §4.2): a payload descriptor of 1 to 6 bytes, then the VP8 frame.

const EXTENDED: u8 = 0x80; // X, first byte
const START_OF_PARTITION: u8 = 0x10; // S, first byte
const PARTITION_MASK: u8 = 0x07; // PID, first byte
const PICTURE_ID: u8 = 0x80; // I, extension byte
const TL0_PICTURE: u8 = 0x40; // L
const TEMPORAL_LAYER: u8 = 0x20; // T
const KEY_INDEX: u8 = 0x10; // K
const PICTURE_ID_LONG: u8 = 0x80; // M, first byte of the picture id
/// P bit of the frame header (RFC 6386 §9.1): 0 for a key frame.
const INTER_FRAME: u8 = 0x01;

/// True when `payload` begins the first partition of a key frame.
#[inline]
pub fn is_keyframe_start(payload: &[u8]) -> bool {
    let Some(&first) = payload.first() else { return false };
    if first & START_OF_PARTITION == 0 || first & PARTITION_MASK != 0 {
        return false;
    }
    let frame = descriptor_len(payload).and_then(|len| payload.get(len));
    frame.is_some_and(|frame| frame & INTER_FRAME == 0)
}

/// Length of the payload descriptor in bytes, if it is all there.
fn descriptor_len(payload: &[u8]) -> Option<usize> {
    if payload.first()? & EXTENDED == 0 {
        return Some(1);
    }
    let extension = payload.get(1)?;
    let mut len = 2;
    if extension & PICTURE_ID != 0 {
        len += if payload.get(len)? & PICTURE_ID_LONG != 0 { 2 } else { 1 };
    }
    if extension & TL0_PICTURE != 0 {
        len += 1;
    }
    if extension & (TEMPORAL_LAYER | KEY_INDEX) != 0 {
        len += 1;
    }
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_header_behind_any_descriptor_is_found() {
        let key = [0x10, 0x02, 0x00, 0x9d];
        let inter = [0x11, 0x02, 0x00, 0x9d];
        let descriptors: [&[u8]; 7] = [
            &[0x10],
            &[0x90, 0x00],
            &[0x90, 0x80, 0x11],
            &[0x90, 0x80, 0x81, 0x23],
            &[0x90, 0xc0, 0x81, 0x23, 0x07],
            &[0x90, 0xe0, 0x81, 0x23, 0x07, 0x40],
            &[0x90, 0x10, 0x05],
        ];
        for descriptor in descriptors {
            assert!(is_keyframe_start(&[descriptor, &key].concat()), "{descriptor:?}");
            assert!(!is_keyframe_start(&[descriptor, &inter].concat()), "{descriptor:?}");
            assert!(!is_keyframe_start(descriptor), "nothing behind {descriptor:?}");
        }
    }

    #[test]
    fn only_the_start_of_the_first_partition_counts() {
        assert!(!is_keyframe_start(&[0x00, 0x10, 0x02]), "in the middle of a partition");
        assert!(!is_keyframe_start(&[0x11, 0x10, 0x02]), "start of the second partition");
        assert!(is_keyframe_start(&[0x30, 0x10, 0x02]), "a non-reference key frame, odd as it is");
    }
}
