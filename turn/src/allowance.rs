//! How much strangers may make us answer.
//!
//! Anybody can forge the source of a datagram, so each answer to a stranger may be a packet to a victim. What one
//! source address gets is bounded, and so is the sum; the memory is fixed and nothing is ever allocated or evicted.
//!
//! Each slot of the table is one token bucket, kept as the single number of the generic cell rate algorithm: the time
//! at which the bucket is full again. A source hashes to one slot and shares it with whoever hashes there too. There
//! are no keys to compare and nothing to evict, so that no flood of forged addresses can win a source a fresh bucket;
//! the price is that an attacker silences, by chance, one stranger's address in some thousands. The seed keeps the
//! attacker from choosing whose.

use std::net::IpAddr;

/// Answers a second that one source address gets in the long run.
pub const ALLOWANCE_PER_SECOND: u64 = 50;

/// Answers that one source address gets at once after a silence: a whole office behind one NAT starts its calls.
pub const ALLOWANCE_BURST: u64 = 100;

/// Slots of the table. All together admit `SLOTS * ALLOWANCE_PER_SECOND`, some 200 000 a second, which is what a
/// flood from everywhere can get; 32 KiB of memory.
const SLOTS: usize = 4096;

/// Time in which one token grows.
const TOKEN_NANOS: u64 = 1_000_000_000 / ALLOWANCE_PER_SECOND;

/// How far the time of being full may lie ahead for one more to pass.
const AHEAD_NANOS_MAX: u64 = (ALLOWANCE_BURST - 1) * TOKEN_NANOS;

const _: () = assert!(SLOTS.is_power_of_two() && ALLOWANCE_BURST > 0 && TOKEN_NANOS > 0);

/// A rate limiter for unauthenticated answers, by source address without its port; IPv6 by /64, which is what one
/// subscriber gets.
#[derive(Clone, Debug)]
pub struct Allowance {
    seed: [u64; 2],
    /// When each bucket is full again, in nanoseconds.
    full_at: Box<[u64]>,
}

impl Allowance {
    /// A full allowance for everybody. The seed is random and secret.
    pub fn new(seed: [u64; 2]) -> Self {
        Self { seed, full_at: vec![0; SLOTS].into_boxed_slice() }
    }

    /// Whether one more answer may go to `ip`, at `now_nanos` of a monotonic clock. Constant time, no allocation.
    pub fn admit(&mut self, now_nanos: u64, ip: IpAddr) -> bool {
        self.admit_key(now_nanos, source_key(ip))
    }

    /// As [`Self::admit`], for whatever else may be counted: the first word says what, from [`KEY_KINDS_FROM`] on.
    pub(crate) fn admit_key(&mut self, now_nanos: u64, key: [u64; 2]) -> bool {
        let slot = slot(self.seed, key);
        let full_at = self.full_at[slot].max(now_nanos);
        if full_at - now_nanos > AHEAD_NANOS_MAX {
            return false;
        }
        self.full_at[slot] = full_at.saturating_add(TOKEN_NANOS);
        true
    }

    /// Whether [`Self::admit_key`] would say yes; nothing is taken.
    pub(crate) fn would_admit_key(&self, now_nanos: u64, key: [u64; 2]) -> bool {
        self.full_at[slot(self.seed, key)].saturating_sub(now_nanos) <= AHEAD_NANOS_MAX
    }
}

/// First words of keys below this number are the families of addresses.
pub(crate) const KEY_KINDS_FROM: u64 = 16;

/// What counts as one source: the family in one word, the address or its /64 in the other.
pub(crate) fn source_key(ip: IpAddr) -> [u64; 2] {
    match ip.to_canonical() {
        IpAddr::V4(ip) => [4, u64::from(u32::from(ip))],
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments().map(u64::from);
            [6, a << 48 | b << 32 | c << 16 | d]
        }
    }
}

/// Keyed hash by folded multiplication. Its output is never shown, so it need not withstand more than guessing.
fn slot(seed: [u64; 2], key: [u64; 2]) -> usize {
    const ODD: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];
    let first = fold(seed[0] ^ key[0], ODD[0]);
    let second = fold(first ^ key[1] ^ seed[1], ODD[1]);
    let hash = fold(second ^ seed[0], ODD[0]);
    // Below SLOTS, so it fits every usize.
    usize::try_from(hash % SLOTS as u64).unwrap_or(0)
}

/// Both halves of the 128-bit product, XORed.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    let [high, low] = [product >> 64, product & u128::from(u64::MAX)];
    u64::try_from(high ^ low).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const SECOND: u64 = 1_000_000_000;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn admitted(allowance: &mut Allowance, now: u64, ip: IpAddr, asked: usize) -> usize {
        (0..asked).filter(|_| allowance.admit(now, ip)).count()
    }

    #[test]
    fn a_burst_then_the_rate() {
        let mut allowance = Allowance::new([1, 2]);
        let source = ip("192.0.2.1");
        assert_eq!(admitted(&mut allowance, 7, source, 1_000), 100);
        assert_eq!(admitted(&mut allowance, 7 + SECOND, source, 1_000), 50);
        assert_eq!(admitted(&mut allowance, 7 + SECOND + SECOND / 50, source, 1_000), 1);
        assert_eq!(admitted(&mut allowance, 7 + 100 * SECOND, source, 1_000), 100, "never more than a burst");
    }

    #[test]
    fn a_steady_asker_at_the_rate_is_never_refused() {
        let mut allowance = Allowance::new([1, 2]);
        assert!((0..5_000).all(|turn| allowance.admit(turn * TOKEN_NANOS, ip("192.0.2.1"))));
    }

    #[test]
    fn one_source_is_an_ipv4_address_or_an_ipv6_subnet() {
        let mut allowance = Allowance::new([1, 2]);
        assert_eq!(admitted(&mut allowance, 0, ip("2001:db8:1:2::1"), 1_000), 100);
        assert!(!allowance.admit(0, ip("2001:db8:1:2:ffff:ffff:ffff:ffff")), "the same /64");
        assert!(allowance.admit(0, ip("2001:db8:1:3::1")), "another /64");
        assert_eq!(admitted(&mut allowance, 0, ip("::ffff:192.0.2.9"), 1_000), 100);
        assert!(!allowance.admit(0, ip("192.0.2.9")), "the same address in its other form");
        assert!(allowance.admit(0, ip("192.0.2.10")));
    }

    #[test]
    fn a_flood_from_everywhere_is_bounded_and_wins_nobody_a_fresh_bucket() {
        let mut allowance = Allowance::new([3, 4]);
        let source = ip("203.0.113.5");
        assert_eq!(admitted(&mut allowance, 0, source, 1_000), 100);
        let total = (0..1_000_000_u32).filter(|n| allowance.admit(0, IpAddr::V4(Ipv4Addr::from(*n)))).count();
        assert!(total <= SLOTS * 100, "{total}");
        assert!(!allowance.admit(0, source));
    }

    #[test]
    fn sources_spread_over_the_table_and_the_seed_decides_where() {
        let used = |keys: &mut dyn Iterator<Item = IpAddr>, seed| {
            let mut slots: Vec<_> = keys.map(|ip| slot(seed, source_key(ip))).collect();
            slots.sort_unstable();
            slots.dedup();
            slots.len()
        };
        // 4096 keys thrown at random into 4096 slots leave 1/e of them empty: 2589 used.
        for seed in [[0, 0], [1, 2], [u64::MAX, 0x1234_5678_9abc_def0]] {
            let v4 = used(&mut (0..4096).map(|n: u32| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n))), seed);
            let v6 = used(&mut (0..4096).map(|n: u128| IpAddr::V6(Ipv6Addr::from(n << 64))), seed);
            assert!(v4 > 2300 && v6 > 2300, "{seed:?}: {v4} {v6}");
        }
        let places = |seed| (0..64).map(move |n| slot(seed, [4, n])).collect::<Vec<_>>();
        assert_ne!(places([1, 2]), places([1, 3]));
        assert_ne!(places([1, 2]), places([2, 2]));
    }
}
