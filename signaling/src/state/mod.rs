//! Everything signaling knows, behind one lock that is never held across an await.

mod peers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_control::{Command, Event, EventKind, RelayHello};

use tokio::sync::Notify;

use crate::delivery::{Budget, Dialect, Outbox};
use crate::placement;
use crate::relay::{Held, Owner, Presence};
use crate::session::{Media, Session, Stream};
pub use peers::{PeerNote, Peers, Texts};

/// The model and who is connected.
#[derive(Default)]
pub struct State {
    /// Sessions by id.
    pub sessions: BTreeMap<String, Session>,
    /// Participants by their private RPC session id.
    pub clients: BTreeMap<String, Client>,
    /// How far our peers got in the relay.
    pub peers: Peers,
    /// Times that a shard was rebuilt after a panic.
    pub rebuilds: u64,
    /// Epoch of the relay that each shard was last compared with: the notes are about that one.
    relay_epochs: BTreeMap<u32, u64>,
    /// Peers of viewers that a relay lost since somebody last looked.
    pub lost_viewers: BTreeSet<u64>,
    /// Connections that wait to be used are not more than this; `None` when nobody knows.
    pending_at_most: Option<usize>,
    /// Peers that a relay would not take back since somebody last looked, and what it said first.
    pub refused: BTreeMap<u64, String>,
    /// Publishers, by session and connection, of whose new cap the relay is still to be told.
    pub capped: BTreeSet<(String, String)>,
}

/// What only one socket of a participant does at a time.
pub type Turn = tokio::sync::Mutex<()>;

/// Where a participant is and how to reach it.
#[derive(Clone)]
pub struct Client {
    /// Its session.
    pub session: String,
    /// Its connection.
    pub connection: String,
    /// What its client reads.
    pub dialect: &'static Dialect,
    /// What it is to be sent; it outlives the socket.
    pub outbox: Arc<Outbox>,
    /// Held by the one of its sockets that negotiates: two at once would move the same tracks to and fro.
    pub turn: Arc<Turn>,
    /// What it may make others be sent; it outlives the socket too.
    pub budget: Budget,
}

/// A participant.
#[derive(Clone)]
pub struct Identity {
    /// Its session.
    pub session: String,
    /// Its connection.
    pub connection: String,
    /// Its private RPC session id.
    pub rpc_session: String,
    /// Its outbox.
    pub outbox: Arc<Outbox>,
    /// Held while it negotiates.
    pub turn: Arc<Turn>,
    /// Number of this socket at the outbox. Another reader there is a newer socket.
    pub reader: u64,
}

impl State {
    /// What is promised to each shard.
    pub fn reservations(&self) -> BTreeMap<u32, u64> {
        let mut reserved = BTreeMap::new();
        for session in self.sessions.values() {
            if let Some(home) = session.shard {
                *reserved.entry(home).or_insert(0) += placement::SESSION_WEIGHT;
                for media in session.media() {
                    *reserved.entry(media.shard_or(home)).or_insert(0) += 1;
                }
            }
        }
        reserved
    }

    /// The shard the session is on, or would be placed on. `None` when there is no such session, or no shard.
    pub fn shard_for(&self, id: &str, relay: &RelayHello) -> Option<u32> {
        let exists = |wanted: u32| relay.shards.iter().any(|shard| shard.shard == wanted);
        let placed = self.sessions.get(id)?.shard.filter(|&shard| exists(shard));
        placed.or_else(|| placement::choose(&relay.shards, &self.reservations()))
    }

    /// Gives the session a shard that exists, if it has none. `None` as in [`Self::shard_for`].
    pub fn place(&mut self, id: &str, relay: &RelayHello) -> Option<u32> {
        let shard = self.shard_for(id, relay)?;
        self.sessions.get_mut(id)?.shard = Some(shard);
        Some(shard)
    }

    /// Where one more viewer of a session that is placed goes; at most `at_home_max` go to its own shard, 0 for any
    /// number of them. `None` as in [`Self::shard_for`].
    pub fn shard_for_viewer(&self, id: &str, relay: &RelayHello, at_home_max: usize) -> Option<u32> {
        let home = self.shard_for(id, relay)?;
        let stays = at_home_max == 0 || self.sessions.get(id)?.viewers_at_home() < at_home_max;
        if stays || !relay.bridges {
            return Some(home);
        }
        placement::choose(&relay.shards, &self.reservations())
    }

    /// Whether there may be one more connection that waits to be used, besides `max` of them; it is counted then.
    pub fn may_wait(&mut self, max: usize) -> bool {
        // Who uses or loses its token is not counted down: it is enough to look when there seem to be too many.
        let bound = self.pending_at_most.filter(|&bound| bound < max).unwrap_or_else(|| self.pending());
        let fits = bound < max;
        self.pending_at_most = Some(bound + usize::from(fits));
        fits
    }

    fn pending(&self) -> usize {
        let all: usize = self.sessions.values().map(|session| session.connections().len()).sum();
        all.saturating_sub(self.clients.len())
    }

    /// What a participant publishes.
    pub fn stream_of(&self, participant: &Identity) -> Option<&Stream> {
        let session = self.sessions.get(&participant.session)?;
        session.participant(&participant.connection).ok()?.1.stream.as_ref()
    }

    /// Forgets notes about peers that are nobody's any more.
    pub fn prune_notes(&mut self) {
        let claimed: BTreeSet<u64> = self.sessions.values().flat_map(Session::media).map(Media::id).collect();
        self.peers.retain(|peer| claimed.contains(&peer));
    }
}

/// The state as its users share it.
#[derive(Default)]
pub struct Shared {
    state: Mutex<State>,
    lost: Notify,
    refused: Notify,
    capped: Notify,
}

impl Shared {
    /// Rings when a relay turns out to have lost viewers.
    pub const fn lost(&self) -> &Notify {
        &self.lost
    }

    /// Rings when a relay would not take somebody's peer back.
    pub const fn refused(&self) -> &Notify {
        &self.refused
    }

    /// Rings when the relay is to be told of a new cap.
    pub const fn capped(&self) -> &Notify {
        &self.capped
    }

    /// Locks it. A panic elsewhere does not take everybody else down: each change is made whole under the lock.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stored value of a session, `None` when it is gone.
    pub fn stored(&self, id: &str) -> Option<Vec<u8>> {
        // The lock is everybody's: a copy is made under it, the text without it.
        let session = self.lock().sessions.get(id)?.clone();
        Some(serde_json::to_vec(&session).expect("a session is made of plain values with text keys"))
    }
}

impl Shared {
    /// These peers are gone from the relay. Their viewers are asked to come back; publishers come back by themselves.
    fn lose(&self, peers: &[u64]) {
        let mut state = self.lock();
        let peers: BTreeSet<u64> = peers.iter().copied().collect();
        let claimed = state.sessions.values().flat_map(Session::media).filter(|it| peers.contains(&it.id()));
        let lost: Vec<(u64, bool)> = claimed.map(|media| (media.id(), media.is_viewing())).collect();
        for (peer, is_viewing) in lost {
            if is_viewing && !state.peers.is_over(peer) {
                state.lost_viewers.insert(peer);
            }
            state.peers.note_lost(peer);
        }
        if !state.lost_viewers.is_empty() {
            self.lost.notify_one();
        }
    }
}

impl Owner for Shared {
    fn desired(&self, relay: &RelayHello, held: &Held) -> Vec<(u32, Command)> {
        let mut state = self.lock();
        for peer in held.peers() {
            let known = state.peers.get(peer.peer);
            if known.is_none_or(|note| (note.state, &note.remote) != (peer.state(), &peer.remote)) {
                let note =
                    PeerNote { state: peer.state(), remote: peer.remote.clone(), reason: String::new() };
                state.peers.note(peer.peer, note);
            }
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
        for session in state.sessions.values_mut() {
            session.forget_shards(|wanted| relay.shards.iter().any(|shard| shard.shard == wanted));
        }
        let same_epoch: BTreeSet<u32> = held
            .shards()
            .filter(|shard| state.relay_epochs.insert(*shard, relay.epoch) == Some(relay.epoch))
            .collect();
        let mut commands = Vec::new();
        let mut lost = Vec::new();
        for session in state.sessions.values() {
            let Some(home) = session.shard else { continue };
            for media in session.media() {
                let shard = media.shard_or(home);
                let same_epoch = same_epoch.contains(&shard);
                match held.presence(shard, media.id()) {
                    Presence::Unknown => {}
                    Presence::Missing if !state.peers.revives(media.id(), same_epoch) => {
                        lost.push((media.id(), media.is_viewing(), same_epoch));
                    }
                    Presence::Held | Presence::Missing => {
                        commands.extend(media.commands(home).into_iter().map(|command| (shard, command)));
                    }
                }
            }
        }
        for (peer, is_viewing, same_epoch) in lost {
            // Skip peers already known to be closed: their client reconnects by itself, or was already asked to.
            if is_viewing && !(same_epoch && state.peers.is_over(peer)) {
                state.lost_viewers.insert(peer);
            }
            state.peers.note_lost(peer);
        }
        if !state.lost_viewers.is_empty() {
            self.lost.notify_one();
        }
        commands
    }

    fn handle_refusals(&self, refused: Vec<(Command, String)>) {
        let mut state = self.lock();
        for (command, why) in refused {
            let peer = match command {
                Command::PutPeer(put) => put.peer,
                Command::PutTrack(put) => put.peer,
                Command::PutSubscription(put) => put.peer,
                _ => continue,
            };
            // What goes over a peer that is not there is refused as well; why the peer is not says more.
            state.refused.entry(peer).or_insert(why);
        }
        self.refused.notify_one();
    }

    fn handle_event(&self, event: Event) {
        match event.kind {
            Some(EventKind::Peer(peer)) => {
                let note = PeerNote { state: peer.state(), remote: peer.remote, reason: peer.reason };
                tracing::debug!(shard = event.shard, peer = peer.peer, ?note, flow = ?peer.flow, "peer");
                let mut state = self.lock();
                // Of the path and the media nothing is noted yet.
                if state.peers.get(peer.peer) != Some(&note) {
                    state.peers.note(peer.peer, note);
                }
            }
            Some(EventKind::GivenUp(given_up)) => {
                tracing::error!(
                    shard = event.shard,
                    peers = given_up.peers.len(),
                    "a shard panicked again and again and gave up its calls"
                );
                self.lose(&given_up.peers);
            }
            // Placement counts what it has promised, so far.
            Some(EventKind::Load(_)) => {}
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
    use millrace_control::{PeerEvent, PeerInfo, PeerState, PutSubscription, ShardInfo, Snapshot};

    use super::*;
    use crate::session::Role;
    use crate::session::testing::{empty, join, media, stream};

    fn relay(shards: u32) -> RelayHello {
        let info = |shard| ShardInfo { shard, port: 5000 + shard, ..ShardInfo::default() };
        RelayHello { shards: (0..shards).map(info).collect(), ..RelayHello::default() }
    }

    /// Every shard of it answered, and holds nothing.
    fn nothing(shards: u32) -> Held {
        let mut held = Held::default();
        (0..shards).for_each(|shard| held.insert(shard, Snapshot::default()));
        held
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

    fn watching(peer: u64, shard: Option<u32>) -> Media {
        let subscriptions = vec![PutSubscription { subscription: peer, track: 11, ..Default::default() }];
        Media { subscriptions, shard, ..media(peer) }
    }

    /// A session with a publisher on `home` and viewers at home and elsewhere.
    fn room(session: &mut Session, home: u32, viewers: [Option<u32>; 3]) {
        session.shard = Some(home);
        join(session, "con_A", Role::Publisher);
        let _ = session.publish("con_A", stream("con_A", 1)).unwrap();
        for (peer, shard) in (2..).zip(viewers) {
            let viewer = format!("con_{peer}");
            join(session, &viewer, Role::Subscriber);
            let _ = session.subscribe(&viewer, "str_CAM_Xxxx_con_A", watching(peer, shard), 1).unwrap();
        }
    }

    #[test]
    fn viewers_stay_at_home_until_there_are_many() {
        let shared = with_sessions(1);
        let mut state = shared.lock();
        room(state.sessions.get_mut("ses_0").unwrap(), 1, [None, None, Some(0)]);
        let bridges = RelayHello { bridges: true, ..relay(3) };
        assert_eq!(state.reservations(), BTreeMap::from([(0, 1), (1, 4)]));
        let place = |state: &State, relay: &RelayHello, max| state.shard_for_viewer("ses_0", relay, max);
        assert_eq!(place(&state, &bridges, 3), Some(1), "who is elsewhere does not count");
        assert_eq!(place(&state, &bridges, 2), Some(2), "the least loaded");
        assert_eq!(place(&state, &bridges, 0), Some(1), "any number");
        assert_eq!(place(&state, &relay(3), 2), Some(1), "this relay cannot");
        // What is about to be counts too.
        state.sessions.get_mut("ses_0").unwrap().reserve(watching(9, None));
        assert_eq!(place(&state, &bridges, 3), Some(2));
    }

    #[test]
    fn viewers_elsewhere_are_wanted_there_or_at_home_when_there_is_no_such_shard() {
        let shared = with_sessions(1);
        room(shared.lock().sessions.get_mut("ses_0").unwrap(), 1, [None, Some(0), Some(2)]);
        (1..=4).for_each(|peer| shared.lock().peers.expect(peer));
        let viewers = |shards| {
            let viewer = |(shard, command)| match command {
                Command::PutSubscription(put) => Some((shard, put.home)),
                _ => None,
            };
            shared
                .desired(&relay(shards), &nothing(shards))
                .into_iter()
                .filter_map(viewer)
                .collect::<Vec<_>>()
        };
        assert_eq!(viewers(3), [(1, None), (0, Some(1)), (2, Some(1))]);
        assert_eq!(viewers(2), [(1, None), (0, Some(1)), (1, None)]);
        assert_eq!(viewers(1), [(0, None); 3], "with the session itself");
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
            state.peers.expect(7);
        }
        let desired = shared.desired(&relay(1), &nothing(1));
        assert!(matches!(desired.as_slice(), [(0, Command::PutPeer(peer))] if peer.peer == 7));
    }

    fn peers(commands: &[(u32, Command)]) -> Vec<u64> {
        let peer = |(_, command): &(u32, Command)| match command {
            Command::PutPeer(put) => Some(put.peer),
            _ => None,
        };
        commands.iter().filter_map(peer).collect()
    }

    #[test]
    fn a_peer_whose_keys_are_gone_is_not_said_again() {
        let shared = with_sessions(1);
        {
            let mut state = shared.lock();
            let session = state.sessions.get_mut("ses_0").unwrap();
            session.shard = Some(0);
            for (number, id) in (1..).zip(["con_A", "con_B", "con_C", "con_D", "con_E"]) {
                join(session, id, Role::Publisher);
                let _ = session.publish(id, stream(id, number)).unwrap();
            }
        }
        let states = [PeerState::Ice, PeerState::Dtls, PeerState::Live, PeerState::Closed];
        for (peer, state) in (1..).zip(states) {
            let event = PeerEvent { peer, state: state.into(), ..PeerEvent::default() };
            shared.handle_event(Event { shard: 0, kind: Some(EventKind::Peer(event)) });
        }
        let relay = |epoch| RelayHello { epoch, ..relay(1) };
        assert_eq!(peers(&shared.desired(&relay(1), &nothing(1))), [1], "5 is from before our time");
        assert_eq!(shared.lock().peers.get(5).unwrap().reason, peers::LOST);

        // What the relay holds is wanted whatever is known of it.
        let held = [2, 3, 4, 5].map(|peer| PeerInfo { shard: 0, peer, ..PeerInfo::default() });
        let snapshot = Snapshot { peers: held.into(), ..Snapshot::default() };
        let mut held = Held::default();
        held.insert(0, snapshot);
        assert_eq!(peers(&shared.desired(&relay(2), &held)), [1, 2, 3, 4, 5]);

        // Without a note: as long as the relay is the same one, nothing can have been lost.
        shared.lock().peers = Peers::default();
        assert_eq!(peers(&shared.desired(&relay(2), &nothing(1))), [1, 2, 3, 4, 5]);
        assert_eq!(peers(&shared.desired(&relay(3), &nothing(1))), [] as [u64; 0]);
    }

    #[test]
    fn viewers_of_a_shard_that_does_not_answer_are_not_lost() {
        let shared = with_sessions(1);
        room(shared.lock().sessions.get_mut("ses_0").unwrap(), 0, [None, Some(1), Some(1)]);
        let told = |peer, state: PeerState| {
            let event = PeerEvent { peer, state: state.into(), ..PeerEvent::default() };
            shared.handle_event(Event { shard: 0, kind: Some(EventKind::Peer(event)) });
        };
        (1..=4).for_each(|peer| told(peer, PeerState::Live));
        // Shard 1 does not answer, and shard 0 holds nothing.
        assert_eq!(shared.desired(&relay(2), &nothing(1)), []);
        assert_eq!(shared.lock().lost_viewers, BTreeSet::from([2]));
        assert!(shared.lock().peers.get(3).is_some_and(|note| note.state == PeerState::Live));
        // Then it answers, and holds one of them.
        let mut held = Held::default();
        let live = PeerInfo { shard: 1, peer: 3, state: PeerState::Live.into(), ..Default::default() };
        held.insert(1, Snapshot { peers: vec![live], ..Snapshot::default() });
        assert_eq!(peers(&shared.desired(&relay(2), &held)), [3]);
        assert_eq!(shared.lock().lost_viewers, BTreeSet::from([2, 4]));
    }

    #[test]
    fn viewers_that_a_shard_gave_up_are_asked_to_come_back() {
        let shared = with_sessions(1);
        room(shared.lock().sessions.get_mut("ses_0").unwrap(), 0, [None, None, None]);
        let given_up = millrace_control::GivenUp { peers: vec![1, 2, 9] };
        shared.handle_event(Event { shard: 0, kind: Some(EventKind::GivenUp(given_up)) });
        let state = shared.lock();
        assert_eq!(state.lost_viewers, BTreeSet::from([2]), "1 publishes, 9 is nobody's");
        assert!(state.peers.is_over(1) && state.peers.is_over(2) && !state.peers.is_over(3));
    }

    #[test]
    fn notes_of_peers_that_are_gone_go_too() {
        let shared = with_sessions(1);
        let event = PeerEvent { peer: 9, state: PeerState::Closed.into(), ..PeerEvent::default() };
        shared.handle_event(Event { shard: 0, kind: Some(EventKind::Peer(event)) });
        assert!(shared.lock().peers.is_over(9));
        shared.lock().prune_notes();
        assert_eq!(shared.lock().peers.get(9), None);
    }
}
