//! The edge: one thread that owns what clients reach by TCP and TLS, and turns it into what the others understand.
//!
//! ```text
//!   443  ── first byte 0x16 ─ TLS ─┬─ STUN ───► bridge ── UDP on loopback, hello first ──► a shard's TURN port
//!        └─ STUN ──────────────────┘
//!                                  └─ else ───► http ──── Unix socket, PROXY header first ──► signaling
//!   3478 ── STUN ─────────────────────────────► bridge
//!   5349 ── TLS ─ STUN ───────────────────────► bridge
//!   a media port ── RFC 4571 (ICE-TCP) ───────► bridge ── UDP on loopback, hello first ──► that media port
//! ```
//!
//! A shard so has nothing to do with streams, slow readers and half messages; to it such a client is one more source
//! of datagrams, of which [`edge_hello`](crate::wire::edge_hello) says who it is. It is not on the fast path: whoever
//! has UDP never comes here. Connections outlive signaling, and end with the relay.

mod accept;
mod bridge;
mod certificate;
mod counters;
mod framing;
mod http;
mod queue;
mod room;

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use millrace_signaling::tls::TlsError;
use socket2::{Domain, Socket, Type};
use tokio::sync::{Notify, oneshot};
use tokio::task::LocalSet;

use crate::crypto::mac::HmacSha256Key;
use accept::{Door, Serves};
pub use certificate::CertificateFiles;
use certificate::Keeper;
pub use counters::{Count, Counters};
pub use room::RoomLimits;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// What the edge serves. A port of 0 is any free one.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// HTTPS, shared with TURN.
    pub https: Option<Https>,
    /// The UDP address on loopback where shards take TURN. Without it nothing of TURN is served.
    pub turn: Option<SocketAddr>,
    /// Port of TURN over TCP.
    pub turn_tcp_port: Option<u16>,
    /// Whether there is no start without that port.
    pub turn_tcp_must: bool,
    /// Port of TURN over TLS.
    pub turn_tls_port: Option<u16>,
    /// The shards' media ports: ICE-TCP is served on the same number, where that is free.
    pub ice_tcp_ports: Vec<u16>,
    /// What TLS is done with; must be there for HTTPS and TURN over TLS.
    pub certificate: Option<CertificateFiles>,
    /// Connections of each port.
    pub room: RoomLimits,
    /// How long everything may take.
    pub timing: Timing,
}

/// HTTPS that ends here and goes on as HTTP.
#[derive(Clone, Debug)]
pub struct Https {
    /// Its port.
    pub port: u16,
    /// The Unix socket where signaling takes it.
    pub socket: PathBuf,
}

/// How long everything may take.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// From the connection to the end of its TLS handshake.
    pub handshake: Duration,
    /// From there to the end of its first message, or the begin of its first request of HTTP.
    pub first_request: Duration,
    /// Between two messages of a client that no shard has accepted yet.
    pub stranger_idle: Duration,
    /// Between two messages of one that was. TURN's longest lifetime without a message is 600 s.
    pub client_idle: Duration,
    /// Between two looks at these; hellos are said again then.
    pub check_interval: Duration,
    /// For a client of HTTP to take a piece of what it is sent, and to close after signaling has.
    pub stalled: Duration,
    /// How long a request waits for signaling, which may be on its way back.
    pub signaling_wait: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            first_request: Duration::from_secs(10),
            stranger_idle: Duration::from_secs(30),
            client_idle: Duration::from_secs(660),
            check_interval: Duration::from_secs(5),
            stalled: Duration::from_secs(20),
            signaling_wait: Duration::from_secs(5),
        }
    }
}

/// Why there is no edge.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port cannot be had.
    #[error("TCP port {port} of {option} cannot be used: {error}")]
    Listen {
        /// The option that names it.
        option: &'static str,
        /// The port.
        port: u16,
        /// What the system said.
        error: io::Error,
    },
    /// There is nothing to do TLS with.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The thread.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The running edge. It ends when this is dropped.
#[derive(Debug)]
pub struct Edge {
    /// Port of HTTPS, if that is served.
    pub https_port: Option<u16>,
    /// Port of TURN over TCP, if that is served.
    pub turn_tcp_port: Option<u16>,
    /// Port of TURN over TLS, if that is served.
    pub turn_tls_port: Option<u16>,
    /// The media ports that are served by TCP too.
    pub ice_tcp_ports: Vec<u16>,
    counters: Arc<Counters>,
    reload: Arc<Notify>,
    _alive: oneshot::Sender<()>,
}

/// What all connections share. One thread, so no locks.
struct Shared {
    timing: Timing,
    turn: Option<SocketAddr>,
    signaling: Option<PathBuf>,
    certificate: Option<Keeper>,
    key: Arc<HmacSha256Key>,
    counters: Arc<Counters>,
    /// Where a datagram lies between two sockets; never across a wait.
    datagram: RefCell<Box<[u8]>>,
}

impl Edge {
    /// Takes the ports and serves them on a thread of its own. Hellos bear tags under `key`.
    ///
    /// # Errors
    /// A port that was asked for by name is taken, or there is no certificate to serve it with.
    pub fn start(config: Config, key: Arc<HmacSha256Key>) -> Result<Self, StartError> {
        let mut doors = Vec::new();
        let mut open = |serves: Serves, option: &'static str, port: Option<u16>| {
            let Some(port) = port else { return Ok(None) };
            let listener =
                listen_everywhere(port).map_err(|error| StartError::Listen { option, port, error })?;
            let port = listener.local_addr()?.port();
            doors.push((listener, serves));
            Ok::<_, StartError>(Some(port))
        };
        let https_port = open(Serves::Https, "--https-port", config.https.as_ref().map(|https| https.port))?;
        let turn_tcp_port = match open(Serves::TurnTcp, "--turn-port", config.turn_tcp_port) {
            Err(error) if !config.turn_tcp_must => {
                tracing::warn!("{error}; TURN stays without TCP there");
                None
            }
            other => other?,
        };
        let turn_tls_port = open(Serves::TurnTls, "--turn-tls-port", config.turn_tls_port)?;
        let mut ice_tcp_ports = Vec::new();
        for &port in &config.ice_tcp_ports {
            match open(Serves::IceTcp(loopback(port)), "--media-port", Some(port)) {
                Ok(_) => ice_tcp_ports.push(port),
                // Nobody asked for it by name, and nearly everybody has UDP.
                Err(error) => tracing::warn!("{error}; it stays without ICE-TCP"),
            }
        }
        let certificate = config.certificate.map(Keeper::load).transpose()?;
        let counters = Arc::<Counters>::default();
        let (alive, ended) = oneshot::channel();
        let reload = Arc::<Notify>::default();
        let edge = Self {
            https_port,
            turn_tcp_port,
            turn_tls_port,
            ice_tcp_ports,
            counters: Arc::clone(&counters),
            reload: Arc::clone(&reload),
            _alive: alive,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("edge".into()).spawn(move || {
            let shared = Rc::new(Shared {
                timing: config.timing,
                turn: config.turn,
                signaling: config.https.map(|https| https.socket),
                certificate,
                key,
                counters,
                datagram: RefCell::new(vec![0; framing::MESSAGE_LEN_MAX + 1].into()),
            });
            let connections = LocalSet::new();
            for (listener, serves) in doors {
                let door = Door::new(serves, config.room, Rc::clone(&shared));
                connections.spawn_local(door.keep(listener));
            }
            connections.spawn_local(async move {
                loop {
                    reload.notified().await;
                    shared.reload();
                }
            });
            // An error says that the owner is gone, which is all that it can say.
            let _ = connections.block_on(&runtime, ended);
        })?;
        Ok(edge)
    }

    /// Reads the certificate anew, changed or not.
    pub fn reload(&self) {
        self.reload.notify_one();
    }

    /// What was counted so far.
    pub const fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }
}

impl Shared {
    fn reload(&self) {
        if let Some(certificate) = &self.certificate {
            certificate.reload(&self.counters);
        }
    }

    fn count(&self, what: Count) {
        self.counters.add(what);
    }
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Every address of both families, or of IPv4 where there is no other.
fn listen_everywhere(port: u16) -> io::Result<TcpListener> {
    match listen(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        // A machine without IPv6.
        Err(_) => listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Connections of the process before this one may linger.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests;
