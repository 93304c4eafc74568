//! A stream of messages on one side, datagrams of a shard on the other.

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use millrace_signaling::http::limiter::{Permit, Stage};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};

use super::framing::Framing;
use super::queue::Queue;
use super::{Count, Shared};
use crate::wire::edge_hello::{self, Hello, Transport};

/// Longest queue for a client that reads too slowly, in bytes: most of a second of good video. What waits longer is too old
/// to be shown.
const QUEUE_LEN_MAX: usize = 256 << 10;

/// Bytes that are read of a stream at once.
const READ_LEN: usize = 8 << 10;

/// Datagrams that are taken before the next write to the client, so that they leave in one piece.
const DATAGRAMS_AT_ONCE: usize = 32;

/// Receive buffer that the kernel is asked for, in bytes: room for the datagrams of a burst.
const RECEIVE_BUFFER_LEN: usize = 1 << 20;

/// Success of Allocate (RFC 8656) and of Binding (RFC 8489), by their first two bytes.
const ALLOCATED: [u8; 2] = [0x01, 0x03];
const BOUND: [u8; 2] = [0x01, 0x01];

/// A client whose protocol is known.
pub(super) struct Client<S> {
    pub(super) stream: S,
    /// Bytes that were already read of the stream.
    pub(super) read: Vec<u8>,
    pub(super) framing: Framing,
    pub(super) hello: Hello,
    /// Address on loopback to which its datagrams go.
    pub(super) shard: SocketAddr,
    /// Start of the time that its first message may take.
    pub(super) since: Instant,
}

/// The side of the shard. The shard gets a goodbye whenever the connection ends.
struct Shard<'a> {
    socket: UdpSocket,
    hello: Hello,
    framing: Framing,
    heard: Cell<bool>,
    permit: &'a Permit,
    shared: &'a Shared,
}

/// Carries messages both ways until one side ends. Says why.
pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    client: Client<S>,
    permit: &Permit,
    shared: &Shared,
) -> Count {
    let Client { stream, read, framing, hello, shard, since } = client;
    let Ok(socket) = connect(shard).await else { return Count::ClosedUnserved };
    let shard = Shard { socket, hello, framing, heard: Cell::new(false), permit, shared };
    let (reader, writer) = tokio::io::split(stream);
    tokio::select! {
        reason = shard.up(reader, read) => reason,
        reason = shard.down(writer) => reason,
        reason = shard.watch(since) => reason,
    }
}

async fn connect(shard: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    // A smaller buffer loses datagrams of long bursts, as networks do.
    let _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_LEN);
    socket.connect(shard).await?;
    Ok(socket)
}

impl Shard<'_> {
    /// Carries messages from the client to the shard.
    async fn up<S: AsyncRead>(&self, mut reader: ReadHalf<S>, mut read: Vec<u8>) -> Count {
        if self.say_hello().await.is_err() {
            return Count::ClosedUnserved;
        }
        loop {
            let mut done = 0;
            loop {
                match self.framing.next(&read[done..]) {
                    Err(_) => return Count::ClosedBroken,
                    Ok(None) => break,
                    Ok(Some(frame)) => {
                        let message = &read[done..][frame.message];
                        if let Err(reason) = self.pass_up(message).await {
                            return reason;
                        }
                        done += frame.taken;
                    }
                }
            }
            read.drain(..done);
            read.reserve(READ_LEN);
            match reader.read_buf(&mut read).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Count::ClosedByClient,
            }
        }
    }

    async fn pass_up(&self, message: &[u8]) -> Result<(), Count> {
        if message.is_empty() {
            return Ok(());
        }
        // ICE begins with a check (RFC 8445 §7), so a client that begins otherwise is no browser.
        if !self.heard.replace(true) && message[0] > 3 {
            return Err(Count::Strange);
        }
        self.permit.heard(Instant::now());
        self.shared.count(Count::MessagesIn);
        match self.socket.send(message).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(Count::ClosedUnserved),
            // A full buffer loses a datagram, as networks do.
            _ => Ok(()),
        }
    }

    /// Carries messages from the shard to the client.
    async fn down<S: AsyncWrite>(&self, mut writer: WriteHalf<S>) -> Count {
        let one_by_one = self.hello.transport == Transport::Tls;
        let mut queue = Queue::new(self.framing, one_by_one);
        let mut unflushed = false;
        loop {
            tokio::select! {
                _ = self.socket.readable() => {
                    if let Err(reason) = self.take(&mut queue) {
                        return reason;
                    }
                }
                pushed = push(&mut writer, &mut queue), if unflushed || queue.len() > 0 => match pushed {
                    Ok(len) => {
                        unflushed = len > 0;
                        queue.advance(len);
                    }
                    Err(_) => return Count::ClosedByClient,
                }
            }
        }
    }

    /// Takes what the shard has sent, without waiting.
    fn take(&self, queue: &mut Queue) -> Result<(), Count> {
        let mut datagram = self.shared.datagram.borrow_mut();
        let mut taken = 0;
        while taken < DATAGRAMS_AT_ONCE {
            let len = match self.socket.try_recv(&mut datagram) {
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Err(Count::ClosedUnserved),
            };
            let accepted = match self.framing {
                Framing::Turn => ALLOCATED,
                Framing::Prefixed => BOUND,
            };
            if self.permit.stage() == Stage::Waiting && datagram[..len].starts_with(&accepted) {
                self.permit.promote(Stage::Client);
            }
            queue.push(&datagram[..len]);
            if queue.len() > QUEUE_LEN_MAX {
                return Err(Count::ClosedSlow);
            }
            taken += 1;
        }
        self.shared.counters.add_many(Count::MessagesOut, taken as u64);
        Ok(())
    }

    /// Keeps the deadlines, and repeats the hello: the first may be lost, and a shard may have been rebuilt.
    async fn watch(&self, since: Instant) -> Count {
        let timing = &self.shared.timing;
        let first_due = since + timing.first_request;
        loop {
            let now = Instant::now();
            let idle_max = match self.permit.stage() {
                // Checks of consent come every few seconds.
                Stage::Client if self.framing == Framing::Turn => timing.client_idle,
                _ => timing.stranger_idle,
            };
            let mut next = now + timing.check_interval;
            if self.heard.get() {
                if self.permit.quiet_for(now) >= idle_max {
                    return Count::ClosedIdle;
                }
            } else if now >= first_due {
                return Count::Silent;
            } else {
                next = next.min(first_due);
            }
            sleep_until(next).await;
            if self.say_hello().await.is_err() {
                return Count::ClosedUnserved;
            }
        }
    }

    async fn say_hello(&self) -> io::Result<usize> {
        self.socket.send(&edge_hello::hello(&self.hello, &self.shared.key)).await
    }
}

impl Drop for Shard<'_> {
    fn drop(&mut self) {
        // If it is lost, the shard finds out by its own timeout.
        let _ = self.socket.try_send(&edge_hello::goodbye(&self.shared.key));
    }
}

/// Writes a part of the queue. When the queue is empty, flushes what TLS holds back and gives 0.
async fn push<S: AsyncWrite>(writer: &mut WriteHalf<S>, queue: &mut Queue) -> io::Result<usize> {
    match queue.next() {
        [] => writer.flush().await.map(|()| 0),
        bytes => match writer.write(bytes).await? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            len => Ok(len),
        },
    }
}
