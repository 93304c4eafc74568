//! RTP header extensions (RFC 8285): what a transport negotiated, what a packet carries, what we write for a viewer.

use bytemuck::{Pod, Zeroable};

use crate::discard::Discard;
use crate::wire::rtp::{ExtensionBlock, Header};

/// "Defined by profile" of the one-byte form (RFC 8285 §4.2).
pub const PROFILE_ONE_BYTE: u16 = 0xbede;
/// The same of the two-byte form (§4.3); the low four bits are free for applications.
pub const PROFILE_TWO_BYTE: u16 = 0x1000;
const PROFILE_TWO_BYTE_MASK: u16 = 0xfff0;

/// Largest id and longest value of the one-byte form (§4.2).
const ONE_BYTE_ID_MAX: u8 = 14;
const ONE_BYTE_LEN_MAX: usize = 16;
/// Longest value of the two-byte form (§4.3).
const TWO_BYTE_LEN_MAX: usize = 255;
/// Ends the elements of a one-byte block and is no id of the two-byte form here either.
const ID_RESERVED: u8 = 15;

/// Slots of tables indexed by [`Kind`]; slot 0 stays empty.
const KINDS: usize = 16;

/// Header extensions the relay understands or forwards, numbered as in the control contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid` (RFC 9143).
    Mid = 1,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id` (RFC 8852).
    Rid = 2,
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id` (RFC 8852).
    RepairedRid = 3,
    /// Time of sending, 24 bits, seconds in 6.18 fixed point.
    AbsSendTime = 4,
    /// Transport-wide sequence number, 16 bits.
    TransportCc = 5,
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level` (RFC 6464).
    AudioLevel = 6,
    /// `urn:3gpp:video-orientation`.
    VideoOrientation = 7,
    /// `urn:ietf:params:rtp-hdrext:toffset` (RFC 5450).
    TransmissionOffset = 8,
    /// Shortest and longest playout delay, 12 bits each.
    PlayoutDelay = 9,
    /// Dependency descriptor of the AV1 RTP payload format.
    DependencyDescriptor = 10,
    /// Screen or camera.
    VideoContentType = 11,
    /// Where a frame spent its time in the sender.
    VideoTiming = 12,
    /// Color primaries and HDR metadata.
    ColorSpace = 13,
    /// Time of capture, NTP form.
    AbsCaptureTime = 14,
    /// Layers and their target rates.
    VideoLayersAllocation = 15,
}

impl Kind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::Mid,
        Self::Rid,
        Self::RepairedRid,
        Self::AbsSendTime,
        Self::TransportCc,
        Self::AudioLevel,
        Self::VideoOrientation,
        Self::TransmissionOffset,
        Self::PlayoutDelay,
        Self::DependencyDescriptor,
        Self::VideoContentType,
        Self::VideoTiming,
        Self::ColorSpace,
        Self::AbsCaptureTime,
        Self::VideoLayersAllocation,
    ];

    /// The kind with this number, 1 to 15.
    #[inline]
    pub const fn from_number(number: u8) -> Option<Self> {
        if number == 0 || number > 15 {
            return None;
        }
        Some(Self::ALL[number as usize - 1])
    }
}

/// Which id means which kind on one transport, both ways. A record: it survives a restart as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ExtensionMap {
    /// Id by kind; 0 where the kind was not negotiated.
    ids: [u8; KINDS],
    /// Kind by id for ids 1 to 14; 0 for none. Higher ids are rare and searched in `ids`.
    kinds: [u8; KINDS],
}

impl ExtensionMap {
    /// Nothing negotiated.
    pub const EMPTY: Self = Self { ids: [0; KINDS], kinds: [0; KINDS] };

    /// Binds `kind` to `id`. False, and nothing changed, for ids 0 and 15, and for an id another kind has.
    pub fn insert(&mut self, kind: Kind, id: u8) -> bool {
        if id == 0 || id == ID_RESERVED || self.kind(id).is_some_and(|other| other != kind) {
            return false;
        }
        let old = std::mem::replace(&mut self.ids[kind as usize], id);
        if old <= ONE_BYTE_ID_MAX {
            self.kinds[usize::from(old)] = 0;
        }
        if id <= ONE_BYTE_ID_MAX {
            self.kinds[usize::from(id)] = kind as u8;
        }
        true
    }

    /// The id of `kind`, if it was negotiated.
    #[inline]
    pub fn id(&self, kind: Kind) -> Option<u8> {
        match self.ids[kind as usize] {
            0 => None,
            id => Some(id),
        }
    }

    /// The kind behind `id`, if it was negotiated.
    #[inline]
    pub fn kind(&self, id: u8) -> Option<Kind> {
        if id <= ONE_BYTE_ID_MAX {
            return Kind::from_number(self.kinds[usize::from(id)]);
        }
        Kind::ALL.into_iter().find(|kind| self.ids[*kind as usize] == id)
    }
}

/// One element of an extension block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// Local identifier, 1 to 14 or, in the two-byte form, to 255.
    pub id: u8,
    /// First byte of the value, from the start of the packet.
    pub start: usize,
    /// Length of the value in bytes: 1 to 16, in the two-byte form 0 to 255.
    pub len: usize,
}

/// Elements of one block, in their order. An element that leaves the block is an error and the last item.
#[derive(Clone, Debug)]
pub struct Elements<'p> {
    packet: &'p [u8],
    at: usize,
    two_byte: bool,
}

impl<'p> Elements<'p> {
    /// The elements of `block` in `packet`; none when its profile is neither form of RFC 8285.
    #[inline]
    pub fn new(packet: &'p [u8], block: &ExtensionBlock) -> Self {
        let two_byte = block.profile & PROFILE_TWO_BYTE_MASK == PROFILE_TWO_BYTE;
        let known = two_byte || block.profile == PROFILE_ONE_BYTE;
        let packet = if known { packet.get(..block.end).unwrap_or(&[]) } else { &[] };
        Self { packet, at: block.start, two_byte }
    }

    fn end(&mut self) {
        self.packet = &[];
    }
}

impl Iterator for Elements<'_> {
    type Item = Result<Element, Discard>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let first = *self.packet.get(self.at)?;
            if first == 0 {
                self.at += 1; // padding
                continue;
            }
            let (id, len, head) = if self.two_byte {
                let Some(&len) = self.packet.get(self.at + 1) else {
                    self.end();
                    return Some(Err(Discard::PeerRtpMalformed));
                };
                (first, usize::from(len), 2)
            } else {
                (first >> 4, usize::from(first & 0x0f) + 1, 1)
            };
            // RFC 8285 §4.2: ids 0 (with a length) and 15 end the block; what came before them counts.
            if !self.two_byte && (id == 0 || id == ID_RESERVED) {
                self.end();
                return None;
            }
            let start = self.at + head;
            if start + len > self.packet.len() {
                self.end();
                return Some(Err(Discard::PeerRtpMalformed));
            }
            self.at = start + len;
            return Some(Ok(Element { id, start, len }));
        }
    }
}

/// The known extensions of one arriving packet by kind, as places in it, so that the packet may be changed meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collected {
    start: [u16; KINDS],
    len: [u8; KINDS],
    /// Bit `kind` is set when the packet carries it.
    present: u16,
}

impl Collected {
    /// A packet without extensions.
    pub const EMPTY: Self = Self { start: [0; KINDS], len: [0; KINDS], present: 0 };

    /// Collects what `map` knows of the extensions of `packet`, whose header is `header`. Of two elements of one kind
    /// the first counts.
    ///
    /// # Errors
    /// [`Discard::PeerRtpMalformed`] when an element leaves the block.
    #[inline]
    pub fn parse(packet: &[u8], header: &Header, map: &ExtensionMap) -> Result<Self, Discard> {
        let mut collected = Self::EMPTY;
        let Some(block) = &header.extension else { return Ok(collected) };
        for element in Elements::new(packet, block) {
            let Element { id, start, len } = element?;
            let Some(kind) = map.kind(id) else { continue };
            let (Ok(start), Ok(len)) = (u16::try_from(start), u8::try_from(len)) else {
                return Err(Discard::PeerRtpMalformed);
            };
            if collected.present & (1 << kind as u8) == 0 {
                collected.present |= 1 << kind as u8;
                collected.start[kind as usize] = start;
                collected.len[kind as usize] = len;
            }
        }
        Ok(collected)
    }

    /// True when the packet carries `kind`.
    #[inline]
    pub const fn contains(&self, kind: Kind) -> bool {
        self.present & (1 << kind as u8) != 0
    }

    /// The value of `kind` in `packet`, which is the one this was parsed from.
    #[inline]
    pub fn get<'p>(&self, packet: &'p [u8], kind: Kind) -> Option<&'p [u8]> {
        if !self.contains(kind) {
            return None;
        }
        let start = usize::from(self.start[kind as usize]);
        packet.get(start..start + usize::from(self.len[kind as usize]))
    }

    /// The transport-wide sequence number.
    #[inline]
    pub fn transport_sequence(&self, packet: &[u8]) -> Option<u16> {
        self.get(packet, Kind::TransportCc)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// Kinds the packet carries, in the order of their numbers.
    #[inline]
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + use<> {
        let present = self.present;
        Kind::ALL.into_iter().filter(move |kind| present & (1 << *kind as u8) != 0)
    }
}

/// One element to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Id on the receiver's transport: 1 to 255 without 15.
    pub id: u8,
    /// Value, up to 255 bytes.
    pub value: &'a [u8],
}

impl Entry<'_> {
    /// Fills unused places of an array of entries.
    pub const NONE: Entry<'static> = Entry { id: 0, value: &[] };
}

/// Writes an extension block, its four-byte head included, to the start of `slot` and returns its length, a multiple of 4.
///
/// The one-byte form is used when every id is at most 14 and every value has 1 to 16 bytes, else the two-byte form.
/// Returns 0, and the header goes without the extension bit, when there are no entries, when the slot is too short, or
/// when an entry has an impossible id or length.
#[inline]
pub fn write_block(slot: &mut [u8], entries: &[Entry<'_>]) -> usize {
    let mut values_len = 0;
    let mut one_byte = true;
    for entry in entries {
        if entry.id == 0 || entry.id == ID_RESERVED || entry.value.len() > TWO_BYTE_LEN_MAX {
            return 0;
        }
        one_byte &= entry.id <= ONE_BYTE_ID_MAX && (1..=ONE_BYTE_LEN_MAX).contains(&entry.value.len());
        values_len += entry.value.len();
    }
    let used = values_len + entries.len() * if one_byte { 1 } else { 2 };
    let words = used.div_ceil(4);
    let Ok(words_field) = u16::try_from(words) else { return 0 };
    let Some((head, body)) = slot.get_mut(..4 + 4 * words).and_then(|slot| slot.split_first_chunk_mut::<4>())
    else {
        return 0;
    };
    if words == 0 {
        return 0;
    }
    let [p0, p1] = if one_byte { PROFILE_ONE_BYTE } else { PROFILE_TWO_BYTE }.to_be_bytes();
    let [w0, w1] = words_field.to_be_bytes();
    *head = [p0, p1, w0, w1];
    let mut at = 0;
    for Entry { id, value } in entries {
        if one_byte {
            body[at] = id << 4 | (value.len() - 1) as u8;
            at += 1;
        } else {
            body[at] = *id;
            body[at + 1] = value.len() as u8;
            at += 2;
        }
        body[at..at + value.len()].copy_from_slice(value);
        at += value.len();
    }
    body[at..].fill(0);
    4 + 4 * words
}

#[cfg(test)]
mod tests {
    use rtp::header::Header as Oracle;
    use webrtc_util::marshal::{Marshal, Unmarshal};

    use super::*;
    use crate::wire::rtp::{FIXED_LEN, FixedHeader};
    use crate::wire::testing::{Random, every_cut_and_change, every_length_and_first_byte};

    const FIXED: FixedHeader = FixedHeader {
        padding: false,
        extension: true,
        marker: false,
        payload_type: 96,
        sequence: 1,
        timestamp: 2,
        ssrc: 3,
    };

    /// Every kind under its own number as id, except those above 14.
    fn plain_map() -> ExtensionMap {
        let mut map = ExtensionMap::EMPTY;
        for kind in &Kind::ALL[..14] {
            assert!(map.insert(*kind, *kind as u8));
        }
        assert!(map.insert(Kind::VideoLayersAllocation, 200));
        map
    }

    fn packet_with(entries: &[Entry<'_>]) -> Vec<u8> {
        let mut packet = vec![0xaa; 1500];
        FIXED.write(&mut packet);
        let len = write_block(&mut packet[FIXED_LEN..], entries);
        packet.truncate(FIXED_LEN + len);
        packet
    }

    #[test]
    fn numbers_are_those_of_the_control_contract() {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place + 1);
            assert_eq!(Kind::from_number(kind as u8), Some(kind));
        }
        assert_eq!(Kind::from_number(0), None);
        assert_eq!(Kind::from_number(16), None);
    }

    #[test]
    fn a_map_answers_both_ways() {
        let mut map = plain_map();
        for kind in Kind::ALL {
            assert_eq!(map.id(kind).and_then(|id| map.kind(id)), Some(kind));
        }
        assert!(!map.insert(Kind::Mid, 0) && !map.insert(Kind::Mid, 15), "reserved ids");
        assert!(!map.insert(Kind::Mid, 5) && !map.insert(Kind::Mid, 200), "ids that others have");
        assert!(map.insert(Kind::VideoLayersAllocation, 100), "a kind may move");
        assert_eq!(map.kind(200), None);
        let mut map = ExtensionMap::EMPTY;
        assert!(map.insert(Kind::Mid, 3) && map.insert(Kind::Mid, 4));
        assert_eq!((map.kind(3), map.kind(4), map.id(Kind::Rid)), (None, Some(Kind::Mid), None));
        assert_eq!(map.kind(0), None);
    }

    #[test]
    fn a_map_of_rubbish_from_a_bad_record_is_harmless() {
        let map: ExtensionMap = bytemuck::cast([0xee_u8; 32]);
        for id in 0..=255 {
            assert!(map.kind(id).is_none_or(|kind| map.id(kind).is_some()));
        }
    }

    #[test]
    fn another_implementation_reads_our_blocks_and_so_do_we() {
        let mut random = Random::new(11);
        let map = plain_map();
        for round in 0..3_000 {
            let two_byte = round % 2 == 0;
            let values: Vec<_> = (0..random.below(8) + 1)
                .map(|_| {
                    let len = if two_byte { random.below(40) } else { random.below(16) + 1 };
                    random.bytes(len as usize)
                })
                .collect();
            let entries: Vec<_> =
                values.iter().zip(1..).map(|(value, id)| Entry { id, value: value.as_slice() }).collect();
            let packet = packet_with(&entries);
            assert_eq!(packet.len() % 4, 0);

            let oracle = Oracle::unmarshal(&mut &packet[..]).unwrap();
            let read: Vec<_> = oracle.extensions.iter().map(|e| (e.id, &e.payload[..])).collect();
            let written: Vec<_> = entries.iter().map(|entry| (entry.id, entry.value)).collect();
            assert_eq!(read, written);

            let header = Header::parse(&packet).unwrap();
            let collected = Collected::parse(&packet, &header, &map).unwrap();
            for entry in &entries {
                assert_eq!(collected.get(&packet, map.kind(entry.id).unwrap()), Some(entry.value));
            }
            assert_eq!(collected.kinds().count(), entries.len());
        }
    }

    #[test]
    fn we_read_blocks_of_another_implementation() {
        let mut random = Random::new(12);
        for round in 0..2_000 {
            let profile = if round % 2 == 0 { PROFILE_ONE_BYTE } else { PROFILE_TWO_BYTE };
            let mut oracle =
                Oracle { version: 2, extension: true, extension_profile: profile, ..Oracle::default() };
            for id in 1..=random.below(14) as u8 + 1 {
                let len = random.below(16) + 1;
                oracle
                    .extensions
                    .push(rtp::header::Extension { id, payload: random.bytes(len as usize).into() });
            }
            let packet = oracle.marshal().unwrap();
            let block = Header::parse(&packet).unwrap().extension.unwrap();
            let read: Vec<_> = Elements::new(&packet, &block)
                .map(|element| element.unwrap())
                .map(|element| (element.id, &packet[element.start..element.start + element.len]))
                .collect();
            let written: Vec<_> = oracle.extensions.iter().map(|e| (e.id, &e.payload[..])).collect();
            assert_eq!(read, written);
        }
    }

    #[test]
    fn the_form_follows_ids_and_lengths() {
        let profile = |entries: &[Entry<'_>]| {
            let packet = packet_with(entries);
            Header::parse(&packet).unwrap().extension.unwrap().profile
        };
        let value = [7; 17];
        assert_eq!(profile(&[Entry { id: 14, value: &value[..16] }]), PROFILE_ONE_BYTE);
        assert_eq!(profile(&[Entry { id: 14, value: &value }]), PROFILE_TWO_BYTE);
        assert_eq!(profile(&[Entry { id: 1, value: &[] }]), PROFILE_TWO_BYTE);
        assert_eq!(profile(&[Entry { id: 16, value: &[1] }]), PROFILE_TWO_BYTE);
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let mut slot = [0; 64];
        assert_eq!(write_block(&mut slot, &[]), 0);
        assert_eq!(write_block(&mut slot[..7], &[Entry { id: 1, value: &[1] }]), 0);
        assert_eq!(write_block(&mut slot[..8], &[Entry { id: 1, value: &[1] }]), 8);
        assert_eq!(write_block(&mut slot, &[Entry::NONE]), 0);
        assert_eq!(write_block(&mut slot, &[Entry { id: 15, value: &[1] }]), 0);
        assert_eq!(write_block(&mut [0; 500], &[Entry { id: 1, value: &[1; 256] }]), 0);
    }

    #[test]
    fn a_block_ends_at_id_15_and_an_element_past_the_end_is_refused() {
        let map = plain_map();
        let parse = |profile: u16, body: [u8; 4]| {
            let mut packet = [0; 20];
            FIXED.write(&mut packet);
            packet[12..14].copy_from_slice(&profile.to_be_bytes());
            packet[15] = 1;
            packet[16..].copy_from_slice(&body);
            Collected::parse(&packet, &Header::parse(&packet).unwrap(), &map)
        };
        let refused = Err(Discard::PeerRtpMalformed);
        let kinds = |collected: Result<Collected, Discard>| collected.unwrap().kinds().collect::<Vec<_>>();
        assert_eq!(kinds(parse(0xbede, [0x10, 1, 0xf0, 0x20])), [Kind::Mid]);
        assert_eq!(
            kinds(parse(0xbede, [0, 0x20, 9, 0x07])),
            [Kind::Rid],
            "id 0 with a length ends the block"
        );
        assert_eq!(parse(0xbede, [0x1f, 1, 2, 3]), refused);
        assert_eq!(parse(0x1000, [1, 255, 2, 3]), refused);
        assert_eq!(parse(0x1005, [0, 0, 0, 1]), refused, "an id without its length");
        assert_eq!(kinds(parse(0x100f, [1, 0, 2, 0])), [Kind::Mid, Kind::Rid]);
        assert_eq!(parse(0x1234, [1, 255, 2, 3]), Ok(Collected::EMPTY), "somebody else's profile");
    }

    #[test]
    fn any_bytes_give_values_inside_the_packet_or_none() {
        let map = plain_map();
        let check = |packet: &[u8]| {
            for profile in [PROFILE_ONE_BYTE, PROFILE_TWO_BYTE] {
                let block = ExtensionBlock { profile, start: 0, end: packet.len() };
                for element in Elements::new(packet, &block).flatten() {
                    assert!(element.start + element.len <= packet.len());
                }
            }
            let Ok(header) = Header::parse(packet) else { return };
            let Ok(collected) = Collected::parse(packet, &header, &map) else { return };
            for kind in collected.kinds() {
                assert!(collected.get(packet, kind).is_some());
            }
            let _ = collected.transport_sequence(packet);
        };
        every_length_and_first_byte(check);
        let value = [3; 40];
        every_cut_and_change(
            &packet_with(&[Entry { id: 5, value: &[1, 2] }, Entry { id: 4, value: &[1, 2, 3] }]),
            check,
        );
        every_cut_and_change(
            &packet_with(&[Entry { id: 1, value: &value }, Entry { id: 200, value: &[] }]),
            check,
        );
    }
}
