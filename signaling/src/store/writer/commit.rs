//! The commit thread: asks for the values of what was touched, and writes them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::super::Store;
use super::super::key::Name;
use super::super::operation::{
    Change, Operation, Outcome, Ownership, Refusal, StoreError, VALUE_LEN_MAX, Value,
};
use super::super::source::{Extent, Present, Selection, Source};
use super::queue::{Subject, Unwritten};
use super::{Durability, Shared};
use crate::supervise::Wanted;

/// A commit takes no further subject after so many bytes of values, so that it ends in good time.
const COMMIT_BYTES: usize = 8 << 20;

/// The same for operations.
const COMMIT_OPERATIONS: usize = 16_384;

pub(super) struct Committer {
    pub(super) store: Box<dyn Store>,
    pub(super) source: Box<dyn Source>,
    pub(super) shared: Arc<Shared>,
}

/// One commit.
#[derive(Default)]
struct Batch {
    /// What is in it, in the order of `operations`; a subject has one or two of them.
    subjects: Vec<(Subject, Unwritten)>,
    operations: Vec<Operation>,
    /// For each operation, its place in `subjects`.
    of: Vec<usize>,
    /// Sessions that have ended since they were touched, so that there is nothing to write of them.
    gone: Vec<(Subject, Unwritten)>,
    bytes: usize,
    /// Every submission up to this one is covered by this commit or an earlier one.
    covers: u64,
    /// Something is not written since no store takes it.
    has_unfit: bool,
}

impl Committer {
    /// Writes until the writer is closed and everything is written, or one last attempt has failed.
    pub(super) fn run(mut self) -> Wanted {
        let mut has_failed = false;
        while self.wait(has_failed) {
            // An attempt that began before the end does not count as the last one.
            let is_last = self.shared.lock().is_closed;
            let batch = self.gather();
            has_failed = !self.write(batch);
            if has_failed && is_last {
                let subjects = self.shared.lock().dirty.len();
                tracing::error!(
                    subjects,
                    "the process ends, and changes of these sessions and records are not on disk"
                );
                break;
            }
        }
        self.shared.lock().has_commit_ended = true;
        self.shared.ended.notify_all();
        Wanted
    }

    /// Waits for something to write. After a failure the store gets a pause. False when there is nothing more to come.
    fn wait(&self, has_failed: bool) -> bool {
        let shared = &self.shared;
        let mut queue = shared.lock();
        let mut pause_until = has_failed.then(|| Instant::now() + shared.pace.retry);
        loop {
            let is_empty = queue.dirty.len() == 0;
            if queue.is_closed {
                return !is_empty;
            }
            match pause_until {
                Some(until) => {
                    let pause = until.saturating_duration_since(Instant::now());
                    if pause.is_zero() {
                        pause_until = None;
                    } else {
                        queue = shared.wait(&shared.for_commit, queue, Some(pause));
                    }
                }
                None if is_empty => queue = shared.wait(&shared.for_commit, queue, None),
                None => return true,
            }
        }
    }

    /// Takes what was touched up to now, oldest first, and asks for its present values. No lock is held while the source
    /// is asked, because the submitting code may hold the source's lock.
    fn gather(&self) -> Batch {
        let upto = {
            let mut queue = self.shared.lock();
            queue.committing_since = Some(Instant::now());
            queue.last
        };
        let mut batch = Batch::default();
        while batch.bytes < COMMIT_BYTES && batch.operations.len() < COMMIT_OPERATIONS {
            let taken = self.shared.lock().dirty.take_oldest(upto);
            let Some((subject, unwritten)) = taken else { break };
            self.add(&mut batch, subject, unwritten);
        }
        let mut queue = self.shared.lock();
        for (subject, unwritten) in std::mem::take(&mut batch.gone) {
            // The queued end makes the touch durable. A crash before it would bring back an older state.
            if queue.dirty.contains(&subject) {
                queue.dirty.put_back(subject, unwritten);
            }
        }
        batch.covers = queue.covered(upto);
        drop(queue);
        batch
    }

    fn add(&self, batch: &mut Batch, subject: Subject, unwritten: Unwritten) {
        let before = batch.operations.len();
        match &subject {
            Subject::Free(name) => {
                let value = self.source.free(name);
                let changes = batch.fitting("", vec![(name.clone(), value)]);
                batch.operations.push(Operation::Free { changes });
            }
            Subject::Session(session) => {
                self.add_session(batch, session, &unwritten.extent);
                if batch.operations.len() == before {
                    batch.gone.push((subject, unwritten));
                    return;
                }
            }
        }
        let place = batch.subjects.len();
        batch.of.extend((before..batch.operations.len()).map(|_| place));
        batch.subjects.push((subject, unwritten));
    }

    fn add_session(&self, batch: &mut Batch, session: &Arc<str>, extent: &Extent) {
        let drop = |fence| Operation::Drop { session: session.to_string(), fence };
        match extent {
            Extent::Named(names) => {
                let Some(present) = self.source.session(session, Selection::Named(names)) else { return };
                let changes = batch.fitting(session, changes(names, present.records));
                let (session, ownership) = (session.to_string(), present.ownership);
                batch.operations.push(Operation::Put { session, ownership, changes });
            }
            Extent::Ended(fence) => batch.operations.push(drop(*fence)),
            Extent::Created | Extent::Whole | Extent::Again(_) => {
                let present = self.source.session(session, Selection::All);
                match (extent, &present) {
                    (Extent::Again(fence), _) => batch.operations.push(drop(*fence)),
                    (Extent::Whole, Some(present)) => {
                        batch.operations.push(drop(present.ownership.fence));
                    }
                    _ => {}
                }
                let Some(Present { ownership, records }) = present else { return };
                let changes = records.into_iter().map(|(name, value)| (name, Some(value))).collect();
                let fitting = batch.fitting(session, changes);
                let records = fitting.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
                batch.operations.push(Operation::Create { session: session.to_string(), ownership, records });
            }
        }
    }

    /// Commits, and settles what waits for it. Gives whether it worked.
    fn write(&mut self, batch: Batch) -> bool {
        // Everything may have gone in the meantime.
        let outcome = match batch.operations.is_empty() {
            true => Ok(Vec::new()),
            false => self.store.commit(&batch.operations),
        };
        let worked = match outcome {
            Ok(outcomes) => {
                self.settle(batch, &outcomes);
                true
            }
            Err(error) => {
                self.put_back(batch, &error);
                false
            }
        };
        self.shared.for_order.notify_one();
        worked
    }

    fn settle(&self, batch: Batch, outcomes: &[Outcome]) {
        let (mut again, mut refused) = (BTreeSet::new(), BTreeSet::new());
        for ((operation, &place), outcome) in batch.operations.iter().zip(&batch.of).zip(outcomes) {
            let Err(refusal) = outcome else { continue };
            if may_be_written_whole(operation, refusal) {
                again.insert(place);
            } else if refused.insert(place)
                && let (Subject::Session(session), _) = &batch.subjects[place]
            {
                self.source.refused(session, refusal);
            }
        }
        let refusals = refused.len() + usize::from(batch.has_unfit);
        self.shared.refused.fetch_add(refusals as u64, Ordering::Relaxed);
        let durability = if refusals == 0 { Durability::Durable } else { Durability::Failed };
        let mut queue = self.shared.lock();
        for (place, (subject, unwritten)) in batch.subjects.into_iter().enumerate() {
            if again.contains(&place) && !refused.contains(&place) {
                let extent = Extent::Whole;
                queue.dirty.put_back(subject, Unwritten { since: unwritten.since, extent });
            }
        }
        queue.committing_since = None;
        queue.is_failing = false;
        let covered = queue.covered(batch.covers);
        queue.settle(covered, durability);
    }

    /// The commit has failed: calls go on, since people who talk matter more than the next restart, and it is tried again.
    fn put_back(&self, batch: Batch, error: &StoreError) {
        self.shared.failures.fetch_add(1, Ordering::Relaxed);
        let lost = matches!(error, StoreError::Emptied(_))
            .then(|| (self.source.sessions(), self.source.free_names()));
        let mut queue = self.shared.lock();
        let covers = batch.covers;
        for (subject, unwritten) in batch.subjects {
            queue.dirty.put_back(subject, unwritten);
        }
        if let Some((sessions, names)) = lost {
            let sessions = sessions.into_iter().map(Subject::Session);
            queue.touch_all(sessions.chain(names.into_iter().map(Subject::Free)));
        }
        queue.committing_since = None;
        let is_first = !std::mem::replace(&mut queue.is_failing, true);
        queue.settle(covers, Durability::Failed);
        let subjects = queue.dirty.len();
        drop(queue);
        if is_first {
            tracing::error!(%error, subjects, "changes are not on disk; calls go on, and it is tried again");
        } else {
            tracing::debug!(%error, subjects, "changes are still not on disk");
        }
    }
}

impl Batch {
    /// Leaves out what no store takes, so that it does not hold up the rest, and counts the bytes of the rest. A record that has
    /// become too large is removed: an older value of it would be wrong after a restart.
    fn fitting(&mut self, session: &str, mut changes: Vec<Change>) -> Vec<Change> {
        changes.retain_mut(|(name, value)| {
            let len = value.as_ref().map_or(0, |value| value.bytes.len());
            let has_fit_name = name.id.len() <= super::super::ID_LEN_MAX;
            if len > VALUE_LEN_MAX || !has_fit_name {
                self.has_unfit = true;
                tracing::error!(session, ?name, len, "a record is too large and is not stored");
                *value = None;
            } else {
                self.bytes += len;
            }
            has_fit_name
        });
        changes
    }
}

/// What was asked for; what was not given is gone.
fn changes(names: &BTreeSet<Name>, given: Vec<(Name, Value)>) -> Vec<Change> {
    let present: BTreeSet<Name> = given.iter().map(|(name, _)| name.clone()).collect();
    let gone = names.difference(&present).map(|name| (name.clone(), None));
    let given = given.into_iter().map(|(name, value)| (name, Some(value)));
    given.chain(gone.collect::<Vec<_>>()).collect()
}

/// Whether writing the whole session mends a refusal: the store does not have it (it was lost), or has it already (a
/// commit that seemed to fail did not).
fn may_be_written_whole(operation: &Operation, refusal: &Refusal) -> bool {
    let is_ours =
        |stored: &Ownership, ours: &Ownership| stored.owner == ours.owner && stored.fence <= ours.fence;
    match (operation, refusal) {
        (Operation::Put { .. }, Refusal::Missing) => true,
        (Operation::Create { ownership, .. }, Refusal::Exists(stored)) => is_ours(stored, ownership),
        _ => false,
    }
}
