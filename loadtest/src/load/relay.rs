//! A relay of our own: started in a folder of its own for one measurement, killed after it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use clap::ValueEnum;
use millrace_testkit::scratch;
use serde::Serialize;

use crate::failure::Failure;
use crate::kernel::affinity::allowed_cores;
use crate::program::Program;

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
pub struct Relay(Program);

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
        let folder = scratch();
        let log = fs::File::create(folder.join("log")).map_err(|error| failed(error.to_string()))?;
        command
            .args([
                "--media-port",
                "0",
                "--turn-port",
                "0",
                "--turn-tls-port",
                "0",
                "--shards",
                &shards.to_string(),
                "--data-dir",
            ])
            .arg(&*folder)
            .arg("--ready-file")
            .arg(folder.join("ready"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if let Some(backend) = backend {
            command.args(["--backend", backend.as_str()]);
        }
        let ready = folder.join("ready");
        // The relay chooses its cores among those it inherits.
        Program::start(command, folder, &all_cores(), || ready.exists()).map(Self).map_err(failed)
    }

    /// Its control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.0.folder().join("control.sock")
    }

    /// What it said of itself when it was ready.
    ///
    /// # Errors
    /// [`Failure::Late`] when its word cannot be read.
    pub fn ready(&self) -> Result<serde_json::Value, Failure> {
        let text = fs::read_to_string(self.0.folder().join("ready"))?;
        serde_json::from_str(&text).map_err(|error| Failure::Late(format!("the relay's ready file: {error}")))
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.pid()
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
