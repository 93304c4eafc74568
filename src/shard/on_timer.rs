//! Time: what is due now.

use std::time::Duration;

use super::Shard;
use super::timers::Timer;
use crate::egress::Egress;
use crate::ids::{InboundSlot, PeerSlot, TrackSlot};
use crate::time::Timestamp;

/// Timers served in one call. More that are due wait for the next cycle, after media.
const TIMERS_PER_CYCLE: usize = 256;
/// Shortest time between two turns of one timer.
const TIMER_INTERVAL_MIN: Duration = Duration::from_millis(1);

impl Shard<'_> {
    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Timestamp, egress: &mut impl Egress) {
        self.timers.set_floor(now + TIMER_INTERVAL_MIN);
        for _ in 0..TIMERS_PER_CYCLE {
            let Some(timer) = self.timers.pop_due(now) else { break };
            match timer {
                Timer::Feedback(slot) => self.on_feedback_timer(now, PeerSlot(slot), egress),
                Timer::Loss(slot) => self.on_loss_timer(now, InboundSlot(slot), egress),
                Timer::Keyframe(slot) => self.on_keyframe_timer(now, TrackSlot(slot), egress),
                Timer::SenderReports(slot) => self.on_sender_report_timer(now, PeerSlot(slot), egress),
                Timer::Handshake(slot) => self.on_handshake_timer(now, PeerSlot(slot), egress),
                Timer::Ice(slot) => self.on_consent_timer(now, PeerSlot(slot)),
                Timer::Demand(slot) => self.on_demand_timer(now, TrackSlot(slot)),
                Timer::Watch => self.on_watch_timer(now),
            }
        }
        self.timers.set_floor(Timestamp::ZERO);
    }
}
