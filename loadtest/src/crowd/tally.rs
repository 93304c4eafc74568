//! What all participants of a run have seen together.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::histogram::Histogram;

/// Something whose duration is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The session and the token, by REST.
    Token,
    /// From the call of joinRoom to its answer.
    JoinRoom,
    /// From the time at which the join was due to the answer of joinRoom: REST, TCP, upgrade and RPC.
    Join,
    /// publishVideo.
    Publish,
    /// receiveVideoFrom.
    Watch,
    /// ping.
    Ping,
    /// From the loss of a socket to the answer of `connect` on a new one.
    Back,
}

/// Every step with its name in reports, in their order.
pub(super) const STEPS: [(Step, &str); 7] = [
    (Step::Token, "token"),
    (Step::JoinRoom, "joinRoom"),
    (Step::Join, "join"),
    (Step::Publish, "publish"),
    (Step::Watch, "watch"),
    (Step::Ping, "ping"),
    (Step::Back, "reconnect"),
];

/// Counts and durations, in microseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    durations: [Histogram; STEPS.len()],
    pub(super) joined: u64,
    /// When the first and the last participant had joined.
    pub(super) joined_from_to: Option<(Instant, Instant)>,
    pub(super) published: u64,
    pub(super) watched: u64,
    pub(super) left: u64,
    /// Sockets that ended although their participants had not left.
    pub(super) lost: u64,
    /// Participants that came back on a new socket.
    pub(super) back: u64,
    /// Participants that the server had put out when they wanted to come back.
    pub(super) refused_back: u64,
    /// `participantEvicted` notifications about the receiver itself.
    pub(super) evicted: u64,
    /// `forciblyReconnectSubscriber` notifications: the server asked for a new PeerConnection.
    pub(super) asked_back: u64,
    /// What failed, by method and the server's code.
    pub(super) errors: BTreeMap<String, Errors>,
}

/// Errors of one method with one code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Errors {
    pub(super) count: u64,
    /// The text of the first one.
    pub(super) example: String,
}

impl Seen {
    pub(super) fn durations(&self, step: Step) -> &Histogram {
        &self.durations[step as usize]
    }

    /// Counts a participant that has joined.
    pub(super) fn count_join(&mut self, now: Instant) {
        self.joined += 1;
        let (first, _) = self.joined_from_to.unwrap_or((now, now));
        self.joined_from_to = Some((first, now));
    }

    /// Joins a second between the first and the last one. One join is no rate.
    pub(super) fn join_rate(&self) -> Option<f64> {
        let (first, last) = self.joined_from_to?;
        let seconds = last.duration_since(first).as_secs_f64();
        (self.joined > 1 && seconds > 0.0).then(|| (self.joined - 1) as f64 / seconds)
    }
}

/// [`Seen`] for many tasks.
#[derive(Debug, Default)]
pub(super) struct Tally {
    seen: Mutex<Seen>,
}

impl Tally {
    pub(super) fn took(&self, step: Step, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.change(|seen| seen.durations[step as usize].record(us));
    }

    /// Counts an error of this method with this code.
    pub(super) fn failed(&self, what: String, text: &str) {
        self.change(|seen| {
            let errors = seen.errors.entry(what).or_default();
            errors.count += 1;
            if errors.count == 1 {
                text.clone_into(&mut errors.example);
            }
        });
    }

    pub(super) fn joined(&self) -> usize {
        usize::try_from(self.lock().joined).unwrap_or(usize::MAX)
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.lock());
    }

    pub(super) fn seen(&self) -> Seen {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_joins_is_that_between_the_first_and_the_last() {
        let (mut seen, now) = (Seen::default(), Instant::now());
        seen.count_join(now);
        assert_eq!(seen.join_rate(), None);
        (1..=10).for_each(|place| seen.count_join(now + Duration::from_millis(100 * place)));
        assert_eq!(seen.join_rate(), Some(10.0));
    }

    #[test]
    fn each_step_has_its_own_place() {
        let tally = Tally::default();
        for (place, (step, _)) in STEPS.iter().enumerate() {
            assert_eq!(*step as usize, place);
            tally.took(*step, Duration::from_micros(place as u64));
        }
        let seen = tally.seen();
        for (place, (step, _)) in STEPS.iter().enumerate() {
            assert_eq!((seen.durations(*step).count(), seen.durations(*step).max()), (1, place as u64));
        }
    }
}
