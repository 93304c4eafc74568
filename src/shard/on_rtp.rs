//! Media from a publisher: whose it is, opened, noted, numbered, handed to fan-out.

use std::ops::Range;

use bytemuck::Zeroable;

use super::Shard;
use super::timers::Timer;
use crate::discard::Discard;
use crate::egress::{Egress, Path};
use crate::ids::{InboundSlot, PeerSlot, TrackSlot};
use crate::limits::LATCHED_SSRCS_MAX;
use crate::records::replay::ReplayWindow;
use crate::records::{CodecRecord, MediaKind, PeerRecord, Text, TrackRecord};
use crate::router::dense::Place;
use crate::router::fanout::{Arrival, Burst, Viewers, fan_out};
use crate::time::Timestamp;
use crate::wire::carried::Carried;
use crate::wire::extension::{Collected, Kind};
use crate::wire::rtp::{self, Header};

/// Bytes of the original sequence number in front of an RTX payload (RFC 4588 §4).
const OSN_BYTES: usize = 2;

/// Where a packet that verified stands in its stream.
struct Verified {
    peer: PeerSlot,
    stream: InboundSlot,
    index: u64,
    /// Highest index before it.
    newest: Option<u64>,
}

/// A packet that was opened, as far as the rest of its way is concerned.
struct Opened<'a> {
    track: TrackSlot,
    /// The media stream it belongs to; for RTX the one it repairs.
    stream: InboundSlot,
    /// Its index there.
    index: u64,
    /// Highest index of that stream before it.
    newest: Option<u64>,
    codec: CodecRecord,
    header: &'a Header,
    carried: Carried,
    /// Where its payload lies in the datagram, without padding.
    payload: Range<usize>,
}

/// Packets of one track that are on their way to its viewers.
pub(super) struct Pending<'b> {
    pub(super) track: TrackSlot,
    pub(super) burst: Burst<'b>,
}

impl Default for Pending<'_> {
    fn default() -> Self {
        Self { track: TrackSlot::NONE, burst: Burst::new() }
    }
}

impl Shard<'_> {
    pub(super) fn on_rtp<'b>(
        &mut self,
        now: Timestamp,
        path: &Path,
        datagram: &'b mut [u8],
        pending: &mut Pending<'b>,
        egress: &mut impl Egress,
    ) -> Result<(), Discard> {
        let header = Header::parse(datagram)?;
        let peer = *self.routes.by_path.get(path).ok_or(Discard::PeerUnknownSource)?;
        let known = self.routes.by_ssrc.get(&(peer, header.ssrc)).copied();
        let (stream, len, index) = match known {
            Some(stream) => self.open_rtp(peer, stream, &header, datagram)?,
            None => self.latch(peer, &header, datagram)?,
        };
        self.records.counters.rtp_in += 1;
        self.records.counters.rtp_in_bytes += datagram.len() as u64;
        let record = &mut self.records.inbound[stream];
        let newest = record.replay.newest();
        record.replay.accept(index);
        let verified = Verified { peer, stream, index, newest };
        let Some(opened) = self.on_opened(now, &verified, &header, &datagram[..len])? else { return Ok(()) };
        if pending.track != opened.track || pending.burst.is_full() {
            self.forward(now, pending, egress);
        }
        pending.track = opened.track;
        if let Some(arrival) = self.arrive(&opened, datagram)? {
            pending.burst.push(arrival);
        }
        Ok(())
    }

    /// Opens a packet of a known stream in place. Nothing is remembered of a packet that does not verify.
    fn open_rtp(
        &self,
        peer: PeerSlot,
        stream: InboundSlot,
        header: &Header,
        datagram: &mut [u8],
    ) -> Result<(InboundSlot, usize, u64), Discard> {
        let open = self.peers[peer.index()].as_ref().and_then(|peer| peer.open.as_ref());
        let open = open.ok_or(Discard::PeerNotLive)?;
        let replay = &self.records.inbound[stream].replay;
        // A stream that is new to us may be old to its sender.
        if replay.is_restored() || replay.newest().is_none() {
            let (len, index) =
                open.open_rtp_any(replay.candidates(header.sequence), header.header_len, datagram)?;
            return Ok((stream, len, index));
        }
        let index = replay.estimate(header.sequence);
        replay.check(index)?;
        let len = open.open_rtp(index, header.header_len, datagram)?;
        Ok((stream, len, index))
    }

    /// An SSRC that was not signaled: opened as the first packet of a stream, and adopted if its MID names a track.
    fn latch(
        &mut self,
        peer: PeerSlot,
        header: &Header,
        datagram: &mut [u8],
    ) -> Result<(InboundSlot, usize, u64), Discard> {
        let record = &self.records.peers[peer];
        if record.latched_ssrcs >= LATCHED_SSRCS_MAX {
            return Err(Discard::PeerTooManySsrcs);
        }
        let extensions = Collected::parse(datagram, header, &record.extensions)?;
        let name = |kind| extensions.get(datagram, kind).and_then(|value| std::str::from_utf8(value).ok());
        let mid = name(Kind::Mid).and_then(Text::new).ok_or(Discard::PeerUnknownSsrc)?;
        let rid = name(Kind::Rid).or_else(|| name(Kind::RepairedRid)).unwrap_or_default();
        let rid = Text::new(rid).ok_or(Discard::PeerUnknownSsrc)?;
        let (track, repairs) = self.latch_target(peer, header.payload_type, &mid, &rid)?;

        let open = self.peers[peer.index()].as_ref().and_then(|peer| peer.open.as_ref());
        let open = open.ok_or(Discard::PeerNotLive)?;
        let candidates = ReplayWindow::zeroed().candidates(header.sequence);
        let (len, index) = open.open_rtp_any(candidates, header.header_len, datagram)?;
        let stream =
            self.add_inbound(peer, track, header.ssrc, repairs, true).map_err(|_| Discard::OurTableFull)?;
        self.records.inbound[stream].rid = rid;
        self.records.peers[peer].latched_ssrcs += 1;
        Ok((stream, len, index))
    }

    /// The track that a MID names, and for a payload type of RTX the stream it repairs.
    fn latch_target(
        &self,
        peer: PeerSlot,
        payload_type: u8,
        mid: &Text,
        rid: &Text,
    ) -> Result<(TrackSlot, InboundSlot), Discard> {
        let publisher = self.peers[peer.index()].as_ref().ok_or(Discard::PeerNotLive)?;
        let named = |track: &&TrackSlot| self.records.tracks[**track].mid == *mid;
        let track = *publisher.tracks.iter().find(named).ok_or(Discard::PeerUnknownSsrc)?;
        let codecs = &self.records.tracks[track].codecs;
        if codecs.by_payload_type(payload_type).is_some() {
            return Ok((track, InboundSlot::NONE));
        }
        codecs.by_rtx_payload_type(payload_type).ok_or(Discard::PeerUnknownPayloadType)?;
        let repaired = |stream: &&InboundSlot| {
            let record = &self.records.inbound[**stream];
            record.track == track && record.repairs.is_none() && record.rid == *rid
        };
        publisher.inbound.iter().find(repaired).map(|stream| (track, *stream)).ok_or(Discard::PeerUnknownSsrc)
    }

    /// Notes what the publisher is told about the packet. `None` for what only probes the network.
    fn on_opened<'a>(
        &mut self,
        now: Timestamp,
        verified: &Verified,
        header: &'a Header,
        packet: &[u8],
    ) -> Result<Option<Opened<'a>>, Discard> {
        let &Verified { peer, stream, index, newest } = verified;
        let extensions = Collected::parse(packet, header, &self.records.peers[peer].extensions)?;
        self.note_arrival(now, peer, extensions.transport_sequence(packet), packet.len());
        let record = &self.records.inbound[stream];
        let (track, repairs) = (record.track, record.repairs);

        let padding = if header.padding { rtp::padding_len(&packet[header.header_len..])? } else { 0 };
        let payload = header.header_len..packet.len() - padding;
        let codecs = &self.records.tracks[track].codecs;
        let carried = Carried::collect(packet, &extensions);
        if repairs.is_none() {
            let Some(&codec) = codecs.by_payload_type(header.payload_type) else {
                // Viewers never hear of it, so its number must not be missing to them.
                self.records.inbound[stream].dense.place(index, newest, true);
                return Err(Discard::PeerUnknownPayloadType);
            };
            self.note_media(now, stream, header, index, codec.clock_rate_hz);
            return Ok(Some(Opened { track, stream, index, newest, codec, header, carried, payload }));
        }
        let codec =
            *codecs.by_rtx_payload_type(header.payload_type).ok_or(Discard::PeerUnknownPayloadType)?;
        let osn = packet[payload.clone()].first_chunk::<OSN_BYTES>();
        // RTX without a number is padding to probe the network, and so is what repairs nothing.
        let repaired = osn.and_then(|osn| self.note_repair(now, repairs, u16::from_be_bytes(*osn)));
        let Some((index, newest)) = repaired else {
            self.records.counters.rtp_padding_in += 1;
            return Ok(None);
        };
        let payload = payload.start + OSN_BYTES..payload.end;
        Ok(Some(Opened { track, stream: repairs, index, newest, codec, header, carried, payload }))
    }

    fn note_arrival(&mut self, now: Timestamp, slot: PeerSlot, sequence: Option<u16>, len: usize) {
        let reported = self.records.peers[slot].has(PeerRecord::TRANSPORT_CC);
        let Some(peer) = self.peers[slot.index()].as_mut() else { return };
        let moved = match sequence {
            Some(sequence) if reported => peer.arrivals.handle_packet(now, sequence, len),
            // There may be no other occasion to arm the receiver reports.
            _ => true,
        };
        if moved {
            self.arm_feedback(slot);
        }
    }

    fn note_media(
        &mut self,
        now: Timestamp,
        stream: InboundSlot,
        header: &Header,
        index: u64,
        clock_rate_hz: u32,
    ) {
        let Some(inbound) = self.inbound[stream.index()].as_mut() else { return };
        inbound.reception.handle_packet(now, index, header.timestamp, clock_rate_hz);
        inbound.clock_rate_hz = clock_rate_hz;
        let track = self.records.inbound[stream].track;
        if self.records.tracks[track].has(TrackRecord::NACK) {
            inbound.loss.handle_packet(now, index);
            self.timers.arm(Timer::Loss(stream.0), inbound.loss.next_deadline());
        }
    }

    /// A repaired packet takes its place in the stream it was lost from, once: `None` for what had arrived, as browsers
    /// send it to probe the network.
    fn note_repair(
        &mut self,
        now: Timestamp,
        stream: InboundSlot,
        sequence: u16,
    ) -> Option<(u64, Option<u64>)> {
        let replay = &mut self.records.inbound[stream].replay;
        let newest = replay.newest();
        let index = replay.estimate(sequence);
        replay.check(index).ok()?;
        replay.accept(index);
        if let Some(inbound) = self.inbound[stream.index()].as_mut() {
            inbound.loss.handle_packet(now, index);
        }
        self.records.counters.rtp_repaired += 1;
        Some((index, newest))
    }

    /// Gives a packet its place in the stream that viewers see. `None` for what vanishes there.
    fn arrive<'b>(
        &mut self,
        opened: &Opened<'_>,
        datagram: &'b mut [u8],
    ) -> Result<Option<Arrival<'b>>, Discard> {
        let dense = &mut self.records.inbound[opened.stream].dense;
        let (dense, padding) = match dense.place(opened.index, opened.newest, opened.payload.is_empty()) {
            Place::At(dense) => (dense, false),
            Place::Fills(dense) => (dense, true),
            Place::Vanishes => {
                self.records.counters.rtp_padding_in += 1;
                return Ok(None);
            }
            Place::TooOld => return Err(Discard::NetworkTooOld),
        };
        let kind = opened.codec.kind();
        let video = self.records.tracks[opened.track].kind() == MediaKind::Video;
        let keyframe = video && kind.is_keyframe_start(&datagram[opened.payload.clone()]);
        if keyframe {
            self.note_keyframe(opened);
        }
        let bytes = &mut datagram[opened.payload.start..];
        let mut payload_len = opened.payload.len();
        if padding {
            // It has a number and nothing else: one byte of padding, which is its own count.
            bytes[0] = 1;
            payload_len = 1;
        }
        Ok(Some(Arrival {
            source: opened.stream,
            dense,
            rtp: opened.header.timestamp,
            clock_rate_hz: opened.codec.clock_rate_hz,
            format: opened.codec.format,
            marker: opened.header.marker,
            padding,
            switch_point: !padding && (keyframe || !video || !kind.has_keyframes()),
            keep: video && !padding,
            carried: opened.carried,
            bytes,
            payload_len,
            run_padding: 0,
        }))
    }

    fn note_keyframe(&mut self, opened: &Opened<'_>) {
        self.records.counters.keyframes_in += 1;
        if let Some(inbound) = self.inbound[opened.stream.index()].as_mut() {
            // Nobody misses what was lost before it.
            inbound.loss.handle_keyframe(opened.index);
        }
        self.tracks[opened.track.index()].keyframes.handle_keyframe();
    }

    /// Sends what is pending to the viewers of its track.
    pub(super) fn forward(&mut self, now: Timestamp, pending: &mut Pending<'_>, egress: &mut impl Egress) {
        if pending.burst.is_empty() {
            return;
        }
        let slot = pending.track;
        self.bridge.forward(&self.records.tracks[slot], &pending.burst, self.records.counters);
        let mut viewers = Viewers {
            subscriptions: &mut self.records.subscriptions,
            outbound: &mut self.outbound,
            counters: self.records.counters,
        };
        let track = &mut self.tracks[slot.index()];
        let waits = fan_out(now, &mut pending.burst, track, &mut viewers, egress);
        pending.burst.clear();
        if waits && self.records.tracks[slot].kind() == MediaKind::Video {
            self.want_keyframe(now, slot);
        }
    }
}
