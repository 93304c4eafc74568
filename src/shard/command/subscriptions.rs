//! `PutSubscription` and `RemoveSubscription`.

use bytemuck::Zeroable;
use millrace_control as contract;

use super::{Refusal, Shard, codec_table, media_kind};
use crate::ids::{PeerId, PeerSlot, SubscriptionId, SubscriptionSlot, TrackId, TrackSlot};
use crate::limits::{BRIDGED_SHARDS_MAX, MID_BYTES_MAX};
use crate::records::{MediaKind, SubscriptionRecord, SwitchRecord, Text};
use crate::router::viewer::Viewer;
use crate::shard::timers::Timer;
use crate::time::Timestamp;

/// Highest [priority](contract::PutSubscription::priority).
const PRIORITY_MAX: u32 = 255;

impl Shard<'_> {
    pub(super) fn put_subscription(
        &mut self,
        now: Timestamp,
        put: &contract::PutSubscription,
    ) -> Result<(), Refusal> {
        let peer = self.routes.by_peer.get(&PeerId(put.peer)).copied();
        let peer = peer.ok_or_else(|| Refusal::unknown(format!("no peer {} to watch from", put.peer)))?;
        let wanted = checked(put, peer)?;
        self.check_home(put)?;
        if let Some(&slot) = self.routes.by_subscription.get(&wanted.id) {
            return self.update_subscription(now, slot, &wanted, put.home);
        }
        self.check_viewer_ssrcs(&wanted)?;
        let track = self.track_for_viewer(wanted.track, media_kind(put.kind()))?;
        let record = self.numbered(wanted);
        let Some(slot) = self.records.subscriptions.insert(record) else {
            self.drop_track_if_unused(track);
            return Err(Refusal::full("subscriptions"));
        };
        self.forget_retired(peer, |retired| {
            let covered = |ssrc| [Some(record.ssrc), record.rtx()].contains(&Some(ssrc));
            covered(retired.ssrc) && retired.rtx().is_none_or(covered)
        });
        self.install_subscription(slot, track);
        self.comes_from(now, track, put.home);
        if self.outbound[peer.index()].is_live() {
            self.start_viewing(now, slot);
        }
        Ok(())
    }

    /// Whether the track can come from where the command says.
    fn check_home(&self, put: &contract::PutSubscription) -> Result<(), Refusal> {
        let Some(home) = put.home.filter(|home| *home != self.config.id) else { return Ok(()) };
        if home >= self.config.shards || self.config.id as usize >= BRIDGED_SHARDS_MAX {
            let message = format!("shard {} gets nothing from shard {home}", self.config.id);
            return Err(Refusal::unknown(message));
        }
        let here = self.routes.by_track.get(&TrackId(put.track));
        if here.is_some_and(|slot| !self.records.tracks[*slot].peer.is_none()) {
            return Err(Refusal::invalid(format!("track {} has its publisher on this shard", put.track)));
        }
        Ok(())
    }

    /// A track that is watched comes from `home`, if that is another shard.
    fn comes_from(&mut self, now: Timestamp, track: TrackSlot, home: Option<u32>) {
        self.set_home(track, home.filter(|home| *home != self.config.id));
        self.demand(now, track);
    }

    /// A new subscription with its first numbers: random ones, or those that follow what was sent under its SSRCs.
    fn numbered(&mut self, wanted: SubscriptionRecord) -> SubscriptionRecord {
        let mut record = SubscriptionRecord {
            switch: SwitchRecord::new(self.random.next_u32() as u16),
            rtx_index: u64::from(self.random.next_u32() & 0x7FFF),
            ..wanted
        };
        let retired = self.peers[wanted.peer.index()].iter().flat_map(|peer| &peer.retired);
        for old in retired.map(|slot| &self.records.subscriptions[*slot]) {
            if let Some(index) = old.next_index(record.ssrc) {
                record.switch.continue_at(index, &old.switch);
            }
            if let Some(index) = record.rtx().and_then(|rtx| old.next_index(rtx)) {
                record.rtx_index = record.rtx_index.max(index);
            }
        }
        record
    }

    /// Frees the places of streams that were watched, as far as `forgettable` says so.
    pub(crate) fn forget_retired(
        &mut self,
        peer: PeerSlot,
        forgettable: impl Fn(&SubscriptionRecord) -> bool,
    ) {
        let Some(peer) = self.peers[peer.index()].as_mut() else { return };
        let subscriptions = &mut self.records.subscriptions;
        peer.retired.retain(|&slot| {
            let forget = forgettable(&subscriptions[slot]);
            if forget {
                subscriptions.remove(slot);
            }
            !forget
        });
    }

    /// Makes what a subscription has besides its record; also after a restart.
    pub(crate) fn install_subscription(&mut self, slot: SubscriptionSlot, track: TrackSlot) {
        let record = &self.records.subscriptions[slot];
        self.routes.by_subscription.insert(record.id, slot);
        self.routes.by_viewer_ssrc.insert((record.peer, record.ssrc), slot);
        if record.has(SubscriptionRecord::RTX) {
            self.routes.by_viewer_ssrc.insert((record.peer, record.rtx_ssrc), slot);
        }
        if let Some(peer) = self.peers[record.peer.index()].as_mut() {
            peer.subscriptions.push(slot);
        }
        // What was sent before a restart of the shard does not count as new.
        self.viewers[slot.index()] = Some(Box::new(Viewer { seen: record.packets, ..Viewer::default() }));
        self.attach(slot, track);
    }

    /// Makes a subscription one of a track's. Fan-out does not see one that is paused.
    fn attach(&mut self, slot: SubscriptionSlot, track: TrackSlot) {
        let record = &self.records.subscriptions[slot];
        self.viewed[slot.index()] = track;
        let watched = &mut self.tracks[track.index()];
        watched.rtx_subscribers += u32::from(record.repairs());
        if record.has(SubscriptionRecord::PAUSED) {
            watched.paused += 1;
        } else {
            watched.subscribers.push(slot);
        }
    }

    /// Takes a subscription away from its track and gives the track, which may be of no use then. The subscription's
    /// numbers stay, and go on with the next packet of any track.
    fn detach(&mut self, slot: SubscriptionSlot) -> TrackSlot {
        let record = &mut self.records.subscriptions[slot];
        record.switch.detach();
        let track = self.viewed[slot.index()];
        let watched = &mut self.tracks[track.index()];
        watched.rtx_subscribers -= u32::from(record.repairs());
        if record.has(SubscriptionRecord::PAUSED) {
            watched.paused -= 1;
        } else {
            watched.subscribers.retain(|subscription| *subscription != slot);
        }
        track
    }

    /// A viewer's transport is ready: its video starts at the next key frame, so one is asked for; its reports begin.
    pub(crate) fn start_viewing(&mut self, now: Timestamp, slot: SubscriptionSlot) {
        let record = &self.records.subscriptions[slot];
        self.timers.arm(Timer::SenderReports(record.peer.0), now);
        if record.has(SubscriptionRecord::VIDEO) && !record.has(SubscriptionRecord::PAUSED) {
            self.want_keyframe(now, self.viewed[slot.index()]);
        }
    }

    /// What may change of a subscription that exists: its track, whether it is paused, its payload types and names. Its
    /// numbering goes on.
    fn update_subscription(
        &mut self,
        now: Timestamp,
        slot: SubscriptionSlot,
        wanted: &SubscriptionRecord,
        home: Option<u32>,
    ) -> Result<(), Refusal> {
        const CHANGEABLE: u32 = SubscriptionRecord::PAUSED;
        let record = self.records.subscriptions[slot];
        let same = (record.peer, record.ssrc, record.rtx_ssrc, record.flags & !CHANGEABLE)
            == (wanted.peer, wanted.ssrc, wanted.rtx_ssrc, wanted.flags & !CHANGEABLE);
        if !same {
            return Err(Refusal::invalid("a subscription keeps its viewer, its kind and its SSRCs"));
        }
        let moves = record.track != wanted.track || record.flags != wanted.flags;
        if moves {
            self.point_at(slot, wanted)?;
        }
        let record = &mut self.records.subscriptions[slot];
        (record.codecs, record.mid, record.cname) = (wanted.codecs, wanted.mid, wanted.cname);
        let (viewer, track) = (record.peer, self.viewed[slot.index()]);
        self.comes_from(now, track, home);
        if moves && self.outbound[viewer.index()].is_live() {
            self.start_viewing(now, slot);
        }
        Ok(())
    }

    /// Points a subscription at the track that is wanted, and pauses it or lets it go on. Its switch keeps the numbers, and
    /// has no source until the next switch point of that track.
    fn point_at(&mut self, slot: SubscriptionSlot, wanted: &SubscriptionRecord) -> Result<(), Refusal> {
        // Before anything changes, and before the record names it: a restart needs the track.
        let track = self.track_for_viewer(wanted.track, wanted.kind())?;
        let left = self.detach(slot);
        let record = &mut self.records.subscriptions[slot];
        (record.track, record.flags) = (wanted.track, wanted.flags);
        self.attach(slot, track);
        self.drop_track_if_unused(left);
        Ok(())
    }

    fn check_viewer_ssrcs(&self, wanted: &SubscriptionRecord) -> Result<(), Refusal> {
        let rtx = wanted.rtx();
        let taken = |ssrc: &u32| self.routes.by_viewer_ssrc.contains_key(&(wanted.peer, *ssrc));
        // Two streams under one SSRC and key would repeat nonces.
        match [Some(wanted.ssrc), rtx].into_iter().flatten().find(taken) {
            _ if rtx == Some(wanted.ssrc) => Err(Refusal::invalid("RTX needs an SSRC of its own")),
            Some(ssrc) => Err(Refusal::invalid(format!("SSRC {ssrc} is in use on this peer"))),
            None => Ok(()),
        }
    }

    pub(super) fn remove_subscription(&mut self, id: SubscriptionId) -> Result<(), Refusal> {
        if let Some(slot) = self.routes.by_subscription.get(&id).copied() {
            self.unsubscribe(slot);
        }
        Ok(())
    }

    /// Ends a subscription.
    pub(crate) fn unsubscribe(&mut self, slot: SubscriptionSlot) {
        let record = self.records.subscriptions[slot];
        self.routes.by_subscription.remove(&record.id);
        self.routes.by_viewer_ssrc.remove(&(record.peer, record.ssrc));
        if record.has(SubscriptionRecord::RTX) {
            self.routes.by_viewer_ssrc.remove(&(record.peer, record.rtx_ssrc));
        }
        if let Some(peer) = self.peers[record.peer.index()].as_mut() {
            peer.subscriptions.retain(|subscription| *subscription != slot);
        }
        let track = self.detach(slot);
        self.viewers[slot.index()] = None;
        self.retire(slot);
        self.drop_track_if_unused(track);
    }

    /// Frees the place of a subscription that has ended; if anything was sent, not before its viewer's keys are gone.
    fn retire(&mut self, slot: SubscriptionSlot) {
        let record = &mut self.records.subscriptions[slot];
        let viewer = self.peers[record.peer.index()].as_mut().filter(|_| record.switch.started != 0);
        match viewer {
            Some(peer) => {
                record.flags |= SubscriptionRecord::RETIRED;
                peer.retired.push(slot);
            }
            None => self.records.subscriptions.remove(slot),
        }
    }
}

fn checked(put: &contract::PutSubscription, peer: PeerSlot) -> Result<SubscriptionRecord, Refusal> {
    if put.subscription == 0 || put.track == 0 {
        return Err(Refusal::invalid("0 is no subscription and no track id"));
    }
    if put.priority > PRIORITY_MAX {
        return Err(Refusal::invalid(format!("priority {}; 0 to {PRIORITY_MAX} can be", put.priority)));
    }
    let mid = Text::new(&put.mid).filter(|_| put.mid.len() <= MID_BYTES_MAX);
    let mid = mid.ok_or_else(|| Refusal::invalid(format!("a MID has at most {MID_BYTES_MAX} bytes")))?;
    let cname = Text::new(&put.cname).ok_or_else(|| Refusal::invalid("the CNAME is too long"))?;
    let flag = |given: bool, flag: u32| if given { flag } else { 0 };
    Ok(SubscriptionRecord {
        id: SubscriptionId(put.subscription),
        peer,
        ssrc: put.ssrc,
        rtx_ssrc: put.rtx_ssrc.unwrap_or_default(),
        flags: flag(media_kind(put.kind()) == MediaKind::Video, SubscriptionRecord::VIDEO)
            | flag(put.rtx_ssrc.is_some(), SubscriptionRecord::RTX)
            | flag(put.paused, SubscriptionRecord::PAUSED),
        track: TrackId(put.track),
        codecs: codec_table(&put.codecs)?,
        mid,
        cname,
        ..SubscriptionRecord::zeroed()
    })
}
