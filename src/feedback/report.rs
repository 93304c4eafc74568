//! Reports (RFC 3550 §6.4): what we say about streams we receive, and the sender reports that keep lips in sync.
//!
//! A viewer hears the *publisher's* time: the NTP time of the publisher's last report, moved on by what has passed since it
//! arrived, beside the viewer's own RTP timestamp for that moment. Audio and video of one publisher so stay on one time line.

use std::time::Duration;

use bytemuck::{Pod, Zeroable};

use crate::time::Timestamp;
use crate::wire::rtcp::report::{ReportBlock, SenderInfo};

const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// Sender reports of ours that a receiver may still answer.
const SENT_REPORTS: usize = 4;
/// A round trip beyond this is a lie or of no use.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(10);

/// `duration` on a clock of `clock_rate` ticks a second.
fn clock_ticks(duration: Duration, clock_rate: u32) -> u64 {
    let rate = u64::from(clock_rate);
    duration
        .as_secs()
        .wrapping_mul(rate)
        .wrapping_add(u64::from(duration.subsec_nanos()) * rate / NANOS_PER_SECOND)
}

/// `duration` in NTP form: seconds in the upper, their fraction in the lower 32 bits.
fn ntp_duration(duration: Duration) -> u64 {
    let fraction = (u64::from(duration.subsec_nanos()) << 32) / NANOS_PER_SECOND;
    (duration.as_secs() << 32).wrapping_add(fraction)
}

/// The middle 32 bits of an NTP time, as LSR has them.
const fn ntp_middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// Reception of one SSRC, for the report block about it.
///
/// Feed it every packet that came on that SSRC itself; one recovered from RTX came on another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Reception {
    /// First and highest extended sequence number.
    first: u64,
    highest: u64,
    /// Packets received, duplicates included; 0 before the first.
    received: u64,
    /// The same two at the last report (RFC 3550 A.3).
    expected_prior: u64,
    received_prior: u64,
    /// Arrival less timestamp of the last packet, in ticks of the media's clock.
    transit: u32,
    /// Jitter in 1/16 ticks (RFC 3550 A.8).
    jitter_16ths: u32,
}

impl Reception {
    /// Nothing received.
    pub const fn new() -> Self {
        Self {
            first: 0,
            highest: 0,
            received: 0,
            expected_prior: 0,
            received_prior: 0,
            transit: 0,
            jitter_16ths: 0,
        }
    }

    /// A packet arrived. `sequence` is extended by the roll-over count, `clock_rate` in ticks a second.
    #[inline]
    pub fn handle_packet(&mut self, now: Timestamp, sequence: u64, rtp_time: u32, clock_rate: u32) {
        let arrival = clock_ticks(now.since(Timestamp::ZERO), clock_rate) as u32;
        let transit = arrival.wrapping_sub(rtp_time);
        if self.received == 0 {
            *self = Self { first: sequence, highest: sequence, received: 1, transit, ..Self::new() };
            return;
        }
        self.received += 1;
        self.first = self.first.min(sequence);
        if sequence <= self.highest {
            return; // late: its transit time says nothing about the path
        }
        self.highest = sequence;
        let difference = transit.wrapping_sub(self.transit).cast_signed().unsigned_abs();
        self.transit = transit;
        let decay = self.jitter_16ths.saturating_add(8) >> 4;
        self.jitter_16ths = self.jitter_16ths.saturating_add(difference).saturating_sub(decay);
    }

    /// The block about `ssrc` for the report sent now, and the start of the next interval; `None` before the first packet.
    pub fn report(&mut self, now: Timestamp, ssrc: u32, last: &PublisherReport) -> Option<ReportBlock> {
        if self.received == 0 {
            return None;
        }
        let expected = self.highest - self.first + 1;
        let expected_interval = expected.saturating_sub(self.expected_prior);
        let received_interval = self.received.saturating_sub(self.received_prior);
        let lost_interval = expected_interval.saturating_sub(received_interval);
        let fraction_lost = (lost_interval << 8).checked_div(expected_interval).unwrap_or(0);
        self.expected_prior = expected;
        self.received_prior = self.received;
        let lost = i64::try_from(expected).unwrap_or(i64::MAX).saturating_sub_unsigned(self.received);
        Some(ReportBlock {
            ssrc,
            fraction_lost: u8::try_from(fraction_lost).unwrap_or(u8::MAX),
            cumulative_lost: i32::try_from(lost).unwrap_or(if lost < 0 { i32::MIN } else { i32::MAX }),
            highest_sequence: self.highest as u32,
            jitter: self.jitter_16ths >> 4,
            last_sr: last.middle(),
            delay_since_last_sr: last.delay(now),
        })
    }
}

/// The last sender report of one published stream, and when it arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PublisherReport {
    ntp: u64,
    /// [`Timestamp::ZERO`] before the first report.
    arrived_at: Timestamp,
    rtp_time: u32,
    reserved: u32,
}

impl PublisherReport {
    /// No report yet.
    pub const NONE: Self = Self { ntp: 0, arrived_at: Timestamp::ZERO, rtp_time: 0, reserved: 0 };

    /// A report that arrived now.
    pub const fn new(now: Timestamp, info: &SenderInfo) -> Self {
        Self { ntp: info.ntp, arrived_at: now, rtp_time: info.rtp_time, reserved: 0 }
    }

    /// False before the first report.
    pub fn is_known(&self) -> bool {
        self.arrived_at != Timestamp::ZERO
    }

    /// What the publisher's own report would say now: NTP time, RTP timestamp. `None` before its first report.
    pub fn extrapolate(&self, now: Timestamp, clock_rate: u32) -> Option<(u64, u32)> {
        let elapsed = now.since(self.arrived_at);
        let ticks = clock_ticks(elapsed, clock_rate) as u32;
        self.is_known()
            .then(|| (self.ntp.wrapping_add(ntp_duration(elapsed)), self.rtp_time.wrapping_add(ticks)))
    }

    fn middle(&self) -> u32 {
        if self.is_known() { ntp_middle(self.ntp) } else { 0 }
    }

    fn delay(&self, now: Timestamp) -> u32 {
        if !self.is_known() {
            return 0;
        }
        u32::try_from(ntp_duration(now.since(self.arrived_at)) >> 16).unwrap_or(u32::MAX)
    }
}

/// The sender report for a viewer: the publisher's time line, the viewer's timestamps and counters. `rtp_offset` is what the
/// source switch adds to the publisher's timestamps. `None` before the publisher's first report.
pub fn viewer_sender_report(
    now: Timestamp,
    publisher: &PublisherReport,
    clock_rate: u32,
    rtp_offset: u32,
    viewer_ssrc: u32,
    sent: &Transmission,
) -> Option<SenderInfo> {
    let (ntp, rtp_time) = publisher.extrapolate(now, clock_rate)?;
    Some(SenderInfo {
        ssrc: viewer_ssrc,
        ntp,
        rtp_time: rtp_time.wrapping_add(rtp_offset),
        packet_count: sent.packets as u32,
        octet_count: sent.octets as u32,
    })
}

/// What was sent on one SSRC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Transmission {
    /// Packets.
    pub packets: u64,
    /// Payload bytes, without headers and padding.
    pub octets: u64,
}

impl Transmission {
    /// A packet with this much payload was sent.
    #[inline]
    pub const fn handle_packet(&mut self, payload_len: usize) {
        self.packets += 1;
        self.octets = self.octets.wrapping_add(payload_len as u64);
    }
}

/// Remembers the sender reports last sent to one receiver, and measures the round trip from its answers. Needs no common
/// clock, and is not misled when the source switch moves to another publisher's time line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct SentReports {
    sent_at: [Timestamp; SENT_REPORTS],
    middle: [u32; SENT_REPORTS],
    /// Place of the next one.
    next: u64,
}

impl SentReports {
    /// A sender report with this NTP time leaves now.
    pub fn handle_sent(&mut self, now: Timestamp, ntp: u64) {
        let place = self.next as usize % SENT_REPORTS;
        self.sent_at[place] = now;
        self.middle[place] = ntp_middle(ntp);
        self.next = self.next.wrapping_add(1);
    }

    /// The round trip that `block` shows; `None` when it answers no report we remember, or claims the impossible.
    pub fn round_trip(&self, now: Timestamp, block: &ReportBlock) -> Option<Duration> {
        if block.last_sr == 0 {
            return None;
        }
        let known =
            |place: &usize| self.sent_at[*place] != Timestamp::ZERO && self.middle[*place] == block.last_sr;
        let place = (0..SENT_REPORTS).find(known)?;
        let delay_nanos = (u64::from(block.delay_since_last_sr) * NANOS_PER_SECOND) >> 16;
        let round_trip = now.since(self.sent_at[place]).checked_sub(Duration::from_nanos(delay_nanos))?;
        (round_trip <= ROUND_TRIP_MAX).then_some(round_trip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testing::Random;

    const VIDEO_RATE: u32 = 90_000;
    const AUDIO_RATE: u32 = 48_000;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_nanos((1_000 + ms) * 1_000_000)
    }

    /// Seconds since 1900 and their fraction in milliseconds, as NTP time.
    fn ntp(seconds: u64, ms: u64) -> u64 {
        (seconds << 32) | ((ms << 32) / 1_000)
    }

    fn report(reception: &mut Reception) -> ReportBlock {
        reception.report(at(0), 9, &PublisherReport::NONE).unwrap()
    }

    #[test]
    fn nothing_is_reported_on_nothing() {
        assert_eq!(Reception::new().report(at(0), 9, &PublisherReport::NONE), None);
    }

    #[test]
    fn losses_are_counted_for_the_interval_and_for_ever() {
        let mut reception = Reception::new();
        for sequence in (65_500..65_600).filter(|sequence| sequence % 4 != 0) {
            reception.handle_packet(at(0), sequence, 0, VIDEO_RATE);
        }
        // The first of the 100 was lost unseen: 99 expected, 75 here.
        let block = report(&mut reception);
        assert_eq!((block.fraction_lost, block.cumulative_lost), ((24 * 256 / 99) as u8, 24));
        assert_eq!(block.highest_sequence, 65_599);
        for sequence in 65_600..65_700 {
            reception.handle_packet(at(0), sequence, 0, VIDEO_RATE);
        }
        let block = report(&mut reception);
        assert_eq!((block.fraction_lost, block.cumulative_lost, block.highest_sequence), (0, 24, 65_699));
    }

    #[test]
    fn duplicates_make_the_loss_negative_but_no_fraction() {
        let mut reception = Reception::new();
        for sequence in [1, 2, 2, 2, 3] {
            reception.handle_packet(at(0), sequence, 0, VIDEO_RATE);
        }
        let block = report(&mut reception);
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, -2));
        assert_eq!(report(&mut reception).fraction_lost, 0, "an interval without packets");
    }

    #[test]
    fn a_late_packet_from_before_the_first_widens_the_range() {
        let mut reception = Reception::new();
        for sequence in [10, 8] {
            reception.handle_packet(at(0), sequence, 0, VIDEO_RATE);
        }
        assert_eq!(report(&mut reception).cumulative_lost, 1);
    }

    #[test]
    fn jitter_is_zero_on_a_steady_path_and_follows_an_unsteady_one() {
        let mut reception = Reception::new();
        for packet in 0..1_000 {
            reception.handle_packet(at(packet * 20), packet, (packet as u32).wrapping_mul(960), AUDIO_RATE);
        }
        assert_eq!(report(&mut reception).jitter, 0);
        // Every other packet 5 ms late: each difference is 5 ms, 240 ticks.
        for packet in 1_000..2_000 {
            let late = 5 * (packet % 2);
            reception.handle_packet(
                at(packet * 20 + late),
                packet,
                (packet as u32).wrapping_mul(960),
                AUDIO_RATE,
            );
        }
        assert!(report(&mut reception).jitter.abs_diff(240) <= 1);
    }

    #[test]
    fn jitter_agrees_with_the_formula_of_rfc_3550() {
        let mut random = Random::new(101);
        let mut reception = Reception::new();
        let mut jitter = 0.0;
        let mut last: Option<f64> = None;
        for packet in 0..5_000_u64 {
            let late_us = random.below(20_000);
            let now = Timestamp::from_nanos((packet * 20_000 + late_us) * 1_000);
            reception.handle_packet(now, packet, packet as u32 * 1_800, VIDEO_RATE);
            let transit = late_us as f64 * 0.09;
            if let Some(last) = last {
                jitter += ((transit - last).abs() - jitter) / 16.0;
            }
            last = Some(transit);
        }
        assert!((f64::from(report(&mut reception).jitter) - jitter).abs() < 20.0);
    }

    #[test]
    fn hostile_timestamps_and_numbers_overflow_nothing() {
        let mut random = Random::new(102);
        let mut reception = Reception::new();
        for _ in 0..10_000 {
            let now = Timestamp::from_nanos(random.u64());
            reception.handle_packet(now, random.u64() >> 16, random.u32(), random.u32());
            reception.report(now, 1, &PublisherReport::new(now, &SenderInfo::default())).unwrap();
        }
    }

    #[test]
    fn a_block_names_the_last_sender_report_and_its_age() {
        let mut reception = Reception::new();
        reception.handle_packet(at(0), 1, 0, VIDEO_RATE);
        let info = SenderInfo { ntp: 0x1234_5678_9abc_def0, ..SenderInfo::default() };
        let publisher = PublisherReport::new(at(0), &info);
        let block = reception.report(at(1_500), 9, &publisher).unwrap();
        assert_eq!(block.last_sr, 0x5678_9abc);
        assert_eq!(block.delay_since_last_sr, 3 << 15);
        let block = reception.report(at(1_500), 9, &PublisherReport::NONE).unwrap();
        assert_eq!((block.last_sr, block.delay_since_last_sr), (0, 0));
    }

    #[test]
    fn audio_and_video_of_one_publisher_stay_in_sync_for_the_viewer() {
        // The publisher captured audio 10 000 and video 500 000 at the same moment; its reports left and arrived at
        // different times, and the switch shifted both streams.
        let audio = SenderInfo { ntp: ntp(5_000, 0), rtp_time: 10_000, ..SenderInfo::default() };
        let video = SenderInfo { ntp: ntp(5_001, 500), rtp_time: 500_000 + 135_000, ..SenderInfo::default() };
        let audio = PublisherReport::new(at(40), &audio);
        let video = PublisherReport::new(at(1_590), &video);
        let sent = Transmission::default();
        let audio = viewer_sender_report(at(2_000), &audio, AUDIO_RATE, 777, 1, &sent).unwrap();
        let video =
            viewer_sender_report(at(3_000), &video, VIDEO_RATE, 0_u32.wrapping_sub(888), 2, &sent).unwrap();
        // Where on the NTP time line does the viewer place that moment?
        let moment = |info: &SenderInfo, rtp_time: u32, rate: u32| {
            let back = f64::from(info.rtp_time.wrapping_sub(rtp_time)) / f64::from(rate);
            info.ntp as f64 / 2_f64.powi(32) - back
        };
        let audio_moment = moment(&audio, 10_777, AUDIO_RATE);
        let video_moment = moment(&video, 500_000 - 888, VIDEO_RATE);
        assert!((audio_moment - 5_000.0).abs() < 0.000_1, "{audio_moment}");
        assert!((audio_moment - video_moment).abs() < 0.000_1, "{audio_moment} {video_moment}");
    }

    #[test]
    fn a_viewer_gets_no_report_before_the_publisher_sent_one() {
        let sent = Transmission::default();
        assert_eq!(viewer_sender_report(at(0), &PublisherReport::NONE, VIDEO_RATE, 0, 1, &sent), None);
    }

    #[test]
    fn a_report_carries_the_counters_and_wraps() {
        let mut sent = Transmission { packets: u32::MAX.into(), octets: 100 };
        sent.handle_packet(1_100);
        let info = SenderInfo { ntp: u64::MAX, rtp_time: u32::MAX, ..SenderInfo::default() };
        let publisher = PublisherReport::new(at(0), &info);
        let info = viewer_sender_report(at(1_000), &publisher, VIDEO_RATE, 5, 7, &sent).unwrap();
        let expected =
            SenderInfo { ssrc: 7, ntp: (1 << 32) - 1, rtp_time: 90_004, packet_count: 0, octet_count: 1_200 };
        assert_eq!(info, expected);
    }

    #[test]
    fn the_round_trip_is_what_the_receiver_did_not_wait() {
        let mut sent = SentReports::default();
        sent.handle_sent(at(0), ntp(5_000, 0));
        sent.handle_sent(at(1_000), ntp(9_000, 250)); // the switch moved to another time line
        let block = |ntp: u64, delay_ms: u32| ReportBlock {
            last_sr: ntp_middle(ntp),
            delay_since_last_sr: delay_ms * 65_536 / 1_000,
            ..ReportBlock::default()
        };
        let near = |round_trip: Option<Duration>, ms: u128| {
            round_trip.unwrap().as_micros().abs_diff(ms * 1_000) < 20
        };
        assert!(near(sent.round_trip(at(1_500), &block(ntp(5_000, 0), 1_440)), 60));
        assert!(near(sent.round_trip(at(1_500), &block(ntp(9_000, 250), 475)), 25));
        assert_eq!(
            sent.round_trip(at(1_500), &block(ntp(9_000, 250), 600)),
            None,
            "waited longer than there was"
        );
        assert_eq!(sent.round_trip(at(1_500), &block(ntp(9_000, 500), 0)), None, "never sent");
        assert_eq!(sent.round_trip(at(60_000), &block(ntp(9_000, 250), 0)), None, "absurd");
        assert_eq!(sent.round_trip(at(1_500), &ReportBlock::default()), None);
        for later in 0..4 {
            sent.handle_sent(at(2_000 + later), ntp(9_001, later));
        }
        assert_eq!(sent.round_trip(at(2_100), &block(ntp(9_000, 250), 0)), None, "forgotten");
    }
}
