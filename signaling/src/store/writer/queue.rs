//! The touched records that wait for the next commit, and what happens after it, in the order of submission.
//!
//! The two threads of the writer share this state. It does no IO and runs no callback.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::super::key::Name;
use super::super::source::{Extent, Touched};
use super::{After, Durability, Pace};

/// What one commit writes as a unit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Session(Arc<str>),
    Free(Name),
}

/// The part of a subject that is not on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unwritten {
    /// Number of the first submission that has touched it since it was written.
    pub(super) since: u64,
    /// How much of it. Has no meaning for a record that outlives sessions.
    pub(super) extent: Extent,
}

/// The subjects that are not on disk, by name and by age.
#[derive(Default)]
pub(super) struct Dirty {
    subjects: BTreeMap<Subject, Unwritten>,
    by_age: BTreeSet<(u64, Subject)>,
}

impl Dirty {
    /// Notes a touch that is later than everything there.
    fn touch(&mut self, subject: Subject, later: Unwritten) {
        let merged = match self.subjects.remove(&subject) {
            Some(before) => Unwritten { since: before.since, extent: before.extent.then(later.extent) },
            None => later,
        };
        self.by_age.insert((merged.since, subject.clone()));
        self.subjects.insert(subject, merged);
    }

    /// Puts back what was taken and not written, before everything there.
    pub(super) fn put_back(&mut self, subject: Subject, earlier: Unwritten) {
        let merged = match self.subjects.remove(&subject) {
            Some(later) => {
                self.by_age.remove(&(later.since, subject.clone()));
                Unwritten { since: earlier.since, extent: earlier.extent.then(later.extent) }
            }
            None => earlier,
        };
        self.by_age.insert((merged.since, subject.clone()));
        self.subjects.insert(subject, merged);
    }

    /// Takes the subject that waits longest, unless the first submission that touched it is later than `upto`.
    pub(super) fn take_oldest(&mut self, upto: u64) -> Option<(Subject, Unwritten)> {
        if self.oldest()? > upto {
            return None;
        }
        let (_, subject) = self.by_age.pop_first()?;
        let unwritten = self.subjects.remove(&subject)?;
        Some((subject, unwritten))
    }

    pub(super) fn contains(&self, subject: &Subject) -> bool {
        self.subjects.contains_key(subject)
    }

    pub(super) fn oldest(&self) -> Option<u64> {
        self.by_age.first().map(|(since, _)| *since)
    }

    pub(super) fn len(&self) -> usize {
        self.subjects.len()
    }
}

/// What happens after one submission.
struct Waiting {
    /// Number of the submission, `None` when it has touched nothing.
    number: Option<u64>,
    submitted: Instant,
    bytes: usize,
    after: After,
}

/// When the next `after` leaves.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// There is none.
    Nothing,
    /// It waits until a commit has ended, or until this time.
    Until(Instant),
    /// Now.
    Now(Durability),
}

/// The shared state.
#[derive(Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// How the commits have ended: the last submission each covers.
    verdicts: VecDeque<(u64, Durability)>,
    pub(super) dirty: Dirty,
    /// Number of the last submission that has touched something.
    pub(super) last: u64,
    /// Start of the commit in progress.
    pub(super) committing_since: Option<Instant>,
    /// The last commit has failed.
    pub(super) is_failing: bool,
    pub(super) is_closed: bool,
    pub(super) has_commit_ended: bool,
}

impl Queue {
    pub(super) fn submit(&mut self, touched: Touched, bytes: usize, after: After, now: Instant) {
        let number = (!touched.is_none()).then(|| {
            self.last += 1;
            self.last
        });
        let since = self.last;
        for (session, extent) in touched.sessions {
            self.dirty.touch(Subject::Session(session), Unwritten { since, extent });
        }
        for name in touched.free {
            self.dirty.touch(Subject::Free(name), Unwritten { since, extent: Extent::Whole });
        }
        self.waiting_bytes += bytes;
        self.waiting.push_back(Waiting { number, submitted: now, bytes, after });
    }

    /// Marks everything as not written: the store has lost what it held.
    pub(super) fn touch_all(&mut self, subjects: impl Iterator<Item = Subject>) {
        self.last += 1;
        let since = self.last;
        for subject in subjects {
            self.dirty.touch(subject, Unwritten { since, extent: Extent::Whole });
        }
    }

    /// Notes how a commit has ended that took everything up to submission `upto`, but for what was put back.
    pub(super) fn settle(&mut self, upto: u64, durability: Durability) {
        match self.verdicts.back_mut() {
            Some((covered, _)) if *covered >= upto => {}
            Some((covered, last)) if *last == durability => *covered = upto,
            _ => self.verdicts.push_back((upto, durability)),
        }
        if self.waiting.is_empty() {
            self.verdicts.clear();
        }
    }

    /// Submissions up to here are covered by a commit that took all that is not dirty.
    pub(super) fn covered(&self, taken_upto: u64) -> u64 {
        self.dirty.oldest().map_or(taken_upto, |oldest| taken_upto.min(oldest - 1))
    }

    pub(super) fn is_over(&self, pace: &Pace) -> bool {
        self.waiting.len() > pace.waiting_max || self.waiting_bytes > pace.waiting_bytes_max
    }

    pub(super) fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    /// When the first in the queue leaves, and with what.
    pub(super) fn next(&mut self, now: Instant, pace: &Pace) -> Next {
        let Some(front) = self.waiting.front() else { return Next::Nothing };
        let Some(number) = front.number else { return Next::Now(Durability::Durable) };
        while self.verdicts.front().is_some_and(|(upto, _)| *upto < number) {
            self.verdicts.pop_front();
        }
        if let Some((_, durability)) = self.verdicts.front() {
            return Next::Now(*durability);
        }
        if self.is_failing {
            return Next::Now(Durability::Failed);
        }
        let since = self.committing_since.map_or(front.submitted, |since| since.min(front.submitted));
        let latest = since + pace.deadline;
        if now >= latest || self.is_over(pace) { Next::Now(Durability::Late) } else { Next::Until(latest) }
    }

    /// Takes the first in the queue.
    pub(super) fn pop(&mut self) -> Option<After> {
        let Waiting { bytes, after, .. } = self.waiting.pop_front()?;
        self.waiting_bytes -= bytes;
        Some(after)
    }
}
