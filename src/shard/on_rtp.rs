//! Media from a publisher: whose it is, opened, noted, numbered, handed to fan-out.

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
use crate::router::fanout::{Arrival, Viewers, fan_out};
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
    /// The media stream it belongs to; for RTX the one it repairs.
    stream: InboundSlot,
    /// Its index there.
    index: u64,
    /// Highest index of that stream before it.
    newest: Option<u64>,
    codec: CodecRecord,
    header: &'a Header,
    carried: Carried,
    payload: &'a [u8],
    /// The payload without its padding is empty.
    padding_only: bool,
}

impl Shard<'_> {
    pub(super) fn on_rtp(
        &mut self,
        now: Timestamp,
        path: &Path,
        datagram: &mut [u8],
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
        self.on_opened(now, &Verified { peer, stream, index, newest }, &header, &datagram[..len], egress)
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

    fn on_opened(
        &mut self,
        now: Timestamp,
        verified: &Verified,
        header: &Header,
        packet: &[u8],
        egress: &mut impl Egress,
    ) -> Result<(), Discard> {
        let &Verified { peer, stream, index, newest } = verified;
        let extensions = Collected::parse(packet, header, &self.records.peers[peer].extensions)?;
        self.note_arrival(now, peer, extensions.transport_sequence(packet));
        let record = &self.records.inbound[stream];
        let (track, repairs) = (record.track, record.repairs);

        let payload = &packet[header.header_len..];
        let padding = if header.padding { rtp::padding_len(payload)? } else { 0 };
        let media = &payload[..payload.len() - padding];
        let codecs = &self.records.tracks[track].codecs;
        let carried = Carried::collect(packet, &extensions);
        let opened = if repairs.is_none() {
            let Some(&codec) = codecs.by_payload_type(header.payload_type) else {
                // Viewers never hear of it, so its number must not be missing to them.
                self.records.inbound[stream].dense.place(index, newest, true);
                return Err(Discard::PeerUnknownPayloadType);
            };
            self.note_media(now, stream, header, index, codec.clock_rate_hz);
            let padding_only = media.is_empty();
            Opened { stream, index, newest, codec, header, carried, payload: media, padding_only }
        } else {
            let codec =
                *codecs.by_rtx_payload_type(header.payload_type).ok_or(Discard::PeerUnknownPayloadType)?;
            let Some((osn, payload)) = media.split_first_chunk::<OSN_BYTES>() else {
                // Padding sent as RTX to probe the network: it repairs nothing.
                self.records.counters.rtp_padding_in += 1;
                return Ok(());
            };
            let Some((index, newest)) = self.note_repair(now, repairs, u16::from_be_bytes(*osn)) else {
                self.records.counters.rtp_padding_in += 1;
                return Ok(());
            };
            let padding_only = payload.is_empty();
            Opened { stream: repairs, index, newest, codec, header, carried, payload, padding_only }
        };
        self.forward(now, track, &opened, egress)
    }

    fn note_arrival(&mut self, now: Timestamp, slot: PeerSlot, sequence: Option<u16>) {
        let reported = self.records.peers[slot].has(PeerRecord::TRANSPORT_CC);
        let Some(peer) = self.peers[slot.index()].as_mut() else { return };
        if let Some(sequence) = sequence.filter(|_| reported) {
            peer.arrivals.handle_packet(now, sequence);
        }
        self.arm_feedback(slot);
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

    fn forward(
        &mut self,
        now: Timestamp,
        slot: TrackSlot,
        opened: &Opened<'_>,
        egress: &mut impl Egress,
    ) -> Result<(), Discard> {
        let place =
            self.records.inbound[opened.stream].dense.place(opened.index, opened.newest, opened.padding_only);
        let (dense, padding) = match place {
            Place::At(dense) => (dense, false),
            Place::Fills(dense) => (dense, true),
            Place::Vanishes => {
                self.records.counters.rtp_padding_in += 1;
                return Ok(());
            }
            Place::TooOld => return Err(Discard::NetworkTooOld),
        };
        let video = self.records.tracks[slot].kind() == MediaKind::Video;
        let keyframe = video && opened.codec.kind().is_keyframe_start(opened.payload);
        let track = &mut self.tracks[slot.index()];
        if keyframe {
            self.records.counters.keyframes_in += 1;
            if let Some(inbound) = self.inbound[opened.stream.index()].as_mut() {
                // Nobody misses what was lost before it.
                inbound.loss.handle_keyframe(opened.index);
            }
            track.keyframes.handle_keyframe();
        }
        let arrival = Arrival {
            source: opened.stream,
            dense,
            rtp: opened.header.timestamp,
            clock_rate_hz: opened.codec.clock_rate_hz,
            format: opened.codec.format,
            marker: opened.header.marker,
            padding,
            switch_point: !padding && (keyframe || !video || !opened.codec.kind().has_keyframes()),
            keep: video && !padding,
            carried: opened.carried,
            payload: if padding { &[1] } else { opened.payload },
        };
        let mut viewers = Viewers {
            subscriptions: &mut self.records.subscriptions,
            outbound: &self.outbound,
            counters: self.records.counters,
        };
        if fan_out(now, &arrival, track, &mut viewers, egress) && video {
            self.want_keyframe(now, slot);
        }
        Ok(())
    }
}
