//! A shard made again from its records: after a panic now, later after an upgrade or a kill.
//!
//! Peers with their keys and paths first, then tracks, streams and subscriptions; at last a key frame is asked for
//! everywhere, because the packets in hand at that moment are lost. Indices and timestamp offsets are left alone: the
//! records are exact, there is no checkpoint to be older than they are.

use millrace_control as contract;

use super::timers::Timer;
use super::{Shard, on_dtls};
use crate::egress::Egress;
use crate::ice;
use crate::ids::{InboundSlot, PeerSlot, SubscriptionSlot, TrackSlot};
use crate::records::path::PathRecord;
use crate::records::peer::PeerState;
use crate::records::table::{Record, Table};
use crate::records::{PeerRecord, SubscriptionRecord};
use crate::time::Timestamp;

impl Shard<'_> {
    /// Makes everything that the records ask for. On fresh records it does nothing.
    pub(super) fn restore(&mut self, now: Timestamp) {
        let peers: Vec<PeerSlot> = slots(&self.records.peers);
        if peers.is_empty() {
            return;
        }
        peers.iter().for_each(|slot| self.restore_peer(now, *slot));
        let tracks: Vec<TrackSlot> = slots(&self.records.tracks);
        tracks.iter().for_each(|slot| self.install_track(*slot));
        let streams: Vec<InboundSlot> = slots(&self.records.inbound);
        streams.iter().for_each(|slot| self.install_inbound(*slot));
        let subscriptions: Vec<SubscriptionSlot> = slots(&self.records.subscriptions);
        subscriptions.iter().for_each(|slot| self.restore_subscription(now, *slot));
        tracks.iter().for_each(|slot| self.demand(now, *slot));
        self.records.counters.rebuilds += 1;
        let peers = u32::try_from(peers.len()).unwrap_or(u32::MAX);
        self.events.push_back(contract::EventKind::Rebuilt(contract::ShardRebuilt { peers }));
    }

    fn restore_peer(&mut self, now: Timestamp, slot: PeerSlot) {
        self.install_peer(slot);
        self.restore_fence(slot);
        let record = &self.records.peers[slot];
        match record.state() {
            PeerState::Closed => {
                self.disarm_peer(slot);
                return self.forget_transport(slot);
            }
            // The shard fell between choosing the path and saying so.
            PeerState::Ice if ice::selected(&record.ice).is_some() => {
                self.set_state(slot, PeerState::Dtls);
            }
            // An event may have been lost with the shard; said twice it does no harm.
            state => self.set_state(slot, state),
        }
        let record = &self.records.peers[slot];
        if record.state() == PeerState::Dtls {
            // What the handshake had got to is lost. A browser that has not had our answer yet begins again; one that
            // has is given up after the handshake's time.
            self.timers.arm(Timer::Handshake(slot.0), now);
        }
        for valid in &record.ice.paths {
            let Some(path) = valid.path.get() else { continue };
            // A browser may bring two peers to one address, one after the other: who checked last speaks there.
            let newer =
                |other: &PeerSlot| checked_at(&self.records.peers[*other], &valid.path) > valid.last_check;
            if !self.routes.by_path.get(&path).is_some_and(newer) {
                self.routes.by_path.insert(path, slot);
            }
        }
        if let Some(path) = ice::selected(&record.ice) {
            self.outbound[slot.index()].set_path(path);
        }
        self.install_keys(slot);
        self.timers.arm(Timer::Feedback(slot.0), now);
    }

    fn restore_subscription(&mut self, now: Timestamp, slot: SubscriptionSlot) {
        let record = &self.records.subscriptions[slot];
        if record.has(SubscriptionRecord::RETIRED) {
            let viewer = self.peers[record.peer.index()].as_mut();
            return viewer.into_iter().for_each(|peer| peer.retired.push(slot));
        }
        let Some(&track) = self.routes.by_track.get(&record.track) else {
            // Every subscription has its track, present or waiting. One without would be a bug, and is let go.
            debug_assert!(false, "a subscription without a track");
            return self.records.subscriptions.remove(slot);
        };
        let live = self.outbound[record.peer.index()].is_live();
        self.install_subscription(slot, track);
        if live {
            self.start_viewing(now, slot);
        }
    }

    /// Begins a handshake that a rebuilt shard has lost.
    pub(super) fn resume_handshake(&mut self, now: Timestamp, slot: PeerSlot, egress: &mut impl Egress) {
        let lost = self.records.peers[slot].state() == PeerState::Dtls
            && self.peers[slot.index()].as_ref().is_some_and(|peer| peer.handshake.is_none());
        if lost {
            on_dtls::start(self, now, slot, egress);
        }
    }
}

fn checked_at(record: &PeerRecord, path: &PathRecord) -> Timestamp {
    let valid = record.ice.paths.iter().find(|valid| valid.path == *path);
    valid.map_or(Timestamp::ZERO, |valid| valid.last_check)
}

fn slots<R: Record>(table: &Table<'_, R>) -> Vec<R::Slot> {
    table.iter().map(|(slot, _)| slot).collect()
}
