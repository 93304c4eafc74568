//! When to announce an estimate by REMB: at once when it falls, soon when it rises, and once a second anyway.

use std::time::Duration;

use bytemuck::{Pod, Zeroable};

use crate::time::Timestamp;

/// An announcement is repeated after this, since it may have been lost.
const REPEAT: Duration = Duration::from_secs(1);
/// Changes are not announced more often than this.
const HOLD_OFF: Duration = Duration::from_millis(200);
/// Changes below 1/32 wait for the repeat.
const CHANGE_PART: u64 = 32;

/// Tells when the publisher of one transport must hear the rate it may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct RembAnnouncer {
    /// Last rate announced in bits a second.
    announced_bps: u64,
    /// When; [`Timestamp::ZERO`] for never.
    announced_at: Timestamp,
}

impl RembAnnouncer {
    /// Nothing announced yet.
    pub const fn new() -> Self {
        Self { announced_bps: 0, announced_at: Timestamp::ZERO }
    }

    /// True: announce `rate_bps` now.
    pub fn poll(&mut self, now: Timestamp, rate_bps: u64) -> bool {
        let due = self.announced_at == Timestamp::ZERO
            || now >= self.announced_at + REPEAT
            || self.has_changed(rate_bps)
                && (now >= self.announced_at + HOLD_OFF || self.has_collapsed(rate_bps));
        if due {
            *self = Self { announced_bps: rate_bps, announced_at: now };
        }
        due
    }

    /// When the repeat is due.
    pub fn next_deadline(&self) -> Timestamp {
        match self.announced_at {
            Timestamp::ZERO => Timestamp::ZERO,
            announced_at => announced_at + REPEAT,
        }
    }

    const fn has_changed(&self, rate_bps: u64) -> bool {
        rate_bps.abs_diff(self.announced_bps) > self.announced_bps / CHANGE_PART
    }

    /// Half or less: waiting would flood the receiver.
    const fn has_collapsed(&self, rate_bps: u64) -> bool {
        rate_bps <= self.announced_bps / 2
    }
}

impl Default for RembAnnouncer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_nanos((1_000 + ms) * 1_000_000)
    }

    #[test]
    fn a_steady_rate_is_announced_once_a_second() {
        let mut remb = RembAnnouncer::new();
        assert_eq!(remb.next_deadline(), Timestamp::ZERO);
        let announced: Vec<_> = (0..3_000).filter(|ms| remb.poll(at(*ms), 1_000_000 + ms)).collect();
        assert_eq!(announced, [0, 1_000, 2_000]);
        assert_eq!(remb.next_deadline(), at(3_000));
    }

    #[test]
    fn a_change_is_announced_after_the_hold_off_and_a_collapse_at_once() {
        let mut remb = RembAnnouncer::new();
        assert!(remb.poll(at(0), 1_000_000));
        assert!(!remb.poll(at(100), 1_200_000));
        assert!(remb.poll(at(200), 1_200_000));
        assert!(!remb.poll(at(250), 1_000_000));
        assert!(remb.poll(at(260), 500_000));
        assert!(remb.poll(at(261), 0));
        assert!(remb.poll(at(800), u64::MAX));
    }
}
