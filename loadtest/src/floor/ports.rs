//! The ways in and out that are compared.

use std::io;
use std::time::Duration;

use super::fan::{Fan, Outlet, Packet};
use crate::kernel::receive::ReceiveBatch;
use crate::kernel::send::{Route, SendBatch};
use crate::kernel::socket::{UdpSocket, wait_readable};
use crate::kernel::uring::{self, Uring};

/// Datagrams of one `recvmmsg`.
const RECEIVES: usize = 64;
/// Longest datagram of a source.
const DATAGRAM_BYTES_MAX: usize = 2048;
/// Sends of one `sendmmsg`, or of one enter.
const SENDS: usize = 64;
/// Their bytes: what a second-level cache holds beside everything else. Two of the longest runs fit.
const SEND_BYTES: usize = 128 << 10;

/// How the loop sends; with io_uring also how it receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Method {
    /// One `sendto` for each packet.
    Sendto,
    /// `sendmmsg` of 64.
    Sendmmsg,
    /// The same, packets of one length to one viewer in one message (UDP_SEGMENT).
    SendmmsgGso,
    /// SENDMSG in an io_uring, received by multishot RECVMSG.
    Uring,
    /// The same with UDP_SEGMENT.
    UringGso,
}

impl Method {
    /// In the order of reports.
    pub const ALL: [Self; 5] = [Self::Sendto, Self::Sendmmsg, Self::SendmmsgGso, Self::Uring, Self::UringGso];

    /// As on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sendto => "sendto",
            Self::Sendmmsg => "sendmmsg",
            Self::SendmmsgGso => "sendmmsg-gso",
            Self::Uring => "uring",
            Self::UringGso => "uring-gso",
        }
    }

    /// Whether packets of one length to one viewer leave in one message.
    #[must_use]
    pub const fn has_runs(self) -> bool {
        matches!(self, Self::SendmmsgGso | Self::UringGso)
    }
}

/// What the loop has done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    /// Packets received.
    pub(super) received: u64,
    /// Datagrams sealed and handed to the kernel.
    pub(super) sealed: u64,
    /// Messages they were handed over in.
    pub(super) messages: u64,
    /// Messages the kernel refused.
    pub(super) refused: u64,
}

/// One way in and out.
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
pub(super) enum Port {
    Calls { socket: UdpSocket, receive: ReceiveBatch, send: SendBatch, each: bool },
    Ring(Uring),
}

impl Port {
    /// Opens it on the thread that uses it.
    pub(super) fn open(method: Method, socket: UdpSocket) -> io::Result<Self> {
        let each = method == Method::Sendto;
        Ok(match method {
            // The ring holds the socket from here on.
            Method::Uring | Method::UringGso => Self::Ring(Uring::open(&socket, SENDS, SEND_BYTES)?),
            Method::Sendto | Method::Sendmmsg | Method::SendmmsgGso => Self::Calls {
                socket,
                receive: ReceiveBatch::new(RECEIVES, DATAGRAM_BYTES_MAX),
                send: SendBatch::new(if each { 1 } else { SENDS }, SEND_BYTES),
                each,
            },
        })
    }

    /// Waits for packets and passes them on; false when none came within `timeout`.
    pub(super) fn turn(
        &mut self,
        timeout: Duration,
        header_len: usize,
        fan: &mut Fan,
        totals: &mut Totals,
    ) -> io::Result<bool> {
        match self {
            Self::Calls { socket, receive, send, each } => {
                if !wait_readable(&[socket], Some(timeout))? {
                    return Ok(false);
                }
                receive.receive(socket)?;
                let mut packets = Vec::with_capacity(RECEIVES);
                let datagrams = receive.iter().map(|received| received.bytes);
                packets.extend(datagrams.filter_map(|datagram| Packet::read(datagram, header_len)));
                totals.received += packets.len() as u64;
                let mut outlet = Calls { socket, send, each: *each, messages: 0, refused: 0 };
                totals.sealed += fan.pass(&mut packets, &mut outlet);
                outlet.flush();
                totals.messages += outlet.messages;
                totals.refused += outlet.refused;
                Ok(true)
            }
            Self::Ring(ring) => {
                let came = ring.turn(timeout)? > 0;
                let (inlet, outlet) = ring.halves();
                totals.refused = outlet.refused();
                if !came {
                    return Ok(false);
                }
                let mut packets = Vec::with_capacity(inlet.len());
                packets.extend(inlet.datagrams().filter_map(|datagram| Packet::read(datagram, header_len)));
                totals.received += packets.len() as u64;
                let mut outlet = Ring { outlet, messages: 0, failed: None };
                totals.sealed += fan.pass(&mut packets, &mut outlet);
                totals.messages += outlet.messages;
                outlet.failed.map_or(Ok(true), Err)
            }
        }
    }
}

struct Calls<'p> {
    socket: &'p UdpSocket,
    send: &'p mut SendBatch,
    each: bool,
    messages: u64,
    refused: u64,
}

impl Calls<'_> {
    fn flush(&mut self) {
        self.messages += self.send.len() as u64;
        let sent = if self.each { self.send.send_each(self.socket) } else { self.send.send(self.socket) };
        self.refused += sent.lost as u64;
    }
}

impl Outlet for Calls<'_> {
    #[inline]
    fn place(&mut self, route: &Route, segment_len: Option<u16>, len_bytes: usize) -> &mut [u8] {
        if !self.send.has_room(len_bytes) {
            self.flush();
        }
        self.send.push(route, segment_len, len_bytes).expect("an empty batch has room for the longest run")
    }
}

struct Ring<'p> {
    outlet: &'p mut uring::Outlet,
    messages: u64,
    failed: Option<io::Error>,
}

impl Outlet for Ring<'_> {
    #[inline]
    fn place(&mut self, route: &Route, segment_len: Option<u16>, len_bytes: usize) -> &mut [u8] {
        if !self.outlet.batch().has_room(len_bytes) {
            self.failed = self.outlet.flush().err().or(self.failed.take());
        }
        self.messages += 1;
        let batch = self.outlet.batch();
        batch.push(route, segment_len, len_bytes).expect("an empty batch has room for the longest run")
    }
}
