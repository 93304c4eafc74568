//! The edge: one thread that serves every TCP and TLS port, and passes on what comes there to shards and to signaling.
//!
//! ```text
//!   443  ── first byte 0x16 ─ TLS ─┬─ STUN ───► bridge ── UDP on loopback, hello first ──► a shard's TURN port
//!        ├─ STUN ──────────────────┘
//!        │                         └─ else ───► http ──── Unix socket, PROXY header first ──► signaling
//!        └─ HTTP from this machine ───────────► http
//!   80   ── a certificate authority's request ► http
//!        └─ else: redirect to HTTPS
//!   3478 ── STUN ─────────────────────────────► bridge
//!   5349 ── TLS ─ STUN ───────────────────────► bridge
//!   a media port ── RFC 4571 (ICE-TCP) ───────► bridge ── UDP on loopback, hello first ──► that media port
//! ```
//!
//! A shard therefore handles no streams, slow readers or partial messages. For a shard, such a client is one more
//! source of datagrams, and [`edge_hello`](crate::wire::edge_hello) gives the address of the client. The edge is not
//! on the fast path, because clients with UDP do not use it. Connections of TURN outlive signaling. All connections
//! end with the relay.

mod accept;
mod bridge;
mod certificate;
mod counters;
mod framing;
mod http;
mod queue;
mod redirect;
pub mod shares;

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use millrace_signaling::http::KnownAddresses;
use millrace_signaling::http::limiter::ConnectionLimits;
use millrace_signaling::http::plain::Redirect;
use millrace_signaling::tls::TlsError;
use socket2::{Domain, Socket, Type};
use tokio::sync::{Notify, oneshot};
use tokio::task::LocalSet;
use tokio::time::sleep;

use crate::crypto::mac::HmacSha256Key;
use accept::{Door, Serves};
pub use certificate::CertificateFiles;
use certificate::Keeper;
pub use counters::{Count, Counters};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// What the edge serves. Port 0 takes any free port.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// HTTPS, shared with TURN.
    pub https: Option<Https>,
    /// UDP address on loopback where shards take TURN. Without it no TURN is served.
    pub turn: Option<SocketAddr>,
    /// Port of TURN over TCP.
    pub turn_tcp_port: Option<u16>,
    /// Whether the edge refuses to start without that port.
    pub turn_tcp_must: bool,
    /// Port of TURN over TLS.
    pub turn_tls_port: Option<u16>,
    /// Media ports of the shards. ICE-TCP is served on the same numbers, where they are free.
    pub ice_tcp_ports: Vec<u16>,
    /// Certificate of HTTPS and TURN over TLS, which must be there for them.
    pub certificate: Option<CertificateFiles>,
    /// Connections of each port.
    pub limits: PortLimits,
    /// Addresses that the operator has named.
    pub known: KnownAddresses,
    /// Deadlines.
    pub timing: Timing,
}

/// HTTPS, passed on to signaling as HTTP.
#[derive(Clone, Debug)]
pub struct Https {
    /// Its port.
    pub port: u16,
    /// Unix socket of signaling.
    pub socket: PathBuf,
    /// Plain HTTP that redirects to it, if that is served.
    pub plain: Option<PlainHttp>,
}

/// Plain HTTP: redirects to HTTPS, and is passed on to signaling where a certificate authority asks.
#[derive(Clone, Debug)]
pub struct PlainHttp {
    /// Its port.
    pub port: u16,
    /// Whether the edge does not start without that port. Otherwise the edge tries again until the port is free.
    pub must: bool,
    /// `host` or `host:port` of the public URL. Without it the name in a request counts.
    pub authority: Option<String>,
}

/// Connections of each port.
#[derive(Clone, Copy, Debug, Default)]
pub struct PortLimits {
    /// HTTPS.
    pub https: ConnectionLimits,
    /// Plain HTTP.
    pub redirect: ConnectionLimits,
    /// TURN over TCP.
    pub turn_tcp: ConnectionLimits,
    /// TURN over TLS.
    pub turn_tls: ConnectionLimits,
    /// Each port of ICE-TCP.
    pub ice_tcp: ConnectionLimits,
}

impl PortLimits {
    const fn of(&self, serves: Serves) -> ConnectionLimits {
        match serves {
            Serves::Https => self.https,
            Serves::Redirect => self.redirect,
            Serves::TurnTcp => self.turn_tcp,
            Serves::TurnTls => self.turn_tls,
            Serves::IceTcp(_) => self.ice_tcp,
        }
    }
}

/// Deadlines.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// From the start of a connection to the end of its TLS handshake.
    pub handshake: Duration,
    /// From there to the end of the first message, or to the first byte of HTTP.
    pub first_request: Duration,
    /// Between two messages of a client that no shard has accepted yet.
    pub stranger_idle: Duration,
    /// Between two messages of an accepted client. A TURN client may be silent for 600 s (RFC 8656 §3.2).
    pub client_idle: Duration,
    /// Between two checks of these deadlines. Hellos are repeated then.
    pub check_interval: Duration,
    /// For an HTTP client to take a piece of an answer, and to close its end after signaling has.
    pub stalled: Duration,
    /// How long a request waits for signaling, which may be restarting.
    pub signaling_wait: Duration,
    /// Between two tries to listen on the port of plain HTTP.
    pub listen_interval: Duration,
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
            listen_interval: Duration::from_secs(30),
        }
    }
}

/// Why the edge does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port cannot be used.
    #[error("TCP port {port} of {option} cannot be used: {error}")]
    Listen {
        /// The option that names it.
        option: &'static str,
        /// The port.
        port: u16,
        /// The error of the system.
        error: io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system gives no thread or no runtime.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The running edge. It ends when this is dropped.
#[derive(Debug)]
pub struct Edge {
    /// Port of HTTPS, if it is served.
    pub https_port: Option<u16>,
    /// Port of plain HTTP, if it is served now.
    pub redirect_port: Option<u16>,
    /// Port of TURN over TCP, if it is served.
    pub turn_tcp_port: Option<u16>,
    /// Port of TURN over TLS, if it is served.
    pub turn_tls_port: Option<u16>,
    /// Media ports that are served over TCP too.
    pub ice_tcp_ports: Vec<u16>,
    counters: Arc<Counters>,
    reload: Arc<Notify>,
    _alive: oneshot::Sender<()>,
}

/// What all connections share. There is one thread, so there are no locks.
struct Shared {
    timing: Timing,
    turn: Option<SocketAddr>,
    signaling: Option<PathBuf>,
    redirect: Option<Redirect>,
    known: KnownAddresses,
    certificate: Option<Keeper>,
    key: Arc<HmacSha256Key>,
    counters: Arc<Counters>,
    /// Buffer for a datagram between two sockets. Never borrowed across an await.
    datagram: RefCell<Box<[u8]>>,
}

impl Edge {
    /// Opens the ports and serves them on a thread of its own. Hellos are tagged with `key`.
    ///
    /// # Errors
    /// A port that the operator set cannot be used, or the certificate cannot.
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
        let plain = config.https.as_ref().and_then(|https| https.plain.clone());
        let plain_port = plain.as_ref().map(|plain| plain.port);
        let mut later = None;
        let redirect_port = match open(Serves::Redirect, "--redirect-port", plain_port) {
            Err(error) if plain.as_ref().is_some_and(|plain| !plain.must) => {
                tracing::error!(
                    "{error}; without this port no certificate is fetched or renewed. Stop the program that uses it, or allow \
                     ports below 1024 (CAP_NET_BIND_SERVICE). The port is tried again every {} s",
                    config.timing.listen_interval.as_secs()
                );
                later = plain_port;
                None
            }
            other => other?,
        };
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
                // No operator set this port for TCP, and nearly every client has UDP.
                Err(error) => tracing::warn!("{error}; it stays without ICE-TCP"),
            }
        }
        let certificate = config.certificate.map(Keeper::load).transpose()?;
        let counters = Arc::<Counters>::default();
        let (alive, ended) = oneshot::channel();
        let reload = Arc::<Notify>::default();
        let edge = Self {
            https_port,
            redirect_port,
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
                redirect: https_port
                    .zip(plain)
                    .map(|(https_port, plain)| Redirect { authority: plain.authority, https_port }),
                known: config.known,
                certificate,
                key,
                counters,
                datagram: RefCell::new(vec![0; framing::MESSAGE_LEN_MAX + 1].into()),
            });
            let connections = LocalSet::new();
            for (listener, serves) in doors {
                let door = Door::new(serves, config.limits.of(serves), Rc::clone(&shared));
                connections.spawn_local(door.keep(listener));
            }
            if let Some(port) = later {
                let door = Door::new(Serves::Redirect, config.limits.redirect, Rc::clone(&shared));
                connections.spawn_local(async move {
                    door.keep(listen_sometime(port, config.timing.listen_interval).await).await
                });
            }
            connections.spawn_local(async move {
                loop {
                    reload.notified().await;
                    shared.reload();
                }
            });
            // Ends with an error when the owner is dropped, which is the only way it ends.
            let _ = connections.block_on(&runtime, ended);
        })?;
        Ok(edge)
    }

    /// Reloads the certificate, changed or not.
    pub fn reload(&self) {
        self.reload.notify_one();
    }

    /// The counters.
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

/// Tries until the port is free.
async fn listen_sometime(port: u16, interval: Duration) -> TcpListener {
    loop {
        sleep(interval).await;
        if let Ok(listener) = listen_everywhere(port) {
            tracing::info!(port, "the port of plain HTTP is served now");
            return listener;
        }
    }
}

/// Listens on every address of both families, or of IPv4 on a machine without IPv6.
fn listen_everywhere(port: u16) -> io::Result<TcpListener> {
    match listen(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        Err(_) => listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Connections of an earlier process may still be in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests;
