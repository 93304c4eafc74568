//! What was sent to one viewer and when, by transport-wide number, until its feedback says what became of it
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).

use std::time::Duration;

use crate::time::Timestamp;
use crate::wire::rtcp::twcc::Feedback;

/// Packets remembered, a power of two: a second of 1 000 packets/s, far more than the time feedback takes.
pub const SENT_MAX: usize = 1024;

/// One packet that was sent: 8 bytes, for one is written for each packet to each viewer.
#[derive(Clone, Copy)]
struct Sent {
    /// Microseconds, wrapping after 71 minutes.
    at_us: u32,
    /// Bytes of the datagram; 0 once its fate is known.
    len: u16,
    number: u16,
}

/// The numbers of one transport and what was sent under them.
pub struct SendHistory {
    next: u16,
    sent: Box<[Sent; SENT_MAX]>,
}

/// What became of the packets that one feedback is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Packets that arrived.
    pub delivered: u32,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// Packets that did not.
    pub lost: u32,
    /// From the sending of the newest packet that arrived to now: a round trip and the viewer's wait in between.
    pub round_trip: Option<Duration>,
}

impl SendHistory {
    /// Nothing sent; numbers begin at `first`.
    pub fn new(first: u16) -> Self {
        Self { next: first, sent: Box::new([Sent { at_us: 0, len: 0, number: 0 }; SENT_MAX]) }
    }

    /// The number that the next packet is stamped with.
    #[inline]
    pub const fn next_number(&self) -> u16 {
        self.next
    }

    /// A packet of `len` bytes left under [`SendHistory::next_number`].
    #[inline]
    pub fn note(&mut self, now: Timestamp, len: usize) {
        let number = self.next;
        self.next = number.wrapping_add(1);
        self.sent[place(number)] =
            Sent { at_us: micros(now), len: u16::try_from(len).unwrap_or(u16::MAX), number };
    }

    /// Takes in what a viewer reports. Each packet is settled once; what was never sent, or is forgotten, counts for
    /// nothing.
    pub fn handle_feedback(&mut self, now: Timestamp, feedback: &Feedback<'_>) -> Settled {
        let mut settled = Settled::default();
        // A feedback may claim to be about 65 535 packets; no more than are remembered can mean anything.
        for status in feedback.statuses().take(SENT_MAX) {
            let sent = &mut self.sent[place(status.sequence)];
            if sent.number != status.sequence || sent.len == 0 {
                continue;
            }
            if status.ticks.is_some() {
                settled.delivered += 1;
                settled.delivered_bytes += u64::from(sent.len);
                let age_us = micros(now).wrapping_sub(sent.at_us);
                settled.round_trip = Some(Duration::from_micros(u64::from(age_us)));
            } else {
                settled.lost += 1;
            }
            sent.len = 0;
        }
        settled
    }
}

const fn place(number: u16) -> usize {
    number as usize & (SENT_MAX - 1)
}

const fn micros(now: Timestamp) -> u32 {
    now.as_micros() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rtcp::twcc::{Arrival, Head, ticks, write};
    use crate::wire::rtcp::{Packet, packets};

    const START: Timestamp = Timestamp::from_nanos(5_000_000_000);

    fn at(millis: u64) -> Timestamp {
        START + Duration::from_millis(millis)
    }

    /// A feedback about the packets from `base` on, of which `arrived` did.
    fn feedback(base: u16, arrived: &[u16]) -> Vec<u8> {
        let head = Head { sender_ssrc: 1, media_ssrc: 2, base, feedback_count: 0 };
        let arrivals: Vec<_> =
            arrived.iter().map(|&sequence| Arrival { sequence, ticks: ticks(at(40)) }).collect();
        let mut bytes = vec![0; 1200];
        let len = write(&mut bytes, &head, &arrivals).len;
        bytes.truncate(len);
        bytes
    }

    fn settle(history: &mut SendHistory, now: Timestamp, bytes: &[u8]) -> Settled {
        match packets(bytes).next() {
            Some(Ok(Packet::TransportFeedback(feedback))) => history.handle_feedback(now, &feedback),
            other => panic!("not a feedback: {other:?}"),
        }
    }

    #[test]
    fn what_arrived_and_what_did_not_is_settled_once_and_across_the_wrap() {
        let mut history = SendHistory::new(u16::MAX - 1);
        for (millis, len) in [(0, 100), (1, 200), (2, 300), (3, 400)] {
            history.note(at(millis), len);
        }
        let report = feedback(u16::MAX - 1, &[u16::MAX - 1, 0, 1]);
        let settled = settle(&mut history, at(53), &report);
        let expected = Settled {
            delivered: 3,
            delivered_bytes: 100 + 300 + 400,
            lost: 1,
            round_trip: Some(Duration::from_millis(50)),
        };
        assert_eq!(settled, expected);
        assert_eq!(settle(&mut history, at(60), &report), Settled::default());
    }

    #[test]
    fn nobody_can_report_on_what_was_never_sent_or_is_forgotten() {
        let mut history = SendHistory::new(0);
        history.note(at(0), 100);
        assert_eq!(settle(&mut history, at(1), &feedback(7, &[7, 8])), Settled::default());
        for _ in 0..SENT_MAX {
            history.note(at(2), 100);
        }
        assert_eq!(settle(&mut history, at(3), &feedback(0, &[0])), Settled::default());
        assert_eq!(settle(&mut history, at(3), &feedback(1, &[1])).delivered, 1);
    }
}
