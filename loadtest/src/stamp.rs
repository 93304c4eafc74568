//! The content of a packet's payload: behind a codec prefix that makes it pass for VP8 or Opus come a number, the
//! time of sending and a pattern that depends on the number, so that any change of a byte shows.

use crate::sdp::Kind;

/// Length of a VP8 payload descriptor with a 15-bit picture id (RFC 7741 §4.2).
pub const DESCRIPTOR_LEN: usize = 4;
/// Bytes that imitate the codec's own header: a VP8 key frame header is 10 bytes (RFC 6386 §9.1).
const PREFIX_LEN: usize = 10;
/// Magic, phase, flags, source, number, time, timestamp, frame, length.
const STAMP_LEN: usize = 34;
/// Smallest payload that holds descriptor, prefix and stamp.
pub const PAYLOAD_LEN_MIN: usize = DESCRIPTOR_LEN + PREFIX_LEN + STAMP_LEN;

const MAGIC: &[u8; 4] = b"MRLT";
/// Opus TOC of a 20 ms CELT full-band frame (RFC 6716 §3.1).
const OPUS_TOC: u8 = 0xfc;

const FLAG_MARKER: u8 = 1;
const FLAG_KEY: u8 = 2;
const FLAG_FRAME_START: u8 = 4;

/// The part of a run a packet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Sent until every viewer has seen something.
    WarmUp,
    /// Counted.
    Measured,
    /// Sent afterwards, so that a viewer knows that nothing more will come.
    Trailer,
}

/// What a payload says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Part of the run.
    pub phase: Phase,
    /// Which publisher and kind, so that crossed streams show.
    pub source: u16,
    /// Position within the phase, from 0.
    pub number: u64,
    /// Publisher's [`crate::clock::now_us`] when it was sent.
    pub sent_us: u64,
    /// The RTP timestamp the publisher used.
    pub timestamp: u32,
    /// Number of the frame.
    pub frame: u32,
    /// Whether the publisher set the marker bit.
    pub marker: bool,
    /// Whether the frame is a key frame; always true for audio.
    pub key: bool,
    /// Whether the packet opens its frame.
    pub frame_start: bool,
}

/// Why a payload is not what a publisher sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corrupt {
    /// Too short, wrong magic, or another length than stamped.
    Shape,
    /// The codec's descriptor or header changed its meaning.
    Codec,
    /// Stamp and pattern do not agree.
    Pattern,
}

impl Stamp {
    /// Appends a payload of `len` bytes (at least [`PAYLOAD_LEN_MIN`]).
    pub fn write(&self, kind: Kind, picture_id: u16, len: usize, out: &mut Vec<u8>) {
        debug_assert!(len >= PAYLOAD_LEN_MIN, "no room for the stamp");
        let start = out.len();
        match kind {
            Kind::Video => {
                self.write_descriptor(picture_id, out);
                self.write_vp8_prefix(out);
            }
            Kind::Audio => out.extend_from_slice(&[OPUS_TOC; PREFIX_LEN]),
        }
        let body = out.len();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[self.phase as u8, self.flags()]);
        out.extend_from_slice(&self.source.to_be_bytes());
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.sent_us.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.frame.to_be_bytes());
        let body_len = start + len - body;
        out.extend_from_slice(&u16::try_from(body_len).unwrap_or(u16::MAX).to_be_bytes());
        let mut pattern = Pattern::new(&out[body..]);
        out.resize(start + len, 0);
        pattern.fill(&mut out[body + STAMP_LEN..]);
    }

    /// Reads a payload back and checks every byte.
    ///
    /// # Errors
    /// [`Corrupt`] says what is wrong with it.
    pub fn read(kind: Kind, payload: &[u8]) -> Result<Self, Corrupt> {
        let (frame_start, payload) = match kind {
            Kind::Video => read_descriptor(payload)?,
            Kind::Audio => (true, payload),
        };
        let (prefix, body) = payload.split_at_checked(PREFIX_LEN).ok_or(Corrupt::Shape)?;
        let stamp = Self::read_body(body)?;
        let codec_fits = match kind {
            Kind::Video => {
                let mut expected = Vec::with_capacity(PREFIX_LEN);
                stamp.write_vp8_prefix(&mut expected);
                expected == prefix && stamp.frame_start == frame_start
            }
            Kind::Audio => prefix == [OPUS_TOC; PREFIX_LEN],
        };
        if codec_fits { Ok(stamp) } else { Err(Corrupt::Codec) }
    }

    fn read_body(body: &[u8]) -> Result<Self, Corrupt> {
        let (head, pattern) = body.split_at_checked(STAMP_LEN).ok_or(Corrupt::Shape)?;
        let phase = match head[4] {
            0 => Phase::WarmUp,
            1 => Phase::Measured,
            2 => Phase::Trailer,
            _ => return Err(Corrupt::Shape),
        };
        if &head[..4] != MAGIC || usize::from(u16::from_be_bytes([head[32], head[33]])) != body.len() {
            return Err(Corrupt::Shape);
        }
        if !Pattern::new(head).matches(pattern) {
            return Err(Corrupt::Pattern);
        }
        let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let long = |at: usize| (u64::from(word(at)) << 32) | u64::from(word(at + 4));
        Ok(Self {
            phase,
            source: u16::from_be_bytes([head[6], head[7]]),
            number: long(8),
            sent_us: long(16),
            timestamp: word(24),
            frame: word(28),
            marker: head[5] & FLAG_MARKER != 0,
            key: head[5] & FLAG_KEY != 0,
            frame_start: head[5] & FLAG_FRAME_START != 0,
        })
    }

    fn flags(&self) -> u8 {
        let bit = |set, flag| if set { flag } else { 0 };
        bit(self.marker, FLAG_MARKER) | bit(self.key, FLAG_KEY) | bit(self.frame_start, FLAG_FRAME_START)
    }

    /// X and S, then I with a 15-bit picture id, as Chromium sends a single layer.
    fn write_descriptor(&self, picture_id: u16, out: &mut Vec<u8>) {
        let start = if self.frame_start { 0x10 } else { 0 };
        let [high, low] = (picture_id & 0x7fff).to_be_bytes();
        out.extend_from_slice(&[0x80 | start, 0x80, 0x80 | high, low]);
    }

    /// The first bytes of a VP8 frame (RFC 6386 §9.1), or filler within one.
    fn write_vp8_prefix(&self, out: &mut Vec<u8>) {
        match (self.frame_start, self.key) {
            // Key frame, version 0, shown; start code; 640 x 480.
            (true, true) => {
                out.extend_from_slice(&[0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x01])
            }
            (true, false) => out.extend_from_slice(&[0x11, 0x02, 0x00, 1, 2, 3, 4, 5, 6, 7]),
            (false, _) => out.extend_from_slice(&[0xa5; PREFIX_LEN]),
        }
    }
}

/// Reads a descriptor of any form a relay may turn ours into; returns its S bit (of partition 0) and the rest.
fn read_descriptor(payload: &[u8]) -> Result<(bool, &[u8]), Corrupt> {
    let byte = |at: usize| payload.get(at).copied().ok_or(Corrupt::Shape);
    let first = byte(0)?;
    let mut at = 1;
    if first & 0x80 != 0 {
        let extension = byte(1)?;
        at = 2;
        if extension & 0x80 != 0 {
            at += if byte(at)? & 0x80 != 0 { 2 } else { 1 };
        }
        if extension & 0x40 != 0 {
            at += 1;
        }
        if extension & 0x30 != 0 {
            at += 1;
        }
    }
    let rest = payload.get(at..).ok_or(Corrupt::Shape)?;
    Ok((first & 0x1f == 0x10, rest))
}

/// Bytes that follow from a seed: xorshift64, eight at a time.
struct Pattern(u64);

impl Pattern {
    /// Seeded with every byte of the stamp.
    fn new(stamp: &[u8]) -> Self {
        let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Self(stamp.iter().fold(0xcbf2_9ce4_8422_2325, mix) | 1)
    }

    fn next(&mut self) -> [u8; 8] {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_le_bytes()
    }

    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&self.next()[..chunk.len()]);
        }
    }

    fn matches(mut self, bytes: &[u8]) -> bool {
        bytes.chunks(8).all(|chunk| chunk == &self.next()[..chunk.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(frame_start: bool, key: bool) -> Stamp {
        Stamp {
            phase: Phase::Measured,
            source: 3,
            number: 70_000,
            sent_us: 12_345,
            timestamp: 0xfff0_0000,
            frame: 9,
            marker: true,
            key,
            frame_start,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for (kind, frame_start, key) in [
            (Kind::Video, true, true),
            (Kind::Video, true, false),
            (Kind::Video, false, true),
            (Kind::Audio, true, true),
        ] {
            for len in [PAYLOAD_LEN_MIN, PAYLOAD_LEN_MIN + 1, 1100] {
                let mut payload = Vec::new();
                stamp(frame_start, key).write(kind, 0x1234, len, &mut payload);
                assert_eq!(payload.len(), len);
                assert_eq!(Stamp::read(kind, &payload), Ok(stamp(frame_start, key)));
            }
        }
    }

    #[test]
    fn any_flipped_bit_behind_the_descriptor_shows() {
        let mut payload = Vec::new();
        stamp(true, true).write(Kind::Video, 5, 200, &mut payload);
        for at in DESCRIPTOR_LEN..payload.len() {
            for bit in 0..8 {
                payload[at] ^= 1 << bit;
                assert!(Stamp::read(Kind::Video, &payload).is_err(), "byte {at} bit {bit}");
                payload[at] ^= 1 << bit;
            }
        }
        for len in 0..payload.len() {
            assert!(Stamp::read(Kind::Video, &payload[..len]).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn a_relay_may_rewrite_the_picture_id_but_not_the_frame_start() {
        let mut payload = Vec::new();
        stamp(true, true).write(Kind::Video, 5, 200, &mut payload);
        let mut shorter = vec![0x90, 0x80, 0x07];
        shorter.extend_from_slice(&payload[DESCRIPTOR_LEN..]);
        assert!(Stamp::read(Kind::Video, &shorter).is_ok());
        payload[0] ^= 0x10;
        assert_eq!(Stamp::read(Kind::Video, &payload), Err(Corrupt::Codec));
    }
}
