//! Feedback that asks for something: generic NACK, PLI (RFC 4585), FIR (RFC 5104) and REMB
//! (draft-alvestrand-rmcat-remb-03).

use super::{
    FORMAT_APPLICATION, FORMAT_FIR, FORMAT_NACK, FORMAT_PLI, HEADER_LEN, Sink, TYPE_PAYLOAD_FEEDBACK,
    TYPE_TRANSPORT_FEEDBACK, feedback_head, words,
};
use crate::discard::Discard;

/// Packets one entry of a NACK can name: the first and those of a 16-bit mask behind it.
const NACK_ENTRY_SPAN: u16 = 17;
/// "Unique identifier" of REMB.
const REMB_NAME: &[u8; 4] = b"REMB";
/// Width of REMB's mantissa in bits.
const REMB_MANTISSA_BITS: u32 = 18;

/// A generic NACK (RFC 4585 §6.2.1).
#[derive(Clone, Copy, Debug)]
pub struct Nack<'a> {
    /// Who misses packets.
    pub sender_ssrc: u32,
    /// Whose packets.
    pub media_ssrc: u32,
    entries: &'a [u8],
}

impl<'a> Nack<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Discard> {
        let (sender_ssrc, media_ssrc, entries) = feedback_head(body)?;
        Ok(Self { sender_ssrc, media_ssrc, entries })
    }

    /// Sequence numbers asked for, as the sender ordered them; they may repeat. 17 to each four bytes at most.
    pub fn sequences(&self) -> impl Iterator<Item = u16> + 'a {
        words(self.entries).flat_map(|entry| {
            let [first, mask] = [(entry >> 16) as u16, entry as u16];
            (0..NACK_ENTRY_SPAN)
                .filter(move |offset| *offset == 0 || mask & (1 << (offset - 1)) != 0)
                .map(move |offset| first.wrapping_add(offset))
        })
    }
}

/// Writes a NACK for `lost`, which ascends (with wrapping); returns its length, 0 when it is empty or does not fit.
///
/// Takes at most 12 bytes and 4 for each sequence number.
pub fn write_nack(out: &mut [u8], sender_ssrc: u32, media_ssrc: u32, lost: &[u16]) -> usize {
    let entries = nack_entries(lost).count();
    let body_len = 8 + 4 * entries;
    if entries == 0 {
        return 0;
    }
    let Some(mut sink) = Sink::frame(out, TYPE_TRANSPORT_FEEDBACK, FORMAT_NACK, body_len) else { return 0 };
    sink.put_u32(sender_ssrc);
    sink.put_u32(media_ssrc);
    for (first, mask) in nack_entries(lost) {
        sink.put_u16(first);
        sink.put_u16(mask);
    }
    HEADER_LEN + body_len
}

/// Packs sequence numbers into pairs of a first one and the mask of the 16 behind it.
fn nack_entries(mut lost: &[u16]) -> impl Iterator<Item = (u16, u16)> {
    std::iter::from_fn(move || {
        let (&first, mut rest) = lost.split_first()?;
        let mut mask = 0;
        while let Some((&next, behind)) = rest.split_first() {
            let offset = next.wrapping_sub(first);
            if offset >= NACK_ENTRY_SPAN {
                break;
            }
            if offset > 0 {
                mask |= 1 << (offset - 1);
            }
            rest = behind;
        }
        lost = rest;
        Some((first, mask))
    })
}

/// A picture loss indication (RFC 4585 §6.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pli {
    /// Who lost the picture.
    pub sender_ssrc: u32,
    /// Whose picture.
    pub media_ssrc: u32,
}

impl Pli {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Discard> {
        let (sender_ssrc, media_ssrc, _) = feedback_head(body)?;
        Ok(Self { sender_ssrc, media_ssrc })
    }
}

/// Writes a PLI; returns its length, 0 when it does not fit.
pub fn write_pli(out: &mut [u8], sender_ssrc: u32, media_ssrc: u32) -> usize {
    let Some(mut sink) = Sink::frame(out, TYPE_PAYLOAD_FEEDBACK, FORMAT_PLI, 8) else { return 0 };
    sink.put_u32(sender_ssrc);
    sink.put_u32(media_ssrc);
    HEADER_LEN + 8
}

/// A full intra request (RFC 5104 §4.3.1).
#[derive(Clone, Copy, Debug)]
pub struct Fir<'a> {
    /// Who asks.
    pub sender_ssrc: u32,
    entries: &'a [u8],
}

/// One entry of a full intra request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirEntry {
    /// Who shall send a key frame.
    pub ssrc: u32,
    /// Command number: a repeat of the last one is no new request.
    pub sequence: u8,
}

impl<'a> Fir<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Discard> {
        let (sender_ssrc, _, entries) = feedback_head(body)?;
        Ok(Self { sender_ssrc, entries })
    }

    /// Whom it asks.
    pub fn entries(&self) -> impl Iterator<Item = FirEntry> + 'a {
        self.entries.as_chunks::<8>().0.iter().map(|&[s0, s1, s2, s3, sequence, ..]| FirEntry {
            ssrc: u32::from_be_bytes([s0, s1, s2, s3]),
            sequence,
        })
    }
}

/// Writes a FIR; returns its length, 0 when it does not fit.
pub fn write_fir(out: &mut [u8], sender_ssrc: u32, entries: &[FirEntry]) -> usize {
    let body_len = 8 + 8 * entries.len();
    let Some(mut sink) = Sink::frame(out, TYPE_PAYLOAD_FEEDBACK, FORMAT_FIR, body_len) else { return 0 };
    sink.put_u32(sender_ssrc);
    sink.put_u32(0); // RFC 5104 §4.3.1.2: the media source is in the entries
    for entry in entries {
        sink.put_u32(entry.ssrc);
        sink.put(&[entry.sequence, 0, 0, 0]);
    }
    HEADER_LEN + body_len
}

/// A receiver's estimate of what it can take.
#[derive(Clone, Copy, Debug)]
pub struct Remb<'a> {
    /// Who estimates.
    pub sender_ssrc: u32,
    /// The estimate in bits a second, 0 to `u64::MAX` (the wire can say more): believe it only within bounds.
    pub rate_bps: u64,
    ssrcs: &'a [u8],
}

impl<'a> Remb<'a> {
    /// True when an application layer feedback is a REMB.
    pub(super) fn is(body: &[u8]) -> bool {
        body.get(8..12) == Some(REMB_NAME)
    }

    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Discard> {
        let (sender_ssrc, _, fields) = feedback_head(body)?;
        let Some((&[_, _, _, _, count, high, middle, low], rest)) = fields.split_first_chunk::<8>() else {
            return Err(Discard::PeerRtcpMalformed);
        };
        let ssrcs = rest.get(..4 * usize::from(count)).ok_or(Discard::PeerRtcpMalformed)?;
        let mantissa = u128::from(high & 0x03) << 16 | u128::from(middle) << 8 | u128::from(low);
        let rate_bps = u64::try_from(mantissa << (high >> 2)).unwrap_or(u64::MAX);
        Ok(Self { sender_ssrc, rate_bps, ssrcs })
    }

    /// The sources whose sum the estimate bounds.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> + 'a {
        words(self.ssrcs)
    }
}

/// Writes a REMB for up to 255 sources, the rate rounded down to 18 significant bits; returns its length, 0 when it
/// does not fit.
pub fn write_remb(out: &mut [u8], sender_ssrc: u32, rate_bps: u64, ssrcs: &[u32]) -> usize {
    let Ok(count) = u8::try_from(ssrcs.len()) else { return 0 };
    let body_len = 16 + 4 * ssrcs.len();
    let Some(mut sink) = Sink::frame(out, TYPE_PAYLOAD_FEEDBACK, FORMAT_APPLICATION, body_len) else {
        return 0;
    };
    let exponent = (u64::BITS - rate_bps.leading_zeros()).saturating_sub(REMB_MANTISSA_BITS);
    let [.., high, middle, low] = (rate_bps >> exponent).to_be_bytes();
    sink.put_u32(sender_ssrc);
    sink.put_u32(0); // the media source is always 0
    sink.put(REMB_NAME);
    sink.put(&[count, (exponent as u8) << 2 | high, middle, low]);
    ssrcs.iter().for_each(|ssrc| sink.put_u32(*ssrc));
    HEADER_LEN + body_len
}

#[cfg(test)]
mod tests {
    use rtcp::payload_feedbacks::full_intra_request as fir;
    use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
    use rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
    use rtcp::transport_feedbacks::transport_layer_nack::{
        TransportLayerNack, nack_pairs_from_sequence_numbers,
    };

    use super::super::{Packet, packets};
    use super::*;
    use crate::wire::testing::Random;

    fn random_lost(random: &mut Random) -> Vec<u16> {
        let mut sequence = random.u16();
        (0..random.below(100) + 1)
            .map(|_| {
                sequence = sequence.wrapping_add(1 + random.below(20) as u16);
                sequence
            })
            .collect()
    }

    #[test]
    fn nacks_agree_with_another_implementation_both_ways() {
        let mut random = Random::new(51);
        for _ in 0..1_000 {
            let lost = random_lost(&mut random);
            let mut ours = [0; 600];
            let len = write_nack(&mut ours, 1, 2, &lost);
            let read = rtcp::packet::unmarshal(&mut &ours[..len]).unwrap();
            let read = read[0].as_any().downcast_ref::<TransportLayerNack>().unwrap();
            assert_eq!((read.sender_ssrc, read.media_ssrc), (1, 2));
            assert_eq!(read.nacks.iter().flat_map(|pair| pair.packet_list()).collect::<Vec<_>>(), lost);

            let nacks = nack_pairs_from_sequence_numbers(&lost);
            let theirs = TransportLayerNack { sender_ssrc: 3, media_ssrc: 4, nacks };
            let theirs = rtcp::packet::marshal(&[Box::new(theirs)]).unwrap();
            let Some(Ok(Packet::Nack(nack))) = packets(&theirs).next() else { panic!("no nack") };
            assert_eq!((nack.sender_ssrc, nack.media_ssrc), (3, 4));
            assert_eq!(nack.sequences().collect::<Vec<_>>(), lost);
        }
    }

    #[test]
    fn a_nack_packs_17_neighbours_into_four_bytes_across_the_wrap() {
        let lost: Vec<u16> = (0..17).map(|offset| 65530_u16.wrapping_add(offset)).collect();
        let mut out = [0; 16];
        assert_eq!(write_nack(&mut out, 1, 2, &lost), 16);
        assert_eq!(out[12..], [0xff, 0xfa, 0xff, 0xff]);
        assert_eq!(write_nack(&mut out, 1, 2, &[]), 0);
        assert_eq!(write_nack(&mut out, 1, 2, &[1, 18]), 0, "18 needs a second entry");
    }

    #[test]
    fn requests_for_key_frames_agree_with_another_implementation_both_ways() {
        let mut random = Random::new(52);
        for _ in 0..300 {
            let (sender_ssrc, media_ssrc) = (random.u32(), random.u32());
            let theirs = PictureLossIndication { sender_ssrc, media_ssrc };
            let theirs = rtcp::packet::marshal(&[Box::new(theirs)]).unwrap();
            let mut ours = [0; 300];
            let len = write_pli(&mut ours, sender_ssrc, media_ssrc);
            assert_eq!(ours[..len], theirs[..]);
            let Some(Ok(Packet::Pli(pli))) = packets(&theirs).next() else { panic!("no pli") };
            assert_eq!(pli, Pli { sender_ssrc, media_ssrc });

            let entries: Vec<_> = (0..=random.below(20))
                .map(|_| FirEntry { ssrc: random.u32(), sequence: random.u8() })
                .collect();
            let fir = entries
                .iter()
                .map(|entry| fir::FirEntry { ssrc: entry.ssrc, sequence_number: entry.sequence })
                .collect();
            let theirs = fir::FullIntraRequest { sender_ssrc, media_ssrc: 0, fir };
            let theirs = rtcp::packet::marshal(&[Box::new(theirs)]).unwrap();
            let len = write_fir(&mut ours, sender_ssrc, &entries);
            assert_eq!(ours[..len], theirs[..]);
            let Some(Ok(Packet::Fir(fir))) = packets(&theirs).next() else { panic!("no fir") };
            assert_eq!(fir.sender_ssrc, sender_ssrc);
            assert_eq!(fir.entries().collect::<Vec<_>>(), entries);
        }
    }

    #[test]
    fn estimates_agree_with_another_implementation_both_ways() {
        let mut random = Random::new(53);
        for _ in 0..1_000 {
            // The other implementation misreads 0.
            let rate_bps = (random.u64() >> (16 + random.below(48))).max(1);
            let ssrcs: Vec<_> = (0..random.below(6)).map(|_| random.u32()).collect();
            let mut ours = [0; 100];
            let len = write_remb(&mut ours, 9, rate_bps, &ssrcs);
            let read = rtcp::packet::unmarshal(&mut &ours[..len]).unwrap();
            let read = read[0].as_any().downcast_ref::<ReceiverEstimatedMaximumBitrate>().unwrap();
            assert_eq!(read.ssrcs, ssrcs);
            let shown = read.bitrate as u64;
            assert!(shown <= rate_bps && rate_bps - shown <= rate_bps >> 17, "{rate_bps} became {shown}");
            let Some(Ok(Packet::Remb(remb))) = packets(&ours[..len]).next() else { panic!("no remb") };
            assert_eq!(remb.rate_bps, shown);

            let theirs = ReceiverEstimatedMaximumBitrate {
                sender_ssrc: 9,
                bitrate: shown as f32,
                ssrcs: ssrcs.clone(),
            };
            let theirs = rtcp::packet::marshal(&[Box::new(theirs)]).unwrap();
            let Some(Ok(Packet::Remb(remb))) = packets(&theirs).next() else { panic!("no remb") };
            assert_eq!((remb.sender_ssrc, remb.rate_bps), (9, shown));
            assert_eq!(remb.ssrcs().collect::<Vec<_>>(), ssrcs);
        }
    }

    #[test]
    fn an_estimate_beyond_everything_saturates() {
        let mut out = [0; 20];
        for rate_bps in [0, 1, (1 << 18) - 1, 1 << 18] {
            let len = write_remb(&mut out, 1, rate_bps, &[]);
            let Some(Ok(Packet::Remb(remb))) = packets(&out[..len]).next() else { panic!("no remb") };
            assert_eq!(remb.rate_bps, rate_bps);
        }
        out[17..].fill(0xff);
        let Some(Ok(Packet::Remb(remb))) = packets(&out).next() else { panic!("no remb") };
        assert_eq!(remb.rate_bps, u64::MAX);
        out[16] = 1;
        assert!(matches!(packets(&out).next(), Some(Err(_))), "one source announced, none present");
    }
}
