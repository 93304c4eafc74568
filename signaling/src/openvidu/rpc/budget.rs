//! What one participant may make the others be sent.
//!
//! Signals and changed properties are copied to everybody, and while the store commits they gather in the outboxes.
//! Without a bound one client could fill all of them, and all the others would be put out for not reading.

use tokio::time::{Duration, Instant};

use super::outbox;

/// Bytes that may come at once: what one sender does alone never fills an outbox.
const BURST_BYTES: usize = outbox::LEN_BYTES_MAX / 2;

/// Bytes a second that come back.
const RATE_BYTES: u32 = 64 * 1024;

/// What a notification is charged besides its content: names, ids, the frame.
const OVERHEAD_BYTES: usize = 256;

/// Bytes one participant may still spend.
#[derive(Clone, Debug)]
pub struct Budget {
    left_bytes: usize,
    counted_at: Instant,
}

impl Budget {
    /// A full one.
    pub const fn new(now: Instant) -> Self {
        Self { left_bytes: BURST_BYTES, counted_at: now }
    }

    /// Takes a notification with `len_bytes` of the participant's own; `false`, and nothing taken, when there is not
    /// that much left.
    pub fn spend(&mut self, now: Instant, len_bytes: usize) -> bool {
        let earned = now.saturating_duration_since(self.counted_at).saturating_mul(RATE_BYTES);
        let whole = usize::try_from(earned.as_secs()).unwrap_or(usize::MAX);
        self.left_bytes = self.left_bytes.saturating_add(whole).min(BURST_BYTES);
        // The fraction of a byte is earned the next time.
        self.counted_at = now - Duration::from_nanos(u64::from(earned.subsec_nanos())) / RATE_BYTES;
        let Some(left_bytes) = self.left_bytes.checked_sub(len_bytes.saturating_add(OVERHEAD_BYTES)) else {
            return false;
        };
        self.left_bytes = left_bytes;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_bounded_and_comes_back_with_time() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let most = BURST_BYTES - OVERHEAD_BYTES;
        assert!(!budget.spend(start, most + 1));
        assert!(!budget.spend(start, usize::MAX));
        assert!(budget.spend(start, most));
        assert!(!budget.spend(start, 0));
        let second = Duration::from_secs(1);
        assert!(!budget.spend(start + second, RATE_BYTES as usize - OVERHEAD_BYTES + 1));
        assert!(budget.spend(start + second, RATE_BYTES as usize - OVERHEAD_BYTES));
        assert!(budget.spend(start + 1_000_000 * second, most));
        assert!(!budget.spend(start + 1_000_000 * second, 0), "no more than one burst is kept");
    }

    #[test]
    fn asking_often_earns_no_less() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        assert!(budget.spend(start, BURST_BYTES - OVERHEAD_BYTES));
        for microsecond in 1..=10_000 {
            let _ = budget.spend(start + Duration::from_micros(microsecond), BURST_BYTES);
        }
        // 64 KiB/s for 10 ms.
        assert!((654..=655).contains(&budget.left_bytes), "{}", budget.left_bytes);
    }
}
