//! What the stand-in holds: peers, tracks and subscriptions by id, as a relay does.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use millrace_control::{Command, PeerInfo, PeerState, Snapshot, SubscriptionInfo, TrackInfo};

/// Most entries of one page of a snapshot.
const PAGE_LEN: usize = 4_096;

/// How many of everything there is and was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Control connections so far.
    pub connections: u64,
    /// Commands so far that put or remove something.
    pub commands: u64,
    /// Peers now.
    pub peers: u64,
    /// Tracks now.
    pub tracks: u64,
    /// Subscriptions now.
    pub subscriptions: u64,
    /// Peers that were removed while they were live, so far.
    pub live_peers_removed: u64,
    /// Tracks and subscriptions of live peers that were removed by themselves, so far.
    pub live_media_removed: u64,
}

struct Peer {
    shard: u32,
    room: u64,
    put_at: Instant,
    tracks: Vec<u64>,
    subscriptions: Vec<u64>,
}

/// The state behind the control socket.
pub(super) struct Held {
    /// Time from the command that puts a peer until it is live.
    live_after: Duration,
    peers: BTreeMap<u64, Peer>,
    tracks: BTreeMap<u64, TrackInfo>,
    subscriptions: BTreeMap<u64, SubscriptionInfo>,
    /// Peers that were put, in that order, until they are live and signaling was told.
    coming: VecDeque<(Instant, u64)>,
    figures: Figures,
}

impl Held {
    pub(super) fn new(live_after: Duration) -> Self {
        Self {
            live_after,
            peers: BTreeMap::new(),
            tracks: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            coming: VecDeque::new(),
            figures: Figures::default(),
        }
    }

    pub(super) fn figures(&self) -> Figures {
        Figures {
            peers: self.peers.len() as u64,
            tracks: self.tracks.len() as u64,
            subscriptions: self.subscriptions.len() as u64,
            ..self.figures
        }
    }

    pub(super) fn count_connection(&mut self) {
        self.figures.connections += 1;
    }

    /// Carries out a command. Commands without a state of their own change nothing.
    pub(super) fn apply(&mut self, shard: u32, command: &Command, now: Instant) {
        self.figures.commands += 1;
        match command {
            Command::PutPeer(put) => self.put_peer(shard, put.room, put.peer, now),
            Command::PutTrack(put) => self.put_track(TrackInfo { shard, track: put.track, peer: put.peer }),
            Command::PutSubscription(put) => self.put_subscription(SubscriptionInfo {
                shard,
                subscription: put.subscription,
                peer: put.peer,
                track: put.track,
                home: put.home,
                paused: put.paused,
            }),
            Command::RemovePeer(remove) => self.remove_peer(remove.peer, now),
            Command::RemovePeers(remove) => {
                remove.peers.iter().for_each(|&peer| self.remove_peer(peer, now));
            }
            Command::RemoveTrack(remove) => {
                if let Some(track) = self.tracks.remove(&remove.track) {
                    self.count_media_removed(track.peer, now);
                }
            }
            Command::RemoveSubscription(remove) => {
                if let Some(subscription) = self.subscriptions.remove(&remove.subscription) {
                    self.count_media_removed(subscription.peer, now);
                }
            }
            _ => self.figures.commands -= 1,
        }
    }

    fn put_peer(&mut self, shard: u32, room: u64, id: u64, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.shard = shard;
            return;
        }
        self.peers
            .insert(id, Peer { shard, room, put_at: now, tracks: Vec::new(), subscriptions: Vec::new() });
        self.coming.push_back((now + self.live_after, id));
    }

    fn put_track(&mut self, track: TrackInfo) {
        if let Some(peer) = self.peers.get_mut(&track.peer)
            && !peer.tracks.contains(&track.track)
        {
            peer.tracks.push(track.track);
        }
        self.tracks.insert(track.track, track);
    }

    fn put_subscription(&mut self, subscription: SubscriptionInfo) {
        if let Some(peer) = self.peers.get_mut(&subscription.peer)
            && !peer.subscriptions.contains(&subscription.subscription)
        {
            peer.subscriptions.push(subscription.subscription);
        }
        self.subscriptions.insert(subscription.subscription, subscription);
    }

    /// A peer takes its tracks and subscriptions along, except those that have moved to another peer.
    fn remove_peer(&mut self, id: u64, now: Instant) {
        let Some(peer) = self.peers.remove(&id) else { return };
        self.figures.live_peers_removed += u64::from(self.is_live(&peer, now));
        for track in peer.tracks {
            if self.tracks.get(&track).is_some_and(|track| track.peer == id) {
                self.tracks.remove(&track);
            }
        }
        for subscription in peer.subscriptions {
            if self.subscriptions.get(&subscription).is_some_and(|held| held.peer == id) {
                self.subscriptions.remove(&subscription);
            }
        }
    }

    fn count_media_removed(&mut self, peer: u64, now: Instant) {
        let is_live = self.peers.get(&peer).is_some_and(|peer| self.is_live(peer, now));
        self.figures.live_media_removed += u64::from(is_live);
    }

    fn is_live(&self, peer: &Peer, now: Instant) -> bool {
        now >= peer.put_at + self.live_after
    }

    /// When the next peer becomes live.
    pub(super) fn next_live(&self) -> Option<Instant> {
        self.coming.front().map(|&(at, _)| at)
    }

    /// Peers that have become live by `now`, with their shards; each is given once.
    pub(super) fn take_live(&mut self, now: Instant) -> Vec<(u32, u64)> {
        let mut live = Vec::new();
        while let Some((_, peer)) = self.coming.pop_front_if(|(at, _)| *at <= now) {
            // It may be gone already.
            live.extend(self.peers.get(&peer).map(|held| (held.shard, peer)));
        }
        live
    }

    /// What a shard holds, in pages. The last one says that it is.
    pub(super) fn snapshot(&self, shard: u32, now: Instant) -> Vec<Snapshot> {
        let peer = |(&id, peer): (&u64, &Peer)| PeerInfo {
            shard,
            room: peer.room,
            peer: id,
            state: if self.is_live(peer, now) { PeerState::Live } else { PeerState::Ice }.into(),
            ..PeerInfo::default()
        };
        let peers = self.peers.iter().filter(|(_, peer)| peer.shard == shard).map(peer).collect::<Vec<_>>();
        let tracks = self.tracks.values().filter(|it| it.shard == shard).copied().collect::<Vec<_>>();
        let subscriptions = self.subscriptions.values().filter(|it| it.shard == shard).copied();
        let subscriptions = subscriptions.collect::<Vec<_>>();
        let page = || Snapshot { shard, ..Snapshot::default() };
        let peers = peers.chunks(PAGE_LEN).map(|peers| Snapshot { peers: peers.to_vec(), ..page() });
        let tracks = tracks.chunks(PAGE_LEN).map(|tracks| Snapshot { tracks: tracks.to_vec(), ..page() });
        let subscriptions = subscriptions
            .chunks(PAGE_LEN)
            .map(|subscriptions| Snapshot { subscriptions: subscriptions.to_vec(), ..page() });
        let last = Snapshot { complete: true, ..page() };
        peers.chain(tracks).chain(subscriptions).chain([last]).collect()
    }
}

#[cfg(test)]
mod tests {
    use millrace_control::{PutPeer, PutSubscription, PutTrack, RemovePeer, RemoveSubscription, RemoveTrack};

    use super::*;

    const LIVE_AFTER: Duration = Duration::from_millis(50);

    fn peer(peer: u64) -> Command {
        Command::PutPeer(PutPeer { peer, room: 1, ..PutPeer::default() })
    }

    fn track(track: u64, peer: u64) -> Command {
        Command::PutTrack(PutTrack { track, peer, ..PutTrack::default() })
    }

    fn subscription(subscription: u64, peer: u64) -> Command {
        Command::PutSubscription(PutSubscription {
            subscription,
            peer,
            track: 11,
            ..PutSubscription::default()
        })
    }

    fn held(commands: &[Command], now: Instant) -> Held {
        let mut held = Held::new(LIVE_AFTER);
        commands.iter().for_each(|command| held.apply(0, command, now));
        held
    }

    #[test]
    fn a_snapshot_shows_what_was_put_and_not_removed() {
        let now = Instant::now();
        let mut held = held(&[peer(1), track(11, 1), peer(2), subscription(21, 2), subscription(22, 2)], now);
        held.apply(3, &peer(3), now);
        // The track comes back on another peer and stays when the first one goes.
        held.apply(0, &track(11, 3), now);
        held.apply(0, &Command::RemovePeer(RemovePeer { peer: 1 }), now);
        held.apply(0, &Command::RemoveSubscription(RemoveSubscription { subscription: 22 }), now);
        let peers_on = |shard| {
            let pages = held.snapshot(shard, now);
            assert!(pages.last().is_some_and(|page| page.complete));
            assert!(pages.iter().rev().skip(1).all(|page| !page.complete && page.shard == shard));
            pages.iter().flat_map(|page| &page.peers).map(|peer| peer.peer).collect::<Vec<_>>()
        };
        assert_eq!((peers_on(0), peers_on(3), peers_on(1)), (vec![2], vec![3], vec![]));
        let pages = held.snapshot(0, now);
        let tracks: Vec<_> = pages.iter().flat_map(|page| page.tracks.clone()).collect();
        assert_eq!(tracks, [TrackInfo { shard: 0, track: 11, peer: 3 }]);
        let subscriptions = pages.iter().flat_map(|page| &page.subscriptions).map(|held| held.subscription);
        assert_eq!(subscriptions.collect::<Vec<_>>(), [21]);
    }

    #[test]
    fn a_peer_is_live_after_a_while_and_is_told_once() {
        let now = Instant::now();
        let mut held = held(&[peer(1), peer(1), peer(2)], now);
        held.apply(0, &Command::RemovePeer(RemovePeer { peer: 2 }), now);
        assert_eq!(held.take_live(now), []);
        assert_eq!(held.next_live(), Some(now + LIVE_AFTER));
        assert_eq!(held.take_live(now + LIVE_AFTER), [(0, 1)]);
        assert_eq!((held.take_live(now + LIVE_AFTER), held.next_live()), (vec![], None));
    }

    #[test]
    fn only_what_was_live_counts_as_removed_alive() {
        let now = Instant::now();
        let mut held = held(&[peer(1), track(11, 1), peer(2), subscription(21, 2), peer(3)], now);
        held.apply(0, &Command::RemovePeer(RemovePeer { peer: 3 }), now);
        assert_eq!(held.figures().live_peers_removed, 0);
        let later = now + LIVE_AFTER;
        held.apply(0, &Command::RemoveTrack(RemoveTrack { track: 11 }), later);
        held.apply(0, &Command::RemoveSubscription(RemoveSubscription { subscription: 21 }), later);
        held.apply(0, &Command::RemovePeer(RemovePeer { peer: 1 }), later);
        held.apply(0, &Command::RemovePeer(RemovePeer { peer: 99 }), later);
        let figures = held.figures();
        assert_eq!((figures.live_peers_removed, figures.live_media_removed), (1, 2));
        assert_eq!((figures.peers, figures.tracks, figures.subscriptions), (1, 0, 0));
    }
}
