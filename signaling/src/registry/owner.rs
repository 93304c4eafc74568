//! What the relay is to hold, and what it reports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use millrace_control::{Command, Event, EventKind, PeerEvent, PeerState, RelayHello};

use super::{LockedSession, PeerNote, Registry};
use crate::relay::{Held, Owner, Presence};
use crate::session::Endpoint;

impl Owner for Registry {
    fn desired(&self, relay: &RelayHello, held: &Held) -> Vec<(u32, Command)> {
        self.ledger().meet(relay);
        self.note_held(held);
        let same_epoch = self.note_epochs(relay, held);
        let mut commands = Vec::new();
        for cell in self.all() {
            let Some(mut locked) = cell.lock() else { continue };
            let Some(home) = self.home_of(&mut locked) else { continue };
            self.desired_of(&mut locked, home, held, &same_epoch, &mut commands);
        }
        commands
    }

    fn handle_refusals(&self, refused: Vec<(Command, String)>) {
        let mut first: BTreeMap<u64, String> = BTreeMap::new();
        for (command, why) in refused {
            let peer = match command {
                Command::PutPeer(put) => put.peer,
                Command::PutTrack(put) => put.peer,
                Command::PutSubscription(put) => put.peer,
                _ => continue,
            };
            // The relay also refuses the tracks and subscriptions of a missing peer. The first reason names the
            // cause.
            first.entry(peer).or_insert(why);
        }
        self.refused.extend(first);
    }

    fn handle_event(&self, event: Event) {
        match event.kind {
            Some(EventKind::Peer(peer)) => self.handle_peer(event.shard, peer),
            Some(EventKind::GivenUp(given_up)) => {
                let peers = given_up.peers.len();
                tracing::error!(
                    shard = event.shard,
                    peers,
                    "a shard panicked again and again and gave up its calls"
                );
                self.lose(&given_up.peers);
            }
            Some(EventKind::Load(load)) => self.ledger().report(event.shard, &load),
            Some(EventKind::Rebuilt(rebuilt)) => {
                tracing::warn!(
                    shard = event.shard,
                    peers = rebuilt.peers,
                    "a shard panicked and was rebuilt"
                );
                self.rebuilds.fetch_add(1, Ordering::Relaxed);
            }
            None => {}
        }
    }
}

impl Registry {
    /// Notes what the relay says of the peers that it holds.
    fn note_held(&self, held: &Held) {
        for peer in held.peers() {
            let Some(cell) = self.of_endpoint(peer.peer) else { continue };
            let Some(mut locked) = cell.lock() else { continue };
            let known = locked.peers.get(peer.peer);
            let is_new = |note: &PeerNote| {
                (note.state, &note.remote, note.flow) != (peer.state(), &peer.remote, peer.flow)
            };
            if known.is_none_or(is_new) {
                let remote = peer.remote.clone();
                let note = PeerNote { remote, flow: peer.flow, ..PeerNote::at(peer.state()) };
                locked.peers.note(peer.peer, note);
            }
        }
    }

    /// The shards whose notes are about the relay that answers now.
    fn note_epochs(&self, relay: &RelayHello, held: &Held) -> BTreeSet<u32> {
        let mut epochs = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        held.shards().filter(|shard| epochs.insert(*shard, relay.epoch) == Some(relay.epoch)).collect()
    }

    /// The shard of a session that has one. If the relay came back without that shard, the session gets another one.
    fn home_of(&self, locked: &mut LockedSession<'_>) -> Option<u32> {
        locked.session.shard()?;
        locked.session.forget_shards(|shard| self.ledger().exists(shard));
        self.place(&mut locked.session)
    }

    fn desired_of(
        &self,
        locked: &mut LockedSession<'_>,
        home: u32,
        held: &Held,
        same_epoch: &BTreeSet<u32>,
        commands: &mut Vec<(u32, Command)>,
    ) {
        let state = &mut **locked;
        let mut lost = Vec::new();
        for endpoint in state.session.graph().endpoints() {
            let (id, shard) = (endpoint.id(), endpoint.shard_or(home));
            let same_epoch = same_epoch.contains(&shard);
            match held.presence(shard, id) {
                Presence::Unknown => {}
                Presence::Missing if !state.peers.revives(id, same_epoch) => {
                    // Skip peers already known to be closed: their client reconnects by itself, or was asked to before.
                    let is_asked = endpoint.is_viewing() && !(same_epoch && state.peers.is_over(id));
                    lost.push((id, is_asked));
                }
                Presence::Held | Presence::Missing => {
                    commands.extend(endpoint.commands(home).into_iter().map(|command| (shard, command)));
                }
            }
        }
        for (peer, _) in &lost {
            locked.peers.note_lost(*peer);
            self.note_end(locked, *peer);
        }
        self.lost.extend(lost.into_iter().filter(|(_, is_asked)| *is_asked).map(|(peer, _)| peer));
    }

    /// Notes peers that the relay has lost. Viewers are asked to come back. Publishers come back by themselves.
    fn lose(&self, peers: &[u64]) {
        for &peer in peers {
            let Some(cell) = self.of_endpoint(peer) else { continue };
            let Some(mut locked) = cell.lock() else { continue };
            let is_viewing = locked.session.graph().get(peer).is_some_and(Endpoint::is_viewing);
            let was_over = locked.peers.is_over(peer);
            locked.peers.note_lost(peer);
            if is_viewing && !was_over {
                self.lost.extend([peer]);
            }
            self.note_end(&locked, peer);
        }
    }

    fn handle_peer(&self, shard: u32, event: PeerEvent) {
        let Some(cell) = self.of_endpoint(event.peer) else { return };
        let Some(mut locked) = cell.lock() else { return };
        let (peer, state) = (event.peer, event.state());
        let note = PeerNote { state, remote: event.remote, reason: event.reason, flow: event.flow };
        tracing::debug!(shard, peer, ?note, "peer");
        if locked.peers.get(peer) != Some(&note) {
            locked.peers.note(peer, note);
        }
        if state == PeerState::Closed {
            self.note_end(&locked, peer);
        }
    }

    /// Notes the end of a peer, which may be the end of its participant's media.
    fn note_end(&self, locked: &LockedSession<'_>, peer: u64) {
        let Some((owner, _)) = locked.session.graph().owned(peer) else { return };
        if locked.media_are_over(owner) {
            self.ended.extend([(Arc::clone(locked.cell().id()), owner.to_owned())]);
        }
    }
}
