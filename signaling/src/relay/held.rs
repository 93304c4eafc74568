//! What the relay holds, as far as it is known.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use millrace_control::{Command, PeerInfo, Snapshot};
use tokio::time::Instant;

/// What some shards hold: those that answered completely. Nothing is known of any other shard.
#[derive(Debug, Default)]
pub struct Held {
    shards: BTreeMap<u32, Snapshot>,
    /// Shard of each peer in `shards`, by peer and shard.
    peers: BTreeSet<(u64, u32)>,
    /// Peers, tracks and subscriptions that a command named a moment ago: they may be between two states.
    moving: BTreeSet<u64>,
}

/// Whether a shard holds a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It does.
    Held,
    /// It does not.
    Missing,
    /// Nothing can be said: the shard is not known, or a command named the peer a moment ago.
    Unknown,
}

impl Held {
    /// Adds what `shard` holds.
    pub fn insert(&mut self, shard: u32, snapshot: Snapshot) {
        self.peers.extend(snapshot.peers.iter().map(|peer| (peer.peer, shard)));
        self.shards.insert(shard, snapshot);
    }

    /// The same, but `moving` are not to be judged.
    pub(super) fn without(mut self, moving: BTreeSet<u64>) -> Self {
        self.moving = moving;
        self
    }

    /// The shards that are known.
    pub fn shards(&self) -> impl Iterator<Item = u32> {
        self.shards.keys().copied()
    }

    /// Whether `shard` is known.
    pub fn is_known(&self, shard: u32) -> bool {
        self.shards.contains_key(&shard)
    }

    /// Whether `shard` holds `peer`.
    pub fn presence(&self, shard: u32, peer: u64) -> Presence {
        match self.is_known(shard) {
            true if self.is_moving(peer) => Presence::Unknown,
            true if self.peers.contains(&(peer, shard)) => Presence::Held,
            true => Presence::Missing,
            false => Presence::Unknown,
        }
    }

    /// Every peer of the shards that are known.
    pub fn peers(&self) -> impl Iterator<Item = &PeerInfo> {
        self.shards.values().flat_map(|snapshot| &snapshot.peers)
    }

    /// Whether a command named this peer, track or subscription a moment ago.
    pub(super) fn is_moving(&self, id: u64) -> bool {
        self.moving.contains(&id)
    }

    pub(super) fn snapshots(&self) -> impl Iterator<Item = &Snapshot> {
        self.shards.values()
    }
}

/// So many places for what commands have named are not given back.
const CAPACITY_KEPT: usize = 1_024;

/// What commands have named lately. A change takes several commands, and the model knows of it a moment earlier or later
/// than the relay.
#[derive(Debug, Default)]
pub(super) struct Lately {
    named: VecDeque<(Instant, u64)>,
}

impl Lately {
    /// Notes what a command names.
    pub(super) fn note(&mut self, now: Instant, command: &Command) {
        let mut name = |ids: &[u64]| self.named.extend(ids.iter().map(|id| (now, *id)));
        match command {
            Command::PutPeer(it) => name(&[it.peer]),
            Command::RemovePeer(it) => name(&[it.peer]),
            Command::RemovePeers(it) => name(&it.peers),
            Command::PutTrack(it) => name(&[it.track, it.peer]),
            Command::RemoveTrack(it) => name(&[it.track]),
            Command::PutSubscription(it) => name(&[it.subscription, it.peer]),
            Command::RemoveSubscription(it) => name(&[it.subscription]),
            _ => {}
        }
    }

    /// What was named in the time before `now`.
    pub(super) fn within(&mut self, now: Instant, time: Duration) -> BTreeSet<u64> {
        self.forget(now, time);
        self.named.iter().map(|(_, id)| *id).collect()
    }

    /// Forgets what is older than `time`, and gives back the memory that a crowd needed.
    pub(super) fn forget(&mut self, now: Instant, time: Duration) {
        while self.named.front().is_some_and(|(at, _)| *at + time <= now) {
            self.named.pop_front();
        }
        let (len, capacity) = (self.named.len(), self.named.capacity());
        if capacity > CAPACITY_KEPT && len < capacity / 4 {
            self.named.shrink_to(CAPACITY_KEPT.max(2 * len));
        }
    }
}

#[cfg(test)]
mod tests {
    use millrace_control::RemovePeers;

    use super::*;

    #[test]
    fn what_is_not_known_is_not_missing() {
        let mut held = Held::default();
        held.insert(
            1,
            Snapshot { peers: vec![PeerInfo { peer: 5, ..Default::default() }], ..Default::default() },
        );
        let held = held.without(BTreeSet::from([7]));
        let presence = [(1, 5), (1, 6), (1, 7), (0, 5)].map(|(shard, peer)| held.presence(shard, peer));
        assert_eq!(presence, [Presence::Held, Presence::Missing, Presence::Unknown, Presence::Unknown]);
    }

    #[test]
    fn what_was_named_is_remembered_for_a_while() {
        let (mut lately, start, second) = (Lately::default(), Instant::now(), Duration::from_secs(1));
        lately.note(start, &Command::RemovePeers(RemovePeers { peers: vec![1, 2] }));
        lately.note(start + second, &Command::RemovePeers(RemovePeers { peers: vec![3] }));
        assert_eq!(lately.within(start + second, 2 * second), BTreeSet::from([1, 2, 3]));
        assert_eq!(lately.within(start + 2 * second, 2 * second), BTreeSet::from([3]));
    }

    #[test]
    fn a_crowd_leaves_no_memory_behind() {
        let (mut lately, start, second) = (Lately::default(), Instant::now(), Duration::from_secs(1));
        let crowd = RemovePeers { peers: (0..100_000).collect() };
        lately.note(start, &Command::RemovePeers(crowd));
        lately.note(start + second, &Command::RemovePeers(RemovePeers { peers: vec![1] }));
        assert_eq!(lately.within(start + second, second), BTreeSet::from([1]));
        assert!(lately.named.capacity() <= 2 * CAPACITY_KEPT, "{}", lately.named.capacity());
    }
}
