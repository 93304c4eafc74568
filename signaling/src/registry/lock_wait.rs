//! How long threads wait for locks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

/// Buckets: one for each power of two of microseconds, up to some 16 s.
const BUCKETS: usize = 25;

/// A histogram of waits, whose buckets double. Recording is one atomic addition.
#[derive(Debug, Default)]
pub struct LockWaits {
    buckets: [AtomicU64; BUCKETS],
    max_us: AtomicU64,
}

impl LockWaits {
    /// Records one wait.
    pub fn record(&self, wait: Duration) {
        let us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - us.leading_zeros()) as usize;
        self.buckets[bucket.min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        self.max_us.fetch_max(us, Ordering::Relaxed);
    }

    /// The wait that a share of all waits does not exceed, in microseconds: the upper end of its bucket.
    pub fn quantile_us(&self, share: f64) -> u64 {
        let counts = self.buckets.each_ref().map(|bucket| bucket.load(Ordering::Relaxed));
        let total: u64 = counts.iter().sum();
        #[allow(clippy::cast_precision_loss, reason = "a quantile of more than 2^52 waits may be off by one")]
        let wanted = total as f64 * share;
        let mut seen = 0;
        for (bucket, count) in counts.into_iter().enumerate() {
            seen += count;
            #[allow(clippy::cast_precision_loss, reason = "as above")]
            if seen as f64 >= wanted {
                return (1 << bucket) - 1;
            }
        }
        self.max_us.load(Ordering::Relaxed)
    }

    /// As the statistics show it.
    pub fn stats(&self) -> Value {
        let max_us = self.max_us.load(Ordering::Relaxed);
        let quantile = |share| self.quantile_us(share).min(max_us);
        json!({
            "p50Us": quantile(0.5), "p99Us": quantile(0.99), "p999Us": quantile(0.999), "maxUs": max_us,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_the_upper_ends_of_buckets() {
        let waits = LockWaits::default();
        assert_eq!(waits.quantile_us(0.99), 0);
        (0..990).for_each(|_| waits.record(Duration::from_nanos(500)));
        (0..10).for_each(|_| waits.record(Duration::from_micros(3_000)));
        assert_eq!((waits.quantile_us(0.5), waits.quantile_us(0.99)), (0, 0));
        assert_eq!(waits.quantile_us(0.999), 4_095);
        assert_eq!(waits.stats()["maxUs"], 3_000);
        assert_eq!(waits.stats()["p999Us"], 3_000);
        waits.record(Duration::from_secs(1_000_000));
    }
}
