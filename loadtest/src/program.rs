//! A program started for one measurement, in a folder of its own; both are gone after it.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use millrace_testkit::Scratch;

use crate::kernel::affinity::{allowed_cores, pin_this_thread};

/// Time for a program to start, and how often it is looked at.
const START_TIMEOUT: Duration = Duration::from_secs(20);
const START_LOOK: Duration = Duration::from_millis(10);
/// Last bytes of its log in an error.
const LOG_TAIL: usize = 600;

/// A running program whose log is the file `log` of its folder.
#[derive(Debug)]
pub struct Program {
    child: Child,
    // Removed once the program has ended.
    folder: Scratch,
}

impl Program {
    /// Starts `command` on `cores` and waits until `is_ready`. The folder is removed in the end, also of one that does
    /// not start.
    ///
    /// # Errors
    /// When it does not start, with the end of its log.
    pub fn start(
        mut command: Command,
        folder: Scratch,
        cores: &[usize],
        is_ready: impl Fn() -> bool,
    ) -> Result<Self, String> {
        // A child inherits the cores of the thread that makes it.
        let ours = allowed_cores().map_err(|error| error.to_string())?;
        pin_this_thread(cores).map_err(|error| error.to_string())?;
        let child = command.spawn();
        pin_this_thread(&ours).map_err(|error| error.to_string())?;
        let child = child.map_err(|error| error.to_string())?;
        let mut program = Self { child, folder };
        program.await_ready(is_ready)?;
        Ok(program)
    }

    fn await_ready(&mut self, is_ready: impl Fn() -> bool) -> Result<(), String> {
        let deadline = Instant::now() + START_TIMEOUT;
        while !is_ready() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("it ended with {status}: {}", self.log_tail()));
            }
            if Instant::now() >= deadline {
                return Err(format!("it is not ready after {START_TIMEOUT:?}: {}", self.log_tail()));
            }
            std::thread::sleep(START_LOOK);
        }
        Ok(())
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let from = log.len().saturating_sub(LOG_TAIL);
        log.get(from..).unwrap_or(&log).trim().to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
