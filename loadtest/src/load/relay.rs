//! A relay of our own: started in a folder of its own for one measurement, killed after it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::Serialize;

use crate::failure::Failure;
use crate::kernel::affinity::{allowed_cores, pin_this_thread};

/// Time for the relay to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);
const START_LOOK: Duration = Duration::from_millis(10);
/// Last bytes of the relay's log in an error.
const LOG_TAIL: usize = 600;

/// How the relay reaches the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendName {
    /// io_uring.
    Uring,
    /// recvmmsg and sendmmsg.
    Mmsg,
}

impl BackendName {
    /// As the relay's flag says it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Mmsg => "mmsg",
        }
    }
}

/// A running relay.
pub struct Relay {
    child: Child,
    folder: PathBuf,
}

impl Relay {
    /// Starts `program` with so many shards, each on its core, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not start; with the end of its log.
    pub fn start(program: &Path, shards: usize, backend: Option<BackendName>) -> Result<Self, Failure> {
        Self::start_as(Command::new(program), program, shards, backend)
    }

    /// The same with a command that becomes `program`, such as one that moves it elsewhere first.
    ///
    /// # Errors
    /// As [`Relay::start`].
    pub fn start_as(
        mut command: Command,
        program: &Path,
        shards: usize,
        backend: Option<BackendName>,
    ) -> Result<Self, Failure> {
        let failed = |why: String| Failure::Late(format!("--relay {}: {why}", program.display()));
        let unique = format!("millrace-loadtest-{}-{:08x}", std::process::id(), rand::random::<u32>());
        let folder = std::env::temp_dir().join(unique);
        fs::create_dir_all(&folder).map_err(|error| failed(error.to_string()))?;
        let log = fs::File::create(folder.join("log")).map_err(|error| failed(error.to_string()))?;
        command
            .args(["--media-port", "0", "--shards", &shards.to_string(), "--data-dir"])
            .arg(&folder)
            .arg("--ready-file")
            .arg(folder.join("ready"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if let Some(backend) = backend {
            command.args(["--backend", backend.as_str()]);
        }
        // The relay chooses its cores among those it inherits.
        let ours = allowed_cores()?;
        pin_this_thread(&all_cores())?;
        let child = command.spawn();
        pin_this_thread(&ours)?;
        let child = child.map_err(|error| {
            let _ = fs::remove_dir_all(&folder);
            failed(error.to_string())
        })?;
        let mut relay = Self { child, folder };
        relay.await_ready().map_err(failed)?;
        Ok(relay)
    }

    fn await_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if self.folder.join("ready").exists() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("it ended with {status}: {}", self.log_tail()));
            }
            if Instant::now() >= deadline {
                return Err(format!("it is not ready after {START_TIMEOUT:?}: {}", self.log_tail()));
            }
            std::thread::sleep(START_LOOK);
        }
    }

    /// Its control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("control.sock")
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

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Every core this process was started with, whatever its threads were pinned to since. To be asked once before that.
pub fn all_cores() -> Vec<usize> {
    static CORES: OnceLock<Vec<usize>> = OnceLock::new();
    CORES.get_or_init(|| allowed_cores().unwrap_or_default()).clone()
}

/// `millrace-relay` beside this program.
///
/// # Errors
/// When there is none.
pub fn beside_us() -> Result<PathBuf, Failure> {
    let ours = std::env::current_exe()?;
    let beside = ours.with_file_name("millrace-relay");
    if beside.exists() {
        return Ok(beside);
    }
    let why = format!("there is no {}; name the relay's program with --relay", beside.display());
    Err(Failure::Usage(why))
}
