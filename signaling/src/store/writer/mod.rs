//! Writes records some time after the change. What follows a change happens in the order of submission.
//!
//! Two threads share a queue. The commit thread takes what was touched, asks the [`Source`] for the present values, and
//! commits them; while it does, further changes gather, so a burst costs few commits. The order thread runs what happens
//! after each submission (answers, notifications) as soon as its records are durable. It runs them all the same, in
//! the same order, when
//!
//! * the commit takes longer than [`Pace::deadline`] ([`Durability::Late`]): a disk that hangs stops no caller;
//! * the commit has failed ([`Durability::Failed`]): it is tried again each [`Pace::retry`];
//! * more waits than [`Pace::waiting_max`] and [`Pace::waiting_bytes_max`] permit ([`Durability::Late`]).
//!
//! While the disk hangs or fails, the writer remembers the names of the touched records. The number of records bounds
//! its memory.

mod commit;
mod order;
mod queue;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Source, Store, StoreCounters, Touched};
use crate::supervise::Parts;
use commit::Committer;
use queue::Queue;

/// What happens after a submission. It must not block.
type After = Box<dyn FnOnce(Durability) + Send>;

/// What an `after` learns about its submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It survives a crash from now on.
    Durable,
    /// It is not written yet, because the disk is slow. The writer keeps trying.
    Late,
    /// It could not be written. It is tried again, unless the store refused it (see [`Source::refused`]).
    Failed,
}

/// How long things may take, and how much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How long a submission waits for the disk.
    pub deadline: Duration,
    /// Pause after a failed commit.
    pub retry: Duration,
    /// How long the end of the process waits for the last commit.
    pub farewell: Duration,
    /// Most submissions that wait for the disk.
    pub waiting_max: usize,
    /// Most memory of what happens after them, in bytes.
    pub waiting_bytes_max: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            deadline: Duration::from_millis(200),
            retry: Duration::from_secs(1),
            farewell: Duration::from_secs(3),
            waiting_max: 1 << 16,
            waiting_bytes_max: 64 << 20,
        }
    }
}

/// If more than this many times [`Pace::waiting_max`] submissions wait, the order thread stands still, and the
/// process ends.
const STANDSTILL: usize = 16;

/// Figures of the writer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterStats {
    /// Commits that have failed.
    pub failures: u64,
    /// Answers and notifications that have left before their change was on disk.
    pub late: u64,
    /// Sessions and records that the store has refused.
    pub refused: u64,
    /// Sessions, and records outside of sessions, that are not on disk at present.
    pub unwritten: usize,
    /// Submissions that wait for the disk.
    pub waiting: usize,
}

/// Handle to the two threads. Dropping it writes what is left.
pub struct Writer {
    shared: Arc<Shared>,
    store: Arc<StoreCounters>,
    parts: Parts,
    commit: Option<JoinHandle<()>>,
    order: Option<JoinHandle<()>>,
}

/// What the handle and the threads share.
struct Shared {
    queue: Mutex<Queue>,
    for_commit: Condvar,
    for_order: Condvar,
    ended: Condvar,
    pace: Pace,
    failures: AtomicU64,
    late: AtomicU64,
    refused: AtomicU64,
}

impl Writer {
    /// Starts the threads as parts of `parts`.
    ///
    /// # Errors
    /// When the machine gives no thread.
    pub fn start(
        store: Box<dyn Store>,
        source: Box<dyn Source>,
        pace: Pace,
        parts: &Parts,
    ) -> io::Result<Self> {
        let counters = store.counters();
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            for_commit: Condvar::new(),
            for_order: Condvar::new(),
            ended: Condvar::new(),
            pace,
            failures: AtomicU64::new(0),
            late: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        let mut writer = Self { shared, store: counters, parts: parts.clone(), commit: None, order: None };
        let shared = Arc::clone(&writer.shared);
        writer.order = Some(parts.thread("store-order", move || order::run(&shared))?);
        let committer = Committer { store, source, shared: Arc::clone(&writer.shared) };
        writer.commit = Some(parts.thread("store-commit", move || committer.run())?);
        Ok(writer)
    }

    /// Makes the touched records durable, then runs `after` on the order thread. It does not wait for the disk. A
    /// submission that touched nothing only keeps its place in the order. `after_bytes` is the approximate memory of
    /// `after`.
    ///
    /// Call it under the lock under which the change was made, so that submissions have the order of the changes.
    pub fn submit(
        &self,
        touched: Touched,
        after_bytes: usize,
        after: impl FnOnce(Durability) + Send + 'static,
    ) {
        let has_touched = !touched.is_none();
        let mut queue = self.shared.lock();
        queue.submit(touched, after_bytes, Box::new(after), Instant::now());
        let waiting = queue.waiting_len();
        let is_to_look = waiting == 1 || queue.is_over(&self.shared.pace);
        drop(queue);
        if has_touched {
            self.shared.for_commit.notify_one();
        }
        if is_to_look {
            self.shared.for_order.notify_one();
        }
        if waiting > self.shared.pace.waiting_max.saturating_mul(STANDSTILL) {
            self.parts.give_up("store-order", "stands still");
        }
    }

    /// The figures of this moment.
    pub fn stats(&self) -> WriterStats {
        let (unwritten, waiting) = {
            let queue = self.shared.lock();
            (queue.dirty.len(), queue.waiting_len())
        };
        WriterStats {
            failures: self.shared.failures.load(Ordering::Relaxed),
            late: self.shared.late.load(Ordering::Relaxed),
            refused: self.shared.refused.load(Ordering::Relaxed),
            unwritten,
            waiting,
        }
    }

    /// Counters of the store itself.
    pub fn store_counters(&self) -> &StoreCounters {
        &self.store
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let shared = &self.shared;
        let mut queue = shared.lock();
        queue.is_closed = true;
        shared.for_commit.notify_one();
        shared.for_order.notify_one();
        let latest = Instant::now() + shared.pace.farewell;
        while self.commit.is_some() && !queue.has_commit_ended {
            let wait = latest.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                tracing::error!("the last changes are not on disk: it does not answer");
                self.commit = None;
                break;
            }
            queue = shared.wait(&shared.ended, queue, Some(wait));
        }
        drop(queue);
        for thread in [self.commit.take(), self.order.take()].into_iter().flatten() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// The queue. No code of others runs under this lock, so a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &self,
        bell: &Condvar,
        queue: MutexGuard<'a, Queue>,
        longest: Option<Duration>,
    ) -> MutexGuard<'a, Queue> {
        match longest {
            Some(longest) => match bell.wait_timeout(queue, longest) {
                Ok((queue, _)) => queue,
                Err(poisoned) => poisoned.into_inner().0,
            },
            None => bell.wait(queue).unwrap_or_else(PoisonError::into_inner),
        }
    }
}

#[cfg(test)]
mod tests;
