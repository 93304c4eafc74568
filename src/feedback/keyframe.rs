//! Requests for key frames of one track, merged: hundreds of viewers ask, the publisher hears it twice a second at most.

use std::time::Duration;

use bytemuck::{Pod, Zeroable};

use crate::time::Timestamp;

/// Shortest time between two requests to one publisher's track.
pub const HOLD_OFF: Duration = Duration::from_millis(500);

/// Merges the requests for one track. Each `true` it returns is one PLI (or FIR) to send now.
///
/// Somebody waits from [`Self::request`] on until [`Self::handle_keyframe`]; all the while a request leaves every
/// [`HOLD_OFF`], because any of them may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct KeyframeRequests {
    /// When the last request left; [`Timestamp::ZERO`] for never.
    sent_at: Timestamp,
    /// 1 while somebody waits for a key frame.
    waiting: u64,
}

impl KeyframeRequests {
    /// Nobody waits, nothing was sent.
    pub const fn new() -> Self {
        Self { sent_at: Timestamp::ZERO, waiting: 0 }
    }

    /// A viewer (or our own loss detection) needs a key frame. True: send a request now.
    pub fn request(&mut self, now: Timestamp) -> bool {
        self.waiting = 1;
        self.handle_timeout(now)
    }

    /// A key frame began to arrive: whoever waited is served.
    pub const fn handle_keyframe(&mut self) {
        self.waiting = 0;
    }

    /// The last one who waited is gone.
    pub const fn cancel(&mut self) {
        self.waiting = 0;
    }

    /// Time has passed. True: send a request now.
    pub fn handle_timeout(&mut self, now: Timestamp) -> bool {
        let due = now >= self.next_deadline();
        if due {
            self.sent_at = now;
        }
        due
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn next_deadline(&self) -> Timestamp {
        match (self.waiting, self.sent_at) {
            (0, _) => Timestamp::NEVER,
            (_, Timestamp::ZERO) => Timestamp::ZERO,
            (_, sent_at) => sent_at + HOLD_OFF,
        }
    }
}

impl Default for KeyframeRequests {
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
    fn the_first_request_leaves_at_once_and_a_storm_becomes_two_a_second() {
        let mut requests = KeyframeRequests::new();
        let sent = (0..10_000).filter(|ms| requests.request(at(*ms))).count();
        assert_eq!(sent, 20);
    }

    #[test]
    fn a_request_in_the_hold_off_leaves_at_its_end() {
        let mut requests = KeyframeRequests::new();
        assert!(requests.request(at(0)));
        requests.handle_keyframe();
        assert_eq!(requests.next_deadline(), Timestamp::NEVER);
        assert!(!requests.request(at(100)), "a viewer joins just behind the key frame");
        assert_eq!(requests.next_deadline(), at(500));
        assert!(!requests.handle_timeout(at(499)));
        assert!(requests.handle_timeout(at(500)));
    }

    #[test]
    fn unless_a_key_frame_came_meanwhile() {
        let mut requests = KeyframeRequests::new();
        assert!(requests.request(at(0)));
        assert!(!requests.request(at(100)));
        requests.handle_keyframe();
        assert!(!requests.handle_timeout(at(500)));
        assert!(requests.request(at(600)), "and the next one leaves at once");
    }

    #[test]
    fn it_is_repeated_until_one_comes_or_nobody_waits() {
        let mut requests = KeyframeRequests::new();
        assert!(requests.request(at(0)));
        assert!(requests.handle_timeout(at(500)));
        assert!(requests.handle_timeout(at(1_020)));
        assert_eq!(requests.next_deadline(), at(1_520));
        requests.cancel();
        assert_eq!(requests.next_deadline(), Timestamp::NEVER);
        assert!(!requests.handle_timeout(at(1_520)));
    }
}
