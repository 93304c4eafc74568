//! VP9 over RTP (RFC 9628 §4.2): a payload descriptor, then the VP9 frame of one layer.

const PICTURE_ID: u8 = 0x80; // I
const INTER_PREDICTED: u8 = 0x40; // P
const LAYERS: u8 = 0x20; // L
const START_OF_FRAME: u8 = 0x08; // B
const PICTURE_ID_LONG: u8 = 0x80; // M, first byte of the picture id
const SPATIAL_LAYER_MASK: u8 = 0x0e; // SID of the layer byte: | TID (3) | U | SID (3) | D |
const INTER_LAYER: u8 = 0x01; // D

/// True when `payload` begins a picture that is predicted from none before it, in its lowest spatial layer.
#[inline]
pub fn is_keyframe_start(payload: &[u8]) -> bool {
    let Some(&first) = payload.first() else { return false };
    if first & INTER_PREDICTED != 0 || first & START_OF_FRAME == 0 {
        return false;
    }
    let mut at = 1;
    if first & PICTURE_ID != 0 {
        let Some(picture_id) = payload.get(at) else { return false };
        at += if picture_id & PICTURE_ID_LONG != 0 { 2 } else { 1 };
    }
    // Upper spatial layers of a key picture are P = 0 too, but lean on the lower ones.
    let lowest = |layer: &u8| layer & (SPATIAL_LAYER_MASK | INTER_LAYER) == 0;
    if first & LAYERS != 0 && !payload.get(at).is_some_and(lowest) {
        return false;
    }
    payload.len() > at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_without_prediction_starts_a_stream() {
        assert!(is_keyframe_start(&[0x08, 0x82]));
        assert!(is_keyframe_start(&[0x88, 0x12, 0x82]), "with a short picture id");
        assert!(is_keyframe_start(&[0x88, 0x81, 0x23, 0x82]), "with a long one");
        assert!(is_keyframe_start(&[0xaa, 0x81, 0x23, 0x00, 0x00, 0x18, 0x82]), "with layers and structure");
    }

    #[test]
    fn other_pictures_packets_and_layers_do_not() {
        assert!(!is_keyframe_start(&[0x48, 0x82]), "inter-predicted");
        assert!(!is_keyframe_start(&[0x04, 0x82]), "the end of a frame");
        assert!(!is_keyframe_start(&[0xa8, 0x81, 0x23, 0x02, 0x00]), "the second spatial layer");
        assert!(!is_keyframe_start(&[0xa8, 0x81, 0x23, 0x0e, 0x00]), "the eighth");
        assert!(!is_keyframe_start(&[0xa8, 0x81, 0x23]), "cut before the layer");
    }
}
