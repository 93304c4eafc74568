//! Call detail records: one line for each event, written by a thread of its own.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use super::event::Event;
use super::rotation::Rotation;
use crate::clock;
use crate::supervise::{self, Wanted};

/// Most bytes of lines that wait for the disk. A disk that hangs must not use up the memory.
const WAITING_LEN_MAX: usize = 16 * 1024 * 1024;

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The directory.
    pub dir: PathBuf,
    /// Longest file, in bytes. A longer line gets a file of its own.
    pub len_bytes_max: u64,
    /// Most older files that are kept.
    pub old_max: usize,
}

/// Handle to the writing thread. It ends, after the last line, when the handle is dropped.
pub(super) struct LogFile {
    lines: Option<mpsc::Sender<Vec<u8>>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    waiting_len: AtomicUsize,
    written: AtomicU64,
    /// Lines that could not be written, or found no room.
    lost: AtomicU64,
    /// Whether the last line was lost. The log says so once.
    losing: AtomicBool,
}

impl LogFile {
    pub(super) fn start(settings: &Settings) -> io::Result<Self> {
        let mut files = Rotation::open(&settings.dir, settings.len_bytes_max, settings.old_max)?;
        let (lines, received) = mpsc::channel::<Vec<u8>>();
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = supervise::thread("cdr", move || {
            for line in received {
                let outcome = files.write(&line, clock::now_ms());
                of_thread.waiting_len.fetch_sub(line.len(), Ordering::Relaxed);
                of_thread.note(outcome);
            }
            Wanted
        })?;
        Ok(Self { lines: Some(lines), shared, thread: Some(thread) })
    }

    /// Queues an event if there is room. Never waits.
    pub(super) fn push(&self, event: &Event) {
        let line = event.line();
        let waiting = self.shared.waiting_len.fetch_add(line.len(), Ordering::Relaxed);
        if waiting.saturating_add(line.len()) > WAITING_LEN_MAX {
            self.shared.waiting_len.fetch_sub(line.len(), Ordering::Relaxed);
            self.shared.note(Err(io::Error::other("the disk is too slow")));
        } else if let Some(lines) = &self.lines {
            // Fails only when the thread has ended, which it does with the process.
            let _ = lines.send(line);
        }
    }

    /// Numbers of lines: written, lost.
    pub(super) fn counts(&self) -> [u64; 2] {
        [self.shared.written.load(Ordering::Relaxed), self.shared.lost.load(Ordering::Relaxed)]
    }
}

impl Shared {
    fn note(&self, outcome: io::Result<()>) {
        match outcome {
            Ok(()) => {
                self.written.fetch_add(1, Ordering::Relaxed);
                self.losing.store(false, Ordering::Relaxed);
            }
            Err(error) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                if !self.losing.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "a call detail record is lost; later ones are only counted");
                }
            }
        }
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        self.lines = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
