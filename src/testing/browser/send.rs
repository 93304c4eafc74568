//! What a simulated browser sends: checks, media, RTCP.

use millrace_turn::{IntegrityKey, Method, TransactionId, Writer};

use super::Browser;
use super::source::{Sent, Source};
use crate::testing::media::Codec;
use crate::time::Timestamp;
use crate::wire::extension::{Entry, Kind, write_block};
use crate::wire::rtcp::feedback::{write_nack, write_pli};
use crate::wire::rtcp::report::{ReportBlock, SenderInfo, write_receiver_report, write_sender_report};
use crate::wire::rtp::FixedHeader;

/// SSRC of its RTCP where it has no media.
const RTCP_SSRC: u32 = 1;
/// Most numbers in one NACK.
const ASKED_MAX: usize = 64;

impl Browser {
    /// A connectivity check, put into the queue.
    pub(crate) fn check(&mut self, nominates: bool) {
        let check = self.make_check(nominates);
        self.out.push(check);
    }

    /// A connectivity check under what it knows of the relay's credentials.
    pub(crate) fn make_check(&mut self, nominates: bool) -> Vec<u8> {
        let mut transaction = [0; 12];
        transaction[..8].copy_from_slice(&self.random.next_u64().to_be_bytes());
        transaction[8..].copy_from_slice(&self.random.next_u32().to_be_bytes());
        let mut slot = [0; 300];
        let mut writer = Writer::request(&mut slot, Method::BINDING, TransactionId(transaction));
        writer.username(format!("{}:{}", self.relay.ufrag, self.own.ufrag).as_bytes());
        writer.priority(0x6E00_01FF);
        writer.ice_controlling(self.id);
        if nominates {
            writer.use_candidate();
        }
        writer.integrity(&IntegrityKey::short_term(self.relay.pwd.as_bytes()));
        writer.fingerprint();
        let len = writer.finish().unwrap();
        slot[..len].to_vec()
    }

    /// The next frame of a source.
    pub(crate) fn send_frame(&mut self, source: usize) {
        for sent in self.sources[source].frame() {
            self.send_packet(source, &sent);
        }
    }

    pub(crate) fn send_packet(&mut self, source: usize, sent: &Sent) {
        if let Some(datagram) = self.seal_packet(source, sent) {
            self.out.push(datagram);
        }
    }

    /// A packet of a source as it goes over the wire; `None` before there are keys.
    pub(crate) fn seal_packet(&mut self, source: usize, sent: &Sent) -> Option<Vec<u8>> {
        let Source { ssrc, payload_type, .. } = self.sources[source];
        self.seal(source, ssrc, payload_type, sent.index, sent, &sent.payload)
    }

    /// The same packet again as RTX.
    pub(crate) fn send_rtx(&mut self, source: usize, sent: &Sent) {
        let Source { rtx_ssrc, payload_type, .. } = self.sources[source];
        let index = self.sources[source].rtx_next;
        self.sources[source].rtx_next += 1;
        let payload = [&(sent.index as u16).to_be_bytes()[..], &sent.payload].concat();
        if let Some(datagram) = self.seal(source, rtx_ssrc, payload_type + 1, index, sent, &payload) {
            self.out.push(datagram);
        }
    }

    fn seal(
        &mut self,
        source: usize,
        ssrc: u32,
        payload_type: u8,
        index: u64,
        sent: &Sent,
        payload: &[u8],
    ) -> Option<Vec<u8>> {
        let keys = self.keys.as_ref()?;
        self.transport_sequence = self.transport_sequence.wrapping_add(1);
        let number = self.transport_sequence.to_be_bytes();
        let Source { mid, codec, .. } = &self.sources[source];
        let level: &[u8] = if *codec == Codec::Opus { &[0x85] } else { &[] };
        let values =
            [(Kind::Mid, mid.as_bytes()), (Kind::TransportCc, &number[..]), (Kind::AudioLevel, level)];
        let entries: Vec<_> = values
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .filter_map(|(kind, value)| Some(Entry { id: self.extensions.id(kind)?, value }))
            .collect();
        let mut slot = [0; 1500];
        let block_len = write_block(&mut slot[12..], &entries);
        let padding = payload.is_empty();
        let header = FixedHeader {
            padding,
            extension: block_len > 0,
            marker: sent.marker,
            payload_type,
            sequence: index as u16,
            timestamp: sent.rtp,
            ssrc,
        };
        header.write(&mut slot);
        let mut filler = [0; 100];
        filler[99] = 100;
        let plaintext = if padding { &filler } else { payload };
        let len = keys.seal.seal_rtp(ssrc, index, 12 + block_len, plaintext, &mut slot)?;
        Some(slot[..len].to_vec())
    }

    /// Sends a compound that `write` puts together.
    pub(crate) fn send_rtcp(&mut self, write: impl FnOnce(&mut [u8], u32) -> usize) {
        let compound = self.make_rtcp(write);
        self.out.extend(compound);
    }

    pub(crate) fn make_rtcp(&mut self, write: impl FnOnce(&mut [u8], u32) -> usize) -> Option<Vec<u8>> {
        let keys = self.keys.as_ref()?;
        let ssrc = self.sources.first().map_or(RTCP_SSRC, |source| source.ssrc);
        let mut slot = [0; 1500];
        let len = write(&mut slot, ssrc);
        let ssrc = slot[4..8].iter().fold(0, |ssrc, byte| ssrc << 8 | u32::from(*byte));
        self.rtcp_index += 1;
        let len = keys.seal.seal_rtcp(ssrc, self.rtcp_index, &mut slot, len)?;
        Some(slot[..len].to_vec())
    }

    pub(crate) fn nack(&mut self, ssrc: u32, lost: &[u16]) {
        self.send_rtcp(|out, own| write_nack(out, own, ssrc, lost));
    }

    pub(crate) fn pli(&mut self, ssrc: u32) {
        self.send_rtcp(|out, own| write_pli(out, own, ssrc));
    }

    pub(crate) fn sender_report(&mut self, now: Timestamp, source: usize, ntp: u64) {
        let (ssrc, rtp_time) = (self.sources[source].ssrc, self.sources[source].clock_at(now));
        let info = SenderInfo { ssrc, ntp, rtp_time, packet_count: 1, octet_count: 1 };
        self.send_rtcp(|out, _| write_sender_report(out, &info, &[]));
    }

    pub(crate) fn receiver_report(&mut self, block: ReportBlock) {
        self.send_rtcp(|out, own| write_receiver_report(out, own, &[block]));
    }

    pub(super) fn ask_for_missing(&mut self) {
        if !self.asks {
            return;
        }
        let wanted: Vec<_> = self
            .sinks
            .iter()
            .filter(|(ssrc, _)| self.repairs.values().any(|media| media == *ssrc))
            .map(|(ssrc, sink)| (*ssrc, sink.missing_lately(ASKED_MAX)))
            .filter(|(_, missing)| !missing.is_empty())
            .collect();
        for (ssrc, missing) in wanted {
            self.nack(ssrc, &missing);
        }
    }
}
