//! One received track held against what the publisher stamped and what the SDP answer promised.

use std::collections::BTreeSet;

use rtp::header::Header;

use crate::histogram::Histogram;
use crate::sdp::Kind;
use crate::sdp::answer::TrackNumbers;
use crate::sequence::{Sequence, Step};
use crate::stamp::{Phase, Stamp};
use crate::tally::Tally;

/// Bytes of the original sequence number in front of a retransmitted payload (RFC 4588 §4).
const OSN_LEN: usize = 2;
/// Asked-for numbers we remember where repeats come on the media's own SSRC.
const ASKED_MAX: usize = 1024;

/// Faults that no loss explains. All must stay at zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Faults {
    /// Payloads that differ from what was sent.
    pub corrupt: u64,
    /// Packets with another payload type than the answer's.
    pub wrong_payload_type: u64,
    /// Packets of another publisher's track.
    pub wrong_source: u64,
    /// Packets whose marker bit changed.
    pub wrong_marker: u64,
    /// Packets whose timestamp is not the publisher's plus a constant.
    pub wrong_timestamp: u64,
    /// Numbers nobody sent.
    pub impossible: u64,
    /// RTP sequence numbers of the viewer's stream that never came or came late.
    pub sequence_gaps: u64,
    /// RTP sequence numbers that came again or late.
    pub sequence_behind: u64,
    /// Packets with another section's mid.
    pub wrong_extension: u64,
}

/// The record of one track at one viewer.
pub struct Track {
    /// Audio or video.
    pub kind: Kind,
    /// What the answer promised.
    pub numbers: TrackNumbers,
    /// Which numbers came.
    pub tally: Tally,
    /// One-way delays of counted packets in microseconds.
    pub delay: Histogram,
    /// Sequence numbers of the media SSRC.
    pub sequence: Sequence,
    /// The media SSRC seen.
    pub ssrc: Option<u32>,
    /// When the first packet came.
    pub first_us: Option<u64>,
    /// Whether that packet began a key frame.
    pub first_is_key: bool,
    /// Longest pause between two counted packets, in microseconds.
    pub pause_us_max: u64,
    /// Packets without payload.
    pub padding: u64,
    /// When the first packet after the counted ones came.
    pub trailer_us: Option<u64>,
    /// Faults so far, those of the sequence excepted.
    faults: Faults,
    source: u16,
    offset: Option<u32>,
    previous_us: Option<u64>,
    asked: BTreeSet<u16>,
}

impl Track {
    /// Expects numbers `0..limit` of track `source`; a `late` viewer is owed what follows its first packet.
    #[must_use]
    pub fn new(kind: Kind, numbers: TrackNumbers, source: u16, limit: u64, late: bool) -> Self {
        Self {
            kind,
            numbers,
            tally: Tally::new(limit, late),
            delay: Histogram::default(),
            sequence: Sequence::default(),
            ssrc: None,
            first_us: None,
            first_is_key: false,
            pause_us_max: 0,
            padding: 0,
            trailer_us: None,
            faults: Faults::default(),
            source,
            offset: None,
            previous_us: None,
            asked: BTreeSet::new(),
        }
    }

    /// Whether a packet is this track's media: by SSRC where the answer named one, else by payload type.
    #[must_use]
    pub fn is_media(&self, header: &Header) -> bool {
        if self.numbers.ssrcs.is_empty() {
            header.payload_type == self.numbers.payload_type
        } else {
            self.numbers.ssrcs.contains(&header.ssrc)
        }
    }

    /// Whether a packet is a retransmission for this track.
    #[must_use]
    pub fn is_repair(&self, header: &Header) -> bool {
        if self.numbers.rtx_ssrcs.is_empty() {
            self.numbers.rtx_payload_type == Some(header.payload_type)
        } else {
            self.numbers.rtx_ssrcs.contains(&header.ssrc)
        }
    }

    /// All faults.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults {
            impossible: self.tally.impossible,
            sequence_gaps: self.sequence.skipped,
            sequence_behind: self.sequence.behind,
            ..self.faults
        }
    }

    /// Takes a media packet; says whether sequence numbers were skipped.
    pub fn handle_media(&mut self, header: &Header, payload: &[u8], now_us: u64) -> Step {
        self.ssrc.get_or_insert(header.ssrc);
        let repeated = self.asked.remove(&header.sequence_number);
        let step = if repeated { Step::Behind } else { self.sequence.handle(header.sequence_number) };
        if header.payload_type != self.numbers.payload_type {
            self.faults.wrong_payload_type += 1;
        }
        let mid = self.numbers.mid_extension.and_then(|id| header.get_extension(id));
        if mid.is_some_and(|mid| mid.as_ref() != self.numbers.mid.as_bytes()) {
            self.faults.wrong_extension += 1;
        }
        match Stamp::read(self.kind, payload) {
            // Padding: it keeps its place in the sequence and says nothing.
            Err(_) if payload.is_empty() => self.padding += 1,
            Ok(stamp) if stamp.source != self.source => self.faults.wrong_source += 1,
            Ok(stamp) => {
                self.check(header, &stamp);
                self.account(&stamp, now_us, repeated);
            }
            Err(_) => self.faults.corrupt += 1,
        }
        step
    }

    /// Takes a retransmission. Padding on this stream carries nothing and is ignored.
    pub fn handle_repair(&mut self, payload: &[u8]) {
        let Some((_, original)) =
            payload.split_at_checked(OSN_LEN).filter(|(_, original)| !original.is_empty())
        else {
            return;
        };
        match Stamp::read(self.kind, original) {
            Ok(stamp) if stamp.source != self.source => self.faults.wrong_source += 1,
            Ok(stamp) if stamp.phase == Phase::Measured => self.tally.record_repair(stamp.number),
            Ok(_) => {}
            Err(_) => self.faults.corrupt += 1,
        }
    }

    /// The numbers to ask for after a skip.
    pub fn ask(&mut self, skipped: u64) -> Vec<u16> {
        let missing: Vec<u16> = self.sequence.missing(skipped).collect();
        if self.numbers.rtx_payload_type.is_none() && self.asked.len() < ASKED_MAX {
            self.asked.extend(&missing);
        }
        missing
    }

    fn check(&mut self, header: &Header, stamp: &Stamp) {
        if header.marker != stamp.marker {
            self.faults.wrong_marker += 1;
        }
        let offset = header.timestamp.wrapping_sub(stamp.timestamp);
        if *self.offset.get_or_insert(offset) != offset {
            self.faults.wrong_timestamp += 1;
        }
    }

    fn account(&mut self, stamp: &Stamp, now_us: u64, repeated: bool) {
        if self.first_us.is_none() {
            self.first_us = Some(now_us);
            self.first_is_key = stamp.key && stamp.frame_start;
        }
        match stamp.phase {
            Phase::Measured => {}
            Phase::WarmUp => return,
            Phase::Trailer => {
                self.trailer_us.get_or_insert(now_us);
                return;
            }
        }
        if repeated {
            self.tally.record_repair(stamp.number);
            return;
        }
        self.tally.record(stamp.number);
        self.delay.record(now_us.saturating_sub(stamp.sent_us));
        let previous = self.previous_us.replace(now_us).unwrap_or(now_us);
        self.pause_us_max = self.pause_us_max.max(now_us.saturating_sub(previous));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::PAYLOAD_LEN_MIN;

    fn numbers() -> TrackNumbers {
        TrackNumbers {
            mid: "1".into(),
            payload_type: 120,
            rtx_payload_type: Some(124),
            ssrcs: BTreeSet::from([7]),
            rtx_ssrcs: BTreeSet::from([8]),
            ..TrackNumbers::default()
        }
    }

    fn packet(number: u64) -> (Header, Vec<u8>) {
        let stamp = Stamp {
            phase: Phase::Measured,
            source: 2,
            number,
            sent_us: 0,
            timestamp: 1000 * number as u32,
            frame: number as u32,
            marker: true,
            key: number == 0,
            frame_start: true,
        };
        let mut payload = Vec::new();
        stamp.write(Kind::Video, 0, PAYLOAD_LEN_MIN + 50, &mut payload);
        let header = Header {
            ssrc: 7,
            payload_type: 120,
            marker: true,
            sequence_number: 100 + number as u16,
            timestamp: stamp.timestamp.wrapping_add(5),
            ..Header::default()
        };
        (header, payload)
    }

    fn faults_after(change: impl Fn(u64, &mut Header, &mut Vec<u8>)) -> Faults {
        let mut track = Track::new(Kind::Video, numbers(), 2, 10, false);
        for number in 0..10 {
            let (mut header, mut payload) = packet(number);
            change(number, &mut header, &mut payload);
            track.handle_media(&header, &payload, number);
        }
        track.faults()
    }

    #[test]
    fn a_clean_track_has_no_faults() {
        assert_eq!(faults_after(|_, _, _| {}), Faults::default());
    }

    #[test]
    fn every_fault_is_found() {
        let only = |number: u64| number == 5;
        let corrupt = faults_after(|number, _, payload| payload[40] ^= u8::from(only(number)));
        assert_eq!(corrupt, Faults { corrupt: 1, ..Faults::default() });
        let marker = faults_after(|number, header, _| header.marker = !only(number));
        assert_eq!(marker, Faults { wrong_marker: 1, ..Faults::default() });
        let timestamp = faults_after(|number, header, _| header.timestamp += u32::from(only(number)));
        assert_eq!(timestamp, Faults { wrong_timestamp: 1, ..Faults::default() });
        let payload_type =
            faults_after(|number, header, _| header.payload_type = 120 + u8::from(only(number)));
        assert_eq!(payload_type, Faults { wrong_payload_type: 1, ..Faults::default() });
        let gap = faults_after(|number, header, _| header.sequence_number += u16::from(number >= 5));
        assert_eq!(gap, Faults { sequence_gaps: 1, ..Faults::default() });
        let foreign = Track::new(Kind::Video, numbers(), 4, 10, false);
        let mut foreign = foreign;
        let (header, payload) = packet(0);
        foreign.handle_media(&header, &payload, 0);
        assert_eq!(foreign.faults().wrong_source, 1);
    }

    #[test]
    fn a_repair_is_counted_apart() {
        let mut track = Track::new(Kind::Video, numbers(), 2, 3, false);
        for number in [0, 2] {
            let (header, payload) = packet(number);
            let step = track.handle_media(&header, &payload, 0);
            assert_eq!(step == Step::Skipped(1), number == 2);
        }
        assert_eq!(track.ask(1), [101]);
        let (mut header, payload) = packet(1);
        header.ssrc = 8;
        assert!(track.is_repair(&header) && !track.is_media(&header));
        track.handle_repair(&[&[0, 101], &payload[..]].concat());
        let counts = track.tally.counts(3);
        assert_eq!((counts.lost, counts.recovered), (1, 1));
        assert!(track.first_is_key);
    }
}
