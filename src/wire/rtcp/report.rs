//! Sender and receiver reports (RFC 3550 §6.4).

use super::{Sink, TYPE_RECEIVER_REPORT, TYPE_SENDER_REPORT, words};
use crate::discard::Discard;

/// Report blocks in one packet, by the five bits of the count.
pub const BLOCKS_MAX: usize = 31;

const BLOCK_LEN: usize = 24;
const SENDER_INFO_LEN: usize = 24;
/// Bounds of the 24-bit signed cumulative number of packets lost.
const CUMULATIVE_LOST_MIN: i32 = -(1 << 23);
const CUMULATIVE_LOST_MAX: i32 = (1 << 23) - 1;

/// What a receiver says about one source (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source this is about.
    pub ssrc: u32,
    /// Part of the packets lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the start; duplicates make it negative. 24 bits on the wire, clamped when written.
    pub cumulative_lost: i32,
    /// Highest sequence number received, with the count of cycles above it.
    pub highest_sequence: u32,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time of the last sender report; 0 for none.
    pub last_sr: u32,
    /// Time since that report in 1/65536 s; 0 for none.
    pub delay_since_last_sr: u32,
}

impl ReportBlock {
    fn parse(bytes: &[u8; BLOCK_LEN]) -> Self {
        let mut fields = words(bytes);
        let mut next = || fields.next().unwrap_or_default();
        let ssrc = next();
        let loss = next();
        Self {
            ssrc,
            fraction_lost: (loss >> 24) as u8,
            // The shift up and back extends the sign of the 24 bits.
            cumulative_lost: (loss << 8).cast_signed() >> 8,
            highest_sequence: next(),
            jitter: next(),
            last_sr: next(),
            delay_since_last_sr: next(),
        }
    }

    fn write(&self, sink: &mut Sink<'_>) {
        let lost = self.cumulative_lost.clamp(CUMULATIVE_LOST_MIN, CUMULATIVE_LOST_MAX).cast_unsigned();
        sink.put_u32(self.ssrc);
        sink.put_u32(u32::from(self.fraction_lost) << 24 | lost & 0x00ff_ffff);
        sink.put_u32(self.highest_sequence);
        sink.put_u32(self.jitter);
        sink.put_u32(self.last_sr);
        sink.put_u32(self.delay_since_last_sr);
    }
}

/// The sender's part of a sender report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// The sender of the report and of the media.
    pub ssrc: u32,
    /// NTP time: seconds since 1900 in the upper, their fraction in the lower 32 bits.
    pub ntp: u64,
    /// The same time on the media's clock.
    pub rtp_time: u32,
    /// Packets sent since the start, modulo 2³².
    pub packet_count: u32,
    /// Payload bytes sent since the start, modulo 2³².
    pub octet_count: u32,
}

/// A sender report.
#[derive(Clone, Copy, Debug)]
pub struct SenderReport<'a> {
    /// About the sender.
    pub info: SenderInfo,
    blocks: &'a [[u8; BLOCK_LEN]],
}

impl<'a> SenderReport<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Result<Self, Discard> {
        let Some((info, rest)) = body.split_first_chunk::<SENDER_INFO_LEN>() else {
            return Err(Discard::PeerRtcpMalformed);
        };
        let mut fields = words(info);
        let mut next = || fields.next().unwrap_or_default();
        let info = SenderInfo {
            ssrc: next(),
            ntp: u64::from(next()) << 32 | u64::from(next()),
            rtp_time: next(),
            packet_count: next(),
            octet_count: next(),
        };
        Ok(Self { info, blocks: split_blocks(count, rest)? })
    }

    /// What the sender says about the sources it receives.
    pub fn blocks(&self) -> impl Iterator<Item = ReportBlock> + 'a {
        self.blocks.iter().map(ReportBlock::parse)
    }
}

/// A receiver report.
#[derive(Clone, Copy, Debug)]
pub struct ReceiverReport<'a> {
    /// Who reports.
    pub sender_ssrc: u32,
    blocks: &'a [[u8; BLOCK_LEN]],
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Result<Self, Discard> {
        let Some((ssrc, rest)) = body.split_first_chunk::<4>() else {
            return Err(Discard::PeerRtcpMalformed);
        };
        Ok(Self { sender_ssrc: u32::from_be_bytes(*ssrc), blocks: split_blocks(count, rest)? })
    }

    /// What it says about the sources it receives.
    pub fn blocks(&self) -> impl Iterator<Item = ReportBlock> + 'a {
        self.blocks.iter().map(ReportBlock::parse)
    }
}

/// The first `count` blocks; behind them a profile may have put its own.
fn split_blocks(count: u8, rest: &[u8]) -> Result<&[[u8; BLOCK_LEN]], Discard> {
    rest.as_chunks::<BLOCK_LEN>().0.get(..usize::from(count)).ok_or(Discard::PeerRtcpMalformed)
}

/// Writes a sender report with up to [`BLOCKS_MAX`] blocks; returns its length, 0 when it does not fit.
pub fn write_sender_report(out: &mut [u8], info: &SenderInfo, blocks: &[ReportBlock]) -> usize {
    let body_len = SENDER_INFO_LEN + blocks.len() * BLOCK_LEN;
    let Some(mut sink) = frame(out, TYPE_SENDER_REPORT, blocks.len(), body_len) else { return 0 };
    sink.put_u32(info.ssrc);
    sink.put(&info.ntp.to_be_bytes());
    sink.put_u32(info.rtp_time);
    sink.put_u32(info.packet_count);
    sink.put_u32(info.octet_count);
    blocks.iter().for_each(|block| block.write(&mut sink));
    super::HEADER_LEN + body_len
}

/// Writes a receiver report with up to [`BLOCKS_MAX`] blocks; returns its length, 0 when it does not fit.
pub fn write_receiver_report(out: &mut [u8], sender_ssrc: u32, blocks: &[ReportBlock]) -> usize {
    let body_len = 4 + blocks.len() * BLOCK_LEN;
    let Some(mut sink) = frame(out, TYPE_RECEIVER_REPORT, blocks.len(), body_len) else { return 0 };
    sink.put_u32(sender_ssrc);
    blocks.iter().for_each(|block| block.write(&mut sink));
    super::HEADER_LEN + body_len
}

fn frame(out: &mut [u8], packet_type: u8, blocks: usize, body_len: usize) -> Option<Sink<'_>> {
    if blocks > BLOCKS_MAX {
        return None;
    }
    Sink::frame(out, packet_type, blocks as u8, body_len)
}

#[cfg(test)]
mod tests {
    use rtcp::reception_report::ReceptionReport;

    use super::super::{Packet, packets};
    use super::*;
    use crate::wire::testing::Random;

    fn random_block(random: &mut Random) -> ReportBlock {
        ReportBlock {
            ssrc: random.u32(),
            fraction_lost: random.u8(),
            cumulative_lost: random.below(1 << 23) as i32,
            highest_sequence: random.u32(),
            jitter: random.u32(),
            last_sr: random.u32(),
            delay_since_last_sr: random.u32(),
        }
    }

    fn oracle_of(block: &ReportBlock) -> ReceptionReport {
        ReceptionReport {
            ssrc: block.ssrc,
            fraction_lost: block.fraction_lost,
            total_lost: block.cumulative_lost.cast_unsigned(),
            last_sequence_number: block.highest_sequence,
            jitter: block.jitter,
            last_sender_report: block.last_sr,
            delay: block.delay_since_last_sr,
        }
    }

    #[test]
    fn sender_reports_agree_with_another_implementation_both_ways() {
        let mut random = Random::new(31);
        for _ in 0..500 {
            let blocks: Vec<_> = (0..random.below(32)).map(|_| random_block(&mut random)).collect();
            let info = SenderInfo {
                ssrc: random.u32(),
                ntp: random.u64(),
                rtp_time: random.u32(),
                packet_count: random.u32(),
                octet_count: random.u32(),
            };
            let oracle = rtcp::sender_report::SenderReport {
                ssrc: info.ssrc,
                ntp_time: info.ntp,
                rtp_time: info.rtp_time,
                packet_count: info.packet_count,
                octet_count: info.octet_count,
                reports: blocks.iter().map(oracle_of).collect(),
                ..Default::default()
            };
            let theirs = rtcp::packet::marshal(&[Box::new(oracle)]).unwrap();
            let mut ours = [0; 1500];
            let len = write_sender_report(&mut ours, &info, &blocks);
            assert_eq!(ours[..len], theirs[..]);
            let Some(Ok(Packet::SenderReport(read))) = packets(&theirs).next() else { panic!("no report") };
            assert_eq!(read.info, info);
            assert_eq!(read.blocks().collect::<Vec<_>>(), blocks);
        }
    }

    #[test]
    fn receiver_reports_agree_with_another_implementation_both_ways() {
        let mut random = Random::new(32);
        for _ in 0..500 {
            let blocks: Vec<_> = (0..random.below(32)).map(|_| random_block(&mut random)).collect();
            let oracle = rtcp::receiver_report::ReceiverReport {
                ssrc: random.u32(),
                reports: blocks.iter().map(oracle_of).collect(),
                ..Default::default()
            };
            let ssrc = oracle.ssrc;
            let theirs = rtcp::packet::marshal(&[Box::new(oracle)]).unwrap();
            let mut ours = [0; 1500];
            let len = write_receiver_report(&mut ours, ssrc, &blocks);
            assert_eq!(ours[..len], theirs[..]);
            let Some(Ok(Packet::ReceiverReport(read))) = packets(&theirs).next() else { panic!("no report") };
            assert_eq!(read.sender_ssrc, ssrc);
            assert_eq!(read.blocks().collect::<Vec<_>>(), blocks);
        }
    }

    #[test]
    fn a_loss_below_zero_survives_and_one_beyond_24_bits_is_clamped() {
        for (lost, read_back) in
            [(-5, -5), (-(1 << 23), -(1 << 23)), (i32::MAX, (1 << 23) - 1), (i32::MIN, -(1 << 23))]
        {
            let mut out = [0; 64];
            let block = ReportBlock { cumulative_lost: lost, fraction_lost: 255, ..Default::default() };
            let len = write_receiver_report(&mut out, 1, &[block]);
            let Some(Ok(Packet::ReceiverReport(report))) = packets(&out[..len]).next() else {
                panic!("no report")
            };
            let block = report.blocks().next().unwrap();
            assert_eq!((block.cumulative_lost, block.fraction_lost), (read_back, 255));
        }
    }

    #[test]
    fn more_blocks_than_the_count_can_say_or_the_slice_can_hold_are_refused() {
        let blocks = [ReportBlock::default(); 32];
        assert_eq!(write_receiver_report(&mut [0; 1500], 1, &blocks), 0);
        assert_eq!(write_receiver_report(&mut [0; 751], 1, &blocks[..31]), 0);
        assert_eq!(write_receiver_report(&mut [0; 752], 1, &blocks[..31]), 752);
        // 31 blocks announced, one present.
        let mut out = [0; 32];
        write_receiver_report(&mut out, 1, &blocks[..1]);
        out[0] |= 31;
        assert!(matches!(packets(&out).next(), Some(Err(Discard::PeerRtcpMalformed))));
    }
}
