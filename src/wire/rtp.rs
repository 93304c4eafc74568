//! The RTP header (RFC 3550 §5.1): read from the packet as it arrives, written into a send slot.

use std::ops::Range;

use crate::discard::Discard;

/// Length in bytes of a header without CSRCs and extension.
pub const FIXED_LEN: usize = 12;

/// RFC 3550 §5.1: the only version there is.
const VERSION: u8 = 2;
const PADDING_BIT: u8 = 0x20;
const EXTENSION_BIT: u8 = 0x10;
const MARKER_BIT: u8 = 0x80;

/// A parsed RTP header. It is read from the packet while that is still encrypted: SRTP leaves the header in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The payload ends in padding; how much only the decrypted payload tells, see [`padding_len`].
    pub padding: bool,
    /// Marker bit: for video the last packet of a frame.
    pub marker: bool,
    /// Number of CSRCs, 0 to 15.
    pub csrc_count: u8,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp in units of the payload's clock.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
    /// Whole length in bytes, with CSRCs and extension block; never more than the packet.
    pub header_len: usize,
    /// The extension block, where there is one.
    pub extension: Option<ExtensionBlock>,
}

/// Where the header extension of a packet lies (RFC 3550 §5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtensionBlock {
    /// "Defined by profile": tells the form of the elements, RFC 8285 §4.2 and §4.3.
    pub profile: u16,
    /// First byte of the elements, from the start of the packet.
    pub start: usize,
    /// End of the elements, from the start of the packet; also the end of the header.
    pub end: usize,
}

impl ExtensionBlock {
    /// The elements' bytes as a range of the packet.
    pub const fn range(&self) -> Range<usize> {
        self.start..self.end
    }
}

impl Header {
    /// Reads the header of `packet`.
    ///
    /// # Errors
    /// [`Discard::PeerRtpMalformed`] when the version is not 2, or CSRCs or the extension block leave the packet.
    #[inline]
    pub fn parse(packet: &[u8]) -> Result<Self, Discard> {
        let Some(&[flags, kind, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3]) = packet.first_chunk::<FIXED_LEN>()
        else {
            return Err(Discard::PeerRtpMalformed);
        };
        if flags >> 6 != VERSION {
            return Err(Discard::PeerRtpMalformed);
        }
        let csrc_count = flags & 0x0f;
        let csrc_end = FIXED_LEN + 4 * usize::from(csrc_count);
        let (header_len, extension) = if flags & EXTENSION_BIT == 0 {
            (csrc_end, None)
        } else {
            let block = parse_extension_block(packet, csrc_end)?;
            (block.end, Some(block))
        };
        if header_len > packet.len() {
            return Err(Discard::PeerRtpMalformed);
        }
        Ok(Self {
            padding: flags & PADDING_BIT != 0,
            marker: kind & MARKER_BIT != 0,
            csrc_count,
            payload_type: kind & !MARKER_BIT,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            header_len,
            extension,
        })
    }
}

/// The block that starts at `at`: profile, length in 32-bit words, elements.
#[inline]
fn parse_extension_block(packet: &[u8], at: usize) -> Result<ExtensionBlock, Discard> {
    let Some(&[p0, p1, l0, l1]) = packet.get(at..).and_then(|rest| rest.first_chunk::<4>()) else {
        return Err(Discard::PeerRtpMalformed);
    };
    let start = at + 4;
    let end = start + 4 * usize::from(u16::from_be_bytes([l0, l1]));
    Ok(ExtensionBlock { profile: u16::from_be_bytes([p0, p1]), start, end })
}

/// Length in bytes of the padding at the end of a decrypted `payload` whose header has the padding bit.
///
/// A payload that is padding and nothing else is allowed; it carries no media.
///
/// # Errors
/// [`Discard::PeerRtpMalformed`] when the last byte says 0, or more than there is.
#[inline]
pub fn padding_len(payload: &[u8]) -> Result<usize, Discard> {
    match payload.last() {
        Some(&count) if count != 0 && usize::from(count) <= payload.len() => Ok(usize::from(count)),
        _ => Err(Discard::PeerRtpMalformed),
    }
}

/// What goes into the first [`FIXED_LEN`] bytes of a packet we send. We send no CSRCs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedHeader {
    /// The payload ends in padding.
    pub padding: bool,
    /// An extension block follows; see [`write_block`](crate::wire::extension::write_block).
    pub extension: bool,
    /// Marker bit.
    pub marker: bool,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp in units of the payload's clock.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
}

impl FixedHeader {
    /// Writes the header to the start of `slot`; returns [`FIXED_LEN`], or 0 when the slot is shorter.
    #[inline]
    pub fn write(&self, slot: &mut [u8]) -> usize {
        let Some(out) = slot.first_chunk_mut::<FIXED_LEN>() else { return 0 };
        let flags = VERSION << 6
            | if self.padding { PADDING_BIT } else { 0 }
            | if self.extension { EXTENSION_BIT } else { 0 };
        let kind = (self.payload_type & !MARKER_BIT) | if self.marker { MARKER_BIT } else { 0 };
        let [s0, s1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [c0, c1, c2, c3] = self.ssrc.to_be_bytes();
        *out = [flags, kind, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3];
        FIXED_LEN
    }
}

#[cfg(test)]
mod tests {
    use rtp::header::Header as Oracle;
    use webrtc_util::marshal::{Marshal, Unmarshal};

    use super::*;
    use crate::wire::testing::{Random, every_cut_and_change, every_length_and_first_byte};

    /// A random valid header as the other implementation writes it.
    fn random_oracle(random: &mut Random) -> Oracle {
        let mut oracle = Oracle {
            version: 2,
            padding: random.one_in(2),
            marker: random.one_in(2),
            payload_type: random.u8() & 0x7f,
            sequence_number: random.u16(),
            timestamp: random.u32(),
            ssrc: random.u32(),
            csrc: (0..random.below(16)).map(|_| random.u32()).collect(),
            ..Oracle::default()
        };
        if random.one_in(2) {
            oracle.extension = true;
            oracle.extension_profile = 0xbede;
            for id in 1..=random.below(15) as u8 {
                let payload = (0..=random.below(16)).map(|_| random.u8()).collect::<Vec<_>>().into();
                oracle.extensions.push(rtp::header::Extension { id, payload });
            }
        }
        oracle
    }

    #[test]
    fn reads_what_another_implementation_writes() {
        let mut random = Random::new(7);
        for _ in 0..3_000 {
            let oracle = random_oracle(&mut random);
            let mut packet = oracle.marshal().unwrap().to_vec();
            let header_len = packet.len();
            packet.extend(random.bytes(20));
            let header = Header::parse(&packet).unwrap();
            assert_eq!(header.padding, oracle.padding);
            assert_eq!(header.marker, oracle.marker);
            assert_eq!(usize::from(header.csrc_count), oracle.csrc.len());
            assert_eq!(header.payload_type, oracle.payload_type);
            assert_eq!(header.sequence, oracle.sequence_number);
            assert_eq!(header.timestamp, oracle.timestamp);
            assert_eq!(header.ssrc, oracle.ssrc);
            assert_eq!(header.header_len, header_len);
            assert_eq!(header.extension.is_some(), oracle.extension);
            assert!(header.extension.is_none_or(|block| block.profile == 0xbede && block.end == header_len));
        }
    }

    #[test]
    fn another_implementation_reads_what_we_write() {
        let mut random = Random::new(8);
        for _ in 0..3_000 {
            let ours = FixedHeader {
                padding: random.one_in(2),
                extension: false,
                marker: random.one_in(2),
                payload_type: random.u8() & 0x7f,
                sequence: random.u16(),
                timestamp: random.u32(),
                ssrc: random.u32(),
            };
            let mut slot = [0xff; 20];
            assert_eq!(ours.write(&mut slot), FIXED_LEN);
            let oracle = Oracle::unmarshal(&mut &slot[..]).unwrap();
            assert_eq!(oracle.padding, ours.padding);
            assert_eq!(oracle.marker, ours.marker);
            assert_eq!(oracle.payload_type, ours.payload_type);
            assert_eq!(oracle.sequence_number, ours.sequence);
            assert_eq!(oracle.timestamp, ours.timestamp);
            assert_eq!(oracle.ssrc, ours.ssrc);
            assert!(oracle.csrc.is_empty() && !oracle.extension);
            assert_eq!(ours.write(&mut slot[..11]), 0, "no slot, nothing written");
        }
    }

    #[test]
    fn any_bytes_give_a_header_inside_the_packet_or_none() {
        let check = |packet: &[u8]| {
            if let Ok(header) = Header::parse(packet) {
                assert!(header.header_len <= packet.len());
                assert!(header.extension.is_none_or(|block| packet.get(block.range()).is_some()));
            }
            if let Ok(padding) = padding_len(packet) {
                assert!((1..=packet.len()).contains(&padding));
            }
        };
        every_length_and_first_byte(check);
        let mut random = Random::new(9);
        for _ in 0..50 {
            every_cut_and_change(&random_oracle(&mut random).marshal().unwrap(), check);
        }
    }

    #[test]
    fn known_crashers_are_refused() {
        let refused = Err(Discard::PeerRtpMalformed);
        let mut packet = [0u8; 28];
        packet[0] = 0x8f;
        assert_eq!(Header::parse(&packet[..12]), refused, "15 CSRCs in 12 bytes");
        packet[0] = 0x90;
        assert_eq!(Header::parse(&packet[..12]), refused, "X without a block");
        assert_eq!(Header::parse(&packet[..15]), refused, "half a block header");
        packet[15] = 4;
        assert_eq!(Header::parse(&packet), refused, "block past the end");
        packet[15] = 3;
        assert_eq!(Header::parse(&packet).unwrap().header_len, 28, "block to the end");
        packet[0] = 0x40;
        assert_eq!(Header::parse(&packet), refused, "version 1");
    }

    #[test]
    fn padding_is_at_least_one_byte_and_at_most_the_payload() {
        assert!(padding_len(&[]).is_err());
        assert!(padding_len(&[1, 2, 0]).is_err());
        assert!(padding_len(&[1, 2, 4]).is_err());
        assert_eq!(padding_len(&[1, 2, 3]), Ok(3));
        assert_eq!(padding_len(&[9, 9, 1]), Ok(1));
    }
}
