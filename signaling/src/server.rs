//! The process from its first line to its last.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use crate::access::Access;
use crate::acme::{Acme, Answers};
use crate::app::App;
use crate::cdr::{Journal, JournalError};
use crate::config::{self, Choice, Config, ConfigError};
use crate::descriptors;
use crate::http::limiter::{ConnectionLimiter, ConnectionLimits};
use crate::http::{self, KnownAddresses, Listener, Served};
use crate::memory;
use crate::openvidu::{DIALECTS, records};
use crate::routes;
use crate::store::{Embedded, Store, StoreError};
use crate::tls::{Files, InUse, TlsError};

/// Name of the session store in the data directory.
const STORE_FILE: &str = "signaling.redb";

/// The option that names the port of plain HTTP.
const REDIRECT_OPTION: &str = "--redirect-port";

/// Between two tries to listen on the port of plain HTTP.
const LISTEN_INTERVAL: Duration = Duration::from_secs(30);

/// Most connections of the port of plain HTTP.
const REDIRECTS_MAX: usize = 512;

/// Descriptors that are no connections: files, listeners, the link to the relay.
const DESCRIPTORS_ELSEWHERE: usize = 128;

/// Status of a process that a second signal has ended, as of one that SIGTERM has killed.
const EXIT_FORCED: i32 = 128 + 15;

/// One wait for the relay; it is repeated for ever.
const RELAY_WAIT: Duration = Duration::from_secs(3_600);

/// Why signaling does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Events cannot be delivered or written as the settings ask.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// There is no TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is no store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A port cannot be had.
    #[error("{option} {address}: {error}")]
    Listen {
        /// The option that names it.
        option: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The Unix socket of HTTP cannot be had.
    #[error("--http-socket {path}: {error}")]
    HttpSocket {
        /// Where.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// The machine does not give what a process needs.
    #[error("the system refuses: {0}")]
    System(#[from] io::Error),
}

impl StartError {
    /// Whether only the operator can mend it: a setting, a file or its rights. Another start changes nothing, so the
    /// service manager is not to try one.
    pub fn needs_the_operator(&self) -> bool {
        match self {
            Self::Tls(TlsError::File { error, .. }) => error.kind() != io::ErrorKind::StorageFull,
            Self::Config(_) | Self::Journal(_) | Self::Tls(_) | Self::Store(StoreError::Denied(_)) => true,
            _ => false,
        }
    }
}

/// Runs signaling until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start; the message names the setting and what to do.
pub fn run(config: Config) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let server = Server::start(config).await?;
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => server.reload(),
            }
        }
        tracing::info!("told to end");
        tokio::select! {
            () = server.end() => {}
            _ = terminate.recv() => end_at_once(),
            _ = interrupt.recv() => end_at_once(),
        }
        Ok(())
    });
    // Connections go down with the runtime, and with the last of them the store is written out. Clients come back.
    drop(runtime);
    outcome
}

/// Ends the process though something of it still waits: what is not stored or sent yet is lost.
fn end_at_once() -> ! {
    tracing::warn!("told to end a second time; ending at once");
    std::process::exit(EXIT_FORCED)
}

/// The same for a program's `main`: says on the log why it does not start, and with which status to end.
pub fn run_to_the_end(config: Config) -> ExitCode {
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            if error.needs_the_operator() {
                ExitCode::from(millrace_settings::EXIT_CONFIG)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// A running signaling. Its tasks live as long as the runtime it was started in.
pub struct Server {
    /// Port of HTTPS, which is the relay's when there is a socket for it.
    pub https_port: u16,
    /// Port of plain HTTP on loopback.
    pub http_port: u16,
    /// Port of plain HTTP that leads to HTTPS, if there is one.
    pub redirect_port: Option<u16>,
    app: Arc<App>,
    limiters: Vec<Arc<ConnectionLimiter>>,
    certificate: Option<Arc<InUse>>,
}

impl Server {
    /// Starts everything; the ready file, if one is wanted, is written as soon as the relay is there.
    ///
    /// # Errors
    /// When something it needs cannot be had.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let path = config.server.data_dir.join(STORE_FILE);
        Self::over(config, || Ok(Box::new(Embedded::open(&path)?))).await
    }

    /// The same over another store, which is opened once the ports are had.
    ///
    /// # Errors
    /// When something it needs cannot be had.
    pub async fn over(
        mut config: Config,
        open: impl FnOnce() -> Result<Box<dyn Store>, StoreError>,
    ) -> Result<Self, StartError> {
        config.server.make_data_dir()?;
        let secrets = config.rest.secrets(&config.server.data_dir)?;
        let invitations = config::invitations(&config.server.data_dir)?;
        let access =
            Access::new(&secrets, invitations, config.limits.access()).map_err(ConfigError::Secrets)?;
        let fetched_for = match config.server.certificate.choice()? {
            Choice::Fetched { name } => Some(name),
            _ => None,
        };
        let redirect = plain_listener(&config).await?;
        let https = secure_listener(&config.server).await?;
        let http = listen("--http-port", (Ipv4Addr::LOCALHOST, config.plain.http_port).into()).await?;
        let https_port = https.port.unwrap_or(config.server.https_port);
        let http_port = http.local_addr()?.port();
        // The same port on IPv6 loopback, for browsers that try that first. Without IPv6 there is nothing to serve.
        let http_v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, http_port)).await.ok();
        let store = open()?;
        // From here on the port in use, for URLs.
        config.server.https_port = https_port;
        let webhook = config.events.webhook(&config.timing)?;
        let journal = Journal::start(records::event, webhook, config.events.cdr(&config.server.data_dir))?;
        let answers = Arc::<Answers>::default();
        let redirects = http::plain::router(&config, Arc::clone(&answers));
        let acme = fetched_for.map(|name| acme(&config, name, answers, https.certificate.clone()));
        let app = App::start(config, access, store, journal, &DIALECTS)?;

        let served = Served {
            router: routes::router(&app),
            redirects: redirects.clone(),
            limits: connection_limits(&app.config),
            known: Arc::new(KnownAddresses::from(&app.config.server.addresses)),
        };
        let plain = std::iter::once(http).chain(http_v6).map(Listener::plain);
        let listeners = std::iter::once(https.listener).chain(plain);
        let mut limiters: Vec<_> = listeners.map(|listener| listener.serve(served.clone())).collect();
        let mut redirect_port = None;
        let served = Served { router: redirects, limits: redirect_limits(&app.config), ..served };
        match redirect {
            PlainListener::Here(socket) => {
                redirect_port = socket.local_addr().ok().map(|at| at.port());
                limiters.push(Listener::plain(socket).serve(served));
                acme.map(|acme| tokio::spawn(acme.keep()));
            }
            PlainListener::Later(port) => drop(tokio::spawn(serve_later(port, served, acme))),
            PlainListener::Elsewhere => {
                acme.map(|acme| tokio::spawn(keep_behind_edge(Arc::clone(&app), acme)));
            }
        }
        memory::look_after(&app, limiters.clone());
        tracing::info!(https_port, http_port, redirect_port, "listening");
        tokio::spawn(announce(Arc::clone(&app), https_port, http_port));
        Ok(Self { https_port, http_port, redirect_port, app, limiters, certificate: https.certificate })
    }

    /// Ends in order: what happened is stored and sent, then every WebSocket is closed with the reason. Clients come back
    /// at once, so sockets are closed last.
    pub async fn end(&self) {
        self.app.settle().await;
        self.app.dismiss().await;
    }

    /// Reads the certificate anew, if HTTPS is served here.
    pub fn reload(&self) {
        self.certificate.iter().for_each(|certificate| certificate.reload());
    }

    /// TCP connections that are open, WebSockets among them.
    pub fn sockets(&self) -> usize {
        self.limiters.iter().map(|limiter| limiter.taken()).sum()
    }

    /// The application, for those who started it in their own process.
    pub const fn app(&self) -> &Arc<App> {
        &self.app
    }
}

/// Connections of the ports that serve the API.
fn connection_limits(config: &Config) -> ConnectionLimits {
    let config::Sockets { sockets_max, sockets_per_address_max } = config.limits.sockets;
    let possible = descriptors::allowed().saturating_sub(DESCRIPTORS_ELSEWHERE);
    let connections_max = sockets_max.min(possible);
    if connections_max < config.limits.participants_max {
        let cure = if possible < sockets_max {
            "raise the limit of open files (LimitNOFILE=, ulimit -n)"
        } else {
            "raise limits.sockets-max"
        };
        tracing::warn!(
            "a port takes {connections_max} connections, but limits.participants-max is {}; {cure}, or lower \
             limits.participants-max",
            config.limits.participants_max
        );
    }
    ConnectionLimits::new(connections_max, sockets_per_address_max).with_reserve()
}

/// Connections of the port of plain HTTP. Each is short.
fn redirect_limits(config: &Config) -> ConnectionLimits {
    let config::Sockets { sockets_max, sockets_per_address_max } = config.limits.sockets;
    ConnectionLimits::new(sockets_max.min(REDIRECTS_MAX), sockets_per_address_max)
}

/// What serves HTTPS, and the port of it unless that is the relay's.
struct Secure {
    listener: Listener,
    port: Option<u16>,
    certificate: Option<Arc<InUse>>,
}

/// The listener of plain HTTP, or how to come by it.
enum PlainListener {
    /// There is none, or the relay's edge has it.
    Elsewhere,
    Here(TcpListener),
    /// Another program has the port, or this process may not use it yet.
    Later(u16),
}

async fn plain_listener(config: &Config) -> Result<PlainListener, StartError> {
    let certificate = &config.server.certificate;
    certificate.choice()?;
    let Some(port) = certificate.plain_port().filter(|_| config.server.http_socket.is_none()) else {
        return Ok(PlainListener::Elsewhere);
    };
    match listen_everywhere(REDIRECT_OPTION, port).await {
        Ok(listener) => Ok(PlainListener::Here(listener)),
        // No operator asked for this number, and HTTPS works without it.
        Err(error) if certificate.redirect_port.is_none() => {
            tracing::error!(
                "{error}; without this port no certificate is fetched or renewed. Stop the program that uses it, or allow \
                 ports below 1024 (CAP_NET_BIND_SERVICE). The port is tried again every {} s",
                LISTEN_INTERVAL.as_secs()
            );
            Ok(PlainListener::Later(port))
        }
        Err(error) => Err(error),
    }
}

/// Tries until the port can be had.
async fn listen_sometime(port: u16, interval: Duration) -> TcpListener {
    loop {
        sleep(interval).await;
        if let Ok(listener) = listen_everywhere(REDIRECT_OPTION, port).await {
            return listener;
        }
    }
}

/// Serves plain HTTP and keeps the certificate, once there is a port at which a certificate authority can look.
async fn serve_later(port: u16, served: Served, acme: Option<Acme>) {
    let listener = listen_sometime(port, LISTEN_INTERVAL).await;
    tracing::info!(port, "the port of plain HTTP is served now");
    Listener::plain(listener).serve(served);
    if let Some(acme) = acme {
        acme.keep().await;
    }
}

/// Keeps the certificate where the relay's edge has the port of plain HTTP, which listens before the relay is ready.
async fn keep_behind_edge(app: Arc<App>, acme: Acme) {
    while app.link.ready(Instant::now() + RELAY_WAIT).await.is_err() {}
    acme.keep().await;
}

fn acme(config: &Config, name: String, answers: Arc<Answers>, in_use: Option<Arc<InUse>>) -> Acme {
    Acme {
        name,
        email: config.acme.letsencrypt_email.clone(),
        directory: config.acme.acme_directory.clone(),
        data_dir: config.server.data_dir.clone(),
        answers,
        pause: config.timing.certificate_pause,
        in_use,
    }
}

/// The socket that the relay's edge passes HTTPS on to, or the port of HTTPS itself.
async fn secure_listener(config: &config::Server) -> Result<Secure, StartError> {
    if let Some(path) = &config.http_socket {
        let socket = listen_for_edge(path)
            .map_err(|error| StartError::HttpSocket { path: path.display().to_string(), error })?;
        return Ok(Secure { listener: Listener::edge(socket), port: None, certificate: None });
    }
    let files = Files::of(&config.certificate.choice()?, &config.data_dir, &config.names())?;
    let certificate = Arc::new(InUse::read(files)?);
    let socket = listen_everywhere("--https-port", config.https_port).await?;
    let port = Some(socket.local_addr()?.port());
    let listener = Listener::secure(socket, Arc::clone(&certificate));
    Ok(Secure { listener, port, certificate: Some(certificate) })
}

/// A socket that only our own user may use, in place of one that an earlier run has left.
fn listen_for_edge(path: &Path) -> io::Result<UnixListener> {
    // No longer than the path itself: the system takes 107 bytes.
    let new = path.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&new, path)?;
    Ok(socket)
}

/// Every address of both families, or of IPv4 where there is no other.
async fn listen_everywhere(option: &'static str, port: u16) -> Result<TcpListener, StartError> {
    match listen(option, (IpAddr::V6(Ipv6Addr::UNSPECIFIED), port).into()).await {
        Ok(listener) => Ok(listener),
        Err(StartError::Listen { error, .. }) if error.kind() == io::ErrorKind::AddrInUse => {
            let address = (IpAddr::V6(Ipv6Addr::UNSPECIFIED), port).into();
            Err(StartError::Listen { option, address, error })
        }
        // A machine without IPv6.
        Err(_) => listen(option, (IpAddr::V4(Ipv4Addr::UNSPECIFIED), port).into()).await,
    }
}

async fn listen(option: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| StartError::Listen { option, address, error })
}

/// Says that everything is ready.
async fn announce(app: Arc<App>, https_port: u16, http_port: u16) {
    while app.link.ready(Instant::now() + RELAY_WAIT).await.is_err() {}
    let Some(path) = &app.config.server.ready_file else { return };
    let text =
        json!({"https_port": https_port, "http_port": http_port, "pid": std::process::id()}).to_string();
    if let Err(error) = write_whole(path, &text) {
        tracing::error!(path = %path.display(), %error, "cannot write the ready file");
    }
}

/// A reader finds all of it or nothing.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    std::fs::write(&name, text)?;
    std::fs::rename(&name, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_was_missing_is_served_as_soon_as_it_is_free() {
        let taken = listen_everywhere(REDIRECT_OPTION, 0).await.unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(listen_everywhere(REDIRECT_OPTION, port).await.is_err());
        let waits = tokio::spawn(listen_sometime(port, Duration::from_millis(1)));
        drop(taken);
        assert_eq!(waits.await.unwrap().local_addr().unwrap().port(), port);
    }
}
