//! RTCP that we send by the clock: feedback and reports to publishers, requests for what is missing, sender reports to
//! viewers.

use super::Shard;
use super::timers::Timer;
use crate::discard::Discard;
use crate::egress::Egress;
use crate::feedback::loss::{LostList, Want};
use crate::feedback::report::{Transmission, viewer_sender_report};
use crate::ids::{InboundSlot, PeerSlot, SubscriptionSlot, TrackSlot};
use crate::limits::{RECEIVER_REPORT_INTERVAL, SENDER_REPORT_INTERVAL};
use crate::records::{PeerRecord, TrackRecord};
use crate::time::Timestamp;
use crate::wire::rtcp::description::write_cname;
use crate::wire::rtcp::feedback::{FirEntry, write_fir, write_nack, write_pli, write_remb};
use crate::wire::rtcp::report::{
    BLOCKS_MAX, ReportBlock, SenderInfo, write_receiver_report, write_sender_report,
};

/// CNAME of our RTCP to publishers.
const CNAME: &[u8] = b"millrace";

impl Shard<'_> {
    /// Transport-wide feedback when it is due, receiver reports once a second.
    pub(super) fn on_feedback_timer(&mut self, now: Timestamp, slot: PeerSlot, egress: &mut impl Egress) {
        if !self.outbound[slot.index()].is_live() {
            return;
        }
        if self.records.peers[slot].has(PeerRecord::TRANSPORT_CC) {
            self.send_arrivals(now, slot, egress);
        }
        let Some(peer) = self.peers[slot.index()].as_mut() else { return };
        if peer.inbound.is_empty() {
            return;
        }
        if now >= peer.reported_at + RECEIVER_REPORT_INTERVAL {
            peer.reported_at = now;
            self.send_receiver_report(now, slot, egress);
        }
        self.arm_feedback(slot);
    }

    /// Feedback and the next receiver report of a publisher, whichever comes first.
    pub(super) fn arm_feedback(&mut self, slot: PeerSlot) {
        let Some(peer) = self.peers[slot.index()].as_ref() else { return };
        let report = peer.reported_at + RECEIVER_REPORT_INTERVAL;
        // Arrivals that nobody wants to hear of would stay due for ever.
        let reported = self.records.peers[slot].has(PeerRecord::TRANSPORT_CC);
        let arrivals = if reported { peer.arrivals.next_deadline() } else { Timestamp::NEVER };
        self.timers.arm(Timer::Feedback(slot.0), report.min(arrivals));
    }

    fn send_arrivals(&mut self, now: Timestamp, slot: PeerSlot, egress: &mut impl Egress) {
        let sender = self.records.peers[slot].rtcp_ssrc;
        let Some(media) = self.any_source(slot) else { return };
        loop {
            let Some(peer) = self.peers[slot.index()].as_mut() else { return };
            let mut feedback = [0; 1200];
            let Some(len) = peer.arrivals.poll_feedback(now, sender, media, &mut feedback) else { return };
            self.send_rtcp(slot, sender, egress, |out| copy(&feedback[..len], out));
        }
    }

    fn any_source(&self, slot: PeerSlot) -> Option<u32> {
        let stream = *self.peers[slot.index()].as_ref()?.inbound.first()?;
        Some(self.records.inbound[stream].ssrc)
    }

    fn send_receiver_report(&mut self, now: Timestamp, slot: PeerSlot, egress: &mut impl Egress) {
        let mut blocks = [ReportBlock::default(); BLOCKS_MAX];
        let mut filled = 0;
        let mut sources = [0; BLOCKS_MAX];
        let Some(peer) = self.peers[slot.index()].as_mut() else { return };
        for &stream in peer.inbound.iter().filter(|stream| self.records.inbound[**stream].repairs.is_none()) {
            let ssrc = self.records.inbound[stream].ssrc;
            let Some(inbound) = self.inbound[stream.index()].as_mut() else { continue };
            if let (Some(block), true) =
                (inbound.reception.report(now, ssrc, &inbound.publisher), filled < BLOCKS_MAX)
            {
                (blocks[filled], sources[filled]) = (block, ssrc);
                filled += 1;
            }
        }
        let record = &self.records.peers[slot];
        let (sender, rate_bps) = (record.rtcp_ssrc, record.receive_max_bps);
        let announce = record.has(PeerRecord::REMB) && rate_bps > 0 && filled > 0;
        self.send_rtcp(slot, sender, egress, |out| {
            let mut len = write_receiver_report(out, sender, &blocks[..filled]);
            len += write_cname(&mut out[len..], sender, CNAME);
            if announce {
                len += write_remb(&mut out[len..], sender, rate_bps, &sources[..filled]);
            }
            len
        });
    }

    /// Asks a publisher for what was lost on the way, or for a key frame when that is hopeless.
    pub(super) fn on_loss_timer(&mut self, now: Timestamp, stream: InboundSlot, egress: &mut impl Egress) {
        let Some(inbound) = self.inbound[stream.index()].as_mut() else { return };
        let mut lost = LostList::new();
        let want = inbound.loss.poll(now, None, &mut lost);
        self.timers.arm(Timer::Loss(stream.0), inbound.loss.next_deadline());
        let record = &self.records.inbound[stream];
        match want {
            Want::Nothing => {}
            Want::Keyframe if self.records.tracks[record.track].has(TrackRecord::VIDEO) => {
                self.want_keyframe(now, record.track);
            }
            Want::Keyframe => {}
            Want::Resend => {
                let (peer, media) = (record.peer, record.ssrc);
                let sender = self.records.peers[peer].rtcp_ssrc;
                self.records.counters.nack_out += lost.as_slice().len() as u64;
                self.send_rtcp(peer, sender, egress, |out| write_nack(out, sender, media, lost.as_slice()));
            }
        }
    }

    /// Sends a key frame request that is due. Without a publisher it waits for one.
    pub(super) fn on_keyframe_timer(&mut self, now: Timestamp, slot: TrackSlot, egress: &mut impl Egress) {
        let track = &mut self.tracks[slot.index()];
        let due = std::mem::take(&mut track.ask_now) || track.keyframes.handle_timeout(now);
        // Whoever waits on another shard says so again by itself.
        if track.subscribers.is_empty() {
            track.keyframes.cancel();
        }
        self.timers.arm(Timer::Keyframe(slot.0), track.keyframes.next_deadline());
        if due && !self.request_from_home(slot) {
            self.request_from_publisher(slot, egress);
        }
    }

    fn request_from_publisher(&mut self, slot: TrackSlot, egress: &mut impl Egress) {
        let record = self.records.tracks[slot];
        let Some(publisher) = record.peer.get() else { return };
        let Some(peer) = self.peers[publisher.index()].as_ref() else { return };
        let media = |stream: &&InboundSlot| {
            let record = &self.records.inbound[**stream];
            record.track == slot && record.repairs.is_none()
        };
        let Some(media) = peer.inbound.iter().find(media).map(|stream| self.records.inbound[*stream].ssrc)
        else {
            return;
        };
        let sender = self.records.peers[publisher].rtcp_ssrc;
        let track = &mut self.tracks[slot.index()];
        let sent = if record.has(TrackRecord::PLI) {
            self.send_rtcp(publisher, sender, egress, |out| write_pli(out, sender, media))
        } else if record.has(TrackRecord::FIR) {
            // Each FIR is a new one (RFC 5104 §4.3.1.1).
            track.fir_sequence = track.fir_sequence.wrapping_add(1);
            let entry = FirEntry { ssrc: media, sequence: track.fir_sequence };
            self.send_rtcp(publisher, sender, egress, |out| write_fir(out, sender, &[entry]))
        } else {
            false
        };
        self.records.counters.keyframe_requests_out += u64::from(sent);
    }

    /// Once a second a viewer hears of each stream when its timestamps were, in the publisher's time (lip sync).
    pub(super) fn on_sender_report_timer(
        &mut self,
        now: Timestamp,
        slot: PeerSlot,
        egress: &mut impl Egress,
    ) {
        if !self.outbound[slot.index()].is_live() {
            return;
        }
        let mut place = 0;
        // By place, not by iterator: sending borrows the shard.
        while let Some(&subscription) =
            self.peers[slot.index()].as_ref().and_then(|peer| peer.subscriptions.get(place))
        {
            self.send_sender_report(now, slot, subscription, egress);
            place += 1;
        }
        if place > 0 {
            self.timers.arm(Timer::SenderReports(slot.0), now + SENDER_REPORT_INTERVAL);
        }
    }

    fn send_sender_report(
        &mut self,
        now: Timestamp,
        peer: PeerSlot,
        slot: SubscriptionSlot,
        egress: &mut impl Egress,
    ) {
        let Some(info) = self.sender_info(now, slot) else { return };
        let cname = self.records.subscriptions[slot].cname;
        let sent = self.send_rtcp(peer, info.ssrc, egress, |out| {
            let len = write_sender_report(out, &info, &[]);
            len + write_cname(&mut out[len..], info.ssrc, cname.as_bytes())
        });
        if let (true, Some(viewer)) = (sent, self.viewers[slot.index()].as_mut()) {
            viewer.reports.handle_sent(now, info.ntp);
        }
    }

    fn sender_info(&self, now: Timestamp, slot: SubscriptionSlot) -> Option<SenderInfo> {
        let record = &self.records.subscriptions[slot];
        let source = record.switch.source.get()?;
        // Without a packet the rate of its clock is unknown, and a report would stop the viewer's time.
        let inbound = self.inbound[source.index()].as_ref().filter(|inbound| inbound.clock_rate_hz != 0)?;
        let sent = Transmission { packets: record.packets, octets: record.octets };
        let offset = record.switch.rtp_offset;
        viewer_sender_report(now, &inbound.publisher, inbound.clock_rate_hz, offset, record.ssrc, &sent)
    }

    /// A viewer's report about one of our streams: how far away it is.
    pub(super) fn on_report_block(&mut self, now: Timestamp, viewer: PeerSlot, block: &ReportBlock) {
        let Some(subscription) = self.viewed_as(viewer, block.ssrc) else { return };
        let Some(viewer) = self.viewers[subscription.index()].as_mut() else { return };
        viewer.round_trip = viewer.reports.round_trip(now, block).or(viewer.round_trip);
    }

    /// Sends one compound to a peer. `ssrc` is the first one in it. Gives whether it was queued.
    fn send_rtcp(
        &mut self,
        slot: PeerSlot,
        ssrc: u32,
        egress: &mut impl Egress,
        write: impl FnOnce(&mut [u8]) -> usize,
    ) -> bool {
        let record = &mut self.records.peers[slot];
        let index = record.srtcp_out_index;
        // Before the packet exists: an index is never used twice, whatever happens next.
        record.srtcp_out_index += 1;
        match self.outbound[slot.index()].send_rtcp(ssrc, index, egress, write) {
            Ok(len) => {
                self.records.counters.rtcp_out += u64::from(len > 0);
                len > 0
            }
            // A peer that is not live yet hears it later, when it asks again.
            Err(Discard::PeerNotLive) => false,
            Err(reason) => {
                self.records.counters.discard(reason);
                false
            }
        }
    }
}

fn copy(bytes: &[u8], out: &mut [u8]) -> usize {
    match out.get_mut(..bytes.len()) {
        Some(place) => {
            place.copy_from_slice(bytes);
            bytes.len()
        }
        None => 0,
    }
}
