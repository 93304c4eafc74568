//! Numbers without gaps for what is left when padding-only packets vanish.
//!
//! Browsers probe the network with packets that carry nothing but padding. Viewers need none of them, but a hole in
//! their sequence numbers would read as loss. So each source is numbered anew, once for all its viewers: the *dense*
//! number of a packet is its index less the padding-only packets before it.
//!
//! Two different packets never share a dense number, whatever order they come in. The nonces of the viewers' SRTP
//! depend on that.

use crate::records::inbound::{DenseRecord, HOLES, Hole};

/// Where a packet stands among the packets of its source that viewers see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It has this dense number.
    At(u64),
    /// It carries only padding and nobody will miss it.
    Vanishes,
    /// It carries only padding, but later packets were numbered as if it carried media: it must be sent on as padding.
    Fills(u64),
    /// It is older than anything that is remembered.
    TooOld,
}

impl DenseRecord {
    /// Finds the place of a packet that arrived for the first time (its replay check has passed).
    ///
    /// `newest` is the highest index that arrived before it, `None` for the first packet of the source.
    pub fn place(&mut self, index: u64, newest: Option<u64>, padding_only: bool) -> Place {
        let late = newest.is_some_and(|newest| index < newest);
        match (late, padding_only) {
            (false, false) => Place::At(index - self.dropped),
            (false, true) => {
                self.vanish(index);
                Place::Vanishes
            }
            (true, _) => match self.dropped_before(index) {
                None => Place::TooOld,
                Some(dropped) if padding_only => Place::Fills(index - dropped),
                Some(dropped) => Place::At(index - dropped),
            },
        }
    }

    fn vanish(&mut self, index: u64) {
        let extends_last_run = self.made > 0 && self.holes[slot(self.made - 1)].last + 1 == index;
        if !extends_last_run {
            self.made += 1;
        }
        self.dropped += 1;
        self.holes[slot(self.made - 1)] = Hole { last: index, dropped: self.dropped };
    }

    /// Packets that vanished before `index`, or `None` when that has been forgotten.
    fn dropped_before(&self, index: u64) -> Option<u64> {
        let remembered = self.made.min(HOLES as u64);
        let before = (self.made - remembered..self.made).rev().map(|hole| self.holes[slot(hole)]);
        let found = before.filter(|hole| hole.last < index).map(|hole| hole.dropped).next();
        match found {
            Some(dropped) => Some(dropped),
            None if self.made <= HOLES as u64 => Some(0),
            None => None,
        }
    }
}

const fn slot(hole: u64) -> usize {
    (hole % HOLES as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use std::collections::BTreeSet;

    fn place_all(packets: &[(u64, bool)]) -> Vec<Place> {
        let mut record = DenseRecord::zeroed();
        let mut newest = None;
        packets
            .iter()
            .map(|&(index, padding)| {
                let place = record.place(index, newest, padding);
                newest = newest.max(Some(index));
                place
            })
            .collect()
    }

    #[test]
    fn padding_leaves_no_gap() {
        let places = place_all(&[(10, false), (11, true), (12, true), (13, false), (14, true), (15, false)]);
        use Place::{At, Vanishes};
        assert_eq!(places, [At(10), Vanishes, Vanishes, At(11), Vanishes, At(12)]);
    }

    #[test]
    fn a_late_packet_gets_the_number_kept_for_it() {
        let places = place_all(&[(10, false), (12, true), (13, false), (11, false)]);
        assert_eq!(places[2..], [Place::At(12), Place::At(11)]);
    }

    #[test]
    fn late_padding_fills_the_number_kept_for_it() {
        let places = place_all(&[(10, false), (12, false), (11, true), (13, false)]);
        assert_eq!(places[1..], [Place::At(12), Place::Fills(11), Place::At(13)]);
    }

    #[test]
    fn what_is_older_than_every_remembered_hole_is_refused() {
        let mut packets = vec![(0, false)];
        packets.extend((0..2 * HOLES as u64).flat_map(|n| [(3 * n + 3, true), (3 * n + 4, false)]));
        packets.push((2, false));
        assert_eq!(place_all(&packets).last(), Some(&Place::TooOld));
    }

    proptest::proptest! {
        /// No two packets share a number, in whatever order they come.
        #[test]
        fn numbers_are_never_given_twice(order in proptest::collection::vec((0u64..200, proptest::bool::ANY), 1..300)) {
            let mut arrived = BTreeSet::new();
            let first_arrivals: Vec<_> = order.into_iter().filter(|(index, _)| arrived.insert(*index)).collect();
            let mut given = BTreeSet::new();
            for place in place_all(&first_arrivals) {
                if let Place::At(dense) | Place::Fills(dense) = place {
                    proptest::prop_assert!(given.insert(dense));
                }
            }
        }
    }
}
