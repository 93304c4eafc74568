//! Accepts connections. Every step before authentication has a deadline, and every connection a permit.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::RETRY_AFTER;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt as _;

use super::known::KnownAddresses;
use super::limiter::{ConnectionLimiter, ConnectionLimits, Permit};
use super::paced::Paced;
use super::proxy::{self, Door};
use super::{Via, forwarded};
use crate::supervise;
use crate::tls::InUse;

/// From the connection to the end of its TLS handshake, the headers of proxies included.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// From there, or from the end of a request, to the end of the next request's header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// From the end of a request's header to its answer. A WebSocket has deadlines of its own.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a client may take for each piece of an answer. The same as at the relay's edge.
const STALLED_TIMEOUT: Duration = Duration::from_secs(20);

/// Longest header of a request, in bytes, and most fields of it. The last read may go a little beyond.
const HEADER_LEN_MAX: usize = 64 * 1024;
const HEADER_FIELDS_MAX: usize = 64;

/// Pause after the system refused to accept, most likely because of too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Content type of a TLS record with a handshake (RFC 8446 §5.1), the first byte of every TLS connection.
pub const TLS_HANDSHAKE: u8 = 0x16;

/// Answer when the port has no place for a connection. Clients try again after the given time.
pub const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\
    Connection: close\r\n\r\n";

/// Answer to plain HTTP on the port of HTTPS, unless it comes from this machine.
pub const HTTPS_ONLY: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Access-Control-Allow-Origin: *\r\nContent-Length: 97\r\nConnection: close\r\n\r\n\
    This port serves HTTPS. Use the same address with https:// (wss:// for WebSockets) in its place.\n";

/// One listening socket.
pub struct Listener {
    socket: Socket,
}

enum Socket {
    Tls(TcpListener, Arc<InUse>),
    Plain(TcpListener),
    Edge(UnixListener),
}

/// What a listener serves, and its limits.
#[derive(Clone)]
pub struct Served {
    /// Everything of HTTPS, or of the listener's own port.
    pub router: Router,
    /// What the edge's port of plain HTTP serves.
    pub redirects: Router,
    /// Connections of the listener.
    pub limits: ConnectionLimits,
    /// Addresses that the operator has named.
    pub known: Arc<KnownAddresses>,
}

/// A listener at work.
struct Service {
    served: Served,
    limiter: Arc<ConnectionLimiter>,
}

impl Listener {
    /// With TLS.
    pub(crate) const fn secure(socket: TcpListener, certificate: Arc<InUse>) -> Self {
        Self { socket: Socket::Tls(socket, certificate) }
    }

    /// Without TLS, for loopback.
    pub const fn plain(socket: TcpListener) -> Self {
        Self { socket: Socket::Plain(socket) }
    }

    /// For connections that the relay's edge passes on, behind a header that says whose they are.
    pub const fn edge(socket: UnixListener) -> Self {
        Self { socket: Socket::Edge(socket) }
    }

    /// Serves in the background for as long as the runtime lives.
    pub fn serve(self, served: Served) -> Arc<ConnectionLimiter> {
        let limiter = ConnectionLimiter::new(served.limits);
        let service = Arc::new(Service { served, limiter: Arc::clone(&limiter) });
        supervise::task("listener", self.accept_all(service));
        limiter
    }

    async fn accept_all(self, service: Arc<Service>) -> Infallible {
        loop {
            if let Err(error) = self.accept(&service).await {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    async fn accept(&self, service: &Arc<Service>) -> io::Result<()> {
        match &self.socket {
            Socket::Plain(socket) => {
                let (stream, remote) = socket.accept().await?;
                let via = via(false, remote, stream.local_addr());
                match service.permit(via) {
                    Some(permit) => service.spawn(&permit, service.plain(stream, via, &permit)),
                    None => refuse(stream),
                }
            }
            Socket::Tls(socket, tls) => {
                let (stream, remote) = socket.accept().await?;
                let via = via(true, remote, stream.local_addr());
                // Before the TLS handshake the server cannot send a reason, so the connection is only closed.
                let Some(permit) = service.permit(via) else { return Ok(()) };
                service.spawn(&permit, service.secure(stream, via, Arc::clone(tls), &permit));
            }
            Socket::Edge(socket) => {
                let (stream, _) = socket.accept().await?;
                tokio::spawn(by_edge(Arc::clone(service), stream));
            }
        }
        Ok(())
    }
}

impl Service {
    fn permit(&self, via: Via) -> Option<Arc<Permit>> {
        let permit = self.limiter.admit(self.served.known.source(via.remote), Instant::now()).permit();
        if permit.is_none() {
            tracing::debug!(remote = %via.remote, "a connection is refused: there are too many");
        }
        permit.map(Arc::new)
    }

    /// Serves a connection in the background until it ends or is closed for another.
    fn spawn(&self, permit: &Arc<Permit>, connection: impl Future<Output = ()> + Send + 'static) {
        let permit = Arc::clone(permit);
        tokio::spawn(async move {
            tokio::select! {
                () = connection => {}
                () = permit.displaced() => {}
            }
        });
    }

    fn plain(
        self: &Arc<Self>,
        mut stream: TcpStream,
        via: Via,
        permit: &Arc<Permit>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (service, permit) = (Arc::clone(self), Arc::clone(permit));
        async move {
            let _ = stream.set_nodelay(true);
            let Some(via) = service.introduced(&mut stream, via, &permit).await else { return };
            let router = service.served.router.clone();
            service.converse(stream, via, router, permit).await;
        }
    }

    fn secure(
        self: &Arc<Self>,
        mut stream: TcpStream,
        via: Via,
        tls: Arc<InUse>,
        permit: &Arc<Permit>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (service, permit) = (Arc::clone(self), Arc::clone(permit));
        async move {
            let _ = stream.set_nodelay(true);
            let router = service.served.router.clone();
            let hello = timeout(HANDSHAKE_TIMEOUT, async {
                let via = service.introduced(&mut stream, via, &permit).await?;
                let mut first = [0];
                let is_there = stream.peek(&mut first).await.ok()? == 1;
                is_there.then_some((via, first[0] == TLS_HANDSHAKE))
            });
            match hello.await {
                Ok(Some((via, true))) => {
                    let handshake = timeout(HANDSHAKE_TIMEOUT, tls.acceptor().accept(stream));
                    let Ok(Ok(stream)) = handshake.await else { return };
                    service.converse(stream, via, router, permit).await;
                }
                // OpenVidu's development container serves plain HTTP too. It is for loopback only, because others
                // could read the secret in the network.
                Ok(Some((via, false))) if via.remote.is_loopback() => {
                    service.converse(stream, Via { tls: false, ..via }, router, permit).await;
                }
                Ok(Some((_, false))) => farewell(stream, HTTPS_ONLY).await,
                Ok(None) | Err(_) => {}
            }
        }
    }

    /// Reads the PROXY header of a trusted proxy. `None` is a connection that has to be closed.
    async fn introduced(&self, stream: &mut TcpStream, via: Via, permit: &Permit) -> Option<Via> {
        if !self.served.known.is_proxy(via.remote) {
            return Some(via);
        }
        let ends = timeout(HANDSHAKE_TIMEOUT, proxy::read_from_proxy(stream)).await;
        let Some(ends) = ends.ok()?.ok()? else { return Some(via) };
        let via = Via { remote: ends.remote.ip(), port: ends.local.port(), ..via };
        permit.move_to(self.served.known.source(via.remote), Instant::now()).then_some(via)
    }

    /// HTTP/1.1 on one connection, until it ends or becomes a WebSocket, which then has the permit.
    async fn converse(
        self: Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        via: Via,
        router: Router,
        permit: Arc<Permit>,
    ) {
        let service = service_fn(move |request| {
            answer(request, via, Arc::clone(&self), Arc::clone(&permit), router.clone())
        });
        let outcome = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(HEADER_LEN_MAX)
            .max_headers(HEADER_FIELDS_MAX)
            .serve_connection(TokioIo::new(Paced::new(stream, STALLED_TIMEOUT)), service)
            .with_upgrades()
            .await;
        if let Err(error) = outcome {
            tracing::trace!(%error, remote = %via.remote, "connection ended");
        }
    }
}

/// A connection that the edge passes on.
async fn by_edge(service: Arc<Service>, mut stream: UnixStream) {
    let header = timeout(HANDSHAKE_TIMEOUT, proxy::read_from_edge(&mut stream));
    let Ok(Ok((ends, door))) = header.await else { return };
    let via = via(door == Door::Https, ends.remote, Ok(ends.local));
    let Some(permit) = service.permit(via) else { return farewell(stream, UNAVAILABLE).await };
    let served = &service.served;
    let router = if door == Door::Redirect { served.redirects.clone() } else { served.router.clone() };
    let connection = Arc::clone(&service).converse(stream, via, router, Arc::clone(&permit));
    tokio::select! {
        () = connection => {}
        () = permit.displaced() => {}
    }
}

fn via(tls: bool, remote: SocketAddr, local: io::Result<SocketAddr>) -> Via {
    let port = local.map_or(0, |address| address.port());
    Via { tls, remote: remote.ip().to_canonical(), port }
}

/// Answers 503, without waiting: there may be many of these.
fn refuse(stream: TcpStream) {
    // The send buffer of a new connection has room for this answer, so the write does not block.
    let _ = stream.into_std().and_then(|mut stream| stream.write(UNAVAILABLE));
}

/// Sends a last answer before the connection is closed.
async fn farewell(mut stream: impl AsyncWrite + Unpin, words: &[u8]) {
    let said = async {
        stream.write_all(words).await?;
        stream.shutdown().await
    };
    // A client that does not read it is gone.
    let _ = timeout(HANDSHAKE_TIMEOUT, said).await;
}

async fn answer(
    request: Request<Incoming>,
    via: Via,
    service: Arc<Service>,
    permit: Arc<Permit>,
    router: Router,
) -> Result<Response, std::convert::Infallible> {
    let known = &service.served.known;
    let client = forwarded::client(via, request.headers(), |address| known.is_proxy(address));
    if client.remote != via.remote && !permit.move_to(known.source(client.remote), Instant::now()) {
        return Ok((StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")]).into_response());
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(client);
    request.extensions_mut().insert(permit);
    match timeout(REQUEST_TIMEOUT, router.oneshot(request)).await {
        Ok(response) => response,
        Err(_) => Ok(StatusCode::REQUEST_TIMEOUT.into_response()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_the_answer_is_right() {
        let text = std::str::from_utf8(HTTPS_ONLY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
