//! Time as the cores see it. The clock itself is read in `io/` alone, once a batch.

use std::ops::{Add, Sub};
use std::time::{Duration, Instant};

/// A point in time: nanoseconds of the machine's monotonic clock.
///
/// Plain enough to live in a record, and still right when the process that reads it is not the one that wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Before everything; in a record it reads as "never".
    pub const ZERO: Self = Self(0);
    /// After everything: the deadline of one who waits for nothing.
    pub const NEVER: Self = Self(u64::MAX);

    /// From nanoseconds of the monotonic clock.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds of the monotonic clock.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Microseconds of the monotonic clock.
    pub const fn as_micros(self) -> u64 {
        self.0 / 1_000
    }

    /// Time since `earlier`; zero if that is in the future.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Ties [`Timestamp`] to [`Instant`] for the one library that wants the latter.
#[derive(Clone, Copy, Debug)]
pub struct Epoch {
    instant: Instant,
    timestamp: Timestamp,
}

impl Epoch {
    /// `instant` and `timestamp` were read together.
    pub const fn new(instant: Instant, timestamp: Timestamp) -> Self {
        Self { instant, timestamp }
    }

    /// The [`Instant`] of `now`; times before the epoch are the epoch.
    pub fn instant(&self, now: Timestamp) -> Instant {
        self.instant + now.since(self.timestamp)
    }

    /// The [`Timestamp`] of `instant`; times before the epoch are the epoch.
    pub fn timestamp(&self, instant: Instant) -> Timestamp {
        self.timestamp + instant.saturating_duration_since(self.instant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_maps_there_and_back() {
        let epoch = Epoch::new(Instant::now(), Timestamp::from_nanos(5_000));
        let later = Timestamp::from_nanos(905_000);
        assert_eq!(epoch.timestamp(epoch.instant(later)), later);
        assert_eq!(epoch.timestamp(epoch.instant(Timestamp::ZERO)), Timestamp::from_nanos(5_000));
    }

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        assert_eq!(Timestamp::ZERO - Duration::from_secs(1), Timestamp::ZERO);
        assert_eq!(Timestamp::NEVER + Duration::from_secs(1), Timestamp::NEVER);
        assert_eq!(Timestamp::ZERO.since(Timestamp::NEVER), Duration::ZERO);
    }
}
