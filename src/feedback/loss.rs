//! Which packets of one incoming video stream to ask for again (generic NACK, RFC 4585 §6.2.1).

use std::time::Duration;

use crate::time::Timestamp;

/// Packets asked for at a time; a larger hole is cheaper to fill with a key frame.
pub const OUTSTANDING_MAX: usize = 256;

/// A hole may be mere reordering: it is asked for after this time, or after this many later packets.
const REORDER_ALLOWANCE: Duration = Duration::from_millis(10);
const REORDER_PACKETS: u64 = 3;
/// Times a packet is asked for, and how long it is worth having.
const TRIES_MAX: u8 = 10;
const AGE_MAX: Duration = Duration::from_secs(1);
/// Time between two tries: one round trip within these bounds.
const REPEAT_MIN: Duration = Duration::from_millis(20);
const REPEAT_MAX: Duration = Duration::from_millis(400);
/// Round trip to assume before anything is known.
const ROUND_TRIP_DEFAULT: Duration = Duration::from_millis(100);
/// A new measurement counts this part of the smoothed round trip (as RFC 6298 §2.3).
const SMOOTHING: u32 = 8;

/// Sequence numbers to ask for: a fixed list that [`LossDetector::poll`] fills.
#[derive(Clone, Debug)]
pub struct LostList {
    sequences: [u16; OUTSTANDING_MAX],
    len: usize,
}

impl LostList {
    /// An empty list.
    pub const fn new() -> Self {
        Self { sequences: [0; OUTSTANDING_MAX], len: 0 }
    }

    /// The sequence numbers, ascending (with wrapping).
    pub fn as_slice(&self) -> &[u16] {
        &self.sequences[..self.len]
    }

    fn push(&mut self, sequence: u16) {
        if let Some(place) = self.sequences.get_mut(self.len) {
            *place = sequence;
            self.len += 1;
        }
    }
}

impl Default for LostList {
    fn default() -> Self {
        Self::new()
    }
}

/// What [`LossDetector::poll`] wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Want {
    /// Nothing.
    Nothing,
    /// The packets of the list again.
    Resend,
    /// A key frame: too much is lost, or for too long. What was outstanding is forgotten.
    Keyframe,
}

/// One packet that has not come.
#[derive(Clone, Copy, Debug, Default)]
struct Missing {
    sequence: u64,
    noticed_at: Timestamp,
    /// Next time to ask for it.
    due_at: Timestamp,
    asked_at: Timestamp,
    tries: u8,
}

/// Watches the sequence numbers of one stream for holes.
///
/// `sequence` is always the extended number, roll-over count in the upper bits, as SRTP has it.
#[derive(Clone, Debug)]
pub struct LossDetector {
    /// Ascending by sequence number; the first `len` count.
    missing: [Missing; OUTSTANDING_MAX],
    len: usize,
    highest: Option<u64>,
    keyframe_wanted: bool,
    deadline: Timestamp,
    round_trip: Option<Duration>,
}

impl LossDetector {
    /// Nothing received yet.
    pub fn new() -> Self {
        Self {
            missing: [Missing::default(); OUTSTANDING_MAX],
            len: 0,
            highest: None,
            keyframe_wanted: false,
            deadline: Timestamp::NEVER,
            round_trip: None,
        }
    }

    /// A packet arrived, by itself or inside a retransmission. Padding counts too: it has a number.
    pub fn handle_packet(&mut self, now: Timestamp, sequence: u64) {
        let Some(highest) = self.highest else {
            self.highest = Some(sequence);
            return;
        };
        if sequence <= highest {
            self.fill(now, sequence);
            return;
        }
        self.highest = Some(sequence);
        let hole = sequence - highest - 1;
        if hole > (OUTSTANDING_MAX - self.len) as u64 {
            self.give_up();
            return;
        }
        for lost in highest + 1..sequence {
            let due_at = now + REORDER_ALLOWANCE;
            self.missing[self.len] =
                Missing { sequence: lost, noticed_at: now, due_at, ..Missing::default() };
            self.len += 1;
            self.deadline = self.deadline.min(due_at);
        }
        self.end_allowance(now, sequence);
    }

    /// A key frame begins with packet `sequence`: nothing before it matters any more.
    pub fn handle_keyframe(&mut self, sequence: u64) {
        let kept_from = self.missing[..self.len].partition_point(|missing| missing.sequence < sequence);
        self.missing.copy_within(kept_from..self.len, 0);
        self.len -= kept_from;
        self.keyframe_wanted = false;
    }

    /// Fills `lost` with what to ask for now. `round_trip` to the sender, where it is known from elsewhere.
    pub fn poll(&mut self, now: Timestamp, round_trip: Option<Duration>, lost: &mut LostList) -> Want {
        lost.len = 0;
        if now < self.deadline && !self.keyframe_wanted {
            return Want::Nothing;
        }
        let expired =
            |missing: &Missing| missing.tries >= TRIES_MAX || now.since(missing.noticed_at) >= AGE_MAX;
        if self.keyframe_wanted || self.due(now).any(expired) {
            self.give_up();
            self.keyframe_wanted = false;
            return Want::Keyframe;
        }
        let repeat =
            round_trip.or(self.round_trip).unwrap_or(ROUND_TRIP_DEFAULT).clamp(REPEAT_MIN, REPEAT_MAX);
        self.deadline = Timestamp::NEVER;
        for missing in &mut self.missing[..self.len] {
            if missing.due_at <= now {
                missing.due_at = (now + repeat).min(missing.noticed_at + AGE_MAX);
                missing.asked_at = now;
                missing.tries += 1;
                lost.push(missing.sequence as u16);
            }
            self.deadline = self.deadline.min(missing.due_at);
        }
        if lost.len == 0 { Want::Nothing } else { Want::Resend }
    }

    /// When [`Self::poll`] wants to be called.
    pub fn next_deadline(&self) -> Timestamp {
        if self.keyframe_wanted { Timestamp::ZERO } else { self.deadline }
    }

    /// Time from a NACK to its answer, smoothed; `None` before the first answer. A publisher that is never sent a
    /// sender report offers no other measure of its round trip.
    pub const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Packets that are missing right now.
    pub const fn outstanding(&self) -> usize {
        self.len
    }

    fn due(&self, now: Timestamp) -> impl Iterator<Item = &Missing> {
        self.missing[..self.len].iter().filter(move |missing| missing.due_at <= now)
    }

    /// A hole closes.
    fn fill(&mut self, now: Timestamp, sequence: u64) {
        let Ok(at) = self.missing[..self.len].binary_search_by_key(&sequence, |missing| missing.sequence)
        else {
            return;
        };
        let missing = self.missing[at];
        self.missing.copy_within(at + 1..self.len, at);
        self.len -= 1;
        // Asked twice, it could be the answer to either (Karn's rule).
        if missing.tries == 1 {
            let sample = now.since(missing.asked_at);
            self.round_trip = Some(match self.round_trip {
                None => sample,
                Some(smoothed) => (smoothed * (SMOOTHING - 1) + sample) / SMOOTHING,
            });
        }
        if self.len == 0 {
            self.deadline = Timestamp::NEVER;
        }
    }

    /// Holes that enough later packets have passed are no reordering: they are due at once.
    fn end_allowance(&mut self, now: Timestamp, highest: u64) {
        for missing in self.missing[..self.len].iter_mut().rev() {
            if highest - missing.sequence < REORDER_PACKETS {
                continue;
            }
            if missing.tries > 0 || missing.due_at <= now {
                break; // and so are all before it
            }
            missing.due_at = now;
            self.deadline = now;
        }
    }

    fn give_up(&mut self) {
        self.len = 0;
        self.deadline = Timestamp::NEVER;
        self.keyframe_wanted = true;
    }
}

impl Default for LossDetector {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testing::Random;

    const RTT: Option<Duration> = Some(Duration::from_millis(50));

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_nanos((1_000 + ms) * 1_000_000)
    }

    fn detector_after(now: Timestamp, sequences: impl IntoIterator<Item = u64>) -> LossDetector {
        let mut detector = LossDetector::new();
        sequences.into_iter().for_each(|sequence| detector.handle_packet(now, sequence));
        detector
    }

    fn asked(detector: &mut LossDetector, now: Timestamp) -> Vec<u16> {
        let mut lost = LostList::new();
        let want = detector.poll(now, RTT, &mut lost);
        assert_ne!(want, Want::Keyframe);
        assert_eq!(want == Want::Resend, !lost.as_slice().is_empty());
        lost.as_slice().to_vec()
    }

    #[test]
    fn a_stream_without_holes_asks_for_nothing() {
        let mut detector = detector_after(at(0), 65_000..66_000);
        assert_eq!(detector.next_deadline(), Timestamp::NEVER);
        assert!(asked(&mut detector, at(5_000)).is_empty());
    }

    #[test]
    fn a_hole_is_asked_for_after_the_allowance_and_again_each_round_trip() {
        let mut detector = detector_after(at(0), [65_534, 65_537]);
        assert!(asked(&mut detector, at(9)).is_empty());
        assert_eq!(detector.next_deadline(), at(10));
        assert_eq!(asked(&mut detector, at(10)), [65_535, 0]);
        assert_eq!(detector.next_deadline(), at(60));
        assert!(asked(&mut detector, at(59)).is_empty());
        detector.handle_packet(at(59), 65_535);
        assert_eq!(asked(&mut detector, at(60)), [0]);
        detector.handle_packet(at(80), 65_536);
        assert_eq!((detector.outstanding(), detector.next_deadline()), (0, Timestamp::NEVER));
    }

    #[test]
    fn three_later_packets_end_the_allowance() {
        let mut detector = detector_after(at(0), [1, 3, 4]);
        assert_eq!(detector.next_deadline(), at(10));
        detector.handle_packet(at(1), 5);
        assert_eq!(detector.next_deadline(), at(1));
        assert_eq!(asked(&mut detector, at(1)), [2]);
    }

    #[test]
    fn reordering_within_the_allowance_asks_for_nothing() {
        let mut detector = detector_after(at(0), [1, 3, 2, 5, 4, 8, 6, 7]);
        assert_eq!(detector.outstanding(), 0);
        assert!(asked(&mut detector, at(20)).is_empty());
        assert_eq!(detector.round_trip(), None, "nothing was asked, nothing measured");
    }

    #[test]
    fn a_packet_that_never_comes_ends_in_a_key_frame() {
        for rtt_ms in [20, 50, 300] {
            let mut detector = detector_after(at(0), [1, 3]);
            let mut lost = LostList::new();
            let mut tries = 0;
            let gave_up_at = loop {
                let now = detector.next_deadline();
                match detector.poll(now, Some(Duration::from_millis(rtt_ms)), &mut lost) {
                    Want::Resend => tries += 1,
                    Want::Keyframe => break now,
                    Want::Nothing => panic!("a deadline without cause"),
                }
            };
            assert!(tries <= 10 && gave_up_at <= at(1_000), "{tries} tries until {gave_up_at:?}");
            assert_eq!(detector.next_deadline(), Timestamp::NEVER, "asked once, not for ever");
            detector.handle_packet(at(1_500), 5);
            assert_eq!(asked(&mut detector, at(1_510)), [4], "and life goes on");
        }
    }

    #[test]
    fn a_hole_beyond_the_list_asks_for_a_key_frame_at_once() {
        let mut detector = detector_after(at(0), [1, 258]);
        assert_eq!(detector.outstanding(), 256);
        detector.handle_packet(at(1), 260);
        assert_eq!(detector.next_deadline(), Timestamp::ZERO);
        assert_eq!(detector.poll(at(1), RTT, &mut LostList::new()), Want::Keyframe);
        assert_eq!(detector.outstanding(), 0);
        let mut detector = detector_after(at(0), [1, u64::MAX - 3]);
        assert_eq!(detector.poll(at(1), RTT, &mut LostList::new()), Want::Keyframe);
    }

    #[test]
    fn a_key_frame_forgives_what_was_lost_before_it() {
        let mut detector = detector_after(at(0), [1, 3, 5, 9]);
        detector.handle_keyframe(5);
        assert_eq!(asked(&mut detector, at(20)), [6, 7, 8]);
    }

    #[test]
    fn answers_measure_the_round_trip() {
        let mut detector = detector_after(at(0), [1, 3]);
        let mut lost = LostList::new();
        assert_eq!(detector.poll(at(10), None, &mut lost), Want::Resend);
        detector.handle_packet(at(40), 2);
        assert_eq!(detector.round_trip(), Some(Duration::from_millis(30)));
        detector.handle_packet(at(100), 5);
        assert_eq!(detector.poll(at(110), None, &mut lost), Want::Resend);
        assert_eq!(detector.next_deadline(), at(140), "its own measure sets the pace");
        assert_eq!(detector.poll(at(140), None, &mut lost), Want::Resend);
        detector.handle_packet(at(141), 4);
        assert_eq!(
            detector.round_trip(),
            Some(Duration::from_millis(30)),
            "an ambiguous answer measures nothing"
        );
    }

    #[test]
    fn a_lossy_network_is_repaired_completely() {
        let mut random = Random::new(81);
        let mut detector = LossDetector::new();
        let mut lost = LostList::new();
        let mut on_their_way: Vec<(Timestamp, u16)> = Vec::new();
        let mut missing = std::collections::BTreeSet::new();
        for sequence in 0..5_000_u64 {
            let now = at(2 * sequence);
            if sequence > 0 && random.one_in(20) {
                missing.insert(sequence);
            } else {
                detector.handle_packet(now, sequence);
            }
            while let Some(place) = on_their_way.iter().position(|(arrival, _)| *arrival <= now) {
                let (_, short) = on_their_way.swap_remove(place);
                missing.remove(&u64::from(short));
                detector.handle_packet(now, u64::from(short));
            }
            assert_ne!(detector.poll(now, RTT, &mut lost), Want::Keyframe);
            let answers = lost.as_slice().iter().filter(|_| !random.one_in(20));
            on_their_way.extend(answers.map(|short| (now + Duration::from_millis(30), *short)));
        }
        assert!(missing.iter().all(|sequence| *sequence > 4_700), "repaired but for the end: {missing:?}");
    }
}
