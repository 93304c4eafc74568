//! Handshake datagrams wait here until media has been served: a bounded number a cycle, a bounded number in all.

use std::collections::VecDeque;

use crate::discard::Discard;
use crate::ids::PeerSlot;
use crate::limits::{HANDSHAKE_QUEUE_MAX, HANDSHAKES_PER_CYCLE};

/// Longest handshake datagram that is kept; browsers send at most 1 200 to 1 500 bytes.
const DATAGRAM_BYTES_MAX: usize = 2048;

/// The waiting handshake datagrams of a shard.
#[derive(Default)]
pub(super) struct HandshakeQueue {
    waiting: VecDeque<(PeerSlot, Vec<u8>)>,
}

impl HandshakeQueue {
    /// Keeps a datagram for later.
    ///
    /// # Errors
    /// When too many wait, or it is longer than any handshake datagram.
    pub(super) fn push(&mut self, peer: PeerSlot, datagram: &[u8]) -> Result<(), Discard> {
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return Err(Discard::PeerTooLong);
        }
        if self.waiting.len() >= HANDSHAKE_QUEUE_MAX {
            return Err(Discard::OurHandshakeQueueFull);
        }
        self.waiting.push_back((peer, datagram.to_vec()));
        Ok(())
    }

    /// What this cycle works on.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (PeerSlot, Vec<u8>)> + use<> {
        let count = self.waiting.len().min(HANDSHAKES_PER_CYCLE);
        self.waiting.drain(..count).collect::<Vec<_>>().into_iter()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
