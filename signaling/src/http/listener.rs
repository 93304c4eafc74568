//! Accepting connections, with a deadline for everything a stranger may draw out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::Via;
use super::room::{Room, Seat};
use crate::config::Limits;

/// How long a TLS handshake may take, and the header of a request.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a request may take with its body and its answer. A WebSocket is out of this once it is open.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of a request's header after which no more are read, and most fields of it. The last read may go a little beyond.
const HEADER_LEN_MAX: usize = 64 * 1024;
const HEADER_FIELDS_MAX: usize = 64;

/// Pause after the system refused to accept: too many open files, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One listening socket.
pub struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    /// With TLS.
    pub fn secure(socket: TcpListener, config: Arc<ServerConfig>) -> Self {
        Self { socket, tls: Some(config.into()) }
    }

    /// Without. For loopback.
    pub const fn plain(socket: TcpListener) -> Self {
        Self { socket, tls: None }
    }

    /// Serves in the background, for as long as the runtime lives.
    pub fn serve(self, router: Router, limits: Limits) {
        tokio::spawn(async move {
            let room = Room::new(limits);
            loop {
                // Beyond the limit new connections wait in the system's queue.
                let Some(free) = room.free().await else { return };
                match self.socket.accept().await {
                    Ok((stream, remote)) => match room.seat(remote.ip().to_canonical(), free) {
                        Some(seat) => self.spawn(stream, remote, router.clone(), seat),
                        // Before TLS there is no way to say why.
                        None => tracing::debug!(remote = %remote.ip(), "too many connections from there"),
                    },
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        });
    }

    fn spawn(&self, stream: TcpStream, remote: SocketAddr, router: Router, seat: Seat) {
        let port = stream.local_addr().map_or(0, |address| address.port());
        let via = Via { tls: self.tls.is_some(), remote: remote.ip().to_canonical(), port };
        let _ = stream.set_nodelay(true);
        match self.tls.clone() {
            Some(tls) => tokio::spawn(async move {
                if let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                    converse(stream, via, router).await;
                }
                drop(seat);
            }),
            None => tokio::spawn(async move {
                converse(stream, via, router).await;
                drop(seat);
            }),
        };
    }
}

/// HTTP/1.1 on one connection, until it ends or becomes a WebSocket.
async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, via: Via, router: Router) {
    let service = service_fn(move |request| answer(request, via, router.clone()));
    let outcome = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_LEN_MAX)
        .max_headers(HEADER_FIELDS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = outcome {
        tracing::trace!(%error, remote = %via.remote, "connection ended");
    }
}

async fn answer(
    request: Request<Incoming>,
    via: Via,
    router: Router,
) -> Result<Response, std::convert::Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(via);
    match timeout(REQUEST_TIMEOUT, router.oneshot(request)).await {
        Ok(response) => response,
        Err(_) => Ok(StatusCode::REQUEST_TIMEOUT.into_response()),
    }
}
