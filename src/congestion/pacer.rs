//! How fast a viewer's transport is loaded: a debt, reckoned in time, that drains at the viewer's rate.
//!
//! Media is never held back or cut: the packets of a burst leave in the runs they form (a run costs the kernel little
//! more than one packet), and the debt says how long what can wait has to wait behind them: packets sent again, later
//! probes.

use std::time::Duration;

use crate::time::Timestamp;

/// What can wait goes as long as no more than this is owed: two bursts of what browsers' own pacers send at once.
const DEBT: Duration = Duration::from_millis(10);

/// The debt of one transport.
#[derive(Clone, Copy, Debug)]
pub struct Pacer {
    /// 0 for no limit.
    rate_bps: u64,
    /// When everything that left will have passed the slowest link.
    drained_at: Timestamp,
}

impl Pacer {
    /// Nothing waits: nobody has estimated the viewer's rate.
    pub const UNLIMITED: Self = Self { rate_bps: 0, drained_at: Timestamp::ZERO };

    /// The viewer takes `rate_bps` from now on; 0 for no limit.
    pub const fn set_rate(&mut self, rate_bps: u64) {
        self.rate_bps = rate_bps;
    }

    /// `len` bytes leave.
    #[inline]
    pub fn note(&mut self, now: Timestamp, len: usize) {
        if let Some(nanos) = (8_000_000_000 * len as u64).checked_div(self.rate_bps) {
            self.drained_at = self.drained_at.max(now) + Duration::from_nanos(nanos);
        }
    }

    /// Whether something that can wait may leave now.
    pub fn admits(&self, now: Timestamp) -> bool {
        self.rate_bps == 0 || self.drained_at.since(now) <= DEBT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_nanos(1_000_000_000) + Duration::from_micros(micros)
    }

    #[test]
    fn what_can_wait_goes_when_the_media_before_it_has_drained() {
        let mut pacer = Pacer::UNLIMITED;
        // 1 Mbit/s: 8 ms a kilobyte.
        pacer.set_rate(1_000_000);
        for _ in 0..4 {
            pacer.note(at(0), 1_000);
        }
        assert!(!pacer.admits(at(0)) && !pacer.admits(at(21_999)));
        assert!(pacer.admits(at(22_000)));
        pacer.note(at(1_000_000), 1_000);
        assert!(pacer.admits(at(1_000_000)), "idle time is not saved up, and pays every debt");
    }

    #[test]
    fn without_an_estimate_nothing_waits() {
        let mut pacer = Pacer::UNLIMITED;
        pacer.note(at(0), 60_000);
        assert!(pacer.admits(at(0)));
    }
}
