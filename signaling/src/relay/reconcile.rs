//! The difference between what the known shards hold and what signaling desires.

use std::collections::BTreeMap;

use millrace_control::{
    Command, REMOVED_PEERS_MAX, RemovePeer, RemovePeers, RemoveSubscription, RemoveTrack,
};

use super::held::Held;

/// The commands that lead from `held` to `desired`: removals first, then what is missing in the order of `desired`.
///
/// An object that a shard holds as desired gets no command, so that live peers are not disturbed. Objects of unknown
/// shards, and objects that a command named a moment ago, get no command either.
pub(super) fn difference(held: &Held, desired: Vec<(u32, Command)>, version: u32) -> Vec<(u32, Command)> {
    let mut surplus = Surplus::of(held);
    let mut missing = Vec::new();
    for (shard, command) in desired {
        let is_held = surplus.claim(shard, &command);
        if !is_held && held.is_known(shard) && !is_moving(held, &command) {
            missing.push((shard, command));
        }
    }
    let mut commands = surplus.removals(held, version);
    commands.append(&mut missing);
    commands
}

/// What shards hold and was not claimed yet, by id and shard.
struct Surplus {
    peers: BTreeMap<(u64, u32), ()>,
    /// With the publisher.
    tracks: BTreeMap<(u64, u32), u64>,
    subscriptions: BTreeMap<(u64, u32), Watched>,
}

/// Of a subscription its viewer, track, home, and whether it is paused.
type Watched = (u64, u64, Option<u32>, bool);

impl Surplus {
    fn of(held: &Held) -> Self {
        let each = || held.snapshots();
        let peers = each().flat_map(|it| &it.peers).map(|it| ((it.peer, it.shard), ()));
        let tracks = each().flat_map(|it| &it.tracks).map(|it| ((it.track, it.shard), it.peer));
        let subscriptions = each()
            .flat_map(|it| &it.subscriptions)
            .map(|it| ((it.subscription, it.shard), (it.peer, it.track, it.home, it.paused)));
        Self { peers: peers.collect(), tracks: tracks.collect(), subscriptions: subscriptions.collect() }
    }

    /// Takes what a command wants off the surplus, and gives whether it is held just as the command wants it.
    fn claim(&mut self, shard: u32, command: &Command) -> bool {
        match command {
            Command::PutPeer(it) => self.peers.remove(&(it.peer, shard)).is_some(),
            Command::PutTrack(it) => self.tracks.remove(&(it.track, shard)) == Some(it.peer),
            Command::PutSubscription(it) => {
                let wanted = (it.peer, it.track, it.home, it.paused);
                self.subscriptions.remove(&(it.subscription, shard)) == Some(wanted)
            }
            _ => false,
        }
    }

    /// The commands that remove what is left.
    fn removals(self, held: &Held, version: u32) -> Vec<(u32, Command)> {
        let stays = |id: u64| held.is_moving(id);
        let subscriptions =
            self.subscriptions.into_keys().filter(|(id, _)| !stays(*id)).map(|(id, shard)| {
                (shard, Command::RemoveSubscription(RemoveSubscription { subscription: id }))
            });
        let tracks = self.tracks.into_keys().filter(|(id, _)| !stays(*id));
        let tracks = tracks.map(|(id, shard)| (shard, Command::RemoveTrack(RemoveTrack { track: id })));
        let mut peers: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for (id, shard) in self.peers.into_keys().filter(|(id, _)| !stays(*id)) {
            peers.entry(shard).or_default().push(id);
        }
        let peers = peers
            .into_iter()
            .flat_map(|(shard, ids)| removals(version, ids).into_iter().map(move |command| (shard, command)));
        subscriptions.chain(tracks).chain(peers).collect()
    }
}

/// Whether a command names something that another command named a moment ago.
fn is_moving(held: &Held, command: &Command) -> bool {
    match command {
        Command::PutPeer(it) => held.is_moving(it.peer),
        Command::PutTrack(it) => held.is_moving(it.track) || held.is_moving(it.peer),
        Command::PutSubscription(it) => held.is_moving(it.subscription) || held.is_moving(it.peer),
        _ => false,
    }
}

/// The commands that remove peers, for a relay that speaks `version`.
pub(super) fn removals(version: u32, peers: Vec<u64>) -> Vec<Command> {
    if version == 1 {
        return peers.into_iter().map(|peer| Command::RemovePeer(RemovePeer { peer })).collect();
    }
    let several = |peers: &[u64]| Command::RemovePeers(RemovePeers { peers: peers.into() });
    peers.chunks(REMOVED_PEERS_MAX).map(several).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use millrace_control::{
        PeerInfo, PutPeer, PutSubscription, PutTrack, Snapshot, SubscriptionInfo, TrackInfo, VERSION,
    };

    use super::*;

    fn peer(peer: u64) -> Command {
        Command::PutPeer(PutPeer { peer, ..PutPeer::default() })
    }

    fn track(track: u64, peer: u64) -> Command {
        Command::PutTrack(PutTrack { track, peer, ..PutTrack::default() })
    }

    fn subscription(subscription: u64, peer: u64, track: u64) -> Command {
        Command::PutSubscription(PutSubscription { subscription, peer, track, ..PutSubscription::default() })
    }

    /// Shards 0 and 1 are known.
    fn held() -> Held {
        let mut held = Held::default();
        held.insert(1, Snapshot::default());
        let snapshot = Snapshot {
            peers: [1, 2].map(|peer| PeerInfo { shard: 0, peer, ..PeerInfo::default() }).into(),
            tracks: vec![TrackInfo { shard: 0, track: 11, peer: 1 }],
            subscriptions: vec![SubscriptionInfo {
                shard: 0,
                subscription: 21,
                peer: 2,
                track: 11,
                home: None,
                paused: false,
            }],
            ..Snapshot::default()
        };
        held.insert(0, snapshot);
        held
    }

    fn difference(held: &Held, desired: Vec<(u32, Command)>) -> Vec<(u32, Command)> {
        super::difference(held, desired, VERSION)
    }

    #[test]
    fn a_viewer_whose_track_comes_from_elsewhere_than_wanted_is_said_again() {
        let from =
            |home| PutSubscription { subscription: 21, peer: 2, track: 11, home, ..Default::default() };
        let desired = |home| {
            let subscription = (0, Command::PutSubscription(from(home)));
            vec![(0, peer(1)), (0, track(11, 1)), (0, peer(2)), subscription]
        };
        assert_eq!(difference(&held(), desired(None)), []);
        assert_eq!(difference(&held(), desired(Some(1))), [(0, Command::PutSubscription(from(Some(1))))]);
    }

    #[test]
    fn a_relay_that_holds_what_is_wanted_is_left_alone() {
        let desired = vec![(0, peer(1)), (0, track(11, 1)), (0, peer(2)), (0, subscription(21, 2, 11))];
        assert_eq!(difference(&held(), desired), []);
    }

    #[test]
    fn a_relay_that_forgot_is_told_everything_in_order() {
        let desired = vec![(0, peer(1)), (0, track(11, 1)), (1, peer(2)), (1, subscription(21, 2, 11))];
        let mut held = Held::default();
        (0..2).for_each(|shard| held.insert(shard, Snapshot::default()));
        assert_eq!(difference(&held, desired.clone()), desired);
    }

    #[test]
    fn nothing_of_a_shard_that_did_not_answer_is_touched() {
        let mut held = Held::default();
        held.insert(0, Snapshot::default());
        let desired = vec![(1, peer(2)), (0, peer(3)), (1, subscription(21, 2, 11))];
        assert_eq!(difference(&held, desired), [(0, peer(3))]);
    }

    #[test]
    fn what_a_command_named_a_moment_ago_is_left_alone() {
        let desired = vec![(0, peer(1)), (0, track(11, 3)), (0, peer(3))];
        let commands = difference(&held().without(BTreeSet::from([2, 3, 21])), desired);
        assert_eq!(commands, [], "11 goes to another peer, 2 and 21 go");
    }

    #[test]
    fn a_subscription_that_is_paused_otherwise_than_wanted_is_said_again() {
        let Command::PutSubscription(put) = subscription(21, 2, 11) else { unreachable!() };
        let wanted = Command::PutSubscription(PutSubscription { paused: true, ..put });
        let desired = vec![(0, peer(1)), (0, track(11, 1)), (0, peer(2)), (0, wanted.clone())];
        assert_eq!(difference(&held(), desired), [(0, wanted)]);
    }

    #[test]
    fn peers_are_removed_many_at_a_time_where_the_relay_can() {
        assert_eq!(removals(1, vec![1, 2]).len(), 2);
        let commands = removals(2, (0..70).collect());
        let counts = commands.iter().map(|command| match command {
            Command::RemovePeers(it) => it.peers.len(),
            _ => 0,
        });
        assert_eq!(counts.collect::<Vec<_>>(), [32, 32, 6]);
    }

    #[test]
    fn what_nobody_claims_is_removed_and_what_moved_is_put() {
        let commands = difference(&held(), vec![(0, peer(3)), (0, track(11, 3)), (1, peer(2))]);
        assert_eq!(
            commands,
            [
                (0, Command::RemoveSubscription(RemoveSubscription { subscription: 21 })),
                (0, Command::RemovePeers(RemovePeers { peers: vec![1, 2] })),
                (0, peer(3)),
                (0, track(11, 3)),
                (1, peer(2)),
            ]
        );
    }
}
