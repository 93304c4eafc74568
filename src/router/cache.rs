//! The last packets of one video track, kept in the clear for viewers who lost them (RFC 4588).
//!
//! A ring by dense number. A slot holds what follows the header, with two bytes of room in front: there the viewer's
//! sequence number goes, so that the RTX payload stands in one piece and is sealed from where it is.

use crate::ids::InboundSlot;
use crate::limits::{CACHE_PACKETS, CACHE_PAYLOAD_BYTES};
use crate::wire::carried::Carried;

/// Bytes of the original sequence number in front of an RTX payload (RFC 4588 §4).
const OSN_BYTES: usize = 2;

/// One kept packet.
pub struct Kept {
    source: InboundSlot,
    dense: u64,
    /// The publisher's RTP timestamp.
    pub rtp: u32,
    /// Format number of its payload.
    pub format: u32,
    /// Marker bit.
    pub marker: bool,
    /// Header extensions that travel with it.
    pub carried: Carried,
    payload_len: usize,
    bytes: [u8; OSN_BYTES + CACHE_PAYLOAD_BYTES],
}

impl Kept {
    const EMPTY: Self = Self {
        source: InboundSlot::NONE,
        dense: 0,
        rtp: 0,
        format: 0,
        marker: false,
        carried: Carried::EMPTY,
        payload_len: 0,
        bytes: [0; OSN_BYTES + CACHE_PAYLOAD_BYTES],
    };

    /// The payload as it came.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[OSN_BYTES..OSN_BYTES + self.payload_len]
    }

    /// The RTX payload that repairs `sequence`: that number, then the original payload.
    pub fn rtx_payload(&mut self, sequence: u16) -> &[u8] {
        self.bytes[..OSN_BYTES].copy_from_slice(&sequence.to_be_bytes());
        &self.bytes[..OSN_BYTES + self.payload_len]
    }
}

/// What is kept of a packet besides its payload.
#[derive(Clone, Copy)]
pub struct Facts {
    /// The publisher's RTP timestamp.
    pub rtp: u32,
    /// Format number of the payload.
    pub format: u32,
    /// Marker bit.
    pub marker: bool,
}

/// The packets kept for one track.
pub struct Cache {
    slots: Box<[Kept]>,
}

impl Cache {
    /// Room for [`CACHE_PACKETS`]. The only allocation of a cache's life.
    pub fn new() -> Self {
        Self { slots: (0..CACHE_PACKETS).map(|_| Kept::EMPTY).collect() }
    }

    /// Keeps a packet in place of the one [`CACHE_PACKETS`] before it. A payload too long to be kept is not.
    pub fn keep(&mut self, source: InboundSlot, dense: u64, facts: Facts, carried: &Carried, payload: &[u8]) {
        let slot = &mut self.slots[place(dense)];
        let Some(room) = slot.bytes.get_mut(OSN_BYTES..OSN_BYTES + payload.len()) else { return };
        room.copy_from_slice(payload);
        slot.payload_len = payload.len();
        slot.carried.clone_from(carried);
        (slot.source, slot.dense) = (source, dense);
        (slot.rtp, slot.format, slot.marker) = (facts.rtp, facts.format, facts.marker);
    }

    /// Forgets everything: the next packets are of other streams.
    pub fn clear(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.payload_len = 0);
    }

    /// The packet of that number, if it is still there.
    pub fn get(&mut self, source: InboundSlot, dense: u64) -> Option<&mut Kept> {
        let slot = &mut self.slots[place(dense)];
        (slot.source == source && slot.dense == dense && slot.payload_len > 0).then_some(slot)
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self::new()
    }
}

const fn place(dense: u64) -> usize {
    dense as usize & (CACHE_PACKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: InboundSlot = InboundSlot(3);

    fn facts() -> Facts {
        Facts { rtp: 1, format: 2, marker: true }
    }

    #[test]
    fn a_kept_packet_comes_back_with_its_number_in_front() {
        let mut cache = Cache::new();
        cache.keep(SOURCE, 7, facts(), &Carried::EMPTY, b"payload");
        let kept = cache.get(SOURCE, 7).unwrap();
        assert_eq!(kept.rtx_payload(0x1234), b"\x12\x34payload");
        assert!(cache.get(InboundSlot(4), 7).is_none(), "another source is another stream");
        assert!(cache.get(SOURCE, 8).is_none());
    }

    #[test]
    fn the_oldest_gives_way() {
        let mut cache = Cache::new();
        cache.keep(SOURCE, 7, facts(), &Carried::EMPTY, b"old");
        cache.keep(SOURCE, 7 + CACHE_PACKETS as u64, facts(), &Carried::EMPTY, b"new");
        assert!(cache.get(SOURCE, 7).is_none());
        assert_eq!(cache.get(SOURCE, 7 + CACHE_PACKETS as u64).unwrap().rtx_payload(0)[2..], *b"new");
    }

    #[test]
    fn a_packet_too_long_is_not_kept_and_spoils_nothing() {
        let mut cache = Cache::new();
        cache.keep(SOURCE, 1, facts(), &Carried::EMPTY, &[0; CACHE_PAYLOAD_BYTES + 1]);
        assert!(cache.get(SOURCE, 1).is_none());
    }
}
