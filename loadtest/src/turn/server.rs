//! The servers that are measured: each is started for it, on loopback, with one thread for packets.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::HERE;
use crate::failure::Failure;
use crate::load::proc::CpuTimes;
use crate::load::relay::{BackendName, Relay, all_cores};
use crate::program::Program;

/// Whom both servers know.
pub(super) const USER: &str = "loadtest";
pub(super) const PASSWORD: &str = "loadtest";

/// What both may reach.
const PEERS: &str = "127.0.0.0/8";

/// A running server.
pub struct Server {
    /// In words.
    pub name: String,
    /// Where it takes TURN.
    pub address: SocketAddr,
    pid: u32,
    _running: Running,
}

#[expect(dead_code, reason = "held for as long as it is to run")]
enum Running {
    Ours(Relay),
    Other(Program),
}

/// A relay that announces loopback, lets allocations reach it and knows the user of the measurements.
#[must_use]
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args(["--public-ip", &HERE.to_string(), "--turn-allow", PEERS])
        .args(["--turn-allocations-max", "2048", "--turn-allocations-per-user-max", "1024"])
        .env("MILLRACE_TURN_STATIC_USER", format!("{USER}:{PASSWORD}"));
    command
}

/// Where a relay that was started by [`command`] takes TURN.
///
/// # Errors
/// [`Failure::Turn`] when it is one without a TURN server.
pub fn address(relay: &Relay) -> Result<SocketAddr, Failure> {
    let port = relay.ready()?["turn_port"].as_u64().and_then(|port| u16::try_from(port).ok());
    let port = port.filter(|port| *port > 0);
    port.map(|port| (HERE, port).into())
        .ok_or_else(|| Failure::Turn("this relay has no TURN server".to_owned()))
}

impl Server {
    /// Our relay, with one shard.
    ///
    /// # Errors
    /// When it does not start.
    pub fn millrace(program: &Path, backend: Option<BackendName>) -> Result<Self, Failure> {
        let relay = Relay::start_as(command(program), program, 1, backend)?;
        let address = address(&relay)?;
        let said = relay.ready()?;
        let backend = said["backend"].as_str().unwrap_or_default();
        Ok(Self {
            name: format!("millrace, {backend}"),
            address,
            pid: relay.pid(),
            _running: Running::Ours(relay),
        })
    }

    /// coturn, with one relay thread and nothing that a packet could pay for besides: no TCP, TLS or DTLS, no log, no
    /// status interface, no limits, and a user whose key it does not look up in a file.
    ///
    /// # Errors
    /// When it does not start.
    pub fn coturn(program: &Path) -> Result<Self, Failure> {
        let failed = |why: String| {
            let text = format!("--coturn {}: {why} (Debian's package is coturn)", program.display());
            Failure::Usage(text)
        };
        let folder = millrace_testkit::scratch();
        // It names no port of its own choice, so one that was free a moment ago has to do.
        let port = std::net::UdpSocket::bind((HERE, 0))?.local_addr()?.port();
        let log = fs::File::create(folder.join("log")).map_err(|error| failed(error.to_string()))?;
        let mut command = Command::new(program);
        command
            .args(["-n", "--lt-cred-mech", "--realm=millrace", &format!("--user={USER}:{PASSWORD}")])
            .args([&format!("--listening-ip={HERE}"), &format!("--relay-ip={HERE}")])
            .args([&format!("--listening-port={port}"), "--relay-threads=1", "--allow-loopback-peers"])
            .args(["--no-tcp", "--no-tls", "--no-dtls", "--no-tcp-relay", "--no-cli", "--no-rfc5780"])
            .args(["--no-software-attribute", "--log-file=/dev/null", "--no-stdout-log"])
            .arg(format!("--pidfile={}", folder.join("pid").display()))
            .arg(format!("--userdb={}", folder.join("users").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let core = all_cores();
        let core = core.get(..1).unwrap_or(&core);
        let is_ready = || std::net::UdpSocket::bind((HERE, port)).is_err();
        let running = Program::start(command, folder, core, is_ready).map_err(failed)?;
        Ok(Self {
            name: "coturn".to_owned(),
            address: (HERE, port).into(),
            pid: running.pid(),
            _running: Running::Other(running),
        })
    }

    /// CPU time of the whole server so far.
    pub(super) fn cpu_ns(&self) -> u64 {
        CpuTimes::of(self.pid).since(&CpuTimes::default(), "").all_ns
    }
}
