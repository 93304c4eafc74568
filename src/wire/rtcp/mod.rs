//! RTCP (RFC 3550 §6, RFC 4585): compound packets as borrowed views, and writers into a slice.
//!
//! [`packets`] walks a decrypted compound. What is not understood (XR, APP, unknown types and formats) is an
//! [`Packet::Other`]; the first packet that lies about its length is an error and the end.

pub mod description;
pub mod feedback;
pub mod report;
pub mod twcc;

use description::{Bye, Sdes};
use feedback::{Fir, Nack, Pli, Remb};
use report::{ReceiverReport, SenderReport};

use crate::discard::Discard;

const VERSION: u8 = 2;
const PADDING_BIT: u8 = 0x20;
/// Low five bits of the first byte: a count of blocks, or a feedback format.
const COUNT_MASK: u8 = 0x1f;
const HEADER_LEN: usize = 4;

// RFC 3550 §12.1, RFC 4585 §6.1.
const TYPE_SENDER_REPORT: u8 = 200;
const TYPE_RECEIVER_REPORT: u8 = 201;
const TYPE_SDES: u8 = 202;
const TYPE_BYE: u8 = 203;
const TYPE_TRANSPORT_FEEDBACK: u8 = 205;
const TYPE_PAYLOAD_FEEDBACK: u8 = 206;

// RFC 4585 §6.2 and §6.3, RFC 5104 §4.3.1, draft-holmer-rmcat-transport-wide-cc-extensions-01, draft-alvestrand-rmcat-remb.
const FORMAT_NACK: u8 = 1;
const FORMAT_TWCC: u8 = 15;
const FORMAT_PLI: u8 = 1;
const FORMAT_FIR: u8 = 4;
const FORMAT_APPLICATION: u8 = 15;

/// One packet of a compound.
#[derive(Clone, Copy, Debug)]
pub enum Packet<'a> {
    /// SR, RFC 3550 §6.4.1.
    SenderReport(SenderReport<'a>),
    /// RR, RFC 3550 §6.4.2.
    ReceiverReport(ReceiverReport<'a>),
    /// SDES, RFC 3550 §6.5.
    Sdes(Sdes<'a>),
    /// BYE, RFC 3550 §6.6.
    Bye(Bye<'a>),
    /// Generic NACK, RFC 4585 §6.2.1.
    Nack(Nack<'a>),
    /// Transport-wide congestion control feedback.
    TransportFeedback(twcc::Feedback<'a>),
    /// Picture loss indication, RFC 4585 §6.3.1.
    Pli(Pli),
    /// Full intra request, RFC 5104 §4.3.1.
    Fir(Fir<'a>),
    /// Receiver estimated maximum bitrate.
    Remb(Remb<'a>),
    /// Anything else, skipped.
    Other {
        /// Packet type.
        packet_type: u8,
        /// Count or format, 0 to 31.
        count: u8,
    },
}

impl<'a> Packet<'a> {
    /// Reads one packet out of its frame.
    fn parse(frame: Frame<'a>) -> Result<Self, Discard> {
        let Frame { packet_type, count, body } = frame;
        Ok(match (packet_type, count) {
            (TYPE_SENDER_REPORT, _) => Self::SenderReport(SenderReport::parse(count, body)?),
            (TYPE_RECEIVER_REPORT, _) => Self::ReceiverReport(ReceiverReport::parse(count, body)?),
            (TYPE_SDES, _) => Self::Sdes(Sdes::new(count, body)),
            (TYPE_BYE, _) => Self::Bye(Bye::parse(count, body)?),
            (TYPE_TRANSPORT_FEEDBACK, FORMAT_NACK) => Self::Nack(Nack::parse(body)?),
            (TYPE_TRANSPORT_FEEDBACK, FORMAT_TWCC) => Self::TransportFeedback(twcc::Feedback::parse(body)?),
            (TYPE_PAYLOAD_FEEDBACK, FORMAT_PLI) => Self::Pli(Pli::parse(body)?),
            (TYPE_PAYLOAD_FEEDBACK, FORMAT_FIR) => Self::Fir(Fir::parse(body)?),
            (TYPE_PAYLOAD_FEEDBACK, FORMAT_APPLICATION) if Remb::is(body) => Self::Remb(Remb::parse(body)?),
            _ => Self::Other { packet_type, count },
        })
    }
}

/// Walks the packets of a decrypted compound. After an error there is nothing more.
pub const fn packets(compound: &[u8]) -> Packets<'_> {
    Packets { rest: compound }
}

/// See [`packets`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, Discard>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let packet = Frame::split(self.rest).and_then(|(frame, rest)| {
            self.rest = rest;
            Packet::parse(frame)
        });
        if packet.is_err() {
            self.rest = &[];
        }
        Some(packet)
    }
}

/// The common header taken off; `body` ends before the padding.
struct Frame<'a> {
    packet_type: u8,
    count: u8,
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Takes the first packet off `compound`.
    fn split(compound: &'a [u8]) -> Result<(Self, &'a [u8]), Discard> {
        let Some((&[flags, packet_type, l0, l1], _)) = compound.split_first_chunk::<HEADER_LEN>() else {
            return Err(Discard::PeerRtcpMalformed);
        };
        let len = 4 * (usize::from(u16::from_be_bytes([l0, l1])) + 1);
        if flags >> 6 != VERSION || len > compound.len() {
            return Err(Discard::PeerRtcpMalformed);
        }
        let (packet, rest) = compound.split_at(len);
        let mut body = &packet[HEADER_LEN..];
        if flags & PADDING_BIT != 0 {
            let padding_len = usize::from(*body.last().ok_or(Discard::PeerRtcpMalformed)?);
            if padding_len == 0 || padding_len > body.len() {
                return Err(Discard::PeerRtcpMalformed);
            }
            body = &body[..body.len() - padding_len];
        }
        Ok((Self { packet_type, count: flags & COUNT_MASK, body }, rest))
    }
}

/// Sender's and media source's SSRC in front of every feedback message (RFC 4585 §6.1), and what follows.
fn feedback_head(body: &[u8]) -> Result<(u32, u32, &[u8]), Discard> {
    let Some((&[s0, s1, s2, s3, m0, m1, m2, m3], rest)) = body.split_first_chunk::<8>() else {
        return Err(Discard::PeerRtcpMalformed);
    };
    Ok((u32::from_be_bytes([s0, s1, s2, s3]), u32::from_be_bytes([m0, m1, m2, m3]), rest))
}

/// The SSRCs (or other words) in `bytes`; a rest below four bytes is left.
fn words(bytes: &[u8]) -> impl Iterator<Item = u32> + Clone + '_ {
    bytes.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word))
}

/// Writes one packet: [`Sink::frame`] checks the room once, after that every `put` fits.
struct Sink<'a> {
    rest: &'a mut [u8],
}

impl<'a> Sink<'a> {
    /// A packet of `body_len` bytes (a multiple of 4) behind its header, at the start of `out`; `None` without room.
    fn frame(out: &'a mut [u8], packet_type: u8, count: u8, body_len: usize) -> Option<Self> {
        debug_assert!(body_len.is_multiple_of(4) && count <= COUNT_MASK);
        let words = u16::try_from(body_len / 4).ok()?;
        let mut sink = Self { rest: out.get_mut(..HEADER_LEN + body_len)? };
        let [w0, w1] = words.to_be_bytes();
        sink.put(&[VERSION << 6 | count, packet_type, w0, w1]);
        Some(sink)
    }

    fn put(&mut self, bytes: &[u8]) {
        if let Some(head) = self.rest.split_off_mut(..bytes.len()) {
            head.copy_from_slice(bytes);
        } else {
            debug_assert!(false, "the frame was measured too short");
        }
    }

    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// Zeroes what is left of the frame.
    fn finish(self) {
        self.rest.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use crate::wire::testing::{Random, every_cut_and_change, every_length_and_first_byte};

    /// Reads everything there is to read.
    fn exhaust(compound: &[u8]) -> (usize, bool) {
        let mut read = 0;
        let mut failed = false;
        for packet in packets(compound) {
            assert!(!failed, "nothing comes after an error");
            read += 1;
            match packet {
                Ok(Packet::SenderReport(report)) => read += report.blocks().count(),
                Ok(Packet::ReceiverReport(report)) => read += report.blocks().count(),
                Ok(Packet::Sdes(sdes)) => read += sdes.items().count(),
                Ok(Packet::Bye(bye)) => read += bye.ssrcs().count(),
                Ok(Packet::Nack(nack)) => read += nack.sequences().count(),
                Ok(Packet::TransportFeedback(feedback)) => read += feedback.statuses().count(),
                Ok(Packet::Fir(fir)) => read += fir.entries().count(),
                Ok(Packet::Remb(remb)) => read += remb.ssrcs().count(),
                Ok(Packet::Pli(_) | Packet::Other { .. }) => {}
                Err(_) => failed = true,
            }
        }
        (read, failed)
    }

    /// One of everything we write.
    fn full_compound() -> Vec<u8> {
        let mut out = vec![0; 1500];
        let mut len = 0;
        let blocks = [report::ReportBlock { ssrc: 9, ..Default::default() }; 2];
        let info = report::SenderInfo { ssrc: 1, ntp: 2, rtp_time: 3, packet_count: 4, octet_count: 5 };
        let arrivals = [3_u16, 4, 9, 30].map(|sequence| twcc::Arrival {
            sequence,
            ticks: twcc::ticks(Timestamp::from_nanos(u64::from(sequence) * 90_000_000)),
        });
        len += report::write_sender_report(&mut out[len..], &info, &blocks);
        len += report::write_receiver_report(&mut out[len..], 1, &blocks);
        len += description::write_cname(&mut out[len..], 1, b"relay");
        len += feedback::write_nack(&mut out[len..], 1, 2, &[3, 4, 30]);
        len += feedback::write_pli(&mut out[len..], 1, 2);
        len += feedback::write_fir(&mut out[len..], 1, &[feedback::FirEntry { ssrc: 2, sequence: 3 }]);
        len += feedback::write_remb(&mut out[len..], 1, 2_500_000, &[2, 3]);
        let head = twcc::Head { sender_ssrc: 1, media_ssrc: 2, base: 2, feedback_count: 7 };
        len += twcc::write(&mut out[len..], &head, &arrivals).len;
        len += description::write_bye(&mut out[len..], &[1, 2]);
        out.truncate(len);
        out
    }

    #[test]
    fn a_compound_of_everything_reads_back_in_order() {
        let compound = full_compound();
        let kinds: Vec<_> = packets(&compound)
            .map(|packet| match packet.unwrap() {
                Packet::SenderReport(_) => "sr",
                Packet::ReceiverReport(_) => "rr",
                Packet::Sdes(_) => "sdes",
                Packet::Bye(_) => "bye",
                Packet::Nack(_) => "nack",
                Packet::TransportFeedback(_) => "twcc",
                Packet::Pli(_) => "pli",
                Packet::Fir(_) => "fir",
                Packet::Remb(_) => "remb",
                Packet::Other { .. } => "other",
            })
            .collect();
        assert_eq!(kinds, ["sr", "rr", "sdes", "nack", "pli", "fir", "remb", "twcc", "bye"]);
        let oracle = rtcp::packet::unmarshal(&mut &compound[..]).unwrap();
        assert_eq!(oracle.len(), kinds.len());
    }

    #[test]
    fn any_bytes_are_walked_to_their_end() {
        every_length_and_first_byte(|bytes| {
            exhaust(bytes);
        });
        every_cut_and_change(&full_compound(), |bytes| {
            exhaust(bytes);
        });
        // Rubbish inside honest frames of every type and format.
        let mut random = Random::new(21);
        for round in 0..20_000_u32 {
            let words = random.below(40) as usize;
            let mut bytes = random.bytes(4 + 4 * words);
            let count = (round % 32) as u8 | if random.one_in(4) { PADDING_BIT } else { 0 };
            bytes[..4].copy_from_slice(&[0x80 | count, 200 + random.below(8) as u8, 0, words as u8]);
            exhaust(&bytes);
        }
    }

    #[test]
    fn a_lie_about_the_length_ends_the_compound_but_not_what_came_before() {
        let mut compound = full_compound();
        let len = compound.len();
        compound.extend([0x80, 201, 0, 40, 1, 2, 3, 4]);
        let (whole, failed) = exhaust(&compound[..len]);
        assert!(!failed);
        assert_eq!(exhaust(&compound), (whole + 1, true));
        assert_eq!(exhaust(&[0x40, 201, 0, 0]), (1, true), "version 1");
        assert_eq!(exhaust(&[0xa0, 201, 0, 0]), (1, true), "padding without a byte for it");
    }

    #[test]
    fn what_we_do_not_know_is_skipped() {
        let xr_then_pli = [0x80, 207, 0, 1, 0, 0, 0, 1, 0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
        let mut walk = packets(&xr_then_pli);
        assert!(matches!(walk.next(), Some(Ok(Packet::Other { packet_type: 207, .. }))));
        assert!(matches!(walk.next(), Some(Ok(Packet::Pli(Pli { sender_ssrc: 1, media_ssrc: 2 })))));
        assert!(walk.next().is_none());
    }
}
