//! When the packets of one transport arrived, reported to its sender as transport-wide feedback
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01): it is what lets a browser's rate rise.

use std::time::Duration;

use crate::time::Timestamp;
use crate::wire::rtcp::twcc;

/// Arrivals remembered. A sender of 10 000 packets a second fills it in the longest interval.
const WINDOW: usize = 1024;
/// A feedback on the wire in bytes, and how much it is to be about: it takes a twentieth of what it reports on,
/// within the two intervals, as that of browsers does.
const FEEDBACK_BYTES: u32 = 68;
const BUSY_BYTES: u32 = 20 * FEEDBACK_BYTES;
const INTERVAL_MIN: Duration = Duration::from_millis(50);
const INTERVAL_MAX: Duration = Duration::from_millis(250);
/// Waiting packets that make a feedback due whatever the time.
const WAITING_MAX: u64 = WINDOW as u64 / 4;
/// Arrivals in one feedback.
const REPORTED_MAX: usize = 512;

const _: () = assert!(WINDOW.is_power_of_two() && WINDOW <= twcc::STATUSES_MAX);
const _: () = assert!(WAITING_MAX < REPORTED_MAX as u64);

/// Records the arrivals of one transport and writes the feedbacks on them.
#[derive(Clone, Debug)]
pub struct ArrivalRecorder {
    /// Arrival time in ticks by sequence number modulo the window.
    ticks: [u32; WINDOW],
    /// One bit for each place of `ticks`: it holds an arrival.
    present: [u64; WINDOW / 64],
    /// Highest extended sequence number that arrived; `None` before the first packet.
    highest: Option<u64>,
    /// First packet the next feedback is about.
    next_base: u64,
    /// Arrivals not yet reported.
    waiting: u64,
    /// Their bytes.
    waiting_bytes: u32,
    /// When the oldest of them came.
    waiting_since: Timestamp,
    feedback_count: u8,
}

impl ArrivalRecorder {
    /// Nothing arrived yet.
    pub const fn new() -> Self {
        Self {
            ticks: [0; WINDOW],
            present: [0; WINDOW / 64],
            highest: None,
            next_base: 0,
            waiting: 0,
            waiting_bytes: 0,
            waiting_since: Timestamp::ZERO,
            feedback_count: 0,
        }
    }

    /// A packet of `len` bytes with the transport-wide number `sequence` arrived, on whichever SSRC. True when
    /// [`Self::next_deadline`] moved.
    pub fn handle_packet(&mut self, now: Timestamp, sequence: u16, len: usize) -> bool {
        let Some(extended) = self.extend(sequence) else { return false };
        let place = place_of(extended);
        let bit = 1 << (place % 64);
        if self.present[place / 64] & bit != 0 {
            return false; // a duplicate: the first arrival counts
        }
        self.present[place / 64] |= bit;
        self.ticks[place] = twcc::ticks(now);
        // One that was reported lost and comes late is reported again, with all behind it.
        self.next_base = self.next_base.min(extended);
        if self.waiting == 0 {
            (self.waiting_since, self.waiting_bytes) = (now, 0);
        }
        let had = self.next_deadline();
        self.waiting += 1;
        self.waiting_bytes = self.waiting_bytes.saturating_add(len as u32);
        self.next_deadline() != had
    }

    /// Writes the next feedback that is due and returns its length; call again until `None`, for what did not fit into
    /// the first. `media_ssrc` is any source of the transport.
    pub fn poll_feedback(
        &mut self,
        now: Timestamp,
        sender_ssrc: u32,
        media_ssrc: u32,
        out: &mut [u8],
    ) -> Option<usize> {
        if now < self.next_deadline() {
            return None;
        }
        let mut arrivals = [twcc::Arrival::default(); REPORTED_MAX];
        let count = self.collect(&mut arrivals);
        let head = twcc::Head {
            sender_ssrc,
            media_ssrc,
            base: self.next_base as u16,
            feedback_count: self.feedback_count,
        };
        let written = twcc::write(out, &head, &arrivals[..count]);
        let Some(last) = written.arrivals.checked_sub(1) else {
            // Nothing to report or no room at all: asking again and again would not help.
            self.waiting = 0;
            return None;
        };
        let span = arrivals[last].sequence.wrapping_sub(head.base);
        self.next_base += u64::from(span) + 1;
        self.feedback_count = self.feedback_count.wrapping_add(1);
        self.waiting = self.arrivals_from(self.next_base).count() as u64;
        Some(written.len)
    }

    /// When [`Self::poll_feedback`] wants to be called.
    pub fn next_deadline(&self) -> Timestamp {
        match self.waiting {
            0 => Timestamp::NEVER,
            WAITING_MAX.. => self.waiting_since,
            _ if self.waiting_bytes >= BUSY_BYTES => self.waiting_since + INTERVAL_MIN,
            _ => self.waiting_since + INTERVAL_MAX,
        }
    }

    /// The extended number of `sequence`, its place made ready; `None` for a packet too old to report.
    fn extend(&mut self, sequence: u16) -> Option<u64> {
        let Some(highest) = self.highest else {
            // One cycle up, so that what was sent before the first arrival has a number too.
            let first = u64::from(sequence) + (1 << 16);
            self.highest = Some(first);
            self.next_base = first;
            return Some(first);
        };
        let step = i64::from(sequence.wrapping_sub(highest as u16).cast_signed());
        let extended = highest.checked_add_signed(step)?;
        if step <= 0 {
            return (highest - extended < WINDOW as u64).then_some(extended);
        }
        self.advance(highest, extended);
        Some(extended)
    }

    /// Moves the window up to end at `to`; a leap beyond its size starts it afresh.
    fn advance(&mut self, from: u64, to: u64) {
        self.highest = Some(to);
        if to - from >= WINDOW as u64 {
            self.present = [0; WINDOW / 64];
            self.next_base = to;
            self.waiting = 0;
            return;
        }
        for sequence in from + 1..=to {
            let place = place_of(sequence);
            self.present[place / 64] &= !(1 << (place % 64));
        }
        // What falls out of the window unreported stays so.
        self.next_base = self.next_base.max((to + 1).saturating_sub(WINDOW as u64));
    }

    /// Arrivals from `base` on, ascending.
    fn arrivals_from(&self, base: u64) -> impl Iterator<Item = twcc::Arrival> {
        let end = self.highest.map_or(base, |highest| highest + 1);
        (base..end).filter_map(|sequence| {
            let place = place_of(sequence);
            let arrived = self.present[place / 64] & (1 << (place % 64)) != 0;
            arrived.then(|| twcc::Arrival { sequence: sequence as u16, ticks: self.ticks[place] })
        })
    }

    /// Puts the arrivals to report into `arrivals`; returns their number.
    fn collect(&self, arrivals: &mut [twcc::Arrival]) -> usize {
        self.arrivals_from(self.next_base).zip(arrivals).map(|(arrival, place)| *place = arrival).count()
    }
}

impl Default for ArrivalRecorder {
    fn default() -> Self {
        Self::new()
    }
}

const fn place_of(sequence: u64) -> usize {
    sequence as usize % WINDOW
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::wire::rtcp::{Packet, packets};
    use crate::wire::testing::Random;

    const LEN: usize = 1000;

    fn at_us(us: u64) -> Timestamp {
        Timestamp::from_nanos((1_000_000 + us) * 1_000)
    }

    fn at(ms: u64) -> Timestamp {
        at_us(ms * 1_000)
    }

    /// The far end: what the feedbacks of one recorder told it.
    #[derive(Default)]
    struct Sender {
        /// Arrival in ticks by sequence number; `None` for reported lost.
        told: BTreeMap<u16, Option<u32>>,
        counts: Vec<u8>,
        bases: Vec<u16>,
    }

    impl Sender {
        fn poll(&mut self, recorder: &mut ArrivalRecorder, now: Timestamp) {
            let mut out = [0; 1200];
            while let Some(len) = recorder.poll_feedback(now, 1, 2, &mut out) {
                let Some(Ok(Packet::TransportFeedback(feedback))) = packets(&out[..len]).next() else {
                    panic!("no feedback");
                };
                self.counts.push(feedback.feedback_count);
                self.bases.push(feedback.base);
                self.told.extend(feedback.statuses().map(|status| (status.sequence, status.ticks)));
            }
        }

        fn lost(&self) -> Vec<u16> {
            self.told.iter().filter(|(_, ticks)| ticks.is_none()).map(|(sequence, _)| *sequence).collect()
        }
    }

    #[test]
    fn a_feedback_takes_a_twentieth_of_what_it_is_about() {
        // Video, the voice of one, and one who is silent.
        for (gap_ms, len, interval) in [(2, 1100, 50), (20, 150, 180), (60, 40, 250)] {
            let mut recorder = ArrivalRecorder::new();
            let mut sender = Sender::default();
            for packet in 0..1_000 / gap_ms {
                recorder.handle_packet(at(packet * gap_ms), packet as u16, len);
                sender.poll(&mut recorder, at(packet * gap_ms));
            }
            let expected = 1_000 / (interval + gap_ms);
            assert!(
                sender.counts.len().abs_diff(expected as usize) <= 1,
                "{} for {gap_ms} ms",
                sender.counts.len()
            );
        }
    }

    #[test]
    fn a_silent_transport_hears_nothing() {
        let mut recorder = ArrivalRecorder::new();
        assert_eq!(recorder.next_deadline(), Timestamp::NEVER);
        recorder.handle_packet(at(0), 7, LEN);
        assert_eq!(recorder.next_deadline(), at(250));
        let mut out = [0; 100];
        assert_eq!(recorder.poll_feedback(at(249), 1, 2, &mut out), None);
        assert_eq!(recorder.poll_feedback(at(250), 1, 2, &mut out), Some(24));
        assert_eq!(recorder.poll_feedback(at(250), 1, 2, &mut out), None);
        assert_eq!(recorder.next_deadline(), Timestamp::NEVER);
    }

    #[test]
    fn every_packet_is_reported_with_its_time_and_every_loss_too() {
        let mut random = Random::new(91);
        let mut recorder = ArrivalRecorder::new();
        let mut sender = Sender::default();
        let mut sent = BTreeMap::new();
        let mut now_us = 0;
        for number in 0..20_000_u16 {
            now_us += random.below(2_000);
            let sequence = number.wrapping_add(60_000);
            if number > 0 && random.one_in(10) {
                sent.insert(sequence, None);
            } else {
                recorder.handle_packet(at_us(now_us), sequence, LEN);
                sent.insert(sequence, Some(twcc::ticks(at_us(now_us))));
            }
            sender.poll(&mut recorder, at_us(now_us));
        }
        recorder.handle_packet(at_us(now_us), 14_464, LEN);
        sender.poll(&mut recorder, at_us(now_us + 1_000_000));
        sent.insert(14_464, Some(twcc::ticks(at_us(now_us))));
        // Times are exact in ticks: nothing drifts from one feedback to the next.
        assert_eq!(sender.told, sent);
        assert!(sender.counts.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)));
    }

    #[test]
    fn a_late_packet_corrects_its_loss() {
        let mut recorder = ArrivalRecorder::new();
        let mut sender = Sender::default();
        for sequence in [1, 2, 4, 5] {
            recorder.handle_packet(at(0), sequence, LEN);
        }
        sender.poll(&mut recorder, at(100));
        assert_eq!(sender.lost(), [3]);
        recorder.handle_packet(at(110), 3, LEN);
        recorder.handle_packet(at(120), 6, LEN);
        sender.poll(&mut recorder, at(210));
        assert!(sender.lost().is_empty());
        assert_eq!(sender.told[&3], Some(twcc::ticks(at(110))));
        assert_eq!(sender.told[&5], Some(twcc::ticks(at(0))), "repeated, unchanged");
        assert_eq!(sender.bases, [1, 3]);
    }

    #[test]
    fn losses_between_two_feedbacks_are_told_by_the_second() {
        let mut recorder = ArrivalRecorder::new();
        let mut sender = Sender::default();
        recorder.handle_packet(at(0), 65_535, LEN);
        sender.poll(&mut recorder, at(250));
        recorder.handle_packet(at(260), 2, LEN);
        sender.poll(&mut recorder, at(510));
        assert_eq!(sender.lost(), [0, 1]);
        assert_eq!(sender.bases, [65_535, 0]);
    }

    #[test]
    fn a_leap_starts_afresh_and_the_very_old_is_ignored() {
        let mut recorder = ArrivalRecorder::new();
        let mut sender = Sender::default();
        recorder.handle_packet(at(0), 10, LEN);
        recorder.handle_packet(at(1), 20_000, LEN);
        recorder.handle_packet(at(2), 10, LEN);
        recorder.handle_packet(at(2), 20_000, LEN);
        sender.poll(&mut recorder, at(260));
        assert_eq!(sender.told, BTreeMap::from([(20_000, Some(twcc::ticks(at(1))))]));
    }

    #[test]
    fn a_burst_beyond_one_feedback_goes_into_several_at_once() {
        let mut recorder = ArrivalRecorder::new();
        let mut sender = Sender::default();
        for sequence in 0..1_000 {
            // 70 ms apart each way: every delta takes two bytes.
            recorder.handle_packet(at(if sequence % 2 == 0 { 0 } else { 70 }), sequence, LEN);
        }
        assert!(recorder.next_deadline() <= at(70));
        sender.poll(&mut recorder, at(70));
        assert!(sender.counts.len() > 1);
        assert_eq!(sender.told.len(), 1_000);
        assert!(sender.lost().is_empty());
    }

    #[test]
    fn a_slice_too_short_for_anything_is_no_endless_loop() {
        let mut recorder = ArrivalRecorder::new();
        recorder.handle_packet(at(0), 1, LEN);
        assert_eq!(recorder.poll_feedback(at(250), 1, 2, &mut [0; 20]), None);
        assert_eq!(recorder.next_deadline(), Timestamp::NEVER);
    }

    #[test]
    fn any_order_of_numbers_is_survived() {
        let mut random = Random::new(92);
        let mut recorder = ArrivalRecorder::new();
        let mut sender = Sender::default();
        for step in 0..50_000 {
            recorder.handle_packet(at(step), random.u16() >> random.below(16), LEN);
            sender.poll(&mut recorder, at(step));
        }
    }
}
