//! The one place of the media path that reads the clock.

use crate::time::{Epoch, Timestamp};
use std::time::{Duration, Instant};

/// The monotonic clock, nanoseconds. Read once a batch; the cores get the value.
pub fn now() -> Timestamp {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    debug_assert_eq!(result, 0, "CLOCK_MONOTONIC exists on every Linux");
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Timestamp::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// Processor time that this thread has used, in the program and in the kernel on its behalf. A system call.
pub fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    debug_assert_eq!(result, 0, "CLOCK_THREAD_CPUTIME_ID exists on every Linux");
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Seconds since 1970: when credentials end, and nothing else. A coarse clock, which costs a few nanoseconds.
pub fn unix_s() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &raw mut time) };
    debug_assert_eq!(result, 0, "CLOCK_REALTIME_COARSE exists on every Linux");
    u64::try_from(time.tv_sec).unwrap_or(0)
}

/// Ties the two views of the same clock together, for the one library that wants [`Instant`].
pub fn epoch() -> Epoch {
    Epoch::new(Instant::now(), now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_grows_with_work() {
        let (before, began) = (processor_time(), Instant::now());
        while processor_time() < before + Duration::from_millis(2) {
            assert!(began.elapsed() < Duration::from_secs(60), "it stands still");
        }
        let (before, began) = (processor_time(), Instant::now());
        std::thread::sleep(Duration::from_millis(20));
        assert!(processor_time() - before < began.elapsed(), "sleep is no work");
    }

    #[test]
    fn the_clock_moves_forward_and_agrees_with_instant() {
        let before = now();
        let epoch = epoch();
        let first = now();
        let instant = Instant::now();
        let second = now();
        assert!(Timestamp::ZERO < before && before <= first && first <= second);
        // Both read CLOCK_MONOTONIC: what was read between lies between, but for the time the epoch took to read.
        assert!(first <= epoch.timestamp(instant));
        assert!(epoch.timestamp(instant) <= second + first.since(before));
    }
}
