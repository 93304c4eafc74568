//! Accepting connections, with a deadline for everything a stranger may draw out.

use std::io;
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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};
use tower::ServiceExt as _;

use super::Via;
use super::proxy::{self, Ends};
use super::room::{Room, Seat};
use crate::config::Limits;
use crate::tls::InUse;

/// How long a TLS handshake may take, or the word of who is there; and the header of a request.
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
    socket: Socket,
}

enum Socket {
    Tls(TcpListener, Arc<InUse>),
    Plain(TcpListener),
    Edge(UnixListener),
}

impl Listener {
    /// With TLS.
    pub(crate) const fn secure(socket: TcpListener, certificate: Arc<InUse>) -> Self {
        Self { socket: Socket::Tls(socket, certificate) }
    }

    /// Without. For loopback.
    pub const fn plain(socket: TcpListener) -> Self {
        Self { socket: Socket::Plain(socket) }
    }

    /// For what comes by the relay's edge, where TLS has ended. It says of each connection whose it is.
    pub const fn edge(socket: UnixListener) -> Self {
        Self { socket: Socket::Edge(socket) }
    }

    /// Serves in the background, for as long as the runtime lives. Gives the room its connections have.
    pub fn serve(self, router: Router, limits: Limits) -> Arc<Room> {
        let room = Room::new(limits);
        let seats = Arc::clone(&room);
        tokio::spawn(async move {
            let room = seats;
            loop {
                // Beyond the limit new connections wait in the system's queue.
                let Some(free) = room.free().await else { return };
                if let Err(error) = self.accept(&room, free, &router).await {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        });
        room
    }

    async fn accept(&self, room: &Arc<Room>, free: OwnedSemaphorePermit, router: &Router) -> io::Result<()> {
        let router = router.clone();
        match &self.socket {
            Socket::Plain(socket) => {
                let (stream, remote) = socket.accept().await?;
                let via = via(false, remote, stream.local_addr());
                let _ = stream.set_nodelay(true);
                if let Some(seat) = take_seat(room, via, free) {
                    tokio::spawn(converse(stream, via, router, seat));
                }
            }
            Socket::Tls(socket, tls) => {
                let (stream, remote) = socket.accept().await?;
                let via = via(true, remote, stream.local_addr());
                let _ = stream.set_nodelay(true);
                // Before TLS there is no way to say why.
                let Some(seat) = take_seat(room, via, free) else { return Ok(()) };
                let handshake = timeout(HANDSHAKE_TIMEOUT, tls.acceptor().accept(stream));
                tokio::spawn(async move {
                    if let Ok(Ok(stream)) = handshake.await {
                        converse(stream, via, router, seat).await;
                    }
                });
            }
            Socket::Edge(socket) => {
                let (mut stream, _) = socket.accept().await?;
                let room = Arc::clone(room);
                tokio::spawn(async move {
                    let header = timeout(HANDSHAKE_TIMEOUT, proxy::read_header(&mut stream));
                    let Ok(Ok(Ends { remote, local })) = header.await else { return };
                    let via = via(true, remote, Ok(local));
                    if let Some(seat) = take_seat(&room, via, free) {
                        converse(stream, via, router, seat).await;
                    }
                });
            }
        }
        Ok(())
    }
}

fn via(tls: bool, remote: SocketAddr, local: io::Result<SocketAddr>) -> Via {
    let port = local.map_or(0, |address| address.port());
    Via { tls, remote: remote.ip().to_canonical(), port }
}

fn take_seat(room: &Arc<Room>, via: Via, free: OwnedSemaphorePermit) -> Option<Seat> {
    let seat = room.seat(via.remote, free);
    if seat.is_none() {
        tracing::debug!(remote = %via.remote, "too many connections from there");
    }
    seat
}

/// HTTP/1.1 on one connection, until it ends or becomes a WebSocket, which then keeps the seat.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    via: Via,
    router: Router,
    seat: Seat,
) {
    let seat = Arc::new(seat);
    let service = service_fn(move |request| answer(request, via, Arc::clone(&seat), router.clone()));
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
    seat: Arc<Seat>,
    router: Router,
) -> Result<Response, std::convert::Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(via);
    request.extensions_mut().insert(seat);
    match timeout(REQUEST_TIMEOUT, router.oneshot(request)).await {
        Ok(response) => response,
        Err(_) => Ok(StatusCode::REQUEST_TIMEOUT.into_response()),
    }
}
