//! What one participant may make the others be sent.
//!
//! Signals and changed properties are copied to everybody, and while the store commits they gather in the outboxes.
//! Without a bound one client could fill all of them, and all the others would be put out for not reading.

use tokio::time::Instant;

use super::outbox;
use crate::rate::{Bucket, Rate};

/// Bytes that may come at once: what one sender does alone never fills an outbox.
const BURST_BYTES: usize = outbox::LEN_BYTES_MAX / 2;

/// What a notification is charged besides its content: names, ids, the frame.
const OVERHEAD_BYTES: usize = 256;

/// Bytes one participant may still spend.
#[derive(Clone, Debug)]
pub struct Budget(Bucket);

impl Budget {
    /// A full one.
    pub const fn new(now: Instant) -> Self {
        Self(Bucket::new(now))
    }

    /// Takes a notification with `len_bytes` of the participant's own, of which `per_s_max` come back each second;
    /// `false`, and nothing taken, when there is not that much left.
    pub fn spend(&mut self, now: Instant, per_s_max: u32, len_bytes: usize) -> bool {
        let burst = u32::try_from(BURST_BYTES).unwrap_or(u32::MAX);
        let len_bytes = len_bytes.saturating_add(OVERHEAD_BYTES);
        Rate::per_second(per_s_max, burst).is_none_or(|rate| self.0.spend(now, rate, len_bytes).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RATE_BYTES: u32 = 64 * 1024;

    #[test]
    fn a_burst_is_bounded_and_comes_back_with_time() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let most = BURST_BYTES - OVERHEAD_BYTES;
        let mut spend = |at, len_bytes| budget.spend(at, RATE_BYTES, len_bytes);
        assert!(!spend(start, most + 1));
        assert!(!spend(start, usize::MAX));
        assert!(spend(start, most));
        assert!(!spend(start, 0));
        let second = Duration::from_secs(1);
        assert!(!spend(start + second, RATE_BYTES as usize - OVERHEAD_BYTES + 1));
        assert!(spend(start + second, RATE_BYTES as usize - OVERHEAD_BYTES));
        assert!(spend(start + 1_000_000 * second, most));
        assert!(!spend(start + 1_000_000 * second, 0), "no more than one burst is kept");
    }
}
