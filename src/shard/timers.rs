//! When the shard has to look at what. A heap of deadlines with lazy removal; nothing is scanned.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Timestamp;

/// Who waits for a deadline. The order decides who comes first at one and the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Feedback to a publisher: transport-wide feedback, receiver reports, REMB. The slot is the peer's.
    Feedback(u32),
    /// Missing packets of an incoming stream. The slot is the stream's.
    Loss(u32),
    /// A key frame that somebody waits for. The slot is the track's.
    Keyframe(u32),
    /// Sender reports to a viewer. The slot is the peer's.
    SenderReports(u32),
    /// The handshake of a peer.
    Handshake(u32),
    /// Consent of a peer.
    Ice(u32),
    /// A track of another shard that is wanted here. The slot is the track's.
    Demand(u32),
    /// A look at the shard's peers.
    Watch,
}

const KINDS: usize = 8;

impl Timer {
    const fn place(self) -> (usize, usize) {
        match self {
            Self::Feedback(slot) => (0, slot as usize),
            Self::Loss(slot) => (1, slot as usize),
            Self::Keyframe(slot) => (2, slot as usize),
            Self::SenderReports(slot) => (3, slot as usize),
            Self::Handshake(slot) => (4, slot as usize),
            Self::Ice(slot) => (5, slot as usize),
            Self::Demand(slot) => (6, slot as usize),
            Self::Watch => (7, 0),
        }
    }
}

/// The deadlines of a shard: at most one a [`Timer`].
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Timestamp, Timer)>>,
    /// What each timer is really set to; an entry of the heap that says otherwise is stale.
    armed: [Vec<Timestamp>; KINDS],
    /// No deadline may be earlier than this.
    floor: Timestamp,
}

impl Timers {
    /// Timers for slots below `slots_max`.
    pub(super) fn new(slots_max: usize) -> Self {
        Self {
            heap: BinaryHeap::with_capacity(4096),
            armed: std::array::from_fn(|_| vec![Timestamp::NEVER; slots_max]),
            floor: Timestamp::ZERO,
        }
    }

    /// Makes sure that `timer` fires at `deadline` or earlier.
    #[inline]
    pub(super) fn arm(&mut self, timer: Timer, deadline: Timestamp) {
        let deadline = deadline.max(self.floor);
        let (kind, slot) = timer.place();
        if deadline < self.armed[kind][slot] {
            self.armed[kind][slot] = deadline;
            self.heap.push(Reverse((deadline, timer)));
        }
    }

    /// While timers are served none is set to earlier than `floor`: whoever asks for "at once" again and again must not
    /// keep the others from their turn. [`Timestamp::ZERO`] ends that.
    pub(super) const fn set_floor(&mut self, floor: Timestamp) {
        self.floor = floor;
    }

    /// Takes a timer back.
    pub(super) fn disarm(&mut self, timer: Timer) {
        let (kind, slot) = timer.place();
        self.armed[kind][slot] = Timestamp::NEVER;
    }

    /// The next timer that is due, disarmed.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        while let Some(&Reverse((deadline, timer))) = self.heap.peek() {
            if deadline > now {
                return None;
            }
            self.heap.pop();
            let (kind, slot) = timer.place();
            if self.armed[kind][slot] == deadline {
                self.armed[kind][slot] = Timestamp::NEVER;
                return Some(timer);
            }
        }
        None
    }

    /// When to call [`Timers::pop_due`] next. May be earlier than any timer that is still armed.
    pub(super) fn next_deadline(&self) -> Timestamp {
        self.heap.peek().map_or(Timestamp::NEVER, |Reverse((deadline, _))| *deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(nanos: u64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    #[test]
    fn timers_fire_in_order_and_once() {
        let mut timers = Timers::new(8);
        timers.arm(Timer::Loss(1), at(20));
        timers.arm(Timer::Feedback(1), at(10));
        timers.arm(Timer::Loss(1), at(15));
        assert_eq!(timers.next_deadline(), at(10));
        assert_eq!(timers.pop_due(at(9)), None);
        assert_eq!(timers.pop_due(at(30)), Some(Timer::Feedback(1)));
        assert_eq!(timers.pop_due(at(30)), Some(Timer::Loss(1)));
        assert_eq!(timers.pop_due(at(30)), None);
    }

    #[test]
    fn one_that_is_always_due_does_not_starve_the_others() {
        let mut timers = Timers::new(8);
        timers.arm(Timer::Feedback(1), at(1));
        timers.arm(Timer::Loss(2), at(5));
        timers.set_floor(at(11));
        assert_eq!(timers.pop_due(at(10)), Some(Timer::Feedback(1)));
        timers.arm(Timer::Feedback(1), at(1));
        assert_eq!(timers.pop_due(at(10)), Some(Timer::Loss(2)));
        assert_eq!(timers.pop_due(at(10)), None);
        assert_eq!(timers.next_deadline(), at(11));
    }

    #[test]
    fn a_timer_taken_back_stays_silent_and_can_be_set_again() {
        let mut timers = Timers::new(8);
        timers.arm(Timer::Ice(3), at(10));
        timers.disarm(Timer::Ice(3));
        timers.arm(Timer::Ice(3), at(40));
        assert_eq!(timers.pop_due(at(20)), None);
        assert_eq!(timers.pop_due(at(40)), Some(Timer::Ice(3)));
    }
}
