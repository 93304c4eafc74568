//! One subscription on the heap: what was sent again lately, and how far away the viewer is.

use std::time::Duration;

use crate::feedback::report::SentReports;
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
}

/// Sequence numbers a viewer's guard remembers.
const GUARDED: usize = 64;

/// What was sent again lately to one viewer of one track. Direct-mapped: a collision costs one repeated packet.
pub struct ResendGuard {
    sent: [(u16, Timestamp); GUARDED],
}

impl Default for ResendGuard {
    fn default() -> Self {
        Self { sent: [(0, Timestamp::ZERO); GUARDED] }
    }
}

impl ResendGuard {
    /// Whether `sequence` may be sent again now; if so it counts as sent.
    pub fn admit(&mut self, now: Timestamp, interval: Duration, sequence: u16) -> bool {
        let place = &mut self.sent[usize::from(sequence) % GUARDED];
        let (last, at) = *place;
        if last == sequence && at != Timestamp::ZERO && now.since(at) < interval {
            return false;
        }
        *place = (sequence, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::RESEND_INTERVAL_MIN;

    #[test]
    fn a_packet_goes_again_at_most_once_in_the_interval() {
        let mut guard = ResendGuard::default();
        let start = Timestamp::from_nanos(1_000);
        assert!(guard.admit(start, RESEND_INTERVAL_MIN, 7));
        assert!(!guard.admit(start, RESEND_INTERVAL_MIN, 7));
        assert!(guard.admit(start, RESEND_INTERVAL_MIN, 8));
        assert!(guard.admit(start + RESEND_INTERVAL_MIN, RESEND_INTERVAL_MIN, 7));
    }
}
