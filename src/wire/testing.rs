//! What the tests of this layer share: seeded randomness and hostile bytes.

/// SplitMix64: small, seeded, good enough to choose test values.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn u32(&mut self) -> u32 {
        (self.u64() >> 32) as u32
    }

    pub(crate) fn u16(&mut self) -> u16 {
        (self.u64() >> 48) as u16
    }

    pub(crate) fn u8(&mut self) -> u8 {
        (self.u64() >> 56) as u8
    }

    /// A number in `0..end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.u64() % end
    }

    /// True in one of `n` cases.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.u8()).collect()
    }
}

/// Every length from 0 to 1 500 with every first byte; the rest is a moving window of pseudo-random fill.
pub(crate) fn every_length_and_first_byte(mut check: impl FnMut(&[u8])) {
    let mut fill = Random::new(1).bytes(4096);
    for len in 0..=1500 {
        for first in 0..=255u8 {
            let start = (len * 7 + usize::from(first) * 5) % 2500;
            let kept = fill[start];
            fill[start] = first;
            check(&fill[start..start + len]);
            fill[start] = kept;
        }
    }
}

/// Cuts `valid` at every byte, then changes every byte of it to a few hostile values.
pub(crate) fn every_cut_and_change(valid: &[u8], mut check: impl FnMut(&[u8])) {
    for len in 0..=valid.len() {
        check(&valid[..len]);
    }
    let mut changed = valid.to_vec();
    for at in 0..valid.len() {
        for value in [0, 1, 0x7f, 0x80, 0xfe, 0xff, valid[at] ^ 0x10, valid[at].wrapping_add(1)] {
            changed[at] = value;
            check(&changed);
        }
        changed[at] = valid[at];
    }
}
