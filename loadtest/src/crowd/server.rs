//! A signaling process of the run's own, with a stand-in in place of the relay.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;
use tokio::time::sleep;

use crate::failure::Failure;
use crate::stand_in::{StandIn, StandInOptions};

/// Longest wait until signaling is ready, and how often its ready file is looked for.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(2);
/// The secret of the run's own server.
const SECRET: &str = "secret-of-the-crowd";
/// What the front command and the systemd unit set for signaling.
const TUNABLES: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0:glibc.malloc.trim_threshold=131072",
);

/// Options of the run's own server.
#[derive(Args, Clone, Debug, Default)]
pub struct ServerOptions {
    /// Start a signaling process and, in place of a relay, a stand-in that holds what it is told and forwards nothing.
    #[arg(long, requires = "media", conflicts_with_all = ["url", "pid"])]
    pub stand_in: bool,
    /// Program of signaling. Without it `millrace-signaling` beside this program.
    #[arg(long, value_name = "PROGRAM", requires = "stand_in")]
    pub signaling: Option<PathBuf>,
    /// One more argument for signaling; repeatable. Example: --signaling-arg=--log=info
    #[arg(long, value_name = "ARG", requires = "stand_in", allow_hyphen_values = true)]
    pub signaling_arg: Vec<String>,
    /// Shards that the stand-in announces.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub shards: u32,
}

/// The processes; they end with this value, and their folder is removed.
pub(super) struct OwnServer {
    program: PathBuf,
    arguments: Vec<String>,
    folder: PathBuf,
    child: Child,
    port: u16,
    pub(super) stand_in: StandIn,
}

impl OwnServer {
    /// Starts both and waits until they are ready.
    pub(super) async fn start(options: &ServerOptions) -> Result<Self, Failure> {
        let program = program(options.signaling.as_deref())?;
        let folder = std::env::temp_dir().join(format!(
            "millrace-crowd-{}-{:08x}",
            std::process::id(),
            rand::random::<u32>()
        ));
        fs::create_dir_all(&folder)?;
        let stand_in = StandIn::start(&StandInOptions {
            socket: folder.join("control.sock"),
            shards: options.shards,
            live_after: 50,
        })?;
        let arguments = options.signaling_arg.clone();
        let child = spawn(&program, &folder, 0, &arguments)?;
        let mut server = Self { program, arguments, folder, child, port: 0, stand_in };
        server.port = server.until_ready().await?;
        Ok(server)
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) const fn secret() -> &'static str {
        SECRET
    }

    /// Kills signaling with SIGKILL and waits for its end.
    pub(super) fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts signaling on the same port and data, and waits until it is ready. Returns how long that took.
    pub(super) async fn start_again(&mut self) -> Result<Duration, Failure> {
        let _ = fs::remove_file(self.ready_file());
        let began = Instant::now();
        self.child = spawn(&self.program, &self.folder, self.port, &self.arguments)?;
        self.until_ready().await?;
        Ok(began.elapsed())
    }

    fn ready_file(&self) -> PathBuf {
        self.folder.join(READY_FILE)
    }

    /// Waits for the ready file and returns the port of plain HTTP in it.
    async fn until_ready(&mut self) -> Result<u16, Failure> {
        let began = Instant::now();
        let failed = |why: String| Failure::Late(format!("millrace-signaling {why}"));
        loop {
            if let Ok(text) = fs::read(self.ready_file()) {
                let ready: Value = serde_json::from_slice(&text).unwrap_or_default();
                let port = ready["http_port"].as_u64().and_then(|port| u16::try_from(port).ok());
                return port.ok_or_else(|| failed("wrote a ready file without a port".into()));
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(failed(format!("ended with {status} before it was ready; its log is above")));
            }
            if began.elapsed() >= READY_TIMEOUT {
                return Err(failed(format!("is not ready after {READY_TIMEOUT:?}")));
            }
            sleep(LOOK).await;
        }
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

const READY_FILE: &str = "ready.json";

fn program(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let program = match given {
        Some(program) => program.to_owned(),
        None => std::env::current_exe()?.with_file_name("millrace-signaling"),
    };
    if program.exists() {
        return Ok(program);
    }
    Err(Failure::Usage(format!(
        "there is no {}; build it with `cargo build --release -p millrace-signaling`, or name it with --signaling",
        program.display()
    )))
}

/// Limits high enough for any crowd; everything else is as it is by default.
fn spawn(program: &Path, folder: &Path, port: u16, more: &[String]) -> Result<Child, Failure> {
    let mut command = Command::new(program);
    for (name, value) in [
        ("--https-port", "0"),
        ("--sessions-max", "1000000"),
        ("--connections-per-session-max", "1000000"),
        ("--participants-max", "1000000"),
        ("--pending-connections-max", "1000000"),
        ("--sockets-max", "1000000"),
        ("--rest-per-s-max", "0"),
    ] {
        command.args([name, value]);
    }
    command.arg("--http-port").arg(port.to_string());
    command.arg("--data-dir").arg(folder.join("data"));
    command.arg("--control-socket").arg(folder.join("control.sock"));
    command.arg("--ready-file").arg(folder.join(READY_FILE));
    command.args(more);
    let (tunables, value) = TUNABLES;
    if std::env::var_os(tunables).is_none() {
        command.env(tunables, value);
    }
    command.env("MILLRACE_SECRET", SECRET).env("MILLRACE_CONFIG", "/dev/null");
    if std::env::var_os("MILLRACE_LOG").is_none() {
        command.env("MILLRACE_LOG", "warn");
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().map_err(|error| Failure::Usage(format!("{}: {error}", program.display())))
}
