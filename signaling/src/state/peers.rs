//! What is known of the relay's peers.

use std::collections::BTreeMap;

use millrace_control::PeerState;

/// Why a peer is over that the relay no longer holds.
pub(super) const LOST: &str = "the relay lost its keys";

/// How far each of our peers got in the relay, as far as it told us. Not stored: a new process learns it again.
#[derive(Debug, Default)]
pub struct Peers(BTreeMap<u64, PeerNote>);

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

impl Peers {
    /// What is known of a peer.
    pub fn get(&self, peer: u64) -> Option<&PeerNote> {
        self.0.get(&peer)
    }

    /// Notes that a peer is about to be made.
    pub fn expect(&mut self, peer: u64) {
        self.note(peer, PeerNote { state: PeerState::Ice, remote: String::new(), reason: String::new() });
    }

    /// Notes what the relay says of a peer.
    pub fn note(&mut self, peer: u64, note: PeerNote) {
        self.0.insert(peer, note);
    }

    /// Notes that the relay no longer holds what a peer's transport needs.
    pub fn note_lost(&mut self, peer: u64) {
        self.note(peer, PeerNote { state: PeerState::Closed, remote: String::new(), reason: LOST.into() });
    }

    /// Forgets a peer.
    pub fn forget(&mut self, peer: u64) {
        self.0.remove(&peer);
    }

    /// Forgets all that are nobody's.
    pub fn retain(&mut self, is_claimed: impl Fn(u64) -> bool) {
        self.0.retain(|&peer, _| is_claimed(peer));
    }

    /// Whether the relay has closed or lost that peer.
    pub fn is_over(&self, peer: u64) -> bool {
        self.get(peer).is_some_and(|note| note.state == PeerState::Closed)
    }

    /// Whether saying a peer again, which the relay does not hold, would bring it back to life. Once its handshake has
    /// begun it would not: the keys are gone, and a relay that answers the browser's checks all the same only keeps it
    /// from noticing. Its client comes back by reconnectStream. What nothing is known of was known to a relay of
    /// another epoch, or to this process before it was restarted, and has long been established.
    pub fn revives(&self, peer: u64, same_epoch: bool) -> bool {
        match self.get(peer).map(|note| note.state) {
            Some(PeerState::Ice) => true,
            Some(PeerState::Dtls | PeerState::Live | PeerState::Closed) => false,
            None => same_epoch,
        }
    }
}
