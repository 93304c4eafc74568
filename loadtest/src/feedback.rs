//! RTCP as both sides use it: counting what comes in, writing reports and requests.

use bytes::Bytes;
use rtcp::packet::Packet;
use rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtcp::receiver_report::ReceiverReport;
use rtcp::reception_report::ReceptionReport;
use rtcp::sender_report::SenderReport;
use rtcp::source_description::{SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem};
use rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtcp::transport_feedbacks::transport_layer_nack::{TransportLayerNack, nack_pairs_from_sequence_numbers};
use webrtc_util::Marshal;

/// Received RTCP packets by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RtcpCounts {
    /// Sender reports.
    pub sr: u64,
    /// Receiver reports.
    pub rr: u64,
    /// Source descriptions.
    pub sdes: u64,
    /// Picture loss indications.
    pub pli: u64,
    /// Full intra requests.
    pub fir: u64,
    /// Sequence numbers asked for by generic NACK.
    pub nack: u64,
    /// Transport-wide congestion feedback messages.
    pub twcc: u64,
    /// Packets those messages report on.
    pub twcc_packets: u64,
    /// Receiver-estimated maximum bit rates.
    pub remb: u64,
    /// The last of them, in bit/s.
    pub remb_bps: u64,
    /// Well-formed packets of other kinds.
    pub other: u64,
    /// Compounds that could not be parsed.
    pub malformed: u64,
}

/// What a publisher has to react to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// SSRCs that need a key frame.
    pub key_frames: Vec<u32>,
    /// SSRC and sequence number of packets to repeat.
    pub repeats: Vec<(u32, u16)>,
}

impl RtcpCounts {
    /// Counts one opened compound and returns its requests.
    pub fn handle(&mut self, compound: &Bytes) -> Requests {
        let mut requests = Requests::default();
        let Ok(packets) = rtcp::packet::unmarshal(&mut compound.clone()) else {
            self.malformed += 1;
            return requests;
        };
        for packet in &packets {
            self.count(packet.as_ref(), &mut requests);
        }
        requests
    }

    fn count(&mut self, packet: &(dyn Packet + Send + Sync), requests: &mut Requests) {
        let any = packet.as_any();
        if any.is::<SenderReport>() {
            self.sr += 1;
        } else if any.is::<ReceiverReport>() {
            self.rr += 1;
        } else if any.is::<SourceDescription>() {
            self.sdes += 1;
        } else if let Some(pli) = any.downcast_ref::<PictureLossIndication>() {
            self.pli += 1;
            requests.key_frames.push(pli.media_ssrc);
        } else if let Some(fir) = any.downcast_ref::<FullIntraRequest>() {
            self.fir += 1;
            requests.key_frames.extend(fir.fir.iter().map(|entry| entry.ssrc));
        } else if let Some(nack) = any.downcast_ref::<TransportLayerNack>() {
            let numbers = nack.nacks.iter().flat_map(|pair| pair.packet_list());
            let before = requests.repeats.len();
            requests.repeats.extend(numbers.map(|number| (nack.media_ssrc, number)));
            self.nack += (requests.repeats.len() - before) as u64;
        } else if let Some(feedback) = any.downcast_ref::<TransportLayerCc>() {
            self.twcc += 1;
            self.twcc_packets += u64::from(feedback.packet_status_count);
        } else if let Some(remb) = any.downcast_ref::<ReceiverEstimatedMaximumBitrate>() {
            self.remb += 1;
            self.remb_bps = remb.bitrate as u64;
        } else {
            self.other += 1;
        }
    }
}

/// A sender report with its CNAME.
#[must_use]
pub fn sender_report(report: SenderReport, cname: &str) -> Vec<u8> {
    let ssrc = report.ssrc;
    compound(&[Box::new(report), Box::new(description(ssrc, cname))])
}

/// A receiver report with our CNAME.
#[must_use]
pub fn receiver_report(ssrc: u32, reports: Vec<ReceptionReport>, cname: &str) -> Vec<u8> {
    let report = ReceiverReport { ssrc, reports, ..ReceiverReport::default() };
    compound(&[Box::new(report), Box::new(description(ssrc, cname))])
}

/// A request for missing packets.
#[must_use]
pub fn nack(sender_ssrc: u32, media_ssrc: u32, missing: &[u16]) -> Vec<u8> {
    let nacks = nack_pairs_from_sequence_numbers(missing);
    compound(&[Box::new(TransportLayerNack { sender_ssrc, media_ssrc, nacks })])
}

fn description(source: u32, cname: &str) -> SourceDescription {
    let item = SourceDescriptionItem {
        sdes_type: SdesType::SdesCname,
        text: Bytes::copy_from_slice(cname.as_bytes()),
    };
    SourceDescription { chunks: vec![SourceDescriptionChunk { source, items: vec![item] }] }
}

fn compound(packets: &[Box<dyn Packet + Send + Sync>]) -> Vec<u8> {
    // What we write ourselves is well-formed; an empty compound is refused when it is sealed.
    packets.iter().filter_map(|packet| Marshal::marshal(packet.as_ref()).ok()).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_counts_of_a_compound() {
        let mut counts = RtcpCounts::default();
        let mut bytes = receiver_report(1, vec![], "c");
        bytes.extend(nack(1, 7, &[10, 11, 30]));
        let pli = PictureLossIndication { sender_ssrc: 1, media_ssrc: 7 };
        bytes.extend(pli.marshal().unwrap());
        let requests = counts.handle(&bytes.into());
        assert_eq!(requests.key_frames, [7]);
        assert_eq!(requests.repeats, [(7, 10), (7, 11), (7, 30)]);
        let expected = RtcpCounts { rr: 1, sdes: 1, pli: 1, nack: 3, ..RtcpCounts::default() };
        assert_eq!(counts, expected);
        counts.handle(&Bytes::from_static(&[0x80, 200]));
        assert_eq!(counts.malformed, 1);
    }
}
