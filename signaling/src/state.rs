//! Everything signaling knows, behind one lock that is never held across an await.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_control::{Command, Event, EventKind, PeerState, RelayHello, Snapshot};

use crate::openvidu::rpc::{Budget, Outbox};
use crate::placement;
use crate::relay::Owner;
use crate::session::{Media, Session};

/// Most sessions at a time.
pub const SESSIONS_MAX: usize = 20_000;

/// The model and who is connected.
#[derive(Default)]
pub struct State {
    /// Sessions by id.
    pub sessions: BTreeMap<String, Session>,
    /// Participants by their private RPC session id.
    pub clients: BTreeMap<String, Client>,
    /// How far each of our peers got in the relay, as far as it told us.
    pub peers: BTreeMap<u64, PeerNote>,
    /// Times that a shard was rebuilt after a panic.
    pub rebuilds: u64,
}

/// Where a participant is and how to reach it.
#[derive(Clone)]
pub struct Client {
    /// Its session.
    pub session: String,
    /// Its connection.
    pub connection: String,
    /// What it is to be sent; it outlives the socket.
    pub outbox: Arc<Outbox>,
    /// What it may make others be sent; it outlives the socket too.
    pub budget: Budget,
}

/// What the relay last said of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerNote {
    /// How far it got.
    pub state: PeerState,
    /// Its address, empty before the first valid check.
    pub remote: String,
    /// Why it closed.
    pub reason: String,
}

impl State {
    /// What is promised to each shard.
    pub fn reservations(&self) -> BTreeMap<u32, u64> {
        let mut reserved = BTreeMap::new();
        for session in self.sessions.values() {
            if let Some(shard) = session.shard {
                let peers = u64::try_from(session.media().count()).unwrap_or(u64::MAX);
                *reserved.entry(shard).or_insert(0) += placement::SESSION_WEIGHT + peers;
            }
        }
        reserved
    }

    /// Gives the session a shard that exists, if it has none. `None` when there is no such session, or no shard.
    pub fn place(&mut self, id: &str, relay: &RelayHello) -> Option<u32> {
        let exists = |wanted: u32| relay.shards.iter().any(|shard| shard.shard == wanted);
        if let Some(shard) = self.sessions.get(id)?.shard.filter(|&shard| exists(shard)) {
            return Some(shard);
        }
        let shard = placement::choose(&relay.shards, &self.reservations())?;
        self.sessions.get_mut(id)?.shard = Some(shard);
        Some(shard)
    }

    /// Forgets notes about peers that are nobody's any more.
    pub fn prune_notes(&mut self) {
        let claimed: std::collections::BTreeSet<u64> =
            self.sessions.values().flat_map(Session::media).map(Media::id).collect();
        self.peers.retain(|peer, _| claimed.contains(peer));
    }
}

/// The state as its users share it.
#[derive(Default)]
pub struct Shared(Mutex<State>);

impl Shared {
    /// Locks it. A panic elsewhere does not take everybody else down: each change is made whole under the lock.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stored value of a session, `None` when it is gone.
    pub fn stored(&self, id: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        let session = state.sessions.get(id)?;
        Some(serde_json::to_vec(session).expect("a session is made of plain values with text keys"))
    }
}

impl Owner for Shared {
    fn desired(&self, relay: &RelayHello, held: &Snapshot) -> Vec<(u32, Command)> {
        let mut state = self.lock();
        for peer in &held.peers {
            let note = PeerNote { state: peer.state(), remote: peer.remote.clone(), reason: String::new() };
            state.peers.insert(peer.peer, note);
        }
        state.prune_notes();
        // A relay that came back with fewer shards gets the homeless sessions placed anew.
        let placed: Vec<String> = state
            .sessions
            .values()
            .filter(|session| session.shard.is_some())
            .map(|session| session.id.clone())
            .collect();
        for id in placed {
            state.place(&id, relay);
        }
        let mut commands = Vec::new();
        for session in state.sessions.values() {
            let Some(shard) = session.shard else { continue };
            for media in session.media() {
                commands.extend(media.commands().into_iter().map(|command| (shard, command)));
            }
        }
        commands
    }

    fn handle_event(&self, event: Event) {
        match event.kind {
            Some(EventKind::Peer(peer)) => {
                let note = PeerNote { state: peer.state(), remote: peer.remote, reason: peer.reason };
                tracing::debug!(shard = event.shard, peer = peer.peer, ?note, "peer");
                self.lock().peers.insert(peer.peer, note);
            }
            Some(EventKind::Rebuilt(rebuilt)) => {
                tracing::warn!(
                    shard = event.shard,
                    peers = rebuilt.peers,
                    "a shard panicked and was rebuilt"
                );
                self.lock().rebuilds += 1;
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use millrace_control::{PeerEvent, ShardInfo};

    use super::*;
    use crate::session::Role;
    use crate::session::testing::{empty, join, stream};

    fn relay(shards: u32) -> RelayHello {
        let shards = (0..shards).map(|shard| ShardInfo { shard, port: 5000 + shard, peers: 0 }).collect();
        RelayHello { shards, ..RelayHello::default() }
    }

    fn with_sessions(count: usize) -> Shared {
        let shared = Shared::default();
        for number in 0..count {
            let mut session = empty();
            session.id = format!("ses_{number}");
            shared.lock().sessions.insert(session.id.clone(), session);
        }
        shared
    }

    #[test]
    fn sessions_are_spread_and_stay_where_they_are() {
        let shared = with_sessions(4);
        let mut state = shared.lock();
        let place = |state: &mut State, number: usize| state.place(&format!("ses_{number}"), &relay(2));
        assert_eq!([0, 1, 2, 3].map(|n| place(&mut state, n)), [Some(0), Some(1), Some(0), Some(1)]);
        assert_eq!([3, 2, 1, 0].map(|n| place(&mut state, n)), [Some(1), Some(0), Some(1), Some(0)]);
        assert_eq!(state.place("ses_9", &relay(2)), None);
        assert_eq!(state.place("ses_0", &relay(0)), None);
    }

    #[test]
    fn a_relay_with_fewer_shards_gets_every_session_on_one_that_exists() {
        let shared = with_sessions(2);
        {
            let mut state = shared.lock();
            let session = state.sessions.get_mut("ses_1").unwrap();
            join(session, "con_A", Role::Publisher);
            let _ = session.publish("con_A", stream("con_A", 7)).unwrap();
            session.shard = Some(5);
        }
        let desired = shared.desired(&relay(1), &Snapshot::default());
        assert!(matches!(desired.as_slice(), [(0, Command::PutPeer(peer))] if peer.peer == 7));
    }

    #[test]
    fn notes_of_peers_that_are_gone_go_too() {
        let shared = with_sessions(1);
        let event = PeerEvent { peer: 9, state: PeerState::Closed.into(), ..PeerEvent::default() };
        shared.handle_event(Event { shard: 0, kind: Some(EventKind::Peer(event)) });
        assert_eq!(shared.lock().peers[&9].state, PeerState::Closed);
        shared.lock().prune_notes();
        assert!(shared.lock().peers.is_empty());
    }
}
