//! The publisher's side: who wants a track, and what goes to them.

use super::{Bridge, Shard};
use crate::feedback::report::PublisherReport;
use crate::ids::{InboundSlot, TrackId, TrackSlot};
use crate::limits::BRIDGED_SHARDS_MAX;
use crate::metrics::Counters;
use crate::records::{MediaKind, TrackRecord};
use crate::router::fanout::Burst;
use crate::router::parcel::{Content, FarStream};
use crate::time::Timestamp;

impl Bridge {
    /// Copies a burst once for each shard that wants it.
    #[inline]
    pub(in crate::shard) fn forward(
        &mut self,
        track: &TrackRecord,
        burst: &Burst<'_>,
        counters: &mut Counters,
    ) {
        for shard in demanding(track.demand) {
            for arrival in burst {
                let stream = FarStream { publication: track.publication, place: arrival.source };
                self.stage_packet(shard, track.id, counters, |packet| packet.write(stream, arrival));
            }
        }
    }
}

/// The shards of a record's [`TrackRecord::demand`].
fn demanding(mut demand: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let shard = demand.trailing_zeros();
        // The lowest bit that is set.
        demand &= demand.checked_sub(1)?;
        Some(shard)
    })
}

impl Shard<'_> {
    /// A shard wants a track, says so again, or wants it no longer.
    pub(super) fn on_demand(&mut self, from: u32, id: TrackId, wanted: bool) {
        // A track that is not here yet is asked for again when it comes.
        let Some(&slot) = self.routes.by_track.get(&id) else { return };
        let record = &self.records.tracks[slot];
        if record.has(TrackRecord::MIRROR) || from as usize >= BRIDGED_SHARDS_MAX {
            return;
        }
        let bit = 1 << from;
        self.set_demand(slot, if wanted { record.demand | bit } else { record.demand & !bit });
        if wanted {
            self.report_to(from, slot);
        }
    }

    /// Other shards count as one viewer with RTX: what they miss comes from the cache here.
    pub(super) fn set_demand(&mut self, slot: TrackSlot, demand: u64) {
        let record = &mut self.records.tracks[slot];
        let before = std::mem::replace(&mut record.demand, demand);
        let repairs = &mut self.tracks[slot.index()].rtx_subscribers;
        *repairs = *repairs + u32::from(demand != 0) - u32::from(before != 0);
        if demand != 0 {
            self.bridge.stock();
        }
    }

    /// Makes what a demanded track has besides its record; also after a restart.
    pub(in crate::shard) fn install_demand(&mut self, slot: TrackSlot) {
        if self.records.tracks[slot].demand != 0 {
            self.tracks[slot.index()].rtx_subscribers += 1;
            self.bridge.stock();
        }
    }

    /// Tells every other shard that a track has a publisher: viewers there may have waited for it.
    pub(in crate::shard) fn announce_published(&mut self, id: TrackId) {
        for shard in (0..self.config.shards).filter(|shard| *shard != self.config.id) {
            self.bridge.stage(shard, id, Content::Published);
        }
    }

    /// A publisher's report, for all viewers elsewhere (lip sync).
    pub(in crate::shard) fn report_afar(&mut self, stream: InboundSlot) {
        let record = &self.records.tracks[self.records.inbound[stream].track];
        let report = self.inbound[stream.index()].as_ref().map_or(PublisherReport::NONE, |it| it.publisher);
        let stream = FarStream { publication: record.publication, place: stream };
        for shard in demanding(record.demand) {
            self.bridge.stage(shard, record.id, Content::Report { stream, report });
        }
    }

    /// The last reports on each stream of a track, for one shard.
    fn report_to(&mut self, shard: u32, slot: TrackSlot) {
        let record = &self.records.tracks[slot];
        let publisher = record.peer.get().and_then(|peer| self.peers[peer.index()].as_ref());
        for &place in publisher.iter().flat_map(|peer| &peer.inbound) {
            let Some(inbound) = self.inbound[place.index()].as_ref() else { continue };
            if self.records.inbound[place].track == slot && inbound.publisher.is_known() {
                let stream = FarStream { publication: record.publication, place };
                let report = inbound.publisher;
                self.bridge.stage(shard, record.id, Content::Report { stream, report });
            }
        }
    }

    /// Somebody elsewhere waits for a key frame: one more who does.
    pub(super) fn on_far_keyframe_request(&mut self, now: Timestamp, id: TrackId) {
        let Some(&slot) = self.routes.by_track.get(&id) else { return };
        let record = &self.records.tracks[slot];
        if !record.has(TrackRecord::MIRROR) && record.kind() == MediaKind::Video {
            self.want_keyframe(now, slot);
        }
    }

    /// A packet got lost between two shards, or before the other one was made again.
    pub(super) fn on_missing(&mut self, from: u32, id: TrackId, stream: FarStream, dense: u64) {
        let Some(&slot) = self.routes.by_track.get(&id) else { return };
        let record = &self.records.tracks[slot];
        if record.publication != stream.publication {
            return;
        }
        let cache = self.tracks[slot.index()].cache.as_mut();
        let Some(kept) = cache.and_then(|cache| cache.get(stream.place, dense)) else { return };
        self.bridge
            .stage_packet(from, id, self.records.counters, |packet| packet.write_repair(stream, dense, kept));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shard_that_wants_a_track_is_named_once() {
        assert_eq!(demanding(0).count(), 0);
        assert_eq!(demanding(1 << 63 | 0b1001).collect::<Vec<_>>(), [0, 3, 63]);
    }
}
