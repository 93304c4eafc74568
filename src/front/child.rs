//! A child process: how it is started and restarted.

use std::ffi::OsString;
use std::io::{self, Read, Write as _};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_settings::keys::Key;
use millrace_settings::{EXIT_CONFIG, Settings, setting_variables};
use millrace_signaling::memory::TUNABLES;
use signal_hook::consts::{SIGHUP, SIGTERM};

use super::{FrontError, Options, options};

/// First argument of the relay's process.
pub(super) const RELAY: &str = "__relay";
/// First argument of the signaling process.
pub(super) const SIGNALING: &str = "__signaling";

/// Time for a child to end before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// A child that ran at least this long is restarted at once. Otherwise the restart waits, longer each time.
const STEADY_AFTER: Duration = Duration::from_secs(5);
/// Maximum wait before a restart.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// A child process and how to start it.
pub(super) struct Child {
    name: &'static str,
    arguments: Vec<OsString>,
    environment: Vec<(String, String)>,
    ready_file: PathBuf,
    process: Option<process::Child>,
    started_at: Instant,
    backoff: Duration,
}

impl Child {
    /// The relay, not yet started.
    pub(super) fn relay(options: &Options, settings: &Settings, turn_secret: &str) -> Self {
        let mut child = Self::new("relay", RELAY, &options::relay(), options, settings);
        child.variable("MILLRACE_TURN_SECRET", turn_secret);
        child
    }

    /// Signaling, not yet started.
    pub(super) fn signaling(options: &Options, settings: &Settings, secret: &str, turn_secret: &str) -> Self {
        let mut child = Self::new("signaling", SIGNALING, &options::signaling(), options, settings);
        child.variable("MILLRACE_SECRET", secret);
        child.variable("MILLRACE_TURN_SECRET", turn_secret);
        let (tunables, best) = TUNABLES;
        if std::env::var_os(tunables).is_none() {
            child.variable(tunables, best);
        }
        child
    }

    /// A process with the settings of `settings` that are options of its `program`.
    fn new(
        name: &'static str,
        role: &str,
        program: &clap::Command,
        options: &Options,
        settings: &Settings,
    ) -> Self {
        let server = &options.relay.server;
        let ready_file = server.data_dir.join(format!("{name}.ready"));
        let takes = |key: &Key| program.get_arguments().any(|arg| arg.get_long() == Some(key.flag));
        let mut child = Self {
            name,
            arguments: vec![role.into()],
            // Settings go by the environment: every user of the machine can read arguments.
            environment: settings.environment(takes),
            ready_file: ready_file.clone(),
            process: None,
            started_at: Instant::now(),
            backoff: Duration::ZERO,
        };
        let http_socket = server.http_socket.clone().unwrap_or_else(|| server.data_dir.join("http.sock"));
        child.flag("--http-socket", http_socket);
        child.flag("--ready-file", ready_file);
        if server.allow_fault_injection {
            child.arguments.push("--allow-fault-injection".into());
        }
        child
    }

    fn flag(&mut self, name: &str, value: impl Into<OsString>) {
        self.arguments.extend([name.into(), value.into()]);
    }

    fn variable(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Every later start uses this port, for example the free one that the first start found.
    pub(super) fn pin_port(&mut self, flag: &str, port: u16) {
        self.flag(flag, port.to_string());
    }

    /// `relay` or `signaling`.
    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// The file that it writes when it is ready.
    pub(super) fn ready_file(&self) -> &Path {
        &self.ready_file
    }

    /// Starts it.
    pub(super) fn start(&mut self) -> io::Result<()> {
        // The same program, even if its file has been replaced since.
        let mut command = Command::new("/proc/self/exe");
        // Every start uses the settings that the front command read, so the child must not see their sources.
        for name in setting_variables(&millrace_settings::environment()) {
            command.env_remove(name);
        }
        command
            .arg0("millrace")
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        // In its own process group, because Ctrl-C must reach the front command only, which ends both in order. Standard
        // output belongs to the front command.
        command.process_group(0).stdin(Stdio::piped()).stdout(io::stderr());
        self.process = Some(command.spawn()?);
        self.started_at = Instant::now();
        Ok(())
    }

    /// Its exit status, if it has ended.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.as_mut()?.try_wait().ok().flatten()
    }

    /// Fails if the status says that the process refuses its settings.
    pub(super) fn check(&self, status: ExitStatus) -> Result<(), FrontError> {
        let is_set_wrong = status.code() == Some(i32::from(EXIT_CONFIG));
        if is_set_wrong { Err(FrontError::Refused { name: self.name }) } else { Ok(()) }
    }

    /// Restarts it if it has ended: at once, or after a wait if it ended soon after its last start.
    pub(super) fn restart_if_ended(&mut self) -> Result<(), FrontError> {
        if let Some(status) = self.ended() {
            self.check(status)?;
            tracing::warn!("{} ended ({status}) and is started again", self.name);
            self.process = None;
            let steady = self.started_at.elapsed() >= STEADY_AFTER;
            if steady {
                self.backoff = Duration::ZERO;
            } else {
                self.back_off();
            }
            self.started_at = Instant::now();
        }
        let due = self.process.is_none() && self.started_at.elapsed() >= self.backoff;
        if due && let Err(error) = self.start() {
            tracing::error!(%error, "{} could not be started; trying again", self.name);
            self.started_at = Instant::now();
            self.back_off();
        }
        Ok(())
    }

    /// Tells it to read its certificate again.
    pub(super) fn reload(&mut self) {
        let Some(stdin) = self.process.as_mut().and_then(|process| process.stdin.as_mut()) else { return };
        if let Err(error) = stdin.write_all(b"\n") {
            tracing::warn!(%error, "{} could not be told to reload", self.name);
        }
    }

    fn back_off(&mut self) {
        self.backoff = (self.backoff * 2 + Duration::from_millis(100)).min(BACKOFF_MAX);
    }

    /// Ends it: closes its standard input, waits, and kills it if it is still there.
    pub(super) fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        drop(process.stdin.take());
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            if matches!(process.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(super::CARE_INTERVAL);
        }
        tracing::warn!("{} did not end by itself and is killed", self.name);
        let _ = process.kill();
        let _ = process.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop();
    }
}

/// In a child: raises SIGTERM when standard input ends and SIGHUP for each byte that arrives, so that the process reacts as
/// to a terminal or systemd.
pub(super) fn follow_stdin() {
    // Ignores SIGHUP until the process installs its own handler. It reads the files at start anyway.
    let _ = signal_hook::flag::register(SIGHUP, Arc::default());
    std::thread::spawn(|| {
        let mut byte = [0];
        while matches!(io::stdin().read(&mut byte), Ok(1)) {
            let _ = signal_hook::low_level::raise(SIGHUP);
        }
        if signal_hook::low_level::raise(SIGTERM).is_err() {
            process::exit(0);
        }
    });
}
