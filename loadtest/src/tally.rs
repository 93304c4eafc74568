//! Which numbers of a run arrived, how often, and in which order.

/// Counts of one track at one viewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Numbers that should have come.
    pub expected: u64,
    /// Different numbers that came by themselves.
    pub received: u64,
    /// Expected numbers that did not come by themselves, repaired or not.
    pub lost: u64,
    /// Packets whose number had come before.
    pub doubled: u64,
    /// Packets that came after a higher number.
    pub reordered: u64,
    /// Lost numbers that a retransmission brought.
    pub recovered: u64,
}

/// One bit for each number.
#[derive(Clone, Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    /// Sets a bit; returns whether it was clear.
    fn insert(&mut self, number: u64) -> bool {
        let (word, bit) = (usize::try_from(number / 64).unwrap_or(usize::MAX), 1 << (number % 64));
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let fresh = self.0[word] & bit == 0;
        self.0[word] |= bit;
        fresh
    }

    fn contains(&self, number: u64) -> bool {
        let word = usize::try_from(number / 64).unwrap_or(usize::MAX);
        self.0.get(word).is_some_and(|bits| bits & (1 << (number % 64)) != 0)
    }
}

/// The record of one track.
#[derive(Debug)]
pub struct Tally {
    limit: u64,
    first: Option<u64>,
    highest: Option<u64>,
    seen: Bits,
    repaired: Bits,
    received: u64,
    doubled: u64,
    reordered: u64,
    recovered: u64,
    /// Numbers at or beyond the limit: nobody sent them.
    pub impossible: u64,
}

impl Tally {
    /// For numbers `0..limit`. A viewer who joins `late` is owed nothing before the first number it gets.
    #[must_use]
    pub fn new(limit: u64, late: bool) -> Self {
        Self {
            limit,
            first: (!late).then_some(0),
            highest: None,
            seen: Bits::default(),
            repaired: Bits::default(),
            received: 0,
            doubled: 0,
            reordered: 0,
            recovered: 0,
            impossible: 0,
        }
    }

    /// Takes a number that came by itself.
    pub fn record(&mut self, number: u64) {
        if number >= self.limit {
            self.impossible += 1;
            return;
        }
        if !self.seen.insert(number) {
            self.doubled += 1;
            return;
        }
        self.first.get_or_insert(number);
        self.received += 1;
        if self.highest.is_some_and(|highest| number < highest) {
            self.reordered += 1;
        }
        self.highest = self.highest.max(Some(number));
    }

    /// Takes a number that a retransmission brought.
    pub fn record_repair(&mut self, number: u64) {
        if number < self.limit && !self.seen.contains(number) && self.repaired.insert(number) {
            self.recovered += 1;
        }
    }

    /// Numbers missing below the highest one, as of now.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        let span = self.highest.map_or(0, |highest| highest + 1).saturating_sub(self.first.unwrap_or(0));
        span.saturating_sub(self.received)
    }

    /// Different numbers received so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Whether everything up to the last of `sent` numbers has been seen.
    #[must_use]
    pub fn is_complete(&self, sent: u64) -> bool {
        self.counts(sent).lost == 0
    }

    /// The balance once `sent` numbers have been sent.
    #[must_use]
    pub fn counts(&self, sent: u64) -> Counts {
        let expected = sent.min(self.limit).saturating_sub(self.first.unwrap_or(0));
        Counts {
            expected,
            received: self.received,
            lost: expected.saturating_sub(self.received),
            doubled: self.doubled,
            reordered: self.reordered,
            recovered: self.recovered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(numbers: impl IntoIterator<Item = u64>) -> Counts {
        let mut tally = Tally::new(1000, false);
        numbers.into_iter().for_each(|number| tally.record(number));
        tally.counts(1000)
    }

    #[test]
    fn a_clean_run() {
        let clean = Counts { expected: 1000, received: 1000, ..Counts::default() };
        assert_eq!(run(0..1000), clean);
    }

    #[test]
    fn every_kind_of_fault_shows() {
        assert_eq!(run((0..1000).filter(|number| *number != 0)).lost, 1, "the first");
        assert_eq!(run(0..999).lost, 1, "the last");
        assert_eq!(run((0..1000).filter(|number| number % 100 != 7)).lost, 10);
        assert_eq!(run((0..1000).chain([500])).doubled, 1);
        assert_eq!(run([0; 5].into_iter().chain(1..1000)).doubled, 4);
        let mut swapped: Vec<u64> = (0..1000).collect();
        swapped.swap(10, 11);
        assert_eq!(
            run(swapped),
            Counts { expected: 1000, received: 1000, reordered: 1, ..Counts::default() }
        );
        assert_eq!(run([]), Counts { expected: 1000, lost: 1000, ..Counts::default() });
    }

    #[test]
    fn a_repair_does_not_hide_the_loss() {
        let mut tally = Tally::new(10, false);
        (0..10).filter(|number| *number != 4).for_each(|number| tally.record(number));
        assert_eq!(tally.gaps(), 1);
        tally.record_repair(4);
        tally.record_repair(4);
        tally.record_repair(5);
        let counts = tally.counts(10);
        assert_eq!((counts.lost, counts.recovered, counts.doubled), (1, 1, 0));
    }

    #[test]
    fn a_late_viewer_is_owed_everything_from_its_first_packet() {
        let mut tally = Tally::new(100, true);
        (40..100).filter(|number| *number != 60).for_each(|number| tally.record(number));
        let counts = tally.counts(100);
        assert_eq!((counts.expected, counts.received, counts.lost), (60, 59, 1));
    }

    #[test]
    fn a_number_nobody_sent_is_impossible() {
        let mut tally = Tally::new(10, false);
        tally.record(10);
        tally.record(u64::MAX);
        assert_eq!((tally.impossible, tally.received()), (2, 0));
    }
}
