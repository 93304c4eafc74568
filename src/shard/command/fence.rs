//! Fences: a signaling process that has lost a room cannot change it any more ([`contract::ToRelay::fence`]).
//!
//! A room's fence stands in the record of each of its peers on this shard, so it lasts as long as they do, also through a
//! panic. Rooms that never changed their owner have the lowest fence and take no room here.

use std::collections::{BTreeMap, BTreeSet};

use millrace_control as contract;
use millrace_control::Command;

use super::{Refusal, Shard};
use crate::ids::{PeerId, PeerSlot, RoomId, SubscriptionId, TrackId};

/// Fences of the rooms that have another one than the lowest.
#[derive(Default)]
pub(in crate::shard) struct Fences(BTreeMap<RoomId, u64>);

impl Shard<'_> {
    /// Refuses a command whose fence is lower than that of a room it is about. Fence 0 is that of version 1, which knows
    /// none.
    pub(super) fn check_fence(&self, fence: u64, rooms: &BTreeSet<RoomId>) -> Result<(), Refusal> {
        if fence == 0 {
            return Ok(());
        }
        match rooms.iter().filter_map(|room| self.fences.0.get(room)).max() {
            Some(known) if fence < *known => Err(Refusal::stale(*known)),
            _ => Ok(()),
        }
    }

    /// Notes the fence of a command that was carried out. Of a room without peers here nothing is noted.
    pub(super) fn raise_fence(&mut self, fence: u64, rooms: &BTreeSet<RoomId>) {
        for &room in rooms {
            let known = self.fences.0.get(&room).copied().unwrap_or(contract::FENCE);
            let fence = fence.max(known);
            if fence == contract::FENCE {
                continue;
            }
            let of_room = |record: &crate::records::PeerRecord| record.room == room;
            let peers: Vec<PeerSlot> =
                self.records.peers.iter().filter(|(_, it)| of_room(it)).map(|(slot, _)| slot).collect();
            for slot in &peers {
                self.records.peers[*slot].fence = fence;
            }
            if peers.is_empty() {
                self.fences.0.remove(&room);
            } else {
                self.fences.0.insert(room, fence);
            }
        }
    }

    /// Takes the fence of a peer's room from its record, after a restart.
    pub(in crate::shard) fn restore_fence(&mut self, slot: PeerSlot) {
        let record = &self.records.peers[slot];
        if record.fence > contract::FENCE {
            let known = self.fences.0.entry(record.room).or_default();
            *known = record.fence.max(*known);
        }
    }

    /// The rooms that a command is about, as far as this shard knows them.
    pub(super) fn rooms_of(&self, command: &Command) -> BTreeSet<RoomId> {
        match command {
            Command::PutPeer(put) => {
                [RoomId(put.room)].into_iter().chain(self.room_of_peer(put.peer)).collect()
            }
            Command::RemovePeer(remove) => self.room_of_peer(remove.peer).into_iter().collect(),
            Command::RemovePeers(remove) => {
                remove.peers.iter().filter_map(|peer| self.room_of_peer(*peer)).collect()
            }
            Command::PutTrack(put) => {
                self.room_of_peer(put.peer).into_iter().chain(self.room_of_track(put.track)).collect()
            }
            Command::RemoveTrack(remove) => self.room_of_track(remove.track).into_iter().collect(),
            Command::PutSubscription(put) => self.room_of_peer(put.peer).into_iter().collect(),
            Command::RemoveSubscription(remove) => {
                let slot = self.routes.by_subscription.get(&SubscriptionId(remove.subscription));
                slot.map(|slot| self.records.peers[self.records.subscriptions[*slot].peer].room)
                    .into_iter()
                    .collect()
            }
            Command::RequestKeyframe(request) => self.room_of_track(request.track).into_iter().collect(),
            _ => BTreeSet::new(),
        }
    }

    fn room_of_peer(&self, peer: u64) -> Option<RoomId> {
        let slot = *self.routes.by_peer.get(&PeerId(peer))?;
        Some(self.records.peers[slot].room)
    }

    fn room_of_track(&self, track: u64) -> Option<RoomId> {
        let slot = *self.routes.by_track.get(&TrackId(track))?;
        let publisher = self.records.tracks[slot].peer.get()?;
        Some(self.records.peers[publisher].room)
    }
}
