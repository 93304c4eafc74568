//! What came of one stream, by its sequence numbers: each once, doubled, out of order, never. A few instructions and
//! one word of a bitmap for each packet.

/// Packets behind the newest in which a double is still told from a straggler.
const WINDOW: u64 = 1024;
const WORDS: usize = (WINDOW / 64) as usize;
const HALF: u16 = 1 << 15;

/// Counts of one stream, or of many together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Different packets that came.
    pub unique: u64,
    /// Packets that came again.
    pub doubled: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Packets so late that nothing else is known of them.
    pub stray: u64,
    /// Packets that should have come and did not.
    pub lost: u64,
}

impl Counts {
    /// Adds the counts of another stream.
    pub fn add(&mut self, other: &Self) {
        self.unique += other.unique;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
        self.stray += other.stray;
        self.lost += other.lost;
    }
}

/// The account of one stream.
#[derive(Clone, Debug)]
pub struct Account {
    /// Extended number of the newest packet.
    newest: u64,
    /// Numbers below this are not counted.
    base: u64,
    counts: Counts,
    seen: [u64; WORDS],
    started: bool,
    whole: bool,
}

impl Default for Account {
    fn default() -> Self {
        Self { newest: 0, base: 0, counts: Counts::default(), seen: [0; WORDS], started: false, whole: false }
    }
}

impl Account {
    /// Takes one packet's number; gives it extended. The first one's cycle is 1, so that one before it is positive.
    #[inline]
    pub fn take(&mut self, sequence: u16) -> u64 {
        let ahead = sequence.wrapping_sub(self.newest as u16);
        if ahead == 1 && self.started {
            // Nearly always.
            let number = self.newest + 1;
            self.advance_one(number);
            return number;
        }
        self.take_unusual(sequence, ahead)
    }

    #[inline]
    fn advance_one(&mut self, number: u64) {
        self.newest = number;
        let word = word_of(number);
        if number.is_multiple_of(64) {
            self.seen[word] = 0;
        }
        self.seen[word] |= 1 << (number % 64);
        self.counts.unique += u64::from(number >= self.base);
    }

    #[cold]
    fn take_unusual(&mut self, sequence: u16, ahead: u16) -> u64 {
        if !self.started {
            self.started = true;
            self.newest = (1 << 16) | u64::from(sequence);
            self.seen[word_of(self.newest)] |= 1 << (self.newest % 64);
            if self.base == 0 {
                self.base = self.newest;
            }
            self.counts.unique += 1;
            return self.newest;
        }
        if ahead != 0 && ahead < HALF {
            let number = self.newest + u64::from(ahead);
            // Forget what falls out of the window; after a long gap that is all of it.
            for skipped in (self.newest + 1..=number).rev().take(WINDOW as usize) {
                self.seen[word_of(skipped)] &= !(1 << (skipped % 64));
            }
            self.newest = number;
            self.seen[word_of(number)] |= 1 << (number % 64);
            self.counts.unique += u64::from(number >= self.base);
            return number;
        }
        let number = self.newest - u64::from((self.newest as u16).wrapping_sub(sequence));
        if number < self.base {
            return number;
        }
        let bit = 1 << (number % 64);
        let seen = &mut self.seen[word_of(number)];
        // A word is cleared as a whole when its first number comes, so the oldest one is not trusted.
        if self.newest - number >= WINDOW - 64 {
            self.counts.stray += 1;
        } else if *seen & bit != 0 {
            self.counts.doubled += 1;
        } else {
            *seen |= bit;
            self.counts.unique += 1;
            self.counts.reordered += 1;
        }
        number
    }

    /// Whether it was there when the counting began, so that everything sent since is owed to it.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether anything came.
    #[must_use]
    pub const fn is_started(&self) -> bool {
        self.started
    }

    /// Extended number of the newest packet, 0 before the first.
    #[must_use]
    pub const fn newest(&self) -> u64 {
        self.newest
    }

    /// From the next packet on is counted. To be called when nothing is under way.
    pub fn begin(&mut self) {
        self.counts = Counts::default();
        self.whole = self.started;
        self.base = if self.started { self.newest + 1 } else { 0 };
    }

    /// The counts, when `sent` packets were sent since [`Account::begin`]; without that figure what is missing up to the
    /// newest packet is lost, and a stream that began late is counted from its beginning.
    #[must_use]
    pub fn counts(&self, sent: Option<u64>) -> Counts {
        let seen_span = if self.started { (self.newest + 1).saturating_sub(self.base) } else { 0 };
        let expected = sent.unwrap_or(seen_span);
        Counts { lost: expected.saturating_sub(self.counts.unique + self.counts.stray), ..self.counts }
    }
}

const fn word_of(number: u64) -> usize {
    (number / 64) as usize % WORDS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn counted(numbers: impl IntoIterator<Item = u64>, sent: Option<u64>) -> Counts {
        let mut account = Account::default();
        account.take(65_000);
        account.begin();
        for number in numbers {
            account.take((65_001 + number) as u16);
        }
        account.counts(sent)
    }

    #[test]
    fn everything_in_order_over_two_wraps() {
        let counts = counted(0..140_000, Some(140_000));
        assert_eq!(counts, Counts { unique: 140_000, ..Counts::default() });
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        let counts = counted([0, 1, 3, 2, 2, 5], Some(8));
        assert_eq!(counts, Counts { unique: 5, doubled: 1, reordered: 1, stray: 0, lost: 3 });
        assert_eq!(counted([0, 1, 5], None).lost, 3, "the tail is not known");
    }

    #[test]
    fn what_came_before_the_counting_does_not_count() {
        let mut account = Account::default();
        for sequence in 0..100 {
            account.take(sequence);
        }
        account.begin();
        account.take(99);
        account.take(50);
        account.take(100);
        assert_eq!(account.counts(Some(1)), Counts { unique: 1, ..Counts::default() });
    }

    #[test]
    fn a_stream_that_begins_late_counts_from_there() {
        let mut account = Account::default();
        account.begin();
        for sequence in [500, 501, 503] {
            account.take(sequence);
        }
        assert_eq!(account.counts(None), Counts { unique: 3, lost: 1, ..Counts::default() });
    }

    #[test]
    fn a_packet_from_far_behind_is_stray_and_a_long_gap_is_loss() {
        let counts = counted((0..10).chain(5_000..8_000).chain([4_999, 5_500]), Some(8_000));
        assert_eq!(counts, Counts { unique: 3_010, stray: 2, lost: 4_988, ..Counts::default() });
    }

    proptest! {
        #[test]
        fn within_the_window_it_agrees_with_a_set(order in proptest::collection::vec(0u64..900, 1..400)) {
            let mut seen = BTreeSet::new();
            let mut expected = Counts::default();
            let mut newest = None;
            for &number in &order {
                if !seen.insert(number) {
                    expected.doubled += 1;
                } else {
                    expected.unique += 1;
                    expected.reordered += u64::from(newest.is_some_and(|newest| number < newest));
                }
                newest = newest.max(Some(number));
            }
            expected.lost = 900 - expected.unique;
            prop_assert_eq!(counted(order, Some(900)), expected);
        }
    }
}
