//! Everything random comes from one secret seed, so that the same seed gives the same run.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use aws_lc_rs::hmac;

/// 32 random, secret bytes that a server is made with.
pub(super) struct Seed(hmac::Key);

impl Seed {
    pub(super) fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// 32 bytes for one purpose.
    pub(super) fn bytes(&self, purpose: &[u8]) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hmac::sign(&self.0, purpose).as_ref());
        bytes
    }

    /// Two words for one purpose.
    pub(super) fn words(&self, purpose: &[u8]) -> [u64; 2] {
        let bytes = self.bytes(purpose);
        let [first, second, ..] = *bytes.as_chunks::<8>().0 else { return [0; 2] };
        [first, second].map(u64::from_le_bytes)
    }
}

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Both halves of the 128-bit product, XORed.
fn fold(word: u64) -> u64 {
    let product = u128::from(word) * u128::from(ODD);
    let [high, low] = [product >> 64, product & u128::from(u64::MAX)];
    u64::try_from(high ^ low).unwrap_or(0)
}

/// Hashes a few words with a secret seed: cheap enough for every packet, and strangers cannot aim at one bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seeded(pub(super) u64);

/// State of [`Seeded`] while it hashes.
#[derive(Debug)]
pub(super) struct Folding(u64);

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = fold(self.0 ^ word);
    }
    fn finish(&self) -> u64 {
        // The table takes its tag from the upper bits and its place from the lower ones.
        fold(self.0 ^ ODD)
    }
}

impl BuildHasher for Seeded {
    type Hasher = Folding;
    fn build_hasher(&self) -> Folding {
        Folding(self.0)
    }
}

/// A map that is never iterated, so its order decides nothing.
pub(super) type Map<K, V> = HashMap<K, V, Seeded>;

/// Random numbers that need not be secret: transactions of indications, the order of ports.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (Steele, Lea and Flood's SplitMix).
    pub(super) const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(ODD);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        // Below `end`, so it fits.
        usize::try_from(self.roll() % end).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_spread_and_another_seed_spreads_otherwise() {
        let buckets = |seed| {
            let hashes = (0..1024_u64).map(move |word| Seeded(seed).hash_one(word));
            let low: std::collections::BTreeSet<_> = hashes.clone().map(|hash| hash & 0xff).collect();
            let high: std::collections::BTreeSet<_> = hashes.map(|hash| hash >> 57).collect();
            (low.len(), high.len())
        };
        let (low, high) = buckets(1);
        assert!(low > 240 && high > 120, "{low} {high}");
        assert!((0..16_u64).any(|word| Seeded(1).hash_one(word) != Seeded(2).hash_one(word)));
    }

    #[test]
    fn purposes_get_different_bytes() {
        let seed = Seed::new(&[7; 32]);
        assert_ne!(seed.bytes(b"a"), seed.bytes(b"b"));
        assert_eq!(seed.bytes(b"a"), Seed::new(&[7; 32]).bytes(b"a"));
        assert_ne!(seed.bytes(b"a"), Seed::new(&[8; 32]).bytes(b"a"));
    }
}
