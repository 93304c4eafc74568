//! What the shard says of itself when signaling asks.

use millrace_control as contract;

use super::Shard;
use super::watch::Seen;
use crate::ice;
use crate::ids::{PeerSlot, TrackId};
use crate::records::peer::PeerState;
use crate::records::{PeerRecord, SubscriptionRecord};

impl Shard<'_> {
    /// Everything it holds, in no order.
    pub fn snapshot(&self) -> contract::Snapshot {
        let shard = self.config.id;
        let peers = self.records.peers.iter().map(|(slot, peer)| self.describe_peer(slot, peer));
        // A track without a publisher is only a place where viewers wait.
        let published = self.records.tracks.iter().filter(|(_, track)| !track.peer.is_none());
        let tracks = published.map(|(_, track)| contract::TrackInfo {
            shard,
            track: track.id.0,
            peer: self.records.peers[track.peer].id.0,
        });
        let current =
            self.records.subscriptions.iter().filter(|(_, record)| !record.has(SubscriptionRecord::RETIRED));
        let subscriptions = current.map(|(_, subscription)| contract::SubscriptionInfo {
            shard,
            subscription: subscription.id.0,
            peer: self.records.peers[subscription.peer].id.0,
            track: subscription.track.0,
            home: self.far_home(subscription.track),
            paused: subscription.has(SubscriptionRecord::PAUSED),
        });
        contract::Snapshot {
            peers: peers.collect(),
            tracks: tracks.collect(),
            subscriptions: subscriptions.collect(),
            shard,
            complete: true,
        }
    }

    /// The same in pages of at most [`contract::PAGE_ENTRIES_MAX`] entries; only the last one is complete.
    pub fn snapshot_pages(&self) -> impl Iterator<Item = contract::Snapshot> {
        let mut whole = Some(self.snapshot());
        std::iter::from_fn(move || {
            let rest = whole.as_mut()?;
            let mut left = contract::PAGE_ENTRIES_MAX;
            let page = contract::Snapshot {
                peers: take(&mut rest.peers, &mut left),
                tracks: take(&mut rest.tracks, &mut left),
                subscriptions: take(&mut rest.subscriptions, &mut left),
                shard: rest.shard,
                complete: rest.peers.is_empty() && rest.tracks.is_empty() && rest.subscriptions.is_empty(),
            };
            if page.complete {
                whole = None;
            }
            Some(page)
        })
    }

    fn describe_peer(&self, slot: PeerSlot, peer: &PeerRecord) -> contract::PeerInfo {
        let seen = self.watch.of(slot);
        contract::PeerInfo {
            shard: self.config.id,
            room: peer.room.0,
            peer: peer.id.0,
            state: state(peer.state()) as i32,
            remote: remote(peer),
            memo: self.records.memos[slot.index()].get().to_vec(),
            ice: ice_state(peer, seen) as i32,
            flow: Some(seen.flow),
        }
    }

    fn far_home(&self, track: TrackId) -> Option<u32> {
        let slot = self.routes.by_track.get(&track)?;
        self.records.tracks[*slot].far_home()
    }

    /// How many look-ups there are of each kind, so that tests see whether something is left behind.
    #[cfg(test)]
    pub(crate) fn routes_held(&self) -> [usize; 7] {
        let routes = &self.routes;
        let media = [routes.by_path.len(), routes.by_ssrc.len(), routes.by_viewer_ssrc.len()];
        let ids = [routes.by_peer.len(), routes.by_track.len(), routes.by_subscription.len()];
        [routes.by_ufrag.len(), media[0], media[1], media[2], ids[0], ids[1], ids[2]]
    }

    /// What it counted. `extra` are counters kept elsewhere, such as those of its IO.
    pub fn counters(&self, extra: impl IntoIterator<Item = (&'static str, u64)>) -> contract::ShardCounters {
        let held = [
            ("peers", self.records.peers.len()),
            ("tracks", self.records.tracks.len()),
            ("streams_in", self.records.inbound.len()),
            ("subscriptions", self.routes.by_subscription.len()),
        ];
        let held = held.into_iter().map(|(name, count)| (name, count as u64));
        let counters = self.records.counters.iter().chain(held).chain(extra);
        contract::ShardCounters {
            shard: self.config.id,
            counters: counters
                .map(|(name, value)| contract::Counter { name: name.to_owned(), value })
                .collect(),
        }
    }
}

/// A state in the contract's words.
pub(super) const fn state(state: PeerState) -> contract::PeerState {
    match state {
        PeerState::Ice => contract::PeerState::Ice,
        PeerState::Dtls => contract::PeerState::Dtls,
        PeerState::Live => contract::PeerState::Live,
        PeerState::Closed => contract::PeerState::Closed,
    }
}

/// The address that is sent to, empty before the first valid check.
pub(super) fn remote(peer: &PeerRecord) -> String {
    ice::selected(&peer.ice).map_or_else(String::new, |path| path.remote.to_string())
}

/// The state of a peer's path in the contract's words.
pub(super) const fn ice_state(peer: &PeerRecord, seen: Seen) -> contract::IceState {
    match peer.state() {
        PeerState::Ice => contract::IceState::New,
        PeerState::Dtls | PeerState::Live if seen.disconnected => contract::IceState::Disconnected,
        PeerState::Dtls | PeerState::Live => contract::IceState::Connected,
        PeerState::Closed => contract::IceState::Closed,
    }
}

/// Takes at most `left` entries, and counts them. It takes them off the end, so that the rest is not copied for each page.
fn take<T>(entries: &mut Vec<T>, left: &mut usize) -> Vec<T> {
    let taken = entries.split_off(entries.len() - entries.len().min(*left));
    *left -= taken.len();
    taken
}
