//! Handshake datagrams wait here until media has been served: a bounded number a cycle, a bounded number in all.

use std::collections::VecDeque;

use crate::discard::Discard;
use crate::ids::PeerSlot;
use crate::limits::{HANDSHAKE_QUEUE_MAX, HANDSHAKES_BY_PEER_MAX, HANDSHAKES_PER_CYCLE, PEERS_MAX};

/// Longest handshake datagram that is kept; browsers send at most 1 200 to 1 500 bytes.
const DATAGRAM_BYTES_MAX: usize = 2048;

/// The waiting handshake datagrams of a shard.
pub(super) struct HandshakeQueue {
    waiting: VecDeque<(PeerSlot, Vec<u8>)>,
    waiting_by_peer: Vec<u8>,
}

impl HandshakeQueue {
    /// Nothing waits.
    pub(super) fn new() -> Self {
        Self { waiting: VecDeque::with_capacity(HANDSHAKE_QUEUE_MAX), waiting_by_peer: vec![0; PEERS_MAX] }
    }

    /// Keeps a datagram for later.
    ///
    /// # Errors
    /// When too many wait, or it is longer than any handshake datagram.
    pub(super) fn push(&mut self, peer: PeerSlot, datagram: &[u8]) -> Result<(), Discard> {
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return Err(Discard::PeerTooLong);
        }
        let by_peer = &mut self.waiting_by_peer[peer.index()];
        if self.waiting.len() >= HANDSHAKE_QUEUE_MAX || *by_peer >= HANDSHAKES_BY_PEER_MAX {
            return Err(Discard::OurHandshakeQueueFull);
        }
        *by_peer += 1;
        self.waiting.push_back((peer, datagram.to_vec()));
        Ok(())
    }

    /// What this cycle works on.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (PeerSlot, Vec<u8>)> + use<> {
        let count = self.waiting.len().min(HANDSHAKES_PER_CYCLE);
        let taken: Vec<_> = self.waiting.drain(..count).collect();
        for (peer, _) in &taken {
            self.waiting_by_peer[peer.index()] -= 1;
        }
        taken.into_iter()
    }

    /// A peer has gone: what it sent is not for the next one in its place.
    pub(super) fn forget(&mut self, peer: PeerSlot) {
        self.waiting.retain(|(sender, _)| *sender != peer);
        self.waiting_by_peer[peer.index()] = 0;
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_cannot_take_every_place() {
        let mut queue = HandshakeQueue::new();
        let flood = (0..1_000).filter(|_| queue.push(PeerSlot(1), b"junk").is_ok()).count();
        assert_eq!(flood, usize::from(HANDSHAKES_BY_PEER_MAX));
        queue.push(PeerSlot(2), b"hello").unwrap();
        queue.forget(PeerSlot(1));
        assert_eq!(queue.take().collect::<Vec<_>>(), [(PeerSlot(2), b"hello".to_vec())]);
        assert!(queue.is_empty() && queue.push(PeerSlot(1), b"hello").is_ok());
    }
}
