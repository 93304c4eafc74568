//! The TURN client of coturn, as Debian ships it, against the relay's TURN server: another implementation of RFC 8656.
//!
//! At its end the client prints what it sent and what came back. All of it runs on loopback, which `--turn-allow` opens:
//! by default the relay forwards nothing there.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use millrace_testkit::{Program, Running};

use crate::report::Outcome;
use crate::server::binary;
use crate::shell::exists;

/// The client, and the peer that returns what it gets. Both are in one Debian package.
const CLIENT: &str = "turnutils_uclient";
const PEER: &str = "turnutils_peer";

/// Name and password of a user that the relay is started with.
const USER: (&str, &str) = ("ann", "of-the-test");

/// What the relay writes once every shard runs.
const READY: &str = "ready.json";
/// After this time a peer that has not opened its port has failed.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between two looks at something that gives no event.
const LOOK: Duration = Duration::from_millis(20);
/// After so many seconds a client is killed. It takes far less.
const LIMIT_S: &str = "100";

/// Each transport, address family, way and direction. Clients with the same number of allocations run at the same time.
pub(crate) fn every_way(backend: &str) -> Outcome {
    if let Some(missing) = [CLIENT, PEER].into_iter().find(|program| !exists(program)) {
        return Outcome::Failed(format!("{missing} is missing: cargo xtask setup"));
    }
    let world = match World::start(backend) {
        Ok(world) => world,
        Err(why) => return Outcome::Failed(why),
    };
    if world.backend != backend {
        return Outcome::Skipped(format!("the kernel refuses {backend}"));
    }
    let (mut passed, mut failed) = (0, 0);
    for runs in [small(), many()] {
        for (name, result) in world.run(runs) {
            match result {
                Ok(figures) => {
                    passed += 1;
                    println!("{name}: {figures}");
                }
                Err(why) => {
                    failed += 1;
                    println!("{name}: FAILED: {why}");
                }
            }
        }
    }
    Outcome::Counted { passed, failed }
}

/// How the client reaches the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp,
    Tls,
    /// TLS on the port of HTTPS.
    Https,
}

/// One run of the client.
#[derive(Clone, Copy, Debug)]
struct Run {
    transport: Transport,
    ipv6: bool,
    /// Send indications (RFC 8656, section 11) instead of channels.
    send: bool,
    /// From one allocation to another instead of to the peer.
    among_clients: bool,
    allocations: u32,
    messages: u32,
    interval_ms: u32,
}

/// All combinations, with two allocations each.
fn small() -> Vec<Run> {
    let mut runs = Vec::new();
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Https] {
        for ipv6 in [false, true].into_iter().filter(|ipv6| !ipv6 || has_ipv6()) {
            for send in [false, true] {
                let run = |among_clients| Run {
                    transport,
                    ipv6,
                    send,
                    among_clients,
                    allocations: 2,
                    messages: 50,
                    interval_ms: 20,
                };
                runs.extend([false, true].map(run));
            }
        }
    }
    runs
}

/// A hundred allocations by UDP, by TCP and by TLS.
fn many() -> Vec<Run> {
    let run = |transport, among_clients| Run {
        transport,
        ipv6: false,
        send: false,
        among_clients,
        allocations: 100,
        messages: 10,
        interval_ms: 200,
    };
    vec![run(Transport::Udp, false), run(Transport::Tcp, true), run(Transport::Tls, false)]
}

impl Run {
    fn name(&self) -> String {
        let transport = format!("{:?}", self.transport).to_lowercase();
        let family = if self.ipv6 { "IPv6" } else { "IPv4" };
        let way = if self.send { "send" } else { "channels" };
        let to = if self.among_clients { "client to client" } else { "to a peer" };
        format!("{transport}, {family}, {way}, {to}, {} allocations", self.allocations)
    }

    fn command(&self, world: &World) -> Command {
        let address = if self.ipv6 { "::1" } else { "127.0.0.1" };
        let port = match self.transport {
            Transport::Udp | Transport::Tcp => world.turn_port,
            Transport::Tls => world.tls_port,
            Transport::Https => world.https_port,
        };
        let mut command = Command::new("timeout");
        // -c: without pairs of ports, which the relay does not give.
        command.args([LIMIT_S, CLIENT, "-c", "-u", USER.0, "-w", USER.1, "-L", address]);
        let numbers = [
            ("-p", u32::from(port)),
            ("-m", self.allocations),
            ("-n", self.messages),
            ("-z", self.interval_ms),
        ];
        for (flag, number) in numbers {
            command.args([flag, &number.to_string()]);
        }
        let flags = [
            ("-t", self.transport != Transport::Udp),
            ("-S", matches!(self.transport, Transport::Tls | Transport::Https)),
            ("-s", self.send),
            ("-x", self.ipv6),
            ("-y", self.among_clients),
        ];
        command.args(flags.into_iter().filter(|(_, wanted)| *wanted).map(|(flag, _)| flag));
        if !self.among_clients {
            command.args(["-e", address, "-r", &world.peer_port.to_string()]);
        }
        command.arg(address).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Checks what the client printed: all that it sent must have come back. Gives the figures.
    fn check(&self, said: &str) -> Result<String, String> {
        let words = || {
            said.lines().rev().take(20).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
        };
        let summary = Summary::read(said).ok_or_else(|| format!("it printed no summary:\n{}", words()))?;
        let expected = u64::from(self.allocations * self.messages);
        if summary == (Summary { sent: expected, received: expected, lost: 0 }) {
            return Ok(format!("{expected} messages, none lost"));
        }
        Err(format!("{summary:?} instead of {expected}:\n{}", words()))
    }
}

/// The last figures that the client prints.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    sent: u64,
    received: u64,
    lost: u64,
}

impl Summary {
    /// Reads the last of them: the client prints figures while it runs too.
    fn read(said: &str) -> Option<Self> {
        let last = |word: &str| -> Option<u64> {
            let after = said.rsplit_once(word)?.1;
            after.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
        };
        Some(Self {
            sent: last("tot_send_msgs=")?,
            received: last("tot_recv_msgs=")?,
            lost: last("Total lost packets ")?,
        })
    }
}

/// A running relay and a running peer.
struct World {
    // Held: both end with it.
    _relay: Program,
    peer: Running,
    backend: String,
    turn_port: u16,
    tls_port: u16,
    https_port: u16,
    peer_port: u16,
}

impl World {
    fn start(backend: &str) -> Result<Self, String> {
        let (tls_port, peer_port) = (free_port()?, free_port()?);
        let mut relay = Program::start(|folder| relay(backend, folder, tls_port))
            .map_err(|error| format!("target/release/millrace-relay could not be started: {error}"))?;
        let mut peer = Command::new(PEER);
        peer.args(["-p", &peer_port.to_string(), "-L", "127.0.0.1"]);
        if has_ipv6() {
            peer.args(["-L", "::1"]);
        }
        let peer = Running::start(quiet(&mut peer)).map_err(|error| format!("{PEER}: {error}"))?;
        let file = relay.dir().join(READY);
        let ready =
            relay.ready_file(&file).map_err(|error| format!("the relay: {error}; its log is above"))?;
        let port = |name: &str| {
            let port = ready[name].as_u64().and_then(|port| u16::try_from(port).ok());
            port.ok_or(format!("no {name} in: {ready}"))
        };
        let backend = ready["backend"].as_str().ok_or(format!("no backend in: {ready}"))?.to_owned();
        let (turn_port, https_port) = (port("turn_port")?, port("https_port")?);
        let mut world = Self { _relay: relay, peer, backend, turn_port, tls_port, https_port, peer_port };
        world.await_peer()?;
        Ok(world)
    }

    /// Waits until the peer has opened its port. It prints nothing, but then the port cannot be taken again.
    fn await_peer(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, self.peer_port));
            if taken.is_err_and(|error| error.kind() == ErrorKind::AddrInUse) {
                return Ok(());
            }
            if let Ok(Some(status)) = self.peer.child().try_wait() {
                return Err(format!("{PEER} ended with {status}"));
            }
            if Instant::now() > deadline {
                return Err(format!("{PEER} did not open its port"));
            }
            thread::sleep(LOOK);
        }
    }

    /// Runs all of them at the same time. Gives the name and the result of each.
    fn run(&self, runs: Vec<Run>) -> Vec<(String, Result<String, String>)> {
        let started: Vec<_> = runs.into_iter().map(|run| (run, run.command(self).spawn())).collect();
        let ended = started.into_iter().map(|(run, child)| {
            let output = child.and_then(Child::wait_with_output);
            let result = output.map_err(|error| error.to_string()).and_then(|output| {
                let said = [&output.stdout[..], &output.stderr].concat();
                run.check(&String::from_utf8_lossy(&said))
            });
            (run.name(), result)
        });
        ended.collect()
    }
}

/// A relay of two shards, over which the kernel spreads the clients.
fn relay(backend: &str, folder: &Path, tls_port: u16) -> Command {
    let (name, password) = USER;
    let mut command = Command::new(binary("millrace-relay"));
    command.args(["--backend", backend, "--shards", "2", "--media-port", "0", "--turn-port", "0"]);
    command.args(["--https-port", "0", "--turn-tls-port", &tls_port.to_string()]);
    command.args(["--public-ip", "127.0.0.1", "--turn-allow", "127.0.0.0/8"]);
    if has_ipv6() {
        command.args(["--public-ip", "::1", "--turn-allow", "::1/128"]);
    }
    command.args(["--turn-allocations-per-user-max", "1000"]);
    command.args(["--turn-static-user", &format!("{name}:{password}")]);
    command.arg("--http-socket").arg(folder.join("http.sock"));
    command.arg("--ready-file").arg(folder.join(READY)).arg("--data-dir").arg(folder);
    command.env("MILLRACE_CONFIG", "/dev/null").stdin(Stdio::null());
    command
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// A port that is free now, for programs to which port 0 means "no port".
pub(crate) fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(|error| format!("no port is free: {error}"))
}

fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Run = Run {
        transport: Transport::Tcp,
        ipv6: false,
        send: false,
        among_clients: false,
        allocations: 2,
        messages: 50,
        interval_ms: 20,
    };

    /// Output of the client of Debian 12.
    fn said(sent: u64, received: u64, lost: u64) -> String {
        format!(
            "2: : start_mclient: msz=2, tot_send_msgs=3, tot_recv_msgs=1, tot_send_bytes ~ 300, tot_recv_bytes ~ 100\n\
             5: : start_mclient: tot_send_msgs={sent}, tot_recv_msgs={received}\n\
             5: : start_mclient: tot_send_bytes ~ 10000, tot_recv_bytes ~ 10000\n\
             5: : Total transmit time is 5\n\
             5: : Total lost packets {lost} (0.000000%), total send dropped 0 (0.000000%)\n\
             5: : Average round trip delay 0.510000 ms; min = 0 ms, max = 4 ms\n"
        )
    }

    #[test]
    fn a_loss_a_shortfall_and_silence_are_failures() {
        assert_eq!(RUN.check(&said(100, 100, 0)), Ok("100 messages, none lost".into()));
        assert!(RUN.check(&said(100, 99, 1)).is_err());
        assert!(RUN.check(&said(100, 100, 1)).is_err());
        assert!(RUN.check(&said(40, 40, 0)).is_err(), "it did not send all");
        assert!(RUN.check("0: : ERROR: Cannot complete Allocation\n").is_err());
    }

    #[test]
    fn all_combinations_are_run() {
        let runs = small();
        assert_eq!(runs.len(), if has_ipv6() { 32 } else { 16 });
        assert!(many().iter().all(|run| run.allocations == 100));
        assert_eq!(RUN.name(), "tcp, IPv4, channels, to a peer, 2 allocations");
    }
}
