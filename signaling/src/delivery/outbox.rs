//! What a participant is to be sent.
//!
//! An outbox belongs to the participant, not to the socket: while a socket is lost, answers and notifications wait in
//! it for the next one. What was written to a socket before anybody noticed that it was dead is gone. Whoever attaches
//! last reads; the reader before learns that it was replaced.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::Notify;

/// Most bytes that wait. A client that reads so slowly is gone.
pub(super) const LEN_BYTES_MAX: usize = 256 * 1024;

/// Most that one frame counts of them: who joins a large room is told of everybody in one frame of any length, and has
/// done nothing wrong.
const FRAME_LEN_BYTES_MAX: usize = LEN_BYTES_MAX / 2;

/// The queue of one participant, or of a socket that has not joined.
#[derive(Default)]
pub struct Outbox {
    inner: Mutex<Inner>,
    wake: Notify,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<Utf8Bytes>,
    len_bytes: usize,
    reader: u64,
    overflowed: bool,
    finished: bool,
}

/// What a reader finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Pull {
    /// The next text frame.
    Text(Utf8Bytes),
    /// Everything is sent, and nothing more will come: the participant is gone. Said once.
    Finished,
    /// Too much waits.
    Overflow,
    /// Another socket reads now.
    Replaced,
}

impl Outbox {
    /// Becomes the reader, in place of whoever was. Gives the number to pull with.
    pub fn attach(&self) -> u64 {
        let mut inner = self.lock();
        inner.reader += 1;
        let reader = inner.reader;
        drop(inner);
        self.wake.notify_waiters();
        reader
    }

    /// Becomes the reader for one that came back, and puts `first` before all that waits. `None` when too much was
    /// lost meanwhile for the client to go on.
    pub fn resume(&self, first: Utf8Bytes) -> Option<u64> {
        let mut inner = self.lock();
        if inner.overflowed {
            return None;
        }
        // Under one lock: the reader before must not take `first`.
        inner.reader += 1;
        let reader = inner.reader;
        inner.len_bytes += counted(&first);
        inner.queue.push_front(first);
        drop(inner);
        self.wake.notify_waiters();
        Some(reader)
    }

    /// Number of the present reader, 0 before the first.
    pub fn reader(&self) -> u64 {
        self.lock().reader
    }

    /// Adds a text frame. Beyond the limit of bytes all of it is given up.
    pub fn push(&self, text: Utf8Bytes) {
        {
            let mut inner = self.lock();
            if inner.overflowed {
                return;
            }
            inner.len_bytes += counted(&text);
            inner.queue.push_back(text);
            if inner.len_bytes > LEN_BYTES_MAX {
                inner.overflowed = true;
                inner.queue = VecDeque::new();
            }
        }
        self.wake.notify_waiters();
    }

    /// Nothing more will come.
    pub fn finish(&self) {
        self.lock().finished = true;
        self.wake.notify_waiters();
    }

    /// Waits for what `reader` is to do next. Safe to drop while it waits.
    pub async fn pull(&self, reader: u64) -> Pull {
        self.wait_for(|outbox| outbox.look(reader)).await
    }

    /// Waits until too much waits: a reader that is stuck with one frame learns of it too.
    pub async fn overflow(&self) {
        self.wait_for(|outbox| outbox.lock().overflowed.then_some(())).await;
    }

    async fn wait_for<T>(&self, look: impl Fn(&Self) -> Option<T>) -> T {
        loop {
            let woken = self.wake.notified();
            tokio::pin!(woken);
            // Registered before the look: a push in between is not missed.
            woken.as_mut().enable();
            if let Some(found) = look(self) {
                return found;
            }
            woken.await;
        }
    }

    fn look(&self, reader: u64) -> Option<Pull> {
        let mut inner = self.lock();
        if inner.reader != reader {
            return Some(Pull::Replaced);
        }
        if inner.overflowed {
            return Some(Pull::Overflow);
        }
        if let Some(text) = inner.queue.pop_front() {
            inner.len_bytes -= counted(&text);
            return Some(Pull::Text(text));
        }
        std::mem::take(&mut inner.finished).then_some(Pull::Finished)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a frame counts.
fn counted(text: &str) -> usize {
    text.len().min(FRAME_LEN_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn text(text: &str) -> Pull {
        Pull::Text(text.into())
    }

    #[tokio::test]
    async fn what_waits_is_read_in_order_by_whoever_came_last() {
        let outbox = Arc::new(Outbox::default());
        let first = outbox.attach();
        let waiting = tokio::spawn({
            let outbox = Arc::clone(&outbox);
            async move { (outbox.pull(first).await, outbox.pull(first).await) }
        });
        outbox.push("a".into());
        while outbox.lock().len_bytes > 0 {
            tokio::task::yield_now().await;
        }
        let second = outbox.resume("welcome back".into()).unwrap();
        assert_eq!(waiting.await.unwrap(), (text("a"), Pull::Replaced));
        outbox.push("b".into());
        outbox.finish();
        assert_eq!(outbox.pull(second).await, text("welcome back"));
        assert_eq!(outbox.pull(second).await, text("b"));
        assert_eq!(outbox.pull(second).await, Pull::Finished);
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_loses_everything_at_once() {
        let outbox = Outbox::default();
        let reader = outbox.attach();
        for _ in 0..LEN_BYTES_MAX / FRAME_LEN_BYTES_MAX {
            outbox.push("x".repeat(FRAME_LEN_BYTES_MAX).into());
        }
        outbox.push("y".into());
        outbox.push("z".into());
        assert_eq!(outbox.pull(reader).await, Pull::Overflow);
        assert_eq!(outbox.resume("welcome back".into()), None);
    }

    #[tokio::test]
    async fn one_frame_may_be_of_any_length_and_others_may_wait_with_it() {
        let outbox = Outbox::default();
        let reader = outbox.attach();
        let large = "x".repeat(3 * LEN_BYTES_MAX);
        outbox.push("before".into());
        outbox.push(large.clone().into());
        outbox.push("behind".into());
        assert_eq!(outbox.pull(reader).await, text("before"));
        assert_eq!(outbox.pull(reader).await, text(&large));
        assert_eq!(outbox.pull(reader).await, text("behind"));
        assert_eq!(outbox.lock().len_bytes, 0);
    }

    #[tokio::test]
    async fn what_is_read_makes_room() {
        let outbox = Outbox::default();
        let reader = outbox.attach();
        for _ in 0..10 {
            outbox.push("x".repeat(LEN_BYTES_MAX).into());
            assert!(matches!(outbox.pull(reader).await, Pull::Text(_)));
        }
    }
}
