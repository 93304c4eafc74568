//! Rates: how much of something is allowed over time, and how much at once.

mod addresses;

use std::time::Duration;

use tokio::time::Instant;

pub use addresses::Addresses;

/// An amount in a period, and the largest burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    amount: u32,
    period: Duration,
    burst: u32,
}

impl Rate {
    /// `amount` in a period, and up to `burst` at once after a pause; a burst of 0 counts as 1. An amount of 0 gives
    /// `None`, which is no limit.
    pub fn new(amount: u32, period: Duration, burst: u32) -> Option<Self> {
        (amount > 0).then_some(Self { amount, period, burst: burst.max(1) })
    }

    /// `amount` in a second.
    pub fn per_second(amount: u32, burst: u32) -> Option<Self> {
        Self::new(amount, Duration::from_secs(1), burst)
    }

    /// The rate of `count` clients together.
    const fn times(self, count: u32) -> Self {
        let (amount, burst) = (self.amount.saturating_mul(count), self.burst.saturating_mul(count));
        Self { amount, burst, ..self }
    }

    /// The time in which `count` are earned.
    fn time_of(&self, count: usize) -> Duration {
        let count = u128::try_from(count).unwrap_or(u128::MAX);
        let nanos = count.saturating_mul(self.period.as_nanos()).div_ceil(u128::from(self.amount));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// What one client has used of a rate (the generic cell rate algorithm of ITU-T I.371: one time stamp a client).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// When the whole burst is available again.
    whole_at: Instant,
}

impl Bucket {
    /// Nothing is used yet.
    pub const fn new(now: Instant) -> Self {
        Self { whole_at: now }
    }

    /// Uses `count`.
    ///
    /// # Errors
    /// With the time until that many are available. Nothing is counted then. More than a burst is never available.
    pub fn spend(&mut self, now: Instant, rate: Rate, count: usize) -> Result<(), Duration> {
        self.check(now, rate, count)?;
        self.whole_at = self.whole_at.max(now) + rate.time_of(count);
        Ok(())
    }

    /// Whether `count` are available.
    ///
    /// # Errors
    /// As for [`Self::spend`].
    pub fn check(&self, now: Instant, rate: Rate, count: usize) -> Result<(), Duration> {
        let owed = self.whole_at.saturating_duration_since(now).saturating_add(rate.time_of(count));
        let allowed = rate.time_of(usize::try_from(rate.burst).unwrap_or(usize::MAX));
        if owed <= allowed { Ok(()) } else { Err(owed - allowed) }
    }

    /// Whether the whole burst is available.
    pub fn is_whole(&self, now: Instant) -> bool {
        self.whole_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_is_bounded_and_comes_back_with_time() {
        let rate = Rate::per_second(10, 20).unwrap();
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        assert!(bucket.spend(start, rate, 21).is_err() && bucket.spend(start, rate, usize::MAX).is_err());
        assert_eq!(bucket.spend(start, rate, 20), Ok(()));
        assert_eq!(bucket.spend(start, rate, 1), Err(SECOND / 10));
        assert_eq!(bucket.spend(start, rate, 5), Err(SECOND / 2), "a refusal costs nothing");
        assert!(bucket.spend(start + SECOND, rate, 11).is_err());
        assert_eq!(bucket.spend(start + SECOND, rate, 10), Ok(()));
        assert!(!bucket.is_whole(start + 2 * SECOND));
        assert!(bucket.is_whole(start + 3 * SECOND));
        let late = start + 1_000_000 * SECOND;
        assert_eq!(bucket.spend(late, rate, 20), Ok(()));
        assert!(bucket.spend(late, rate, 1).is_err(), "a burst never grows");
    }

    #[test]
    fn asking_often_earns_no_less() {
        let rate = Rate::new(60, 60 * SECOND, 60).unwrap();
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        assert_eq!(bucket.spend(start, rate, 60), Ok(()));
        let mut done = 0;
        for millisecond in 1..=10_000 {
            done += u32::from(bucket.spend(start + Duration::from_millis(millisecond), rate, 1).is_ok());
        }
        assert_eq!(done, 10, "one a second for 10 s");
    }

    #[test]
    fn nothing_is_no_bound_and_no_burst_is_one() {
        assert_eq!(Rate::per_second(0, 5), None);
        let rate = Rate::per_second(1, 0).unwrap();
        assert_eq!(Bucket::new(Instant::now()).spend(Instant::now(), rate, 1), Ok(()));
    }
}
