//! One subscription on the heap: what was sent again lately, and how far away the viewer is.

use std::time::Duration;

use crate::feedback::report::SentReports;
use crate::limits::CACHE_PACKETS;
use crate::time::Timestamp;

/// The parts of a subscription that are rebuilt after a restart.
#[derive(Default)]
pub struct Viewer {
    /// Keeps a packet from being sent again too soon.
    pub guard: ResendGuard,
    /// Sender reports, to measure the round trip by.
    pub reports: SentReports,
    /// The last round trip measured.
    pub round_trip: Option<Duration>,
    /// Packets it had been sent when it was last looked at.
    pub seen: u64,
}

/// Resends that a viewer may have saved up. It earns one with every second packet it is sent, so that what is sent
/// again is never more than half of what was sent before.
const CREDIT_MAX: u64 = 256;

/// Keeps a viewer from being sent the same things again and again, whatever it asks for.
pub struct ResendGuard {
    /// Sequence number and time in milliseconds, both wrapping, of what was sent again. As many places as the cache
    /// has packets, so no two that can be sent share one.
    sent: Box<[(u16, u16); CACHE_PACKETS]>,
    /// Packets forwarded when the credit was last reckoned.
    reckoned_at: u64,
    credit: u64,
}

impl Default for ResendGuard {
    fn default() -> Self {
        // A sequence number that does not belong to its place reads as "never".
        let mut sent = Box::new([(0, 0); CACHE_PACKETS]);
        sent[0].0 = 1;
        Self { sent, reckoned_at: 0, credit: CREDIT_MAX }
    }
}

impl ResendGuard {
    /// Whether `sequence` may be sent again now; if so it counts as sent. `forwarded` counts the packets that the
    /// viewer was sent so far.
    pub fn admit(&mut self, now: Timestamp, interval: Duration, sequence: u16, forwarded: u64) -> bool {
        let earned = forwarded.saturating_sub(self.reckoned_at) / 2;
        self.credit = (self.credit + earned).min(CREDIT_MAX);
        self.reckoned_at += 2 * earned;
        let now_ms = (now.as_micros() / 1_000) as u16;
        let (last, at_ms) = self.sent[usize::from(sequence) % CACHE_PACKETS];
        let too_soon = last == sequence && u128::from(now_ms.wrapping_sub(at_ms)) < interval.as_millis();
        if too_soon || self.credit == 0 {
            return false;
        }
        self.credit -= 1;
        self.sent[usize::from(sequence) % CACHE_PACKETS] = (sequence, now_ms);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::RESEND_INTERVAL_MIN;

    const START: Timestamp = Timestamp::from_nanos(1_000_000_000);

    #[test]
    fn a_packet_goes_again_at_most_once_in_the_interval() {
        let mut guard = ResendGuard::default();
        let mut admit = |now, sequence| guard.admit(now, RESEND_INTERVAL_MIN, sequence, 0);
        assert!(admit(START, 0) && admit(START, 7));
        assert!(!admit(START, 7));
        assert!(admit(START, 7 + 64) && !admit(START, 7), "neighbours do not push each other out");
        assert!(admit(START + RESEND_INTERVAL_MIN, 7));
    }

    #[test]
    fn what_is_sent_again_is_bounded_by_what_was_sent() {
        let mut guard = ResendGuard::default();
        let mut granted = |forwarded| {
            (0..2_000).filter(|&sequence| guard.admit(START, Duration::ZERO, sequence, forwarded)).count()
                as u64
        };
        assert_eq!(granted(0), CREDIT_MAX);
        assert_eq!(granted(0), 0);
        assert_eq!(granted(101), 50);
        assert_eq!(granted(102), 1, "half a credit is not lost");
        assert_eq!(granted(1_000_000), CREDIT_MAX);
    }
}
