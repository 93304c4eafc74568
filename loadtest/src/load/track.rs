//! One stream as one viewer sees it: every packet's number, and now and then a packet's content and delay.

use super::account::{Account, Counts};
use super::cast::Group;
use super::cipher::Cipher;
use super::payload::Template;
use crate::histogram::Histogram;

/// What a viewer is to expect.
#[derive(Clone, Debug)]
pub struct TrackSpec {
    /// SSRC it sees.
    pub ssrc: u32,
    /// Number of the published stream.
    pub stream: usize,
    /// Whose figures its belong to.
    pub group: Group,
}

/// The account of one stream.
pub struct Track {
    /// What it expects.
    pub spec: TrackSpec,
    /// By sequence numbers.
    pub account: Account,
    /// When the first packet came, 0 before.
    pub first_ns: u64,
    /// The roll-over counter less the one counted here, once known.
    rollover_base: Option<u32>,
    /// The publisher's number less the sequence number, once known.
    offset: Option<u32>,
    /// For receiver reports: expected and received at the last one.
    reported: (u64, u64),
}

/// What opening one packet in many showed, over all tracks of a group.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Packets looked into.
    pub opened: u64,
    /// Those that did not verify.
    pub undecryptable: u64,
    /// Those whose content is not what the publisher sent.
    pub corrupt: u64,
    /// Those whose number does not fit the publisher's.
    pub misnumbered: u64,
    /// One-way delay in microseconds.
    pub delay_us: Histogram,
    /// The same since it was last taken away.
    pub recent_us: Histogram,
}

/// A packet as it came.
pub struct Taken<'p> {
    /// Its extended sequence number as [`Account::take`] gave it.
    pub number: u64,
    /// When it came.
    pub now_ns: u64,
    /// The datagram.
    pub packet: &'p [u8],
}

/// What it takes to look into a packet.
pub struct Glass<'w> {
    /// What the publisher writes.
    pub template: &'w Template,
    /// The viewer's keys.
    pub cipher: &'w Cipher,
    /// Room for the payload.
    pub scratch: &'w mut Vec<u8>,
    /// Where it is counted.
    pub samples: &'w mut Samples,
}

impl Track {
    /// A stream of which nothing has come.
    #[must_use]
    pub fn new(spec: TrackSpec) -> Self {
        Self {
            spec,
            account: Account::default(),
            first_ns: 0,
            rollover_base: None,
            offset: None,
            reported: (0, 0),
        }
    }

    /// Looks into a packet.
    pub fn sample(&mut self, taken: &Taken<'_>, glass: &mut Glass<'_>) {
        let Taken { number, now_ns, packet } = *taken;
        let Glass { template, cipher, scratch, samples } = glass;
        samples.opened += 1;
        let Some(header_len) = header_len(packet) else {
            samples.corrupt += 1;
            return;
        };
        // The account counts cycles from 1. What the relay sent before we listened may have brought one more.
        let cycles = ((number >> 16) as u32).wrapping_sub(1);
        let candidates = match self.rollover_base {
            Some(base) => [Some(base.wrapping_add(cycles)), None],
            None => [Some(cycles), Some(cycles.wrapping_add(1))],
        };
        let opened =
            cipher.open_rtp(self.spec.ssrc, header_len, candidates.into_iter().flatten(), packet, scratch);
        let Some(rollover) = opened else {
            samples.undecryptable += 1;
            return;
        };
        self.rollover_base = Some(rollover.wrapping_sub(cycles));
        let Some(stamp) = without_padding(packet, scratch).and_then(|payload| template.read(payload)) else {
            samples.corrupt += 1;
            return;
        };
        let offset = stamp.number.wrapping_sub(number as u32);
        samples.misnumbered += u64::from(*self.offset.get_or_insert(offset) != offset);
        let delay_us = now_ns.saturating_sub(stamp.sent_ns) / 1000;
        samples.delay_us.record(delay_us);
        samples.recent_us.record(delay_us);
    }

    /// Extended highest number, cumulative loss and fraction lost since the last report (RFC 3550 §6.4.1).
    pub fn report(&mut self) -> Option<(u32, u32, u8)> {
        if !self.account.is_started() {
            return None;
        }
        let counts: Counts = self.account.counts(None);
        let (expected, received) = (counts.unique + counts.lost, counts.unique);
        let (expected_before, received_before) = std::mem::replace(&mut self.reported, (expected, received));
        let now = expected.saturating_sub(expected_before);
        let lost = now.saturating_sub(received.saturating_sub(received_before));
        let fraction = (lost * 256).checked_div(now).unwrap_or(0).min(255) as u8;
        let highest = (self.account.newest() - (1 << 16)) as u32;
        Some((highest, counts.lost.min(0x7f_ffff) as u32, fraction))
    }

    /// Reports begin anew with the counting.
    pub fn begin(&mut self) {
        self.account.begin();
        self.reported = (0, 0);
    }
}

/// The payload without what the relay may have filled it up with (RFC 3550 §5.1); `None` when the count is impossible.
fn without_padding<'p>(packet: &[u8], payload: &'p [u8]) -> Option<&'p [u8]> {
    if packet.first()? & 0x20 == 0 {
        return Some(payload);
    }
    let padding = usize::from(*payload.last()?);
    if padding == 0 { None } else { payload.get(..payload.len().checked_sub(padding)?) }
}

/// Length of an RTP header with its extension.
fn header_len(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    let mut len = 12 + 4 * usize::from(first & 0x0f);
    if first & 0x10 != 0 {
        let words = packet.get(len + 2..len + 4)?;
        len += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
    }
    (len <= packet.len()).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::cipher::tests::pair;
    use crate::load::payload::{Place, Stamp};
    use crate::sdp::Kind;

    struct Ends {
        near: Cipher,
        far: Cipher,
        template: Template,
        track: Track,
        samples: Samples,
    }

    impl Ends {
        fn new() -> Self {
            let (near, far) = pair();
            let spec = TrackSpec { ssrc: 7, stream: 0, group: Group::Crowd };
            let template = Template::new(Kind::Video, 0, 1500);
            Self { near, far, template, track: Track::new(spec), samples: Samples::default() }
        }

        fn packet(&self, index: u64, number: u32) -> Vec<u8> {
            let mut packet = vec![0; 12 + 100 + 16];
            packet[..2].copy_from_slice(&[0x80, 96]);
            packet[2..4].copy_from_slice(&(index as u16).to_be_bytes());
            packet[8..12].copy_from_slice(&7_u32.to_be_bytes());
            let stamp = Stamp { number, sent_ns: 5_000 };
            self.template.write(stamp, Place::Start, 1, &mut packet[12..112]);
            self.near.seal_rtp(7, index, 12, &mut packet);
            packet
        }

        fn take(&mut self, packet: &[u8]) {
            let sequence = u16::from_be_bytes([packet[2], packet[3]]);
            let number = self.track.account.take(sequence);
            let mut glass = Glass {
                template: &self.template,
                cipher: &self.far,
                scratch: &mut Vec::new(),
                samples: &mut self.samples,
            };
            self.track.sample(&Taken { number, now_ns: 105_000, packet }, &mut glass);
        }
    }

    #[test]
    fn delay_and_content_over_roll_overs_that_began_before_us() {
        let mut ends = Ends::new();
        for number in 0..140_000_u32 {
            if number.is_multiple_of(7_000) {
                let packet = ends.packet(65_600 + u64::from(number), number);
                ends.take(&packet);
            } else {
                ends.track.account.take((65_600 + number) as u16);
            }
        }
        let samples = &ends.samples;
        assert_eq!((samples.opened, samples.undecryptable, samples.corrupt), (20, 0, 0));
        assert_eq!((samples.misnumbered, samples.delay_us.max()), (0, 100));
    }

    #[test]
    fn padding_is_no_content() {
        assert_eq!(without_padding(&[0x80], &[1, 2, 3]), Some(&[1, 2, 3][..]));
        assert_eq!(without_padding(&[0xa0], &[1, 7, 2]), Some(&[1][..]));
        assert_eq!(without_padding(&[0xa0], &[1, 0]), None);
        assert_eq!(without_padding(&[0xa0], &[1, 9]), None);
    }

    #[test]
    fn each_fault_has_its_count() {
        let mut ends = Ends::new();
        let good = ends.packet(10, 0);
        ends.take(&good);
        let shifted = ends.packet(11, 2);
        ends.take(&shifted);
        let mut flipped = ends.packet(12, 2);
        flipped[60] ^= 1;
        ends.take(&flipped);
        ends.template = Template::new(Kind::Video, 1, 1500);
        let foreign = ends.packet(13, 3);
        ends.template = Template::new(Kind::Video, 0, 1500);
        ends.take(&foreign);
        let samples = &ends.samples;
        assert_eq!((samples.misnumbered, samples.undecryptable, samples.corrupt), (1, 1, 1));
    }
}
