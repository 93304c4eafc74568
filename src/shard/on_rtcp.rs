//! RTCP from a peer. As a publisher it sends reports; as a viewer it asks for packets and key frames.

use super::Shard;
use crate::discard::Discard;
use crate::egress::{Egress, Path};
use crate::feedback::report::PublisherReport;
use crate::ids::{PeerSlot, SubscriptionSlot};
use crate::records::SubscriptionRecord;
use crate::router::resend::{Asking, resend};
use crate::time::Timestamp;
use crate::wire::rtcp::feedback::Nack;
use crate::wire::rtcp::report::SenderInfo;
use crate::wire::rtcp::twcc::Feedback;
use crate::wire::rtcp::{self, Packet};

/// Sequence numbers answered of one compound. A viewer that lost more is helped by a key frame.
const NACKED_MAX: usize = 128;

impl Shard<'_> {
    pub(super) fn on_rtcp(
        &mut self,
        now: Timestamp,
        path: &Path,
        datagram: &mut [u8],
        egress: &mut impl Egress,
    ) -> Result<(), Discard> {
        let slot = *self.routes.by_path.get(path).ok_or(Discard::PeerUnknownSource)?;
        let len = self.open_rtcp(slot, datagram)?;
        self.records.counters.rtcp_in += 1;
        let mut resends = NACKED_MAX;
        for packet in rtcp::packets(&datagram[..len]) {
            match packet? {
                Packet::SenderReport(report) => {
                    self.on_sender_report(now, slot, &report.info);
                    report.blocks().for_each(|block| self.on_report_block(now, slot, &block));
                }
                Packet::ReceiverReport(report) => {
                    report.blocks().for_each(|block| self.on_report_block(now, slot, &block));
                }
                Packet::Nack(nack) => self.on_nack(now, slot, &nack, &mut resends, egress),
                Packet::Pli(pli) => self.on_keyframe_request(now, slot, pli.media_ssrc),
                Packet::Fir(fir) => {
                    fir.entries().for_each(|entry| self.on_keyframe_request(now, slot, entry.ssrc))
                }
                Packet::TransportFeedback(feedback) => self.on_transport_feedback(now, slot, &feedback),
                // A BYE names a stream that consent and signaling end anyway.
                Packet::Remb(_) | Packet::Bye(_) | Packet::Sdes(_) | Packet::Other { .. } => {}
            }
        }
        Ok(())
    }

    /// Opens a compound in place and remembers its index. Gives the length of what is left.
    fn open_rtcp(&mut self, slot: PeerSlot, datagram: &mut [u8]) -> Result<usize, Discard> {
        let open = self.peers[slot.index()].as_ref().and_then(|peer| peer.open.as_ref());
        let open = open.ok_or(Discard::PeerNotLive)?;
        let index = open.rtcp_index(datagram)?;
        let ssrc = datagram.get(4..8).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        let ssrc = ssrc.ok_or(Discard::PeerSrtpTooShort)?;
        let record = &mut self.records.peers[slot];
        record.check_rtcp(ssrc, index)?;
        let (len, index) = open.open_rtcp(datagram)?;
        record.accept_rtcp(ssrc, index);
        Ok(len)
    }

    fn on_sender_report(&mut self, now: Timestamp, slot: PeerSlot, info: &SenderInfo) {
        let Some(&stream) = self.routes.by_ssrc.get(&(slot, info.ssrc)) else { return };
        if let Some(inbound) = self.inbound[stream.index()].as_mut() {
            inbound.publisher = PublisherReport::new(now, info);
            self.report_afar(stream);
        }
    }

    /// Sends again what a viewer lost, at most `left` packets.
    fn on_nack(
        &mut self,
        now: Timestamp,
        slot: PeerSlot,
        nack: &Nack<'_>,
        left: &mut usize,
        egress: &mut impl Egress,
    ) {
        let Some(subscription) = self.viewed_as(slot, nack.media_ssrc) else { return };
        // Lost RTX is asked for under the number it repairs; under its own it means nothing here.
        if self.records.subscriptions[subscription].ssrc != nack.media_ssrc {
            return;
        }
        let track = self.viewed[subscription.index()];
        for sequence in nack.sequences().take(*left) {
            *left -= 1;
            self.records.counters.nack_in += 1;
            let Some(viewer) = self.viewers[subscription.index()].as_mut() else { return };
            let mut asking = Asking {
                subscription: &mut self.records.subscriptions[subscription],
                outbound: &mut self.outbound[slot.index()],
                viewer,
            };
            let cache = self.tracks[track.index()].cache.as_mut();
            let sent = resend(now, sequence, &mut asking, cache, self.records.counters, egress);
            if let Err(missed) = sent {
                self.ask_home_for(now, track, missed);
            }
        }
    }

    /// What became of the packets that a viewer was sent. An estimate of its rate will be made of it.
    fn on_transport_feedback(&mut self, now: Timestamp, slot: PeerSlot, feedback: &Feedback<'_>) {
        let settled = self.outbound[slot.index()].handle_feedback(now, feedback);
        let counters = &mut *self.records.counters;
        counters.feedback_in += 1;
        counters.packets_delivered += u64::from(settled.delivered);
        counters.packets_lost += u64::from(settled.lost);
    }

    fn on_keyframe_request(&mut self, now: Timestamp, slot: PeerSlot, ssrc: u32) {
        let Some(subscription) = self.viewed_as(slot, ssrc) else { return };
        self.records.counters.keyframe_requests_in += 1;
        if !self.records.subscriptions[subscription].has(SubscriptionRecord::PAUSED) {
            self.want_keyframe(now, self.viewed[subscription.index()]);
        }
    }

    /// The subscription that a viewer means by an SSRC of ours. Another viewer's is nobody's here.
    pub(super) fn viewed_as(&self, viewer: PeerSlot, ssrc: u32) -> Option<SubscriptionSlot> {
        self.routes.by_viewer_ssrc.get(&(viewer, ssrc)).copied()
    }
}
