//! The header extensions that travel with a packet: facts about its content, as opposed to facts about one network hop.

use super::extension::{Collected, Entry, ExtensionMap, Kind};

/// Bytes of extension values carried with one packet; what does not fit is left behind. A dependency descriptor with
/// a full template structure takes about 60, the others 1 to 12 each.
pub const CARRIED_BYTES_MAX: usize = 120;

/// Extensions written for a viewer besides stamps: those that are carried, and the MID.
pub const ENTRIES_MAX: usize = CARRIED.len() + 1;

/// What is carried. The rest belongs to one hop (transport-wide numbers, send times), names streams of the publisher
/// (MID, RID) or offers layers that the viewer does not get to choose.
const CARRIED: [Kind; 8] = [
    Kind::AudioLevel,
    Kind::VideoOrientation,
    Kind::PlayoutDelay,
    Kind::DependencyDescriptor,
    Kind::VideoContentType,
    Kind::VideoTiming,
    Kind::ColorSpace,
    Kind::AbsCaptureTime,
];

/// Values of a packet's carried extensions, by kind, apart from the packet they came in.
#[derive(Clone, Copy, Debug)]
pub struct Carried {
    /// Kind, length, value, and again.
    bytes: [u8; CARRIED_BYTES_MAX],
    len: u8,
}

impl Carried {
    /// Nothing is carried.
    pub const EMPTY: Self = Self { bytes: [0; CARRIED_BYTES_MAX], len: 0 };

    /// Copies what is carried out of `packet`.
    pub fn collect(packet: &[u8], collected: &Collected) -> Self {
        let mut carried = Self::EMPTY;
        for kind in CARRIED {
            if let Some(value) = collected.get(packet, kind) {
                carried.push(kind, value);
            }
        }
        carried
    }

    fn push(&mut self, kind: Kind, value: &[u8]) {
        let start = usize::from(self.len);
        let end = start + 2 + value.len();
        let (Some(place), Ok(value_len), Ok(len)) =
            (self.bytes.get_mut(start..end), u8::try_from(value.len()), u8::try_from(end))
        else {
            return;
        };
        place[0] = kind as u8;
        place[1] = value_len;
        place[2..].copy_from_slice(value);
        self.len = len;
    }

    /// Bytes it takes.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether nothing is carried.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Kinds and values.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &[u8])> {
        let mut rest = &self.bytes[..usize::from(self.len)];
        std::iter::from_fn(move || {
            let (&[kind, len], after) = rest.split_first_chunk::<2>()?;
            let (value, after) = after.split_at_checked(usize::from(len))?;
            rest = after;
            Some((Kind::from_number(kind)?, value))
        })
    }

    /// What a viewer with this `map` gets: its own MID, then what is carried and negotiated. Gives how many of
    /// `entries` were filled.
    pub fn entries<'a>(&'a self, map: &ExtensionMap, mid: &'a [u8], entries: &mut [Entry<'a>]) -> usize {
        let named = std::iter::once((Kind::Mid, mid)).filter(|(_, mid)| !mid.is_empty());
        let negotiated =
            named.chain(self.iter()).filter_map(|(kind, value)| Some(Entry { id: map.id(kind)?, value }));
        let mut filled = 0;
        for (place, entry) in entries.iter_mut().zip(negotiated) {
            *place = entry;
            filled += 1;
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_gets_its_own_ids_and_its_own_mid() {
        let mut carried = Carried::EMPTY;
        carried.push(Kind::AudioLevel, &[0x85]);
        carried.push(Kind::VideoOrientation, &[1]);
        let mut map = ExtensionMap::EMPTY;
        assert!(map.insert(Kind::Mid, 9) && map.insert(Kind::AudioLevel, 3));
        let mut entries = [Entry::NONE; ENTRIES_MAX];
        let filled = carried.entries(&map, b"1", &mut entries);
        assert_eq!(entries[..filled], [Entry { id: 9, value: b"1" }, Entry { id: 3, value: &[0x85] }]);
    }

    #[test]
    fn what_does_not_fit_is_left_behind() {
        let mut carried = Carried::EMPTY;
        carried.push(Kind::DependencyDescriptor, &[7; CARRIED_BYTES_MAX]);
        carried.push(Kind::AudioLevel, &[1]);
        assert_eq!(carried.iter().collect::<Vec<_>>(), [(Kind::AudioLevel, &[1][..])]);
    }
}
