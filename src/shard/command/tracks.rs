//! `PutTrack` and `RemoveTrack`.
//!
//! A track outlives its publisher's transport. While it has subscriptions its record stays, without a peer, and the next
//! publisher of the same track feeds them.

use bytemuck::Zeroable;
use millrace_control as contract;

use super::{Refusal, Shard, codec_table, media_kind};
use crate::ids::{InboundSlot, PeerId, PeerSlot, TrackId, TrackSlot};
use crate::limits::{MID_BYTES_MAX, TRACK_SSRCS_MAX};
use crate::peer::inbound::Inbound;
use crate::records::{InboundRecord, MediaKind, Text, TrackRecord};
use crate::router::track::Track;
use crate::shard::timers::Timer;

impl Shard<'_> {
    pub(super) fn put_track(&mut self, put: &contract::PutTrack) -> Result<(), Refusal> {
        let peer = self.routes.by_peer.get(&PeerId(put.peer)).copied();
        let peer = peer.ok_or_else(|| Refusal::unknown(format!("no peer {} to publish from", put.peer)))?;
        let wanted = checked(put, peer)?;
        self.check_ssrcs(put, peer)?;
        self.check_room(put, peer)?;
        let slot = match self.routes.by_track.get(&wanted.id) {
            Some(&slot) => self.update_track(slot, wanted),
            None => {
                let slot = self.create_track(wanted)?;
                self.announce_published(wanted.id);
                slot
            }
        };
        self.drop_unsignaled(put, peer, slot);
        self.signal_ssrcs(put, peer, slot)
    }

    /// Brings a track that exists to its wanted state; its publisher may be another one now.
    fn update_track(&mut self, slot: TrackSlot, wanted: TrackRecord) -> TrackSlot {
        self.end_mirror(slot);
        if self.records.tracks[slot].peer != wanted.peer {
            self.detach_publisher(slot);
            if let Some(publisher) = self.peers[wanted.peer.index()].as_mut() {
                publisher.tracks.push(slot);
            }
            self.announce_published(wanted.id);
        }
        let TrackRecord { demand, publication, .. } = self.records.tracks[slot];
        self.records.tracks[slot] = TrackRecord { demand, publication, ..wanted };
        slot
    }

    fn create_track(&mut self, wanted: TrackRecord) -> Result<TrackSlot, Refusal> {
        let record = TrackRecord { publication: self.random.next_u64(), ..wanted };
        let slot = self.records.tracks.insert(record).ok_or_else(|| Refusal::full("tracks"))?;
        self.install_track(slot);
        Ok(slot)
    }

    /// Makes what a track has besides its record; also after a restart.
    pub(crate) fn install_track(&mut self, slot: TrackSlot) {
        let record = &self.records.tracks[slot];
        self.routes.by_track.insert(record.id, slot);
        self.tracks[slot.index()] = Track::default();
        if let Some(publisher) = record.peer.get().and_then(|peer| self.peers[peer.index()].as_mut()) {
            publisher.tracks.push(slot);
        }
        self.install_demand(slot);
    }

    /// The track of that id; one without a publisher is made for a viewer who comes first.
    pub(super) fn track_for_viewer(&mut self, id: TrackId, kind: MediaKind) -> Result<TrackSlot, Refusal> {
        if let Some(&slot) = self.routes.by_track.get(&id) {
            if self.records.tracks[slot].kind() != kind {
                return Err(Refusal::invalid(format!("track {} is not of the subscription's kind", id.0)));
            }
            return Ok(slot);
        }
        let flags = if kind == MediaKind::Video { TrackRecord::VIDEO } else { 0 };
        self.create_track(TrackRecord { id, peer: PeerSlot::NONE, flags, ..TrackRecord::zeroed() })
    }

    /// Each SSRC once, in one role, on one track of its peer.
    fn check_ssrcs(&self, put: &contract::PutTrack, peer: PeerSlot) -> Result<(), Refusal> {
        let mut named = Vec::new();
        for (ssrc, is_rtx) in named_ssrcs(put) {
            if named.contains(&ssrc) {
                return Err(Refusal::invalid(format!("SSRC {ssrc} is named twice")));
            }
            named.push(ssrc);
            let Some(&stream) = self.routes.by_ssrc.get(&(peer, ssrc)) else { continue };
            let record = &self.records.inbound[stream];
            if self.records.tracks[record.track].id != TrackId(put.track) {
                return Err(Refusal::invalid(format!("SSRC {ssrc} belongs to another track of this peer")));
            }
            if record.repairs.is_none() == is_rtx {
                return Err(Refusal::invalid(format!("SSRC {ssrc} cannot change between media and RTX")));
            }
        }
        Ok(())
    }

    /// Whether every stream finds a place, so that a refusal changes nothing.
    fn check_room(&self, put: &contract::PutTrack, peer: PeerSlot) -> Result<(), Refusal> {
        let new =
            named_ssrcs(put).filter(|(ssrc, _)| !self.routes.by_ssrc.contains_key(&(peer, *ssrc))).count();
        if self.records.inbound.capacity() - self.records.inbound.len() < new {
            return Err(Refusal::full("streams"));
        }
        Ok(())
    }

    /// Ends signaled streams of a track that are signaled no more.
    fn drop_unsignaled(&mut self, put: &contract::PutTrack, peer: PeerSlot, track: TrackSlot) {
        let Some(publisher) = self.peers[peer.index()].as_ref() else { return };
        let unsignaled = |stream: &InboundSlot| {
            let record = &self.records.inbound[*stream];
            record.track == track
                && record.latched == 0
                && named_ssrcs(put).all(|(ssrc, _)| ssrc != record.ssrc)
        };
        let mut gone: Vec<_> = publisher.inbound.iter().copied().filter(unsignaled).collect();
        // RTX that was latched for one of them repairs nothing any more.
        let orphaned = |stream: &InboundSlot| {
            let record = &self.records.inbound[*stream];
            record.latched == 1 && gone.contains(&record.repairs)
        };
        let orphans: Vec<_> = publisher.inbound.iter().copied().filter(orphaned).collect();
        gone.extend(orphans);
        for stream in gone {
            for &subscription in &self.tracks[track.index()].subscribers {
                let switch = &mut self.records.subscriptions[subscription].switch;
                if switch.source == stream {
                    switch.detach();
                }
            }
            self.remove_inbound(stream);
        }
    }

    fn signal_ssrcs(
        &mut self,
        put: &contract::PutTrack,
        peer: PeerSlot,
        track: TrackSlot,
    ) -> Result<(), Refusal> {
        for signaled in &put.ssrcs {
            let media = self.add_inbound(peer, track, signaled.ssrc, InboundSlot::NONE, false)?;
            if let Some(rtx) = signaled.rtx_ssrc {
                let rtx = self.add_inbound(peer, track, rtx, media, false)?;
                self.records.inbound[rtx].repairs = media;
            }
        }
        Ok(())
    }

    /// Makes room for one incoming stream; gives the one that is there already.
    pub(crate) fn add_inbound(
        &mut self,
        peer: PeerSlot,
        track: TrackSlot,
        ssrc: u32,
        repairs: InboundSlot,
        latched: bool,
    ) -> Result<InboundSlot, Refusal> {
        if let Some(&slot) = self.routes.by_ssrc.get(&(peer, ssrc)) {
            return Ok(slot);
        }
        let record = InboundRecord {
            peer,
            track,
            ssrc,
            repairs,
            used: 1,
            latched: u32::from(latched),
            ..InboundRecord::zeroed()
        };
        let slot = self.records.inbound.insert(record).ok_or_else(|| Refusal::full("streams"))?;
        self.install_inbound(slot);
        Ok(slot)
    }

    /// Makes what an incoming stream has besides its record; also after a restart.
    pub(crate) fn install_inbound(&mut self, slot: InboundSlot) {
        let record = &self.records.inbound[slot];
        if record.peer.is_none() {
            return self.install_far_stream(slot);
        }
        self.routes.by_ssrc.insert((record.peer, record.ssrc), slot);
        // What came before a restart of the shard does not count as new.
        let seen = record.replay.newest().map_or(0, |newest| newest + 1);
        self.inbound[slot.index()] = Some(Box::new(Inbound { seen, ..Inbound::default() }));
        if let Some(peer) = self.peers[record.peer.index()].as_mut() {
            peer.inbound.push(slot);
        }
    }

    fn remove_inbound(&mut self, slot: InboundSlot) {
        let InboundRecord { peer, track, ssrc, latched, .. } = self.records.inbound[slot];
        // Other shards must tell the stream that takes this place from this one.
        self.records.tracks[track].publication = self.random.next_u64();
        // Its place among those that may come unsignaled is free again.
        self.records.peers[peer].latched_ssrcs -= latched;
        self.routes.by_ssrc.remove(&(peer, ssrc));
        self.timers.disarm(Timer::Loss(slot.0));
        self.inbound[slot.index()] = None;
        self.records.inbound.remove(slot);
        if let Some(peer) = self.peers[peer.index()].as_mut() {
            peer.inbound.retain(|stream| *stream != slot);
        }
    }

    /// Takes a track's streams away from the peer that sends them. Viewers keep their place and wait.
    fn detach_publisher(&mut self, slot: TrackSlot) {
        let publisher = self.records.tracks[slot].peer;
        if publisher.is_none() {
            return;
        }
        if let Some(peer) = self.peers[publisher.index()].as_mut() {
            peer.tracks.retain(|track| *track != slot);
            let streams: Vec<_> = peer
                .inbound
                .iter()
                .copied()
                .filter(|&stream| self.records.inbound[stream].track == slot)
                .collect();
            streams.into_iter().for_each(|stream| self.remove_inbound(stream));
        }
        // Another stream may take this place of the inbound table next, so no subscription may still point at it.
        for &subscription in &self.tracks[slot.index()].subscribers {
            self.records.subscriptions[subscription].switch.detach();
        }
        if let Some(cache) = &mut self.tracks[slot.index()].cache {
            cache.clear();
        }
        self.records.tracks[slot].peer = PeerSlot::NONE;
    }

    /// Ends a track, or leaves it without a publisher while there are subscriptions to it.
    pub(crate) fn unpublish(&mut self, slot: TrackSlot) {
        self.detach_publisher(slot);
        self.drop_track_if_unused(slot);
    }

    pub(super) fn drop_track_if_unused(&mut self, slot: TrackSlot) {
        let record = self.records.tracks[slot];
        if record.peer.is_none() && !self.tracks[slot.index()].is_watched() {
            self.end_mirror(slot);
            self.routes.by_track.remove(&record.id);
            self.timers.disarm(Timer::Keyframe(slot.0));
            self.tracks[slot.index()] = Track::default();
            self.records.tracks.remove(slot);
        }
    }

    pub(super) fn remove_track(&mut self, id: TrackId) -> Result<(), Refusal> {
        if let Some(slot) = self.routes.by_track.get(&id).copied() {
            self.unpublish(slot);
        }
        Ok(())
    }
}

/// The SSRCs of a command, each with whether it is RTX.
fn named_ssrcs(put: &contract::PutTrack) -> impl Iterator<Item = (u32, bool)> {
    put.ssrcs.iter().flat_map(|signaled| {
        [Some((signaled.ssrc, false)), signaled.rtx_ssrc.map(|rtx| (rtx, true))].into_iter().flatten()
    })
}

fn checked(put: &contract::PutTrack, peer: PeerSlot) -> Result<TrackRecord, Refusal> {
    if put.track == 0 {
        return Err(Refusal::invalid("0 is no track id"));
    }
    if put.ssrcs.len() > TRACK_SSRCS_MAX {
        return Err(Refusal::invalid(format!(
            "{} SSRCs; a track has at most {TRACK_SSRCS_MAX}",
            put.ssrcs.len()
        )));
    }
    let mid = Text::new(&put.mid).filter(|_| put.mid.len() <= MID_BYTES_MAX);
    let mid = mid.ok_or_else(|| Refusal::invalid(format!("a MID has at most {MID_BYTES_MAX} bytes")))?;
    let flag = |given: bool, flag: u32| if given { flag } else { 0 };
    let flags = flag(media_kind(put.kind()) == MediaKind::Video, TrackRecord::VIDEO)
        | flag(put.nack, TrackRecord::NACK)
        | flag(put.pli, TrackRecord::PLI)
        | flag(put.fir, TrackRecord::FIR);
    let codecs = codec_table(&put.codecs)?;
    Ok(TrackRecord { id: TrackId(put.track), peer, flags, codecs, mid, ..TrackRecord::zeroed() })
}
