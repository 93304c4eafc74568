//! The content of a load packet. Behind what makes it pass for VP8 or Opus stand a number and the time of sending, and
//! then bytes that depend on source and place alone, so that a packet costs one copy to make and one compare to check.

use crate::sdp::Kind;

/// A VP8 payload descriptor with a 15-bit picture id (RFC 7741 §4.2) and the ten bytes of a key frame header
/// (RFC 6386 §9.1).
const VIDEO_PREFIX_LEN: usize = 14;
/// The TOC of Opus (RFC 6716 §3.1).
const AUDIO_PREFIX_LEN: usize = 1;
/// Check, source, number, time.
const STAMP_LEN: usize = 16;
/// Smallest payload of a video packet.
pub const VIDEO_LEN_MIN: usize = VIDEO_PREFIX_LEN + STAMP_LEN;
/// Smallest payload of an audio packet.
pub const AUDIO_LEN_MIN: usize = AUDIO_PREFIX_LEN + STAMP_LEN;
/// Largest payload.
pub const LEN_MAX: usize = 1500;

const OPUS_TOC: u8 = 0xfc;
const KEY_FRAME: [u8; 10] = [0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x01];
const INTER_FRAME: [u8; 10] = [0x11, 0x02, 0x00, 1, 2, 3, 4, 5, 6, 7];
const WITHIN_FRAME: [u8; 10] = [0xa5; 10];

/// Where a packet stands in its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Opens a key frame.
    KeyStart,
    /// Opens another frame.
    Start,
    /// Goes on with one.
    Within,
}

/// What a packet says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Position in its stream, from 0.
    pub number: u32,
    /// The process's clock when it was written, in nanoseconds.
    pub sent_ns: u64,
}

/// The bytes of one source's packets.
#[derive(Clone, Debug)]
pub struct Template {
    kind: Kind,
    source: u16,
    filler: Vec<u8>,
}

impl Template {
    /// Of a source, with packets of at most `len_max` bytes.
    #[must_use]
    pub fn new(kind: Kind, source: u16, len_max: usize) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ (u64::from(source) << 32) | 1;
        let mut byte = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        };
        Self { kind, source, filler: (0..len_max.min(LEN_MAX)).map(|_| byte()).collect() }
    }

    /// Writes a payload over the whole of `out`, which must hold the kind's smallest payload.
    pub fn write(&self, stamp: Stamp, place: Place, picture_id: u16, out: &mut [u8]) {
        let prefix_len = match self.kind {
            Kind::Video => {
                let start = if place == Place::Within { 0 } else { 0x10 };
                let [high, low] = (picture_id & 0x7fff).to_be_bytes();
                out[..4].copy_from_slice(&[0x80 | start, 0x80, 0x80 | high, low]);
                out[4..VIDEO_PREFIX_LEN].copy_from_slice(match place {
                    Place::KeyStart => &KEY_FRAME,
                    Place::Start => &INTER_FRAME,
                    Place::Within => &WITHIN_FRAME,
                });
                VIDEO_PREFIX_LEN
            }
            Kind::Audio => {
                out[0] = OPUS_TOC;
                AUDIO_PREFIX_LEN
            }
        };
        let (head, body) = out[prefix_len..].split_at_mut(STAMP_LEN);
        head[..2].copy_from_slice(&check(self.source, stamp).to_be_bytes());
        head[2..4].copy_from_slice(&self.source.to_be_bytes());
        head[4..8].copy_from_slice(&stamp.number.to_be_bytes());
        head[8..].copy_from_slice(&stamp.sent_ns.to_be_bytes());
        let from = prefix_len + STAMP_LEN;
        body.copy_from_slice(&self.filler[from..from + body.len()]);
    }

    /// Reads a payload back. `None` when any byte is not what this source wrote.
    #[must_use]
    pub fn read(&self, payload: &[u8]) -> Option<Stamp> {
        let prefix_len = match self.kind {
            Kind::Video => {
                let [first, 0x80, high, _, prefix @ ..] = payload else { return None };
                let opens = first & 0x1f == 0x10;
                let known = |shape: &[u8]| prefix.starts_with(shape);
                let fits =
                    if opens { known(&KEY_FRAME) || known(&INTER_FRAME) } else { known(&WITHIN_FRAME) };
                if first & 0x80 == 0 || high & 0x80 == 0 || !fits {
                    return None;
                }
                VIDEO_PREFIX_LEN
            }
            Kind::Audio => (*payload.first()? == OPUS_TOC).then_some(AUDIO_PREFIX_LEN)?,
        };
        let (head, body) = payload.get(prefix_len..)?.split_at_checked(STAMP_LEN)?;
        let number = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let mut time = [0; 8];
        time.copy_from_slice(&head[8..]);
        let stamp = Stamp { number, sent_ns: u64::from_be_bytes(time) };
        let from = prefix_len + STAMP_LEN;
        let genuine = head[..2] == check(self.source, stamp).to_be_bytes()
            && head[2..4] == self.source.to_be_bytes()
            && self.filler.get(from..from + body.len()) == Some(body);
        genuine.then_some(stamp)
    }
}

fn check(source: u16, stamp: Stamp) -> u16 {
    let mut mixed = stamp.sent_ns ^ (u64::from(stamp.number) << 24) ^ (u64::from(source) << 8);
    mixed = mixed.wrapping_mul(0xff51_afd7_ed55_8ccd);
    (mixed >> 48) as u16 ^ (mixed >> 32) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { number: 70_000, sent_ns: 123_456_789 };

    #[test]
    fn what_is_written_is_read_in_every_size() {
        for (kind, min) in [(Kind::Video, VIDEO_LEN_MIN), (Kind::Audio, AUDIO_LEN_MIN)] {
            let template = Template::new(kind, 5, 1200);
            for place in [Place::KeyStart, Place::Start, Place::Within] {
                for len in [min, min + 1, 120, 1200] {
                    let mut payload = vec![0; len];
                    template.write(STAMP, place, 77, &mut payload);
                    assert_eq!(template.read(&payload), Some(STAMP), "{kind:?} {place:?} {len}");
                }
            }
        }
    }

    #[test]
    fn a_changed_byte_and_a_crossed_stream_show() {
        let template = Template::new(Kind::Video, 5, 200);
        let mut payload = vec![0; 200];
        template.write(STAMP, Place::KeyStart, 77, &mut payload);
        assert_eq!(Template::new(Kind::Video, 6, 200).read(&payload), None);
        for at in 4..payload.len() {
            payload[at] ^= 0x40;
            assert_eq!(template.read(&payload), None, "byte {at}");
            payload[at] ^= 0x40;
        }
        for len in 0..VIDEO_LEN_MIN {
            assert_eq!(template.read(&payload[..len]), None, "cut to {len}");
        }
    }
}
