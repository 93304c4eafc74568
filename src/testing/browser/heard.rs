//! RTCP that a simulated browser heard, in values that outlive the packet.

use crate::time::Timestamp;
use crate::wire::rtcp::report::{ReportBlock, SenderInfo};
use crate::wire::rtcp::{Packet, packets};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    SenderReport(SenderInfo),
    ReceiverReport(Vec<ReportBlock>),
    Cname(u32, Vec<u8>),
    Nack(u32, Vec<u16>),
    Pli(u32),
    Fir(u32, u8),
    /// Transport-wide numbers and whether they arrived.
    Arrivals(Vec<(u16, bool)>),
    Remb(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) at: Timestamp,
    pub(crate) what: What,
}

/// Everything in a compound. The relay writes nothing that cannot be read.
pub(crate) fn read(at: Timestamp, compound: &[u8]) -> Vec<Heard> {
    let mut heard = Vec::new();
    for packet in packets(compound) {
        let what = match packet.expect("the relay writes whole compounds") {
            Packet::SenderReport(report) => vec![What::SenderReport(report.info)],
            Packet::ReceiverReport(report) => vec![What::ReceiverReport(report.blocks().collect())],
            Packet::Sdes(sdes) => {
                sdes.items().map(|item| What::Cname(item.ssrc, item.text.to_vec())).collect()
            }
            Packet::Nack(nack) => vec![What::Nack(nack.media_ssrc, nack.sequences().collect())],
            Packet::Pli(pli) => vec![What::Pli(pli.media_ssrc)],
            Packet::Fir(fir) => fir.entries().map(|entry| What::Fir(entry.ssrc, entry.sequence)).collect(),
            Packet::TransportFeedback(feedback) => {
                let statuses = feedback.statuses();
                vec![What::Arrivals(
                    statuses.map(|status| (status.sequence, status.ticks.is_some())).collect(),
                )]
            }
            Packet::Remb(remb) => vec![What::Remb(remb.rate_bps)],
            Packet::Bye(_) | Packet::Other { .. } => panic!("the relay sends no such RTCP"),
        };
        heard.extend(what.into_iter().map(|what| Heard { at, what }));
    }
    heard
}
