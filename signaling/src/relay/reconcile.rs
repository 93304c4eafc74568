//! What a relay lacks, and what it holds for nobody.

use std::collections::BTreeMap;

use millrace_control::{Command, RemovePeer, RemoveSubscription, RemoveTrack, Snapshot};

/// The commands that lead from `held` to `desired`: removals first, then what is missing in the order of `desired`.
///
/// What the relay holds just as it is wanted is not said again: a live peer is left alone.
pub(super) fn difference(held: &Snapshot, desired: Vec<(u32, Command)>) -> Vec<(u32, Command)> {
    let peers: BTreeMap<u64, u32> = held.peers.iter().map(|peer| (peer.peer, peer.shard)).collect();
    let tracks: BTreeMap<u64, (u32, u64)> =
        held.tracks.iter().map(|track| (track.track, (track.shard, track.peer))).collect();
    let subscriptions: BTreeMap<u64, (u32, u64, u64, Option<u32>)> = held
        .subscriptions
        .iter()
        .map(|held| (held.subscription, (held.shard, held.peer, held.track, held.home)))
        .collect();

    let mut unclaimed = (peers.clone(), tracks.clone(), subscriptions.clone());
    let mut missing = Vec::new();
    for (shard, command) in desired {
        let is_held = match &command {
            Command::PutPeer(wanted) => {
                keep(&mut unclaimed.0, wanted.peer, shard, |&on| on);
                peers.get(&wanted.peer) == Some(&shard)
            }
            Command::PutTrack(wanted) => {
                keep(&mut unclaimed.1, wanted.track, shard, |&(on, _)| on);
                tracks.get(&wanted.track) == Some(&(shard, wanted.peer))
            }
            Command::PutSubscription(wanted) => {
                keep(&mut unclaimed.2, wanted.subscription, shard, |&(on, ..)| on);
                let wanted_as = (shard, wanted.peer, wanted.track, wanted.home);
                subscriptions.get(&wanted.subscription) == Some(&wanted_as)
            }
            _ => false,
        };
        if !is_held {
            missing.push((shard, command));
        }
    }

    let (peers, tracks, subscriptions) = unclaimed;
    let mut commands = Vec::new();
    for (subscription, (shard, ..)) in subscriptions {
        commands.push((shard, Command::RemoveSubscription(RemoveSubscription { subscription })));
    }
    for (track, (shard, _)) in tracks {
        commands.push((shard, Command::RemoveTrack(RemoveTrack { track })));
    }
    for (peer, shard) in peers {
        commands.push((shard, Command::RemovePeer(RemovePeer { peer })));
    }
    commands.append(&mut missing);
    commands
}

/// Takes `id` off the unclaimed ones, unless it is on another shard than it should be.
fn keep<T>(unclaimed: &mut BTreeMap<u64, T>, id: u64, shard: u32, shard_of: impl Fn(&T) -> u32) {
    if unclaimed.get(&id).is_some_and(|held| shard_of(held) == shard) {
        unclaimed.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use millrace_control::{PeerInfo, PutPeer, PutSubscription, PutTrack, SubscriptionInfo, TrackInfo};

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

    fn held() -> Snapshot {
        Snapshot {
            peers: [1, 2].map(|peer| PeerInfo { shard: 0, peer, ..PeerInfo::default() }).into(),
            tracks: vec![TrackInfo { shard: 0, track: 11, peer: 1 }],
            subscriptions: vec![SubscriptionInfo {
                shard: 0,
                subscription: 21,
                peer: 2,
                track: 11,
                home: None,
            }],
        }
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
        assert_eq!(difference(&Snapshot::default(), desired.clone()), desired);
    }

    #[test]
    fn what_nobody_claims_is_removed_and_what_moved_is_put() {
        let commands = difference(&held(), vec![(0, peer(3)), (0, track(11, 3)), (1, peer(2))]);
        assert_eq!(
            commands,
            [
                (0, Command::RemoveSubscription(RemoveSubscription { subscription: 21 })),
                (0, Command::RemovePeer(RemovePeer { peer: 1 })),
                (0, Command::RemovePeer(RemovePeer { peer: 2 })),
                (0, peer(3)),
                (0, track(11, 3)),
                (1, peer(2)),
            ]
        );
    }
}
