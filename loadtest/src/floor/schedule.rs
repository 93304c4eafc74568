//! When packets leave.

use super::shape::{Shape, Traffic};

/// Packets of one publisher that leave together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure<'s> {
    /// Nanoseconds after the beginning.
    pub due_ns: u64,
    /// Who sends.
    pub publisher: usize,
    /// RTP payload lengths in bytes.
    pub payload_lens: &'s [u16],
}

/// The order of departures: each publisher sends at even intervals, and their turns are spread evenly over one.
#[derive(Clone, Debug)]
pub struct Schedule {
    publishers: u64,
    interval_ns: f64,
    /// One after the other, then again from the first.
    departures: Vec<Vec<u16>>,
}

/// Publishers of the same recording are this many frames apart, so that their key frames do not fall together.
const STAGGER: u64 = 37;

impl Schedule {
    /// What the shape's publishers do.
    #[must_use]
    pub fn new(shape: &Shape) -> Self {
        let (interval_ns, departures) = match &shape.traffic {
            Traffic::Even { rate, payload_len, burst } => {
                (f64::from(*burst) / rate * 1e9, vec![vec![*payload_len; usize::from(*burst)]])
            }
            Traffic::Frames(frames) => (1e9 / frames.per_second, frames.frames.clone()),
        };
        Self { publishers: shape.publishers() as u64, interval_ns, departures }
    }

    /// The departure after `number` others.
    #[must_use]
    pub fn departure(&self, number: u64) -> Departure<'_> {
        let (turn, publisher) = (number / self.publishers, number % self.publishers);
        let place = (turn + publisher * STAGGER) % self.departures.len() as u64;
        Departure {
            due_ns: (number as f64 / self.publishers as f64 * self.interval_ns) as u64,
            publisher: publisher as usize,
            payload_lens: &self.departures[place as usize],
        }
    }

    /// How many departures fill `duration_ns`; at least one for each publisher.
    #[must_use]
    pub fn departures_in(&self, duration_ns: u64) -> u64 {
        let turns = (duration_ns as f64 / self.interval_ns).round().max(1.0);
        turns as u64 * self.publishers
    }
}

#[cfg(test)]
mod tests {
    use super::super::shape::Audience;
    use super::super::shape::tests::even;
    use super::*;
    use crate::frames::Frames;
    use std::sync::Arc;

    #[test]
    fn bursts_leave_when_they_are_due_and_publishers_take_turns() {
        let shape = even(Audience::All { publishers: 2, viewers: 1 }, 1000.0, 100, 4);
        let schedule = Schedule::new(&shape);
        let seen: Vec<_> = (0..4).map(|number| schedule.departure(number)).collect();
        assert_eq!(
            seen.iter().map(|leaves| leaves.due_ns).collect::<Vec<_>>(),
            [0, 2_000_000, 4_000_000, 6_000_000]
        );
        assert_eq!(seen.iter().map(|leaves| leaves.publisher).collect::<Vec<_>>(), [0, 1, 0, 1]);
        assert_eq!(seen[3].payload_lens, [100; 4]);
        assert_eq!(schedule.departures_in(1_000_000_000), 500);
        assert_eq!(schedule.departures_in(0), 2);
    }

    #[test]
    fn frames_follow_each_other_and_begin_again() {
        let frames = Frames { per_second: 50.0, frames: vec![vec![10, 20], vec![30]] };
        let mut shape = even(Audience::All { publishers: 1, viewers: 1 }, 1.0, 100, 1);
        shape.traffic = Traffic::Frames(Arc::new(frames));
        let schedule = Schedule::new(&shape);
        let lens: Vec<_> = (0..3).map(|number| schedule.departure(number).payload_lens.to_vec()).collect();
        assert_eq!(lens, [vec![10, 20], vec![30], vec![10, 20]]);
        assert_eq!(schedule.departure(3).due_ns, 60_000_000);
    }
}
