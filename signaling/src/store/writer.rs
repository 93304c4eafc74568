//! The one thread that writes, and the order in which things become visible.
//!
//! Whoever changes the model submits the names of the sessions it touched, and what is to happen once that is on
//! disk: answers and notifications leave in the order of submission, and none before the attempt to make its change
//! durable. Should that fail they leave all the same, and it is tried again. While one commit is under way further
//! submissions gather, so a burst costs few commits.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Change, Store};

/// Pause before a failed commit is tried again, when nothing else comes.
const RETRY: Duration = Duration::from_secs(1);

/// Most submissions in one commit.
const BATCH_MAX: usize = 1_024;

/// Gives the present value of a session, or `None` if it is gone.
pub type Snapshots = Box<dyn Fn(&str) -> Option<Vec<u8>> + Send>;

/// What happens once a submission is durable.
type After = Box<dyn FnOnce() + Send>;

struct Submission {
    dirty: Vec<String>,
    after: After,
}

/// Handle to the writing thread. It ends, after the last submission, when the handle is dropped.
pub struct Writer {
    submissions: Option<mpsc::Sender<Submission>>,
    failures: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the machine gives no thread.
    pub fn start(store: Box<dyn Store>, snapshots: Snapshots) -> std::io::Result<Self> {
        let (submissions, received) = mpsc::channel();
        let failures = Arc::new(AtomicU64::new(0));
        let mut worker = Worker { store, snapshots, failures: Arc::clone(&failures), dirty: BTreeSet::new() };
        let thread = std::thread::Builder::new().name("store".into()).spawn(move || worker.run(&received))?;
        Ok(Self { submissions: Some(submissions), failures, thread: Some(thread) })
    }

    /// Makes the `dirty` sessions durable, then runs `after`. Nothing to write is fine: it keeps the order.
    pub fn submit(&self, dirty: Vec<String>, after: impl FnOnce() + Send + 'static) {
        let submission = Submission { dirty, after: Box::new(after) };
        if let Some(submissions) = &self.submissions {
            // Fails only when the thread is gone, and then the process is ending.
            let _ = submissions.send(submission);
        }
    }

    /// Commits that failed so far.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.submissions = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    store: Box<dyn Store>,
    snapshots: Snapshots,
    failures: Arc<AtomicU64>,
    /// Sessions whose present value is not on disk.
    dirty: BTreeSet<String>,
}

impl Worker {
    fn run(&mut self, submissions: &mpsc::Receiver<Submission>) {
        loop {
            let first = if self.dirty.is_empty() {
                submissions.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected)
            } else {
                submissions.recv_timeout(RETRY)
            };
            let first = match first {
                Ok(first) => Some(first),
                Err(mpsc::RecvTimeoutError::Timeout) => None,
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            };
            let batch: Vec<Submission> =
                first.into_iter().chain(submissions.try_iter().take(BATCH_MAX)).collect();
            self.carry_out(batch);
        }
    }

    /// One commit. If it fails the calls go on all the same: people talking matter more than surviving the next
    /// restart, and the commit is tried again.
    fn carry_out(&mut self, batch: Vec<Submission>) {
        let mut afters = Vec::with_capacity(batch.len());
        for submission in batch {
            self.dirty.extend(submission.dirty);
            afters.push(submission.after);
        }
        if !self.dirty.is_empty() {
            let changes: Vec<Change> =
                self.dirty.iter().map(|id| (id.clone(), (self.snapshots)(id))).collect();
            match self.store.commit(&changes) {
                Ok(()) => self.dirty.clear(),
                Err(error) => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(%error, sessions = changes.len(), "changes are not on disk, will try again");
                }
            }
        }
        for after in afters {
            after();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::StoreError;
    use super::*;

    type Log = Arc<Mutex<Vec<String>>>;

    /// Writes down what it is asked, and fails as often as told.
    struct Notebook {
        log: Log,
        fail: u32,
    }

    impl Store for Notebook {
        fn load(&mut self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
            Ok(Vec::new())
        }

        fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
            if self.fail > 0 {
                self.fail -= 1;
                return Err(StoreError("disk full".into()));
            }
            let line =
                changes.iter().map(|(id, value)| format!("{id}={value:?}")).collect::<Vec<_>>().join(" ");
            self.log.lock().unwrap().push(line);
            Ok(())
        }
    }

    fn start(fail: u32) -> (Writer, Log) {
        let log = Log::default();
        let store = Notebook { log: Arc::clone(&log), fail };
        let snapshots: Snapshots = Box::new(|id| (id != "gone").then(|| vec![1]));
        (Writer::start(Box::new(store), snapshots).unwrap(), log)
    }

    fn note(log: &Log, text: &'static str) -> impl FnOnce() + Send + 'static {
        let log = Arc::clone(log);
        move || log.lock().unwrap().push(text.into())
    }

    #[test]
    fn nothing_leaves_before_it_is_written_and_all_leaves_in_order() {
        let (writer, log) = start(0);
        writer.submit(vec!["a".into()], note(&log, "answer a"));
        writer.submit(vec![], note(&log, "signal"));
        writer.submit(vec!["gone".into()], note(&log, "answer gone"));
        drop(writer);
        let log = log.lock().unwrap();
        let at = |text: &str| log.iter().position(|line| line.contains(text)).unwrap();
        assert!(at("a=Some([1])") < at("answer a"));
        assert!(at("answer a") < at("signal"));
        assert!(at("signal") < at("answer gone"));
        assert!(at("gone=None") < at("answer gone"));
    }

    #[test]
    fn a_failed_commit_is_counted_and_made_up_for_by_the_next() {
        let (writer, log) = start(1);
        let (done, finished) = mpsc::channel();
        writer.submit(vec!["a".into()], move || done.send(()).unwrap());
        finished.recv().unwrap();
        assert_eq!(writer.failures(), 1);
        writer.submit(vec!["b".into()], || ());
        drop(writer);
        assert_eq!(*log.lock().unwrap(), ["a=Some([1]) b=Some([1])"]);
    }
}
