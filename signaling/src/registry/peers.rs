//! What is known of the relay's peers of one session.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millrace_control::{MediaFlow, PeerState};

use crate::clock;
use crate::session::Endpoint;

/// The reason of a peer that the relay no longer holds.
pub(super) const LOST: &str = "the relay lost its keys";

/// How far each peer of a session got in the relay, as far as the relay says. It is not stored: a new process learns it
/// again.
#[derive(Debug, Default)]
pub struct Peers {
    notes: BTreeMap<u64, PeerNote>,
    texts: BTreeMap<u64, Texts>,
    /// Bytes of the texts of all sessions together.
    texts_len_bytes: Arc<AtomicUsize>,
}

/// Most memory for the descriptions of all peers of all sessions, in bytes. A viewer's descriptions have about 10 000
/// bytes. When the memory is used up, new descriptions are not kept.
const TEXTS_LEN_BYTES_MAX: usize = 16 << 20;

/// Most events of one peer that are kept: it has four states, and may change its address.
const EVENTS_MAX: usize = 16;

/// The session descriptions and the events of a peer. They help to find the cause of a bad call.
#[derive(Debug, Default)]
pub struct Texts {
    /// Our session description.
    pub local: Box<str>,
    /// The client's.
    pub remote: Box<str>,
    /// Its events, each with its time in ms since 1970.
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
    /// Whether media came or went in the last second, as far as the relay says.
    pub flow: Option<MediaFlow>,
}

impl PeerNote {
    /// A peer that got that far, of which nothing else is known.
    pub const fn at(state: PeerState) -> Self {
        Self { state, remote: String::new(), reason: String::new(), flow: None }
    }

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

impl Drop for Peers {
    fn drop(&mut self) {
        let len_bytes: usize = self.texts.values().map(Texts::len_bytes).sum();
        self.texts_len_bytes.fetch_sub(len_bytes, Ordering::Relaxed);
    }
}

impl Peers {
    /// None yet. Their descriptions count in `texts_len_bytes`, which all sessions share.
    pub fn sharing(texts_len_bytes: Arc<AtomicUsize>) -> Self {
        Self { notes: BTreeMap::new(), texts: BTreeMap::new(), texts_len_bytes }
    }

    /// What is known of a peer.
    pub fn get(&self, peer: u64) -> Option<&PeerNote> {
        self.notes.get(&peer)
    }

    /// The texts of a peer. `None` if the peer is older than this process, or there was no room for its texts.
    pub fn texts(&self, peer: u64) -> Option<&Texts> {
        self.texts.get(&peer)
    }

    /// Keeps the session descriptions of a peer, if there is room.
    pub fn describe(&mut self, peer: u64, local: &str, remote: &str) {
        let texts = Texts { local: local.into(), remote: remote.into(), events: Vec::new() };
        self.forget_texts(peer);
        let len_bytes = texts.len_bytes();
        if self.texts_len_bytes.fetch_add(len_bytes, Ordering::Relaxed) + len_bytes <= TEXTS_LEN_BYTES_MAX {
            self.texts.insert(peer, texts);
        } else {
            self.texts_len_bytes.fetch_sub(len_bytes, Ordering::Relaxed);
        }
    }

    /// Notes that a peer is about to be made.
    pub fn expect(&mut self, peer: u64) {
        self.note(peer, PeerNote::at(PeerState::Ice));
    }

    /// Notes what the relay says of a peer.
    pub fn note(&mut self, peer: u64, note: PeerNote) {
        // The relay also reports a change of the flow of media, once a second. That is no event.
        let before = self.notes.get(&peer);
        let is_event = before.is_none_or(|old| (old.state, &old.remote) != (note.state, &note.remote));
        if is_event
            && let Some(texts) = self.texts.get_mut(&peer)
            && texts.events.len() < EVENTS_MAX
        {
            texts.events.push((clock::now_ms(), note.state_name()));
        }
        self.notes.insert(peer, note);
    }

    /// Notes that the relay no longer holds what a peer's transport needs.
    pub fn note_lost(&mut self, peer: u64) {
        self.note(peer, PeerNote { reason: LOST.into(), ..PeerNote::at(PeerState::Closed) });
    }

    /// Forgets a peer.
    pub fn forget(&mut self, peer: u64) {
        self.notes.remove(&peer);
        self.forget_texts(peer);
    }

    fn forget_texts(&mut self, peer: u64) {
        let len_bytes = self.texts.remove(&peer).map_or(0, |texts| texts.len_bytes());
        self.texts_len_bytes.fetch_sub(len_bytes, Ordering::Relaxed);
    }

    /// Whether the relay has closed or lost that peer.
    pub fn is_over(&self, peer: u64) -> bool {
        self.get(peer).is_some_and(|note| note.state == PeerState::Closed)
    }

    /// Whether media flow over the peer of that endpoint. A silent publisher does not count; a viewer need not send.
    pub fn carries(&self, endpoint: &Endpoint) -> bool {
        let Some(note) = self.get(endpoint.id()) else { return false };
        let is_silent = note.flow.is_some_and(|flow| !flow.audio_in && !flow.video_in);
        note.state == PeerState::Live && (endpoint.inputs.is_empty() || !is_silent)
    }

    /// Whether a peer that the relay does not hold works again after signaling sends it again. It does not if its
    /// handshake has begun, because the keys are lost. The relay would still answer the browser's checks, so the
    /// browser would notice the loss later. `same_epoch` says that this process has compared the peer's shard with
    /// this relay before. Without that, a peer without a note counts as established.
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
        let len_bytes = Arc::clone(&peers.texts_len_bytes);
        assert_eq!(len_bytes.load(Ordering::Relaxed), half.len());
        drop(peers);
        assert_eq!(len_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_happens_to_a_peer_is_noted_with_a_bound() {
        let mut peers = Peers::default();
        peers.describe(1, "a", "b");
        for audio_in in [true, false, true] {
            let flow = Some(MediaFlow { audio_in, ..MediaFlow::default() });
            peers.note(1, PeerNote { flow, ..PeerNote::at(PeerState::Live) });
        }
        assert_eq!(peers.texts(1).unwrap().events.len(), 1, "media that comes and goes is no event");
        for state in [PeerState::Ice, PeerState::Live].into_iter().cycle().take(100) {
            peers.note(1, PeerNote::at(state));
        }
        let events = &peers.texts(1).unwrap().events;
        assert_eq!((events.len(), events[0].1, events[1].1), (EVENTS_MAX, "live", "ice"));
    }
}
