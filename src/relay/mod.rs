//! The relay process: wiring only. Certificate, sockets, one thread a shard, the edge, the control socket; then it
//! waits for the signal to end.

mod edge;

pub(crate) mod secret;
mod turn;

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use millrace_signaling::config::ConfigError;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::{BackendChoice, Config};
use crate::control::bridge::Port;
use crate::control::current::Current;
use crate::control::listener::{Control, Identity, ShardHandle};
use crate::control::mailbox::{Mail, Mailbox};
use crate::control::panics;
use crate::control::worker::{self, Connections, Running, Seat, SeatError, TurnSeat};
use crate::crypto::mac::HmacSha256Key;
use crate::crypto::random;
use crate::dtls::{Certificate, Settings, Version};
use crate::edge::Edge;
use crate::io::private_file;
use crate::io::socket::{BindError, Sockets};
use crate::io::{BackendKind, affinity, clock, interfaces};
use crate::shard::ShardConfig;
pub(crate) use edge::served as edge_ports;

/// How often a shard that is to end is looked at, and a lock that is taken.
const STOP_INTERVAL: Duration = Duration::from_millis(10);
/// Looks at a lock that is taken: five seconds' worth.
const LOCK_TRIES: u32 = 500;

/// Why the relay does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something in the data directory.
    #[error("{path}: {error}; choose another place with --data-dir")]
    Data {
        /// The file.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// Another relay is there.
    #[error("another relay uses the data directory {path}; stop it, or choose another place with --data-dir")]
    Busy {
        /// The directory.
        path: String,
    },
    /// The DTLS certificate that is kept cannot be used.
    #[error("{path} is no certificate of ours; remove it and a new one is made")]
    Certificate {
        /// The file.
        path: String,
    },
    /// A media port.
    #[error("UDP port {port} of shard {shard} cannot be used: {error}; choose others with --media-port")]
    Port {
        /// The shard.
        shard: u32,
        /// Its port.
        port: u16,
        /// What the system said.
        error: BindError,
    },
    /// The port of TURN.
    #[error(
        "UDP port {port} for TURN cannot be used: {error}; choose another one with --turn-port, or --turn false"
    )]
    Turn {
        /// The port.
        port: u16,
        /// What the system said.
        error: io::Error,
    },
    /// What TURN is told.
    #[error("TURN: {0}")]
    TurnConfig(#[from] millrace_turn::server::BadConfig),
    /// What clients reach by TCP and TLS.
    #[error(transparent)]
    Edge(#[from] crate::edge::StartError),
    /// What is said about the certificate of HTTPS does not go together.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// The control socket.
    #[error("the control socket {path} cannot be made: {error}; choose another with --control-socket")]
    Control {
        /// Where.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// A shard's thread.
    #[error("shard {shard} does not start: {error}")]
    Shard {
        /// The shard.
        shard: u32,
        /// Why.
        error: SeatError,
    },
    /// Signals or threads.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Runs the relay until it is told to end.
pub fn main(config: &Config) -> ExitCode {
    config.log.start();
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            // What is set does not become right by another start.
            let is_set_wrong = matches!(error, StartError::Settings(_));
            if is_set_wrong { ExitCode::from(millrace_settings::EXIT_CONFIG) } else { ExitCode::FAILURE }
        }
    }
}

fn run(config: &Config) -> Result<(), StartError> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    panics::log_aside();
    let server = &config.server;
    server.make_data_dir()?;
    let _lock = lock(&server.data_dir)?;
    let certificate = certificate(&server.data_dir.join("dtls.certificate"))?;
    let dtls = Arc::new(Settings::new(&certificate, Version::Dtls12));
    let signaling = Current::default();
    let addresses = announced(&server.public_ip)?;
    let started = start_shards(config, &dtls, &signaling)?;
    let ports: Vec<u16> = started.shards.iter().map(|shard| shard.port).collect();
    // Nobody else on this machine is to pass for the edge.
    let edge_key = Arc::new(HmacSha256Key::new(&random::array::<32>()));
    let seats = turn::seats(config, &addresses, &ports, started.turn_port, &edge_key)?;
    let shards = connect(started.shards, seats);
    let edge = edge::start(config, &ports, started.turn_port, edge_key)?;
    let of_edge = |port: fn(&Edge) -> Option<u16>| edge.as_ref().and_then(port).unwrap_or(0);
    let identity = Identity {
        epoch: u64::from_be_bytes(random::array()),
        fingerprint: certificate.fingerprint().0,
        addresses,
        backend: shards[0].backend.name(),
        turn_port: started.turn_port.unwrap_or(0),
        turn_tls_port: of_edge(|edge| edge.turn_tls_port),
        https_port: of_edge(|edge| edge.https_port),
        ice_tcp_ports: edge.as_ref().map_or_else(Vec::new, |edge| edge.ice_tcp_ports.clone()),
        node: machine_name(),
    };
    log_start(&identity, &shards);
    let socket = server.control_socket();
    let handles: Vec<_> = shards.iter().map(|shard| shard.handle.clone()).collect();
    let beside = edge.as_ref().map(|edge| Arc::clone(edge.counters()));
    let beside = move || beside.iter().flat_map(|counters| counters.iter().collect::<Vec<_>>()).collect();
    Control::new(identity.clone(), handles.clone(), signaling, Box::new(beside))
        .listen(&socket)
        .map_err(|error| StartError::Control { path: socket.display().to_string(), error })?;
    if let Some(path) = &server.ready_file {
        say_ready(path, &identity, &handles, edge.as_ref())
            .map_err(|error| StartError::Data { path: path.display().to_string(), error })?;
    }
    for signal in signals.forever() {
        if signal != SIGHUP {
            break;
        }
        edge.iter().for_each(Edge::reload);
    }
    stop(&shards);
    Ok(())
}

struct RunningShard {
    handle: ShardHandle,
    backend: BackendKind,
    refused: Option<String>,
    thread: thread::JoinHandle<()>,
}

/// Every shard, waiting to be connected.
struct Started {
    shards: Vec<StartedShard>,
    /// The port they take TURN on, unless that is off.
    turn_port: Option<u16>,
}

/// A shard's thread that waits to be connected.
struct StartedShard {
    port: u16,
    running: Running,
    connect: Sender<Connections>,
    thread: thread::JoinHandle<()>,
}

fn start_shards(config: &Config, dtls: &Arc<Settings>, signaling: &Current) -> Result<Started, StartError> {
    let cores = affinity::allowed_cores().unwrap_or_default();
    let count = config.media.shard_count();
    // With more shards than cores pinning would only take the scheduler's freedom.
    let core = |shard: usize| (count <= cores.len()).then(|| cores[shard]);
    let mut turn_port = config.turn.enabled.then_some(config.turn.port);
    let start = |shard: usize| {
        let id = u32::try_from(shard).expect("far fewer shards than 2^32");
        let port = if config.media.media_port == 0 {
            0
        } else {
            config.media.media_port.saturating_add(u16::try_from(shard).unwrap_or(u16::MAX))
        };
        let mut sockets = Sockets::bind(port).map_err(|error| StartError::Port { shard: id, port, error })?;
        let port = sockets.port();
        if let Some(wanted) = turn_port {
            turn_port = Some(turn::listen(&mut sockets, config, wanted, shard == 0)?);
        }
        let shard_config = ShardConfig {
            id,
            shards: u32::try_from(count).expect("far fewer shards than 2^32"),
            seed: u64::from_be_bytes(random::array()),
            epoch: clock::epoch(),
            dtls: dtls.clone(),
            allow_fault_injection: config.server.allow_fault_injection,
        };
        let backend = config.media.backend.map(|choice| match choice {
            BackendChoice::Uring => BackendKind::Uring,
            BackendChoice::Mmsg => BackendKind::Mmsg,
        });
        let seat =
            Seat { config: shard_config, sockets, backend, core: core(shard), events: signaling.clone() };
        let (started, starting) = bounded(1);
        let (connect, connected) = bounded(1);
        let thread = worker::start(seat, started, connected)?;
        let running = starting.recv().map_err(|_| io::Error::other("a shard's thread ended at once"))?;
        let running = running.map_err(|error| StartError::Shard { shard: id, error })?;
        Ok(StartedShard { port, running, connect, thread })
    };
    let shards = (0..count).map(start).collect::<Result<_, StartError>>()?;
    Ok(Started { shards, turn_port })
}

/// Connects the shards with control and with each other. From here on they work.
fn connect(started: Vec<StartedShard>, seats: Vec<Option<TurnSeat>>) -> Vec<RunningShard> {
    let ports = Port::connect(started.iter().map(|shard| Some(shard.running.waker.clone())));
    let connect = |((shard, bridge), turn): ((StartedShard, Port), Option<TurnSeat>)| {
        let StartedShard { port, running: Running { backend, refused, waker }, connect, thread } = shard;
        let (mailbox, mail) = Mailbox::new(waker);
        let peers = Arc::new(AtomicU32::new(0));
        let _ = connect.send(Connections { mail, port: bridge, turn, peers: Arc::clone(&peers) });
        RunningShard { handle: ShardHandle { port, mailbox, peers }, backend, refused, thread }
    };
    started.into_iter().zip(ports).zip(seats).map(connect).collect()
}

/// Ends every shard. A full mailbox empties by itself; a thread that has ended needs no mail.
fn stop(shards: &[RunningShard]) {
    for shard in shards {
        while !shard.thread.is_finished() {
            let _ = shard.handle.mailbox.post(Mail::Stop);
            thread::sleep(STOP_INTERVAL);
        }
    }
}

fn log_start(identity: &Identity, shards: &[RunningShard]) {
    let ports: Vec<_> = shards.iter().map(|shard| shard.handle.port).collect();
    match &shards[0].refused {
        Some(cause) => {
            tracing::warn!(backend = identity.backend, "io_uring is refused: {cause}; using the fallback")
        }
        None => tracing::info!(backend = identity.backend, "io backend"),
    }
    tracing::info!(?ports, addresses = ?identity.addresses, "the relay is ready");
}

/// Two relays on one directory would take each other's control socket: the second is refused. The first may still be
/// on its way out, so it is given a moment.
fn lock(data_dir: &Path) -> Result<fs::File, StartError> {
    let path = data_dir.join("relay.lock");
    let data = |error| StartError::Data { path: path.display().to_string(), error };
    let file = fs::File::create(&path).map_err(data)?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) => thread::sleep(STOP_INTERVAL),
            Err(fs::TryLockError::Error(error)) => return Err(data(error)),
        }
    }
    Err(StartError::Busy { path: data_dir.display().to_string() })
}

/// The DTLS certificate of this installation: made once, kept.
fn certificate(path: &Path) -> Result<Certificate, StartError> {
    let data = |error| StartError::Data { path: path.display().to_string(), error };
    match fs::read(path) {
        Ok(bytes) => Certificate::from_bytes(&bytes)
            .ok_or_else(|| StartError::Certificate { path: path.display().to_string() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let certificate = Certificate::generate();
            private_file::write(path, &certificate.to_bytes()).map_err(data)?;
            Ok(certificate)
        }
        Err(error) => Err(data(error)),
    }
}

/// The name of this machine, empty when it has none.
fn machine_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// What is announced: the operator's addresses first, then those of the interfaces.
fn announced(public: &[IpAddr]) -> io::Result<Vec<IpAddr>> {
    let mut addresses = public.to_vec();
    for address in interfaces::addresses()? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// Says that the relay runs, in a file that appears in one step.
fn say_ready(path: &Path, relay: &Identity, shards: &[ShardHandle], edge: Option<&Edge>) -> io::Result<()> {
    let shards: Vec<_> = shards
        .iter()
        .enumerate()
        .map(|(id, shard)| serde_json::json!({"id": id, "port": shard.port}))
        .collect();
    let word = serde_json::json!({
        "backend": relay.backend,
        "shards": shards,
        "turn_port": relay.turn_port,
        "https_port": edge.and_then(|edge| edge.https_port),
        "pid": std::process::id(),
    });
    let partial = path.with_extension("partial");
    fs::write(&partial, word.to_string())?;
    fs::rename(&partial, path)
}
