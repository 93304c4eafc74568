//! The viewers: their sockets are emptied and what came is counted.
//!
//! They are looked at about once a millisecond and never waited on: so a sender does not pay for waking anybody, as it
//! would not with viewers on other machines.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use crate::kernel::affinity::pin_this_thread;
use crate::kernel::clock;
use crate::kernel::priority::prefer_this_thread;
use crate::kernel::receive::{GRO_BUFFER_BYTES, ReceiveBatch};
use crate::kernel::socket::{SocketOptions, UdpSocket};

const INTERVAL_NS: u64 = 1_000_000;
/// Bridges a tenth of a second at 500 000 packets a second.
const BUFFER_BYTES: usize = 64 << 20;
const RECEIVES: usize = 32;

/// A running drain; ends when it is dropped.
pub(super) struct Drain {
    shared: Arc<Shared>,
    viewers: Vec<SocketAddr>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    datagrams: AtomicU64,
}

impl Drain {
    /// One socket for all viewers, each of whom has an address of its own in 127.0.0.0/8. Emptied on `cores`.
    pub(super) fn on_loopback(viewers: usize, cores: Vec<usize>) -> std::io::Result<Self> {
        let socket = bind()?;
        let port = socket.address().port();
        // From 127.16.0.1 on.
        let address = |viewer: usize| {
            let [high, low] = ((viewer % 0xffff) as u16 + 1).to_be_bytes();
            ([127, 16, high, low], port).into()
        };
        Self::start(vec![socket], (0..viewers).map(address).collect(), cores)
    }

    /// A socket for each viewer, all at `address`.
    pub(super) fn at(address: Ipv4Addr, viewers: usize, cores: Vec<usize>) -> std::io::Result<Self> {
        let sockets: Vec<UdpSocket> = (0..viewers).map(|_| bind()).collect::<Result<_, _>>()?;
        let viewers = sockets.iter().map(|socket| (address, socket.address().port()).into()).collect();
        Self::start(sockets, viewers, cores)
    }

    fn start(sockets: Vec<UdpSocket>, viewers: Vec<SocketAddr>, cores: Vec<usize>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new().name("floor-drain".to_owned()).spawn({
            let shared = shared.clone();
            move || {
                // Without a core of its own it drains all the same.
                let _ = pin_this_thread(&cores);
                let _ = prefer_this_thread();
                drain(&sockets, &shared);
            }
        })?;
        Ok(Self { shared, viewers, thread: Some(thread) })
    }

    /// Where viewer `number` is.
    pub(super) fn viewer(&self, number: usize) -> SocketAddr {
        self.viewers[number]
    }

    /// Datagrams that have come.
    pub(super) fn datagrams(&self) -> u64 {
        self.shared.datagrams.load(Ordering::Acquire)
    }
}

fn bind() -> std::io::Result<UdpSocket> {
    let options =
        SocketOptions { buffer_bytes: BUFFER_BYTES, pktinfo: false, gro: true, reuse_address: false };
    UdpSocket::bind(([0, 0, 0, 0], 0).into(), &options)
}

fn drain(sockets: &[UdpSocket], shared: &Shared) {
    let mut batch = ReceiveBatch::new(RECEIVES, GRO_BUFFER_BYTES);
    while !shared.stop.load(Ordering::Relaxed) {
        for socket in sockets {
            empty(socket, &mut batch, shared);
        }
        clock::sleep_until(clock::monotonic_ns() + INTERVAL_NS);
    }
}

fn empty(socket: &UdpSocket, batch: &mut ReceiveBatch, shared: &Shared) {
    // An error is of one datagram, which then counts as lost.
    while let Ok(received @ 1..) = batch.receive(socket) {
        let datagrams: usize = batch.iter().map(|received| received.datagrams().len()).sum();
        shared.datagrams.fetch_add(datagrams as u64, Ordering::Release);
        if received < batch.capacity() {
            return;
        }
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
