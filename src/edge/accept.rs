//! A listener, and what a new connection turns out to be by its first bytes.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout_at};

use super::bridge::{self, Client};
use super::framing::Framing;
use super::room::{Room, RoomLimits, Seat, Seated};
use super::{Count, Shared, http};
use crate::wire::edge_hello::{Hello, Transport};

/// Pause after the system refused to accept: too many open files, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes that may wait in the kernel for a slow client. The rest of the kernel's room is for what is on its way.
const UNSENT_LEN_MAX: u32 = 128 << 10;

/// What is read at once to find out who is there, in bytes.
const FIRST_READ_LEN: usize = 4 << 10;

/// First byte of a TLS handshake.
const TLS: u8 = 0x16;
/// First bytes of STUN (RFC 7983).
const STUN: std::ops::RangeInclusive<u8> = 0..=3;

/// What a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Serves {
    /// HTTPS, TURN over TLS, TURN over TCP.
    Https,
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
    room: Rc<Room>,
    shared: Rc<Shared>,
}

/// One connection on its way to be served.
struct Newcomer {
    serves: Serves,
    since: Instant,
    remote: SocketAddr,
    local: SocketAddr,
    shared: Rc<Shared>,
}

impl Door {
    pub(super) fn new(serves: Serves, limits: RoomLimits, shared: Rc<Shared>) -> Self {
        Self { serves, room: Room::new(limits), shared }
    }

    /// Accepts as long as the thread lives.
    pub(super) async fn keep(self, listener: std::net::TcpListener) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, serves = ?self.serves, "a port cannot be served"),
        };
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => self.admit(stream, remote),
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
        let seat = match self.room.seat(remote.ip(), since) {
            Seated::Free(seat) => seat,
            Seated::Instead(seat) => {
                self.shared.count(Count::Displaced);
                seat
            }
            Seated::Full => return self.shared.count(Count::Refused),
        };
        // A connection that is gone already.
        let Ok(local) = prepare(&stream) else { return };
        let newcomer = Newcomer {
            serves: self.serves,
            since,
            remote: canonical(remote),
            local: canonical(local),
            shared: Rc::clone(&self.shared),
        };
        tokio::task::spawn_local(async move {
            let ended = tokio::select! {
                ended = newcomer.serve(stream, &seat) => ended,
                // Counted when it was decided.
                () = seat.displaced() => None,
            };
            if let Some(reason) = ended {
                newcomer.shared.count(reason);
                tracing::trace!(remote = %newcomer.remote.ip(), reason = reason.name(), "connection ended");
            }
        });
    }
}

impl Newcomer {
    /// Until it ends; says why, unless that is not worth counting.
    async fn serve(&self, stream: TcpStream, seat: &Seat) -> Option<Count> {
        let timing = &self.shared.timing;
        if let Serves::IceTcp(shard) = self.serves {
            self.shared.count(Count::IceTcp);
            let client =
                self.client(stream, Vec::new(), Framing::Prefixed, Transport::Tcp, shard, self.since);
            return Some(bridge::run(client, seat, &self.shared).await);
        }
        let patience = if self.serves == Serves::TurnTcp { timing.first_request } else { timing.handshake };
        let mut first = [0];
        match timeout_at(self.since + patience, stream.peek(&mut first)).await {
            Ok(Ok(1)) => {}
            _ => return Some(Count::Silent),
        }
        match (self.serves, first[0]) {
            (Serves::Https | Serves::TurnTls, TLS) => self.serve_tls(stream, seat).await,
            (Serves::Https | Serves::TurnTcp, first) if STUN.contains(&first) => {
                Some(self.serve_turn(stream, Vec::new(), Transport::Tcp, self.since, seat).await)
            }
            _ => Some(Count::Strange),
        }
    }

    async fn serve_tls(&self, stream: TcpStream, seat: &Seat) -> Option<Count> {
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
            return Some(self.serve_turn(stream, read, Transport::Tls, since, seat).await);
        }
        match (self.serves, &self.shared.signaling) {
            (Serves::Https, Some(socket)) => {
                Some(http::run(stream, &read, (self.remote, self.local), socket, seat, &self.shared).await)
            }
            _ => Some(Count::Strange),
        }
    }

    async fn serve_turn(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        read: Vec<u8>,
        transport: Transport,
        since: Instant,
        seat: &Seat,
    ) -> Count {
        let Some(shard) = self.shared.turn else { return Count::Strange };
        self.shared.count(match transport {
            Transport::Tcp => Count::TurnTcp,
            Transport::Tls => Count::TurnTls,
        });
        let client = self.client(stream, read, Framing::Turn, transport, shard, since);
        bridge::run(client, seat, &self.shared).await
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

/// Nothing is held back to be sent together, and little waits where it cannot be counted.
fn prepare(stream: &TcpStream) -> io::Result<SocketAddr> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT_LEN_MAX)?;
    stream.local_addr()
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
