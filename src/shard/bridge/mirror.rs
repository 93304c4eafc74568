//! The viewers' side: a track whose publisher is on another shard.
//!
//! A mirror is a track without a publisher of its own. It begins with the first viewer who names its home, and ends with
//! the last. Its streams have places in the table of incoming streams, so that a viewer's switch goes on over them.

use bytemuck::Zeroable;

use super::Shard;
use crate::discard::Discard;
use crate::egress::Egress;
use crate::feedback::report::PublisherReport;
use crate::ids::{InboundSlot, PeerSlot, TrackId, TrackSlot};
use crate::limits::{DEMAND_INTERVAL, RESEND_INTERVAL_MIN};
use crate::peer::inbound::Inbound;
use crate::records::{InboundRecord, MediaKind, TrackRecord};
use crate::router::parcel::{Content, FarStream, Packet};
use crate::router::resend::Missed;
use crate::shard::on_rtp::Pending;
use crate::shard::timers::Timer;
use crate::time::Timestamp;

impl Shard<'_> {
    // ------------------------------------------------------------------------------------------ what is wanted

    /// Has a track come from `home`, or from this shard itself.
    pub(in crate::shard) fn set_home(&mut self, slot: TrackSlot, home: Option<u32>) {
        let before = self.records.tracks[slot].far_home();
        if before == home {
            return;
        }
        if before.is_some() {
            self.end_mirror(slot);
        }
        if let Some(home) = home {
            self.set_demand(slot, 0);
            let record = &mut self.records.tracks[slot];
            record.flags |= TrackRecord::MIRROR;
            record.home = home;
        }
    }

    /// A mirror becomes a track of this shard, without a publisher so far.
    pub(in crate::shard) fn end_mirror(&mut self, slot: TrackSlot) {
        let record = self.records.tracks[slot];
        let Some(home) = record.far_home() else { return };
        self.bridge.stage(home, record.id, Content::Demand(false));
        self.timers.disarm(Timer::Demand(slot.0));
        let publication = self.random.next_u64();
        self.begin_publication(slot, publication);
        let record = &mut self.records.tracks[slot];
        record.flags &= !TrackRecord::MIRROR;
        record.home = 0;
    }

    /// Tells a mirror's home now whether the mirror has viewers, and repeats it by the clock: a word can be lost.
    pub(in crate::shard) fn demand(&mut self, now: Timestamp, slot: TrackSlot) {
        if self.records.tracks[slot].has(TrackRecord::MIRROR) {
            self.tracks[slot.index()].far_asked.get_or_insert_default();
            self.timers.arm(Timer::Demand(slot.0), now);
        }
    }

    pub(in crate::shard) fn on_demand_timer(&mut self, now: Timestamp, slot: TrackSlot) {
        let record = &self.records.tracks[slot];
        let Some(home) = record.far_home() else { return };
        // Fan-out does not see viewers that are paused, so a mirror with no others wants nothing.
        let is_wanted = !self.tracks[slot.index()].subscribers.is_empty();
        self.bridge.stage(home, record.id, Content::Demand(is_wanted));
        self.timers.arm(Timer::Demand(slot.0), now + DEMAND_INTERVAL);
    }

    pub(super) fn on_published(&mut self, now: Timestamp, from: u32, id: TrackId) {
        if let Some(slot) = self.mirror_of(from, id) {
            self.demand(now, slot);
        }
    }

    fn mirror_of(&self, home: u32, id: TrackId) -> Option<TrackSlot> {
        let slot = *self.routes.by_track.get(&id)?;
        (self.records.tracks[slot].far_home() == Some(home)).then_some(slot)
    }

    // ------------------------------------------------------------------------------------------ what comes

    /// A packet of a mirror's publisher: the way of any packet from its number on.
    #[inline]
    pub(super) fn on_far_packet<'b>(
        &mut self,
        now: Timestamp,
        from: u32,
        id: TrackId,
        packet: &'b mut Packet,
        pending: &mut Pending<'b>,
        egress: &mut impl Egress,
    ) -> Result<(), Discard> {
        self.records.counters.bridge_in += 1;
        self.records.counters.bridge_in_bytes += packet.payload().len() as u64;
        let Some(slot) = self.mirror_of(from, id) else {
            // Our word that nobody wants it any more was lost, or crossed this packet.
            self.bridge.stage(from, id, Content::Demand(false));
            return Ok(());
        };
        let record = &self.records.tracks[slot];
        let goes_on = pending.track == slot && record.publication == packet.stream.publication;
        let video = record.kind() == MediaKind::Video;
        if !goes_on || pending.burst.is_full() {
            self.forward(now, pending, egress);
        }
        pending.track = slot;
        let source = self.far_stream(slot, packet.stream)?;
        let track = &mut self.tracks[slot.index()];
        track.far_packets += 1;
        if packet.repair {
            if let Some(cache) = track.cache.as_mut() {
                cache.keep(source, packet.dense(), packet.facts(), packet.carried(), packet.payload());
            }
            return Ok(());
        }
        if let Some(inbound) = self.inbound[source.index()].as_mut() {
            inbound.clock_rate_hz = packet.clock_rate_hz();
        }
        if video && packet.is_switch_point() {
            track.keyframes.handle_keyframe();
        }
        pending.burst.push(packet.arrival(source));
        Ok(())
    }

    pub(super) fn on_far_report(
        &mut self,
        from: u32,
        id: TrackId,
        stream: FarStream,
        report: PublisherReport,
    ) {
        let Some(slot) = self.mirror_of(from, id) else { return };
        let Ok(source) = self.far_stream(slot, stream) else { return };
        if let Some(inbound) = self.inbound[source.index()].as_mut() {
            inbound.publisher = report;
        }
    }

    /// The place of a mirror's stream here. Another publication is another publisher, or the same with other streams:
    /// whatever came before is over.
    #[inline]
    fn far_stream(&mut self, slot: TrackSlot, stream: FarStream) -> Result<InboundSlot, Discard> {
        if self.records.tracks[slot].publication != stream.publication {
            self.begin_publication(slot, stream.publication);
        }
        let known = self.tracks[slot.index()].far_streams.iter().find(|(there, _)| *there == stream.place);
        match known {
            Some((_, here)) => Ok(*here),
            None => self.add_far_stream(slot, stream.place),
        }
    }

    #[cold]
    fn add_far_stream(&mut self, track: TrackSlot, place: InboundSlot) -> Result<InboundSlot, Discard> {
        let record = InboundRecord {
            peer: PeerSlot::NONE,
            track,
            ssrc: place.0,
            repairs: InboundSlot::NONE,
            used: 1,
            ..InboundRecord::zeroed()
        };
        let slot = self.records.inbound.insert(record).ok_or(Discard::OurTableFull)?;
        self.install_far_stream(slot);
        Ok(slot)
    }

    /// Makes what a mirror's stream has besides its record; also after a restart.
    pub(in crate::shard) fn install_far_stream(&mut self, slot: InboundSlot) {
        let record = &self.records.inbound[slot];
        self.tracks[record.track.index()].far_streams.push((InboundSlot(record.ssrc), slot));
        self.inbound[slot.index()] = Some(Box::new(Inbound::default()));
    }

    /// Forgets a mirror's streams. Its viewers keep their place and wait for a switch point of the next one.
    fn begin_publication(&mut self, slot: TrackSlot, publication: u64) {
        self.records.tracks[slot].publication = publication;
        let track = &mut self.tracks[slot.index()];
        for (_, stream) in track.far_streams.drain(..) {
            self.inbound[stream.index()] = None;
            self.records.inbound.remove(stream);
        }
        // Another stream may take this place of the inbound table next, so no subscription may still point at it.
        for &subscription in &track.subscribers {
            self.records.subscriptions[subscription].switch.detach();
        }
        if let Some(cache) = &mut track.cache {
            cache.clear();
        }
    }

    // ------------------------------------------------------------------------------------------ what is missing

    /// Asks the home of a mirror for a key frame. Gives whether it is one.
    pub(in crate::shard) fn request_from_home(&mut self, slot: TrackSlot) -> bool {
        let record = &self.records.tracks[slot];
        let Some(home) = record.far_home() else { return false };
        self.bridge.stage(home, record.id, Content::Keyframe);
        true
    }

    /// Viewers miss a packet that is not in a mirror's cache. Its home may have it; who lost it will ask again.
    pub(in crate::shard) fn ask_home_for(&mut self, now: Timestamp, slot: TrackSlot, missed: Missed) {
        let record = &self.records.tracks[slot];
        let Some(home) = record.far_home() else { return };
        let track = &mut self.tracks[slot.index()];
        let Some(&(place, _)) = track.far_streams.iter().find(|(_, here)| *here == missed.source) else {
            return;
        };
        let Some(asked) = track.far_asked.as_mut() else { return };
        if asked.admit(now, RESEND_INTERVAL_MIN, missed.dense as u16, track.far_packets) {
            let stream = FarStream { publication: record.publication, place };
            self.bridge.stage(home, record.id, Content::Missing { stream, dense: missed.dense });
        }
    }
}
