//! Things to do that wait for a task.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A set of things to do. One that waits already is not added again, so the set is bounded by what there is.
#[derive(Debug)]
pub struct Queue<T> {
    waiting: Mutex<BTreeSet<T>>,
    bell: Notify,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { waiting: Mutex::new(BTreeSet::new()), bell: Notify::new() }
    }
}

impl<T: Ord> Queue<T> {
    /// Adds things, and wakes the task that does them.
    pub fn extend(&self, things: impl IntoIterator<Item = T>) {
        let mut waiting = self.lock();
        waiting.extend(things);
        let is_something = !waiting.is_empty();
        drop(waiting);
        if is_something {
            self.bell.notify_one();
        }
    }

    /// Everything that waits.
    pub fn take(&self) -> BTreeSet<T> {
        std::mem::take(&mut *self.lock())
    }

    /// Waits until there is something, and takes all of it. Only one task may wait.
    pub async fn next(&self) -> BTreeSet<T> {
        loop {
            let things = self.take();
            if !things.is_empty() {
                return things;
            }
            self.bell.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_is_taken_once() {
        let queue = Queue::default();
        queue.extend([2, 1, 2]);
        assert_eq!(queue.next().await, BTreeSet::from([1, 2]));
        queue.extend([3]);
        queue.extend([]);
        assert_eq!(queue.next().await, BTreeSet::from([3]));
        assert!(queue.take().is_empty());
    }
}
