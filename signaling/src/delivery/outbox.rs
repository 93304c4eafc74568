//! What a participant is to be sent.
//!
//! An outbox belongs to the participant, not to the socket: while a socket is lost, answers and notifications wait in
//! it for the next one. What was written to a dead socket is lost. The last
//! reader that attaches reads. The reader before gets [`Pull::Replaced`].
//!
//! Answers leave at once. Notices of a large room gather for some milliseconds, so that one write carries several: when
//! 200 people a second enter a room of 2 000, each of them is sent 200 notices a second.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Most bytes that wait. A client that reads so slowly is gone.
pub(super) const LEN_BYTES_MAX: usize = 256 * 1024;

/// Most bytes that one frame counts. A client that joins a large room gets one frame of any length with all participants,
/// and must not lose its place for that.
const FRAME_LEN_BYTES_MAX: usize = LEN_BYTES_MAX / 2;

/// Most bytes that are written together.
const BATCH_LEN_BYTES_MAX: usize = 16 << 10;

/// With so many bytes waiting, nothing gathers: a client that reads must not lose its place for it.
const GATHERED_LEN_BYTES_MAX: usize = LEN_BYTES_MAX / 8;

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
    /// Whether something waits that must not gather.
    urgent: bool,
    /// Time between two writes of notices, and when the last one was.
    gather: Duration,
    written_at: Option<Instant>,
    /// Whether the reader waits for that time, so that a notice need not wake it.
    is_gathering: bool,
    overflowed: bool,
    finished: bool,
}

/// What a look finds.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    Found(Pull),
    Nothing,
    /// Nothing before this time.
    Gathering(Instant),
}

/// What a reader finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Pull {
    /// The next text frames, to be written together.
    Texts(VecDeque<Utf8Bytes>),
    /// Everything is sent, and nothing more will come: the participant is gone. Said once.
    Finished,
    /// Too much waits.
    Overflow,
    /// Another socket reads now.
    Replaced,
}

impl Outbox {
    /// Becomes the reader, in place of an earlier one. Returns the number to pull with.
    pub fn attach(&self) -> u64 {
        let mut inner = self.lock();
        inner.reader += 1;
        inner.is_gathering = false;
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
        inner.is_gathering = false;
        inner.urgent = true;
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

    /// Adds a text frame that leaves at once. Beyond the limit of bytes all of it is given up.
    pub fn push(&self, text: Utf8Bytes) {
        let mut inner = self.lock();
        inner.urgent = true;
        inner.push(text);
        drop(inner);
        self.wake.notify_waiters();
    }

    /// The same for a notice. It leaves not sooner than `gather` after the last write.
    pub fn push_notice(&self, text: Utf8Bytes, gather: Duration) {
        let mut inner = self.lock();
        inner.gather = gather;
        inner.push(text);
        inner.urgent |= inner.len_bytes > GATHERED_LEN_BYTES_MAX;
        let sleeps_on = inner.is_gathering && !inner.urgent && !inner.overflowed;
        drop(inner);
        if !sleeps_on {
            self.wake.notify_waiters();
        }
    }

    /// Makes what waits leave at once.
    pub fn hurry(&self) {
        let mut inner = self.lock();
        inner.urgent = !inner.queue.is_empty();
        drop(inner);
        self.wake.notify_waiters();
    }

    /// Nothing more will come.
    pub fn finish(&self) {
        self.lock().finished = true;
        self.wake.notify_waiters();
    }

    /// Waits for what `reader` is to do next. Safe to drop while it waits.
    pub async fn pull(&self, reader: u64) -> Pull {
        self.wait_for(|inner| inner.look(reader, Instant::now())).await
    }

    /// Waits until too much waits: a reader that is stuck with one frame learns of it too.
    pub async fn overflow(&self) {
        let look =
            |inner: &mut Inner| if inner.overflowed { Look::Found(Pull::Overflow) } else { Look::Nothing };
        self.wait_for(look).await;
    }

    async fn wait_for(&self, look: impl Fn(&mut Inner) -> Look) -> Pull {
        loop {
            let woken = self.wake.notified();
            tokio::pin!(woken);
            // Registered before the look: a push in between is not missed.
            woken.as_mut().enable();
            let found = look(&mut self.lock());
            match found {
                Look::Found(pull) => return pull,
                Look::Nothing => woken.await,
                Look::Gathering(until) => drop(timeout_at(until, woken).await),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn push(&mut self, text: Utf8Bytes) {
        if self.overflowed {
            return;
        }
        self.len_bytes += counted(&text);
        self.queue.push_back(text);
        if self.len_bytes > LEN_BYTES_MAX {
            self.overflowed = true;
            self.queue = VecDeque::new();
        }
    }

    fn look(&mut self, reader: u64, now: Instant) -> Look {
        if self.reader != reader {
            return Look::Found(Pull::Replaced);
        }
        self.is_gathering = false;
        if self.overflowed {
            return Look::Found(Pull::Overflow);
        }
        if self.queue.is_empty() {
            let is_over = std::mem::take(&mut self.finished);
            return if is_over { Look::Found(Pull::Finished) } else { Look::Nothing };
        }
        if let Some(until) = self.gathers_until(now) {
            self.is_gathering = true;
            return Look::Gathering(until);
        }
        let texts = self.take_batch();
        // All that waits leaves now, batch by batch.
        self.urgent = !self.queue.is_empty();
        self.written_at = Some(now);
        Look::Found(Pull::Texts(texts))
    }

    /// The frames of the next write. They are lost when the socket is, so a batch is small.
    fn take_batch(&mut self) -> VecDeque<Utf8Bytes> {
        let mut texts = VecDeque::new();
        let mut left = BATCH_LEN_BYTES_MAX;
        while let Some(text) = self.queue.pop_front_if(|text| texts.is_empty() || text.len() <= left) {
            self.len_bytes -= counted(&text);
            left = left.saturating_sub(text.len());
            texts.push_back(text);
        }
        texts
    }

    /// The time before which nothing leaves. `None` if it leaves now.
    fn gathers_until(&self, now: Instant) -> Option<Instant> {
        if self.urgent || self.finished {
            return None;
        }
        let until = self.written_at? + self.gather;
        (until > now).then_some(until)
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

    fn texts<const N: usize>(texts: [&str; N]) -> Pull {
        Pull::Texts(texts.map(Utf8Bytes::from).into())
    }

    #[test]
    fn notices_of_a_large_room_gather_and_an_answer_takes_them_along() {
        let outbox = Outbox::default();
        let reader = outbox.attach();
        let start = Instant::now();
        let ms = Duration::from_millis;
        let notice = |text: &str| outbox.push_notice(text.into(), ms(50));
        let look = |after| outbox.lock().look(reader, start + after);
        notice("1");
        assert_eq!(look(ms(0)), Look::Found(texts(["1"])), "the first one waits for nothing");
        notice("2");
        notice("3");
        assert_eq!(look(ms(49)), Look::Gathering(start + ms(50)));
        assert_eq!(look(ms(50)), Look::Found(texts(["2", "3"])));
        notice("4");
        outbox.push("answer".into());
        assert_eq!(look(ms(51)), Look::Found(texts(["4", "answer"])));
        notice("5");
        assert_eq!(look(ms(52)), Look::Gathering(start + ms(101)));
        outbox.finish();
        assert_eq!(look(ms(52)), Look::Found(texts(["5"])), "an end is urgent");
        assert_eq!(look(ms(52)), Look::Found(Pull::Finished));
        outbox.push_notice("6".into(), Duration::ZERO);
        assert_eq!(look(ms(52)), Look::Found(texts(["6"])), "in a small room nothing waits");
    }

    #[test]
    fn much_that_waits_and_a_restart_end_the_gathering() {
        let outbox = Outbox::default();
        let reader = outbox.attach();
        let now = Instant::now();
        let hour = Duration::from_secs(3_600);
        let look = || outbox.lock().look(reader, now);
        outbox.push_notice("1".into(), hour);
        assert_eq!(look(), Look::Found(texts(["1"])));
        let kib = "x".repeat(1 << 10);
        let count = GATHERED_LEN_BYTES_MAX / kib.len();
        (0..count).for_each(|_| outbox.push_notice(kib.clone().into(), hour));
        assert_eq!(look(), Look::Gathering(now + hour));
        outbox.push_notice("x".into(), hour);
        let mut taken = 0;
        while let Look::Found(Pull::Texts(texts)) = look() {
            assert!(texts.iter().map(|text| text.len()).sum::<usize>() <= BATCH_LEN_BYTES_MAX);
            taken += texts.len();
        }
        assert_eq!(taken, count + 1);
        outbox.push_notice("2".into(), hour);
        assert_eq!(look(), Look::Gathering(now + hour));
        outbox.hurry();
        assert_eq!((look(), look()), (Look::Found(texts(["2"])), Look::Nothing));
    }

    #[tokio::test]
    async fn a_reader_that_gathers_is_woken_by_an_answer_and_by_too_much() {
        let hour = Duration::from_secs(3_600);
        let fill = |outbox: &Outbox| {
            (0..3).for_each(|_| outbox.push_notice("x".repeat(FRAME_LEN_BYTES_MAX).into(), hour));
        };
        for (wake, found) in [
            ((&|outbox: &Outbox| outbox.push("answer".into())) as &dyn Fn(&Outbox), texts(["2", "answer"])),
            (&fill, Pull::Overflow),
        ] {
            let outbox = Arc::new(Outbox::default());
            let reader = outbox.attach();
            outbox.push_notice("1".into(), hour);
            assert_eq!(outbox.pull(reader).await, texts(["1"]));
            outbox.push_notice("2".into(), hour);
            let pulled = tokio::spawn({
                let outbox = Arc::clone(&outbox);
                async move { outbox.pull(reader).await }
            });
            while !outbox.lock().is_gathering {
                tokio::task::yield_now().await;
            }
            wake(&outbox);
            assert_eq!(pulled.await.unwrap(), found);
        }
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
        assert_eq!(waiting.await.unwrap(), (texts(["a"]), Pull::Replaced));
        outbox.push("b".into());
        outbox.finish();
        assert_eq!(outbox.pull(second).await, texts(["welcome back", "b"]));
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
        assert_eq!(outbox.pull(reader).await, texts(["before"]), "a long frame does not fit behind");
        assert_eq!(outbox.pull(reader).await, texts([&large]));
        assert_eq!(outbox.pull(reader).await, texts(["behind"]));
        assert_eq!(outbox.lock().len_bytes, 0);
    }

    #[tokio::test]
    async fn what_is_read_makes_room() {
        let outbox = Outbox::default();
        let reader = outbox.attach();
        for _ in 0..10 {
            outbox.push("x".repeat(LEN_BYTES_MAX).into());
            assert!(matches!(outbox.pull(reader).await, Pull::Texts(_)));
        }
    }
}
