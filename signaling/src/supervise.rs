//! Long-lived threads and tasks, whose unexpected end ends the process.
//!
//! A part that has died unseen leaves a process that answers some requests and loses others. Here an end is cheap: the
//! relay holds the media, the service manager starts this process again, and clients come back by themselves.
//!
//! ```
//! # use millrace_signaling::supervise::{self, Wanted};
//! # let (stop, stopped) = std::sync::mpsc::channel::<()>();
//! supervise::thread("example", move || {
//!     // … works until the channel closes …
//!     let _ = stopped.recv();
//!     Wanted
//! })?;
//! # drop(stop);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::any::Any;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use futures_util::FutureExt as _;

/// Status of a process that ends since one of its parts did: EX_SOFTWARE of sysexits.h. The service manager starts the
/// process again.
pub const EXIT_PART_ENDED: u8 = 70;

/// What a part returns that is to end: its work is done, for example since its channel was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted;

/// What a part may return.
pub trait Ending {
    /// Whether the part was to end.
    fn is_wanted(&self) -> bool;
}

impl Ending for Wanted {
    fn is_wanted(&self) -> bool {
        true
    }
}

/// A part that just returns was not to end.
impl Ending for () {
    fn is_wanted(&self) -> bool {
        false
    }
}

impl Ending for Infallible {
    fn is_wanted(&self) -> bool {
        match *self {}
    }
}

/// Starts a thread of this process that is to live long.
///
/// # Errors
/// When the machine gives no thread.
pub fn thread<E: Ending>(
    name: &'static str,
    work: impl FnOnce() -> E + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    Parts::of_process().thread(name, work)
}

/// Starts a task of this process that is to live long. Must be called within a runtime. A task that goes down with its
/// runtime, or is aborted, has not ended unexpectedly.
pub fn task<E: Ending>(
    name: &'static str,
    work: impl Future<Output = E> + Send + 'static,
) -> tokio::task::JoinHandle<()> {
    Parts::of_process().task(name, work)
}

/// What is done when a part ends unexpectedly. Gets the name of the part and what happened to it.
pub type OnEnd = dyn Fn(&'static str, &str) + Send + Sync;

/// The living parts of a process, and what their end leads to. Clones share both.
#[derive(Clone)]
pub struct Parts {
    registered: Arc<Mutex<Registered>>,
    on_end: Arc<OnEnd>,
}

#[derive(Default)]
struct Registered {
    next: u64,
    parts: BTreeMap<u64, Part>,
}

/// One part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name. Several may have the same.
    pub name: &'static str,
    /// False when it has ended unexpectedly. If an end ends the process, no caller sees this.
    pub is_alive: bool,
}

/// Ends the process when a part ends.
impl Default for Parts {
    fn default() -> Self {
        Self::with(|name, what| {
            tracing::error!("{name} {what}; this process ends, and is to be started again");
            std::process::exit(EXIT_PART_ENDED.into());
        })
    }
}

impl Parts {
    /// Parts whose unexpected end leads to `on_end` instead of the end of the process.
    pub fn with(on_end: impl Fn(&'static str, &str) + Send + Sync + 'static) -> Self {
        Self { registered: Arc::default(), on_end: Arc::new(on_end) }
    }

    /// Those of this process.
    pub fn of_process() -> &'static Self {
        static PARTS: OnceLock<Parts> = OnceLock::new();
        PARTS.get_or_init(Self::default)
    }

    /// See [`thread`].
    ///
    /// # Errors
    /// When the machine gives no thread.
    pub fn thread<E: Ending>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> E + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let watch = self.watch(name);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || watch.ended(catch_unwind(AssertUnwindSafe(work))))
    }

    /// See [`task`].
    pub fn task<E: Ending>(
        &self,
        name: &'static str,
        work: impl Future<Output = E> + Send + 'static,
    ) -> tokio::task::JoinHandle<()> {
        let watch = self.watch(name);
        tokio::spawn(async move { watch.ended(AssertUnwindSafe(work).catch_unwind().await) })
    }

    /// For a part that lives and does not get on: does what its end would do.
    pub fn give_up(&self, name: &'static str, what: &str) {
        (self.on_end)(name, what);
    }

    /// Every part that has not come to a wanted end, in the order of their start.
    pub fn all(&self) -> Vec<Part> {
        self.lock().parts.values().cloned().collect()
    }

    /// The names of parts that have ended unexpectedly.
    pub fn dead(&self) -> Vec<&'static str> {
        self.lock().parts.values().filter(|part| !part.is_alive).map(|part| part.name).collect()
    }

    fn watch(&self, name: &'static str) -> Watch {
        let mut registered = self.lock();
        let number = registered.next;
        registered.next += 1;
        registered.parts.insert(number, Part { name, is_alive: true });
        Watch { parts: self.clone(), name, number }
    }

    fn lock(&self) -> MutexGuard<'_, Registered> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sees the end of one part. Dropped without one (the task was aborted, or went down with its runtime), the part is
/// forgotten.
struct Watch {
    parts: Parts,
    name: &'static str,
    number: u64,
}

impl Watch {
    fn ended<E: Ending>(self, outcome: Result<E, Box<dyn Any + Send>>) {
        let what = match &outcome {
            Ok(ending) if ending.is_wanted() => return,
            Ok(_) => "has ended although it was to go on".to_owned(),
            Err(panic) => format!("has panicked: {}", text_of(panic.as_ref())),
        };
        if let Some(part) = self.parts.lock().parts.get_mut(&self.number) {
            part.is_alive = false;
        }
        (self.parts.on_end)(self.name, &what);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut registered = self.parts.lock();
        if registered.parts.get(&self.number).is_some_and(|part| part.is_alive) {
            registered.parts.remove(&self.number);
        }
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a text")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    type Ends = mpsc::Receiver<(&'static str, String)>;

    fn observed() -> (Parts, Ends) {
        let (tell, ends) = mpsc::channel();
        let parts = Parts::with(move |name, what| {
            let _ = tell.send((name, what.to_owned()));
        });
        (parts, ends)
    }

    fn lose() {
        panic!("lost {}", "it");
    }

    #[test]
    fn a_thread_that_panics_or_returns_is_seen() {
        let (parts, ends) = observed();
        parts.thread("a", lose).unwrap().join().unwrap();
        assert_eq!(ends.recv().unwrap(), ("a", "has panicked: lost it".to_owned()));
        parts.thread("b", || ()).unwrap().join().unwrap();
        assert_eq!(ends.recv().unwrap().0, "b");
        assert_eq!(parts.dead(), ["a", "b"]);
    }

    #[test]
    fn a_part_that_works_is_alive_and_its_wanted_end_is_none_of_our_business() {
        let (parts, ends) = observed();
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = parts.thread("a", move || {
            let _ = stopped.recv();
            Wanted
        });
        assert_eq!(parts.all(), [Part { name: "a", is_alive: true }]);
        drop(stop);
        thread.unwrap().join().unwrap();
        assert_eq!(parts.all(), []);
        assert!(ends.try_recv().is_err());
    }

    #[tokio::test]
    async fn tasks_are_seen_too_unless_they_are_aborted() {
        let (parts, ends) = observed();
        parts.task("a", async { lose() }).await.unwrap();
        assert_eq!(ends.recv().unwrap(), ("a", "has panicked: lost it".to_owned()));
        parts.task("b", async {}).await.unwrap();
        assert_eq!(ends.recv().unwrap().0, "b");
        let aborted = parts.task("c", std::future::pending::<Infallible>());
        assert_eq!(parts.all().len(), 3);
        aborted.abort();
        assert!(aborted.await.unwrap_err().is_cancelled());
        assert_eq!(parts.dead(), ["a", "b"]);
        assert_eq!(parts.all().len(), 2, "the aborted one is forgotten");
        assert!(ends.try_recv().is_err());
    }
}
