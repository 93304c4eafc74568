//! The extension block of a packet that goes out: what is carried, the viewer's MID, and the stamps of its transport.
//!
//! Viewers who negotiated the same ids and have the same MID get the same block but for two bytes, so a block is written
//! once for many of them.

use super::carried::{Carried, ENTRIES_MAX};
use super::extension::{Entry, ExtensionMap, Kind, PROFILE_ONE_BYTE, write_block};
use crate::limits::HEADER_EXTENSION_BYTES_MAX;
use crate::time::Timestamp;

/// Elements of a block: what is carried, the MID, and both stamps.
const ELEMENTS_MAX: usize = ENTRIES_MAX + STAMPS;
/// Transport-wide number, time of sending.
const STAMPS: usize = 2;
/// Bytes of the stamps with their heads in the longer form.
const STAMP_BYTES: usize = (2 + 2) + (2 + 3);

const _: () = assert!(
    super::carried::CARRIED_BYTES_MAX + crate::limits::MID_BYTES_MAX + 2 + 4 + 3 + STAMP_BYTES
        <= HEADER_EXTENSION_BYTES_MAX,
    "carried values, a MID with its two-byte head, the stamps, the block's head and its padding"
);

/// One extension block, its head included.
pub struct Block {
    bytes: [u8; HEADER_EXTENSION_BYTES_MAX],
    len: usize,
    /// Where the transport-wide number stands; 0 where there is none.
    number_at: usize,
}

impl Block {
    /// What a viewer with this `map` and `mid` gets of `carried` when it is sent at `now`. The transport-wide number is
    /// left to [`Block::copy_to`].
    pub fn new(map: &ExtensionMap, mid: &[u8], carried: &Carried, now: Timestamp) -> Self {
        let send_time = abs_send_time(now);
        let mut entries = [Entry::NONE; ELEMENTS_MAX];
        let mut filled = 0;
        // The number first: its place is then known whatever follows.
        let number = map.id(Kind::TransportCc).map(|id| Entry { id, value: &[0, 0] });
        let time = map.id(Kind::AbsSendTime).map(|id| Entry { id, value: &send_time });
        for stamp in [number, time].into_iter().flatten() {
            entries[filled] = stamp;
            filled += 1;
        }
        filled += carried.entries(map, mid, &mut entries[filled..]);
        let mut block = Self { bytes: [0; HEADER_EXTENSION_BYTES_MAX], len: 0, number_at: 0 };
        block.len = write_block(&mut block.bytes, &entries[..filled]);
        if number.is_some() && block.len > 0 {
            let one_byte = block.bytes[..2] == PROFILE_ONE_BYTE.to_be_bytes();
            block.number_at = 4 + if one_byte { 1 } else { 2 };
        }
        block
    }

    /// Its length in bytes, a multiple of 4.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the header goes without extensions.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it has a place for a transport-wide number.
    #[inline]
    pub const fn is_numbered(&self) -> bool {
        self.number_at > 0
    }

    /// Copies it to the start of `slot`, with `number` in its place. The slot is long enough.
    #[inline]
    pub fn copy_to(&self, slot: &mut [u8], number: u16) {
        slot[..self.len].copy_from_slice(&self.bytes[..self.len]);
        if self.is_numbered() {
            slot[self.number_at..self.number_at + 2].copy_from_slice(&number.to_be_bytes());
        }
    }
}

/// `now` in seconds, 6.18 fixed point, modulo 64 s (draft-alvestrand-rmcat-remb-03 §2.3 names the extension).
fn abs_send_time(now: Timestamp) -> [u8; 3] {
    let nanos = u128::from(now.as_nanos());
    let [.., a, b, c] = (((nanos << 18) / 1_000_000_000) as u32).to_be_bytes();
    [a, b, c]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::extension::Collected;
    use crate::wire::rtp::{FIXED_LEN, FixedHeader, Header};
    use std::time::Duration;

    fn packet(block: &Block, number: u16) -> Vec<u8> {
        let mut packet = vec![0; FIXED_LEN + block.len()];
        let header = FixedHeader {
            padding: false,
            extension: !block.is_empty(),
            marker: false,
            payload_type: 96,
            sequence: 1,
            timestamp: 2,
            ssrc: 3,
        };
        header.write(&mut packet[..FIXED_LEN]);
        block.copy_to(&mut packet[FIXED_LEN..], number);
        packet
    }

    #[test]
    fn the_stamps_read_back_in_either_form() {
        let now = Timestamp::ZERO + Duration::from_millis(64_000 + 1_500);
        for (number_id, mid) in [(5, &b"video"[..]), (200, b"a-rather-long-mid")] {
            let mut map = ExtensionMap::EMPTY;
            assert!(map.insert(Kind::TransportCc, number_id) && map.insert(Kind::AbsSendTime, 2));
            assert!(map.insert(Kind::Mid, 4));
            let packet = packet(&Block::new(&map, mid, &Carried::EMPTY, now), 0xABCD);
            let header = Header::parse(&packet).unwrap();
            let collected = Collected::parse(&packet, &header, &map).unwrap();
            assert_eq!(collected.transport_sequence(&packet), Some(0xABCD));
            assert_eq!(
                collected.get(&packet, Kind::AbsSendTime),
                Some(&[6, 0, 0][..]),
                "1.5 s in units of 2^-18"
            );
            assert_eq!(collected.get(&packet, Kind::Mid), Some(mid));
        }
    }

    #[test]
    fn who_negotiated_nothing_gets_nothing() {
        let block = Block::new(&ExtensionMap::EMPTY, b"0", &Carried::EMPTY, Timestamp::ZERO);
        assert!(block.is_empty() && !block.is_numbered());
    }
}
