//! Accepts connections, and finds the protocol of each by its first bytes.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use millrace_signaling::http::limiter::{Admission, ConnectionLimiter, ConnectionLimits, Permit};
use millrace_signaling::http::proxy::{self, Door as Origins};
use millrace_signaling::http::{HTTPS_ONLY, TLS_HANDSHAKE};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout_at};

use super::bridge::{self, Client};
use super::framing::Framing;
use super::http::Origin;
use super::redirect::{self, Verdict};
use super::{Count, Shared, http};
use crate::wire::edge_hello::{Hello, Transport};

/// Pause after the system refused to accept, most likely because of too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes that may wait in the kernel for a slow client. The rest of the kernel's room is for what is on its way.
const UNSENT_LEN_MAX: u32 = 128 << 10;

/// What is read at once to find out the protocol, in bytes.
const FIRST_READ_LEN: usize = 4 << 10;

/// First bytes of STUN (RFC 7983).
const STUN: std::ops::RangeInclusive<u8> = 0..=3;

/// First bytes of HTTP: the method.
const HTTP: std::ops::RangeInclusive<u8> = b'A'..=b'Z';

/// What a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Serves {
    /// HTTPS, TURN over TLS, TURN over TCP.
    Https,
    /// Plain HTTP that redirects to HTTPS.
    Redirect,
    /// TURN over TCP.
    TurnTcp,
    /// TURN over TLS.
    TurnTls,
    /// ICE-TCP towards this media port.
    IceTcp(SocketAddr),
}

/// One port.
pub(super) struct Door {
    serves: Serves,
    limiter: Arc<ConnectionLimiter>,
    shared: Rc<Shared>,
}

/// A new connection.
struct Newcomer {
    serves: Serves,
    since: Instant,
    remote: SocketAddr,
    local: SocketAddr,
    shared: Rc<Shared>,
}

impl Door {
    pub(super) fn new(serves: Serves, limits: ConnectionLimits, shared: Rc<Shared>) -> Self {
        Self { serves, limiter: ConnectionLimiter::new(limits), shared }
    }

    /// Accepts as long as the thread lives.
    pub(super) async fn keep(self, listener: std::net::TcpListener) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, serves = ?self.serves, "a port cannot be served"),
        };
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => self.admit(stream, canonical(remote)),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, remote: SocketAddr) {
        self.shared.count(Count::Accepted);
        let since = Instant::now();
        let permit = match self.limiter.admit(self.shared.known.source(remote.ip()), since) {
            Admission::Granted(permit) => permit,
            Admission::Displacing(permit) => {
                self.shared.count(Count::Displaced);
                permit
            }
            Admission::Full => return self.shared.count(Count::Refused),
        };
        // A connection that is gone already.
        let Ok(local) = prepare(&stream) else { return };
        let newcomer = Newcomer {
            serves: self.serves,
            since,
            remote,
            local: canonical(local),
            shared: Rc::clone(&self.shared),
        };
        tokio::task::spawn_local(async move {
            let shared = Rc::clone(&newcomer.shared);
            let ended = tokio::select! {
                ended = newcomer.serve(stream, &permit) => ended,
                // The newcomer that took the place has counted this.
                () = permit.displaced() => None,
            };
            if let Some(reason) = ended {
                shared.count(reason);
                tracing::trace!(remote = %remote.ip(), reason = reason.name(), "connection ended");
            }
        });
    }
}

impl Newcomer {
    /// Serves until the connection ends. Says why, unless that is not worth counting.
    async fn serve(mut self, mut stream: TcpStream, permit: &Permit) -> Option<Count> {
        let timing = &self.shared.timing;
        if let Serves::IceTcp(shard) = self.serves {
            self.shared.count(Count::IceTcp);
            let client =
                self.client(stream, Vec::new(), Framing::Prefixed, Transport::Tcp, shard, self.since);
            return Some(bridge::run(client, permit, &self.shared).await);
        }
        let patience = match self.serves {
            Serves::TurnTcp | Serves::Redirect => timing.first_request,
            _ => timing.handshake,
        };
        let deadline = self.since + patience;
        if self.shared.known.is_proxy(self.remote.ip()) {
            match timeout_at(deadline, proxy::read_from_proxy(&mut stream)).await {
                Ok(Ok(Some(ends))) => (self.remote, self.local) = (ends.remote, ends.local),
                Ok(Ok(None)) => {}
                Ok(Err(_)) => return Some(Count::Strange),
                Err(_) => return Some(Count::Silent),
            }
            if !permit.move_to(self.shared.known.source(self.remote.ip()), Instant::now()) {
                return Some(Count::Refused);
            }
        }
        let mut first = [0];
        match timeout_at(deadline, stream.peek(&mut first)).await {
            Ok(Ok(1)) => {}
            _ => return Some(Count::Silent),
        }
        match (self.serves, first[0]) {
            (Serves::Redirect, _) => self.redirect(stream, permit).await,
            (Serves::Https | Serves::TurnTls, TLS_HANDSHAKE) => self.serve_tls(stream, permit).await,
            (Serves::Https | Serves::TurnTcp, first) if STUN.contains(&first) => {
                Some(self.serve_turn(stream, Vec::new(), Transport::Tcp, self.since, permit).await)
            }
            (Serves::Https, first) if HTTP.contains(&first) => self.serve_plain(stream, permit).await,
            _ => Some(Count::Strange),
        }
    }

    async fn serve_tls(&self, stream: TcpStream, permit: &Permit) -> Option<Count> {
        let timing = &self.shared.timing;
        let acceptor = self.shared.certificate.as_ref()?.acceptor(Instant::now(), &self.shared.counters);
        let Ok(Ok(mut stream)) = timeout_at(self.since + timing.handshake, acceptor.accept(stream)).await
        else {
            return Some(Count::TlsFailed);
        };
        let since = Instant::now();
        let mut read = Vec::with_capacity(FIRST_READ_LEN);
        match timeout_at(since + timing.first_request, stream.read_buf(&mut read)).await {
            Ok(Ok(1..)) => {}
            _ => return Some(Count::Silent),
        }
        if STUN.contains(&read[0]) {
            return Some(self.serve_turn(stream, read, Transport::Tls, since, permit).await);
        }
        match (self.serves, &self.shared.signaling) {
            (Serves::Https, Some(socket)) => {
                let origin = self.origin(Origins::Https);
                Some(http::run(stream, &read, origin, socket, permit, &self.shared).await)
            }
            _ => Some(Count::Strange),
        }
    }

    /// Plain HTTP on the port of HTTPS. From this machine it is served, as OpenVidu's development container does, so that
    /// tutorials work as they are. From elsewhere the secret would be readable on its way.
    async fn serve_plain(&self, stream: TcpStream, permit: &Permit) -> Option<Count> {
        let socket = self.shared.signaling.as_ref()?;
        if self.remote.ip().is_loopback() {
            let origin = self.origin(Origins::Plain);
            return Some(http::run(stream, &[], origin, socket, permit, &self.shared).await);
        }
        http::say(stream, HTTPS_ONLY, self.shared.timing.stalled).await;
        Some(Count::HttpsOnly)
    }

    async fn redirect(&self, mut stream: TcpStream, permit: &Permit) -> Option<Count> {
        let (shared, redirect) = (&self.shared, self.shared.redirect.as_ref()?);
        let mut read = Vec::with_capacity(FIRST_READ_LEN);
        if !redirect::read_head(&mut stream, &mut read, shared.timing.first_request).await {
            return Some(Count::Silent);
        }
        match redirect::judge(&read, redirect) {
            Some(Verdict::PassOn) => {
                let (origin, socket) = (self.origin(Origins::Redirect), shared.signaling.as_ref()?);
                Some(http::run(stream, &read, origin, socket, permit, shared).await)
            }
            Some(Verdict::Answer(answer)) => {
                http::say(stream, answer.as_bytes(), shared.timing.stalled).await;
                Some(Count::Redirected)
            }
            None => Some(Count::Strange),
        }
    }

    async fn serve_turn(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        read: Vec<u8>,
        transport: Transport,
        since: Instant,
        permit: &Permit,
    ) -> Count {
        let Some(shard) = self.shared.turn else { return Count::Strange };
        self.shared.count(match transport {
            Transport::Tcp => Count::TurnTcp,
            Transport::Tls => Count::TurnTls,
        });
        let client = self.client(stream, read, Framing::Turn, transport, shard, since);
        bridge::run(client, permit, &self.shared).await
    }

    const fn origin(&self, door: Origins) -> Origin {
        Origin { remote: self.remote, local: self.local, door }
    }

    const fn client<S>(
        &self,
        stream: S,
        read: Vec<u8>,
        framing: Framing,
        transport: Transport,
        shard: SocketAddr,
        since: Instant,
    ) -> Client<S> {
        let hello = Hello { transport, remote: self.remote, local: self.local };
        Client { stream, read, framing, hello, shard, since }
    }
}

/// Turns off Nagle's algorithm, so that small messages leave at once. Limits the unsent bytes in the kernel, since
/// the edge cannot count them.
fn prepare(stream: &TcpStream) -> io::Result<SocketAddr> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT_LEN_MAX)?;
    stream.local_addr()
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
