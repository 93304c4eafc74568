//! What is known of the relay's peers.

use std::collections::BTreeMap;

use millrace_control::PeerState;

use crate::clock;

/// Why a peer is over that the relay no longer holds.
pub(super) const LOST: &str = "the relay lost its keys";

/// How far each of our peers got in the relay, as far as it told us. Not stored: a new process learns it again.
#[derive(Debug, Default)]
pub struct Peers {
    notes: BTreeMap<u64, PeerNote>,
    texts: BTreeMap<u64, Texts>,
    /// Of all texts together.
    texts_len_bytes: usize,
}

/// Most memory the descriptions of all peers may take, in bytes. Those of a viewer have about 10 000; what comes when
/// it is used up is not kept.
const TEXTS_LEN_BYTES_MAX: usize = 64 << 20;

/// Most events of one peer that are kept: it has four states, and may change its address.
const EVENTS_MAX: usize = 16;

/// How a peer came about, for those who look for the reason of a bad call.
#[derive(Debug, Default)]
pub struct Texts {
    /// Our session description.
    pub local: Box<str>,
    /// The client's.
    pub remote: Box<str>,
    /// When it got how far, in ms since 1970.
    pub events: Vec<(u64, &'static str)>,
}

impl Texts {
    const fn len_bytes(&self) -> usize {
        self.local.len() + self.remote.len()
    }
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

impl PeerNote {
    /// Its state in one word.
    pub const fn state_name(&self) -> &'static str {
        match self.state {
            PeerState::Ice => "ice",
            PeerState::Dtls => "dtls",
            PeerState::Live => "live",
            PeerState::Closed => "closed",
        }
    }
}

impl Peers {
    /// What is known of a peer.
    pub fn get(&self, peer: u64) -> Option<&PeerNote> {
        self.notes.get(&peer)
    }

    /// How a peer came about, unless it did so before this process or when there was no room.
    pub fn texts(&self, peer: u64) -> Option<&Texts> {
        self.texts.get(&peer)
    }

    /// Keeps the session descriptions of a peer, if there is room.
    pub fn describe(&mut self, peer: u64, local: &str, remote: &str) {
        let texts = Texts { local: local.into(), remote: remote.into(), events: Vec::new() };
        self.forget_texts(peer);
        if self.texts_len_bytes + texts.len_bytes() <= TEXTS_LEN_BYTES_MAX {
            self.texts_len_bytes += texts.len_bytes();
            self.texts.insert(peer, texts);
        }
    }

    /// Notes that a peer is about to be made.
    pub fn expect(&mut self, peer: u64) {
        self.note(peer, PeerNote { state: PeerState::Ice, remote: String::new(), reason: String::new() });
    }

    /// Notes what the relay says of a peer.
    pub fn note(&mut self, peer: u64, note: PeerNote) {
        if let Some(texts) = self.texts.get_mut(&peer)
            && texts.events.len() < EVENTS_MAX
        {
            texts.events.push((clock::now_ms(), note.state_name()));
        }
        self.notes.insert(peer, note);
    }

    /// Notes that the relay no longer holds what a peer's transport needs.
    pub fn note_lost(&mut self, peer: u64) {
        self.note(peer, PeerNote { state: PeerState::Closed, remote: String::new(), reason: LOST.into() });
    }

    /// Forgets a peer.
    pub fn forget(&mut self, peer: u64) {
        self.notes.remove(&peer);
        self.forget_texts(peer);
    }

    /// Forgets all that are nobody's.
    pub fn retain(&mut self, is_claimed: impl Fn(u64) -> bool) {
        self.notes.retain(|&peer, _| is_claimed(peer));
        let len_bytes = &mut self.texts_len_bytes;
        self.texts.retain(|&peer, texts| {
            let keep = is_claimed(peer);
            *len_bytes -= if keep { 0 } else { texts.len_bytes() };
            keep
        });
    }

    fn forget_texts(&mut self, peer: u64) {
        self.texts_len_bytes -= self.texts.remove(&peer).map_or(0, |texts| texts.len_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_counted_as_long_as_they_are_kept() {
        let mut peers = Peers::default();
        let half = "x".repeat(TEXTS_LEN_BYTES_MAX / 2);
        peers.describe(1, &half, "");
        peers.describe(1, &half, "");
        peers.describe(2, "", &half);
        peers.describe(3, "x", "");
        assert!(peers.texts(2).is_some() && peers.texts(3).is_none(), "there is no more room");
        peers.forget(1);
        peers.retain(|_| false);
        assert_eq!((peers.texts_len_bytes, peers.texts.len()), (0, 0));
    }

    #[test]
    fn what_happens_to_a_peer_is_noted_with_a_bound() {
        let mut peers = Peers::default();
        peers.describe(1, "a", "b");
        (0..100).for_each(|_| peers.expect(1));
        let events = &peers.texts(1).unwrap().events;
        assert_eq!((events.len(), events[0].1), (EVENTS_MAX, "ice"));
    }
}
