//! RTP sequence numbers of one received SSRC, extended over their wrap: gaps, repeats, what a report needs.

/// A jump of more than this backwards is taken for a step forwards over the wrap (RFC 3550 A.1).
const HALF: u16 = 0x8000;
/// Missing numbers worth asking for at once.
const MISSING_MAX: u64 = 256;

/// How a sequence number relates to those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The first, or one more than the highest.
    Next,
    /// This many numbers were skipped.
    Skipped(u64),
    /// Not higher than the highest.
    Behind,
}

/// The state of one SSRC.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    first: Option<u64>,
    highest: u64,
    /// Packets taken.
    pub packets: u64,
    /// Numbers skipped, not reduced when a late packet fills the gap.
    pub skipped: u64,
    /// Packets that were not higher than the highest.
    pub behind: u64,
    reported: (u64, u64),
}

impl Sequence {
    /// Takes one packet's number.
    pub fn handle(&mut self, number: u16) -> Step {
        self.packets += 1;
        if self.first.is_none() {
            // One cycle of head room, so that a number before the first stays positive.
            let extended = (1 << 16) | u64::from(number);
            self.first = Some(extended);
            self.highest = extended;
            return Step::Next;
        }
        let ahead = number.wrapping_sub(self.highest as u16);
        if ahead == 0 || ahead >= HALF {
            self.behind += 1;
            return Step::Behind;
        }
        self.highest += u64::from(ahead);
        if ahead == 1 {
            return Step::Next;
        }
        self.skipped += u64::from(ahead - 1);
        Step::Skipped(u64::from(ahead - 1))
    }

    /// The numbers just skipped by a [`Step::Skipped`], newest 256 at most.
    pub fn missing(&self, skipped: u64) -> impl Iterator<Item = u16> + use<> {
        let highest = self.highest;
        let count = skipped.min(MISSING_MAX);
        (highest - count..highest).map(|number| number as u16)
    }

    /// Extended highest number, cumulative loss and the fraction lost since the last call (RFC 3550 §6.4.1).
    pub fn report(&mut self) -> (u32, u32, u8) {
        let expected = self.first.map_or(0, |first| self.highest - first + 1);
        let (expected_before, packets_before) =
            std::mem::replace(&mut self.reported, (expected, self.packets));
        let expected_now = expected - expected_before;
        let lost_now = expected_now.saturating_sub(self.packets - packets_before);
        let fraction = (lost_now * 256).checked_div(expected_now).unwrap_or(0).min(255) as u8;
        let lost = expected.saturating_sub(self.packets).min(0x7f_ffff) as u32;
        ((self.highest - (1 << 16)) as u32, lost, fraction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continuous_over_the_wrap() {
        let mut sequence = Sequence::default();
        for number in [65_534, 65_535, 0, 1] {
            assert_eq!(sequence.handle(number), Step::Next);
        }
        assert_eq!(sequence.report(), (65_537, 0, 0));
    }

    #[test]
    fn gaps_and_repeats() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.handle(65_534), Step::Next);
        assert_eq!(sequence.handle(2), Step::Skipped(3));
        assert_eq!(sequence.missing(3).collect::<Vec<_>>(), [65_535, 0, 1]);
        assert_eq!(sequence.handle(2), Step::Behind);
        assert_eq!(sequence.handle(0), Step::Behind);
        assert_eq!((sequence.skipped, sequence.behind), (3, 2));
    }

    #[test]
    fn the_fraction_lost_is_of_the_last_interval() {
        let mut sequence = Sequence::default();
        for number in [0, 1, 3, 7] {
            sequence.handle(number);
        }
        assert_eq!(sequence.report(), (7, 4, 128));
        sequence.handle(8);
        assert_eq!(sequence.report(), (8, 4, 0));
    }
}
