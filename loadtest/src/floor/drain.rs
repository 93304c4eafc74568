//! The viewers: one socket that takes what comes to all of them, and counts.
//!
//! It is looked at about once a millisecond and never waited on: so a sender does not pay for waking anybody, as it
//! would not with viewers on other machines.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use crate::kernel::affinity::pin_this_thread;
use crate::kernel::clock;
use crate::kernel::receive::{GRO_BUFFER_BYTES, ReceiveBatch};
use crate::kernel::socket::{SocketOptions, UdpSocket};

const INTERVAL_NS: u64 = 1_000_000;
/// Bridges a tenth of a second at 500 000 packets a second.
const BUFFER_BYTES: usize = 64 << 20;
const RECEIVES: usize = 32;

/// A running drain; ends when it is dropped.
pub(super) struct Drain {
    shared: Arc<Shared>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    datagrams: AtomicU64,
}

impl Drain {
    /// Drains any address of 127.0.0.0/8, on `cores`.
    pub(super) fn start(cores: Vec<usize>) -> std::io::Result<Self> {
        let options =
            SocketOptions { buffer_bytes: BUFFER_BYTES, pktinfo: false, gro: true, reuse_address: false };
        let socket = UdpSocket::bind(([0, 0, 0, 0], 0).into(), &options)?;
        let address = socket.address();
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new().name("drain".to_owned()).spawn({
            let shared = shared.clone();
            move || {
                // Without a core of its own it drains all the same.
                let _ = pin_this_thread(&cores);
                drain(&socket, &shared);
            }
        })?;
        Ok(Self { shared, address, thread: Some(thread) })
    }

    /// Where viewer `number` is.
    pub(super) fn viewer(&self, number: usize) -> SocketAddr {
        // From 127.16.0.1 on.
        let [high, low] = ((number % 0xffff) as u16 + 1).to_be_bytes();
        ([127, 16, high, low], self.address.port()).into()
    }

    /// Datagrams that have come.
    pub(super) fn datagrams(&self) -> u64 {
        self.shared.datagrams.load(Ordering::Acquire)
    }
}

fn drain(socket: &UdpSocket, shared: &Shared) {
    let mut batch = ReceiveBatch::new(RECEIVES, GRO_BUFFER_BYTES);
    while !shared.stop.load(Ordering::Relaxed) {
        // An error is of one datagram, which then counts as lost.
        while let Ok(1..) = batch.receive(socket) {
            let datagrams: usize = batch.iter().map(|received| received.datagrams().len()).sum();
            shared.datagrams.fetch_add(datagrams as u64, Ordering::Release);
        }
        clock::sleep_until(clock::monotonic_ns() + INTERVAL_NS);
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
