//! Whose is it: from an address, an ICE user name or an SSRC to a slot. Rebuilt from the records after a restart.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use crate::egress::Path;
use crate::ids::{InboundSlot, PeerId, PeerSlot, SubscriptionId, SubscriptionSlot, TrackId, TrackSlot};

/// Hashes a few words with a secret seed: cheap enough for every packet, and strangers cannot aim at one bucket.
#[derive(Clone, Copy)]
pub(super) struct Seeded(u64);

/// State of [`Seeded`] while it hashes.
pub(super) struct Folding(u64);

const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

impl Folding {
    const fn fold(&mut self, word: u64) {
        let product = (self.0 ^ word) as u128 * MULTIPLIER as u128;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.fold(u64::from_le_bytes(word) ^ (chunk.len() as u64) << 56);
        }
    }
    fn write_u8(&mut self, word: u8) {
        self.fold(u64::from(word));
    }
    fn write_u16(&mut self, word: u16) {
        self.fold(u64::from(word));
    }
    fn write_u32(&mut self, word: u32) {
        self.fold(u64::from(word));
    }
    fn write_u64(&mut self, word: u64) {
        self.fold(word);
    }
    fn write_usize(&mut self, word: usize) {
        self.fold(word as u64);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

impl BuildHasher for Seeded {
    type Hasher = Folding;
    fn build_hasher(&self) -> Folding {
        Folding(self.0)
    }
}

type Map<K, V> = HashMap<K, V, Seeded>;

/// The look-ups of a shard. Never iterated, so their order decides nothing.
pub(super) struct Routes {
    /// A validated path belongs to one peer.
    pub(super) by_path: Map<Path, PeerSlot>,
    /// Our user fragment names one peer (RFC 8445 §7.3).
    pub(super) by_ufrag: Map<Box<[u8]>, PeerSlot>,
    /// The key of a stream is the transport and its SSRC, never the SSRC alone.
    pub(super) by_ssrc: Map<(PeerSlot, u32), InboundSlot>,
    /// What we send has SSRCs too; viewers' RTCP names them. RTX has its own.
    pub(super) by_viewer_ssrc: Map<(PeerSlot, u32), SubscriptionSlot>,
    /// Signaling's ids.
    pub(super) by_peer: Map<PeerId, PeerSlot>,
    /// Signaling's ids.
    pub(super) by_track: Map<TrackId, TrackSlot>,
    /// Signaling's ids.
    pub(super) by_subscription: Map<SubscriptionId, SubscriptionSlot>,
}

impl Routes {
    /// No routes yet. `seed` is secret.
    pub(super) fn new(seed: u64) -> Self {
        let seeded = Seeded(seed);
        Self {
            by_path: Map::with_capacity_and_hasher(1024, seeded),
            by_ufrag: Map::with_hasher(seeded),
            by_ssrc: Map::with_capacity_and_hasher(1024, seeded),
            by_viewer_ssrc: Map::with_hasher(seeded),
            by_peer: Map::with_hasher(seeded),
            by_track: Map::with_hasher(seeded),
            by_subscription: Map::with_hasher(seeded),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_addresses_spread_and_another_seed_spreads_otherwise() {
        let hash = |seed, port: u16| {
            let path = Path { remote: ([127, 0, 0, 1], port).into(), ..Path::NONE };
            Seeded(seed).hash_one(path) & 0xFF
        };
        let buckets =
            |seed| (0..1024).map(|port| hash(seed, port)).collect::<std::collections::BTreeSet<_>>().len();
        assert!(buckets(1) > 240, "1 024 ports reach nearly all of 256 buckets");
        assert!((0..1024).any(|port| hash(1, port) != hash(2, port)));
    }
}
