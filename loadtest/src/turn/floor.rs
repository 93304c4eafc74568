//! The least a relayed packet can cost: a bare loop on the servers' core that receives and sends.
//!
//! Where a packet goes stands in it, so there are no maps, no channels, no permissions. One loop has an io_uring and
//! sends each packet by itself, the other receives and sends in runs where packets of one flow come in a row (UDP_GRO,
//! UDP_SEGMENT).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use super::HERE;
use super::case::Case;
use super::client::bind;
use super::stage::Stage;
use crate::failure::Failure;
use crate::kernel::affinity::pin_this_thread;
use crate::kernel::priority::prefer_this_thread;
use crate::kernel::receive::{GRO_BUFFER_BYTES, ReceiveBatch};
use crate::kernel::send::{Route, SendBatch};
use crate::kernel::socket::{SocketOptions, UdpSocket, wait_readable};
use crate::kernel::uring::Uring;
use crate::load::proc::CpuTimes;

/// Longest wait for a packet. Far off, as a relay's: a clock that is set for each wait costs as much as the packet.
const IDLE: Duration = Duration::from_secs(1);
/// Of the loop's thread, and in words; single packets first.
const NAMES: [(&str, &str); 2] =
    [("floor-single", "floor, single packets"), ("floor-runs", "floor, in runs")];
const RECEIVES: usize = 32;
const MESSAGES: usize = 64;
/// 32 of the longest are 47 KiB.
const RUN_PACKETS_MAX: usize = 32;
/// Several of the longest runs.
const SEND_BYTES: usize = 256 << 10;

/// A running loop; ends when it is dropped.
pub struct Floor {
    in_runs: bool,
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    /// Where the packets of each flow go.
    sinks: mpsc::SyncSender<Vec<SocketAddr>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Floor {
    /// Starts a loop for so many flows on `core`.
    ///
    /// # Errors
    /// When the kernel refuses a socket or a thread.
    pub fn start(in_runs: bool, core: Option<usize>, flows: usize) -> Result<Self, Failure> {
        let options = SocketOptions { pktinfo: false, gro: in_runs, ..SocketOptions::default() };
        let socket = UdpSocket::bind((HERE, 0).into(), &options)?;
        let address = socket.address();
        let stop = Arc::new(AtomicBool::new(false));
        let thread_name = NAMES[usize::from(in_runs)].0.to_owned();
        let (sinks, told) = mpsc::sync_channel::<Vec<SocketAddr>>(1);
        let thread = thread::Builder::new().name(thread_name).spawn({
            let stop = Arc::clone(&stop);
            move || {
                if let Some(core) = core {
                    pin_this_thread(&[core])?;
                }
                let _ = prefer_this_thread();
                // Nobody tells when there is no stage.
                let Ok(sinks) = told.recv() else { return Ok(()) };
                if sinks.len() != flows {
                    return Ok(());
                }
                let routes: Vec<Route> = sinks.into_iter().map(Route::from).collect();
                if in_runs {
                    pass_runs(&socket, &routes, &stop)
                } else {
                    pass_singly(&socket, &routes, &stop)
                }
            }
        })?;
        Ok(Self { in_runs, address, stop, sinks, thread: Some(thread) })
    }

    /// In words.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        NAMES[self.in_runs as usize].1
    }

    /// Flows through the loop, as many as the case has.
    ///
    /// # Errors
    /// When the kernel refuses a socket.
    pub fn stage(&self, case: &Case) -> Result<Stage, Failure> {
        let mut stage = Stage::new(case.payload_len)?;
        let mut sinks = Vec::new();
        for _ in 0..case.flows() {
            let (from, to) = (bind()?, bind()?);
            sinks.push(to.address());
            let (from, to) = (stage.add_socket(from)?, stage.add_socket(to)?);
            stage.add_flow((from, self.address, false), (to, false));
        }
        // The loop may have ended; then nothing arrives, which shows.
        let _ = self.sinks.send(sinks);
        Ok(stage)
    }

    /// CPU time of the loop so far; exact while it waits.
    #[must_use]
    pub fn cpu_ns(&self) -> u64 {
        let times = CpuTimes::of(std::process::id());
        times.since(&CpuTimes::default(), NAMES[usize::from(self.in_runs)].0).named_ns
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Ends the wait of a loop that was never told.
        let _ = self.sinks.try_send(Vec::new());
        // And this the wait for a packet; without it that ends by itself.
        let _ = std::net::UdpSocket::bind((HERE, 0)).and_then(|socket| socket.send_to(&[0], self.address));
        if let Some(thread) = self.thread.take()
            && let Ok(Err(error)) = thread.join()
        {
            tracing::warn!(%error, "the floor's loop ended");
        }
    }
}

fn flow_of(packet: &[u8]) -> usize {
    packet.first_chunk().map_or(usize::MAX, |number| u32::from_be_bytes(*number) as usize)
}

fn pass_singly(socket: &UdpSocket, routes: &[Route], stop: &AtomicBool) -> io::Result<()> {
    let mut ring = Uring::open(socket, MESSAGES, SEND_BYTES)?;
    while !stop.load(Ordering::Relaxed) {
        ring.turn(IDLE)?;
        let (inlet, outlet) = ring.halves();
        for packet in inlet.datagrams() {
            let Some(route) = routes.get(flow_of(packet)) else { continue };
            if !outlet.batch().has_room(packet.len()) {
                outlet.flush()?;
            }
            outlet.batch().push_slices(route, None, &[packet]);
        }
    }
    Ok(())
}

fn pass_runs(socket: &UdpSocket, routes: &[Route], stop: &AtomicBool) -> io::Result<()> {
    let mut receive = ReceiveBatch::new(RECEIVES, GRO_BUFFER_BYTES);
    let mut send = SendBatch::new(MESSAGES, SEND_BYTES);
    while !stop.load(Ordering::Relaxed) {
        if !wait_readable(&[socket], Some(IDLE))? {
            continue;
        }
        receive.receive(socket)?;
        let mut run = Vec::with_capacity(RUN_PACKETS_MAX);
        // What came in a row for one receiver leaves in a run, whether it came in one or not.
        for packet in receive.iter().flat_map(|train| train.datagrams()) {
            let goes_on = run.first().is_some_and(|first: &&[u8]| {
                first.len() == packet.len()
                    && flow_of(first) == flow_of(packet)
                    && run.len() < RUN_PACKETS_MAX
            });
            if !goes_on {
                push_run(socket, routes, &mut send, &run);
                run.clear();
            }
            run.push(packet);
        }
        push_run(socket, routes, &mut send, &run);
        send.send(socket);
    }
    Ok(())
}

fn push_run(socket: &UdpSocket, routes: &[Route], send: &mut SendBatch, run: &[&[u8]]) {
    let Some(first) = run.first() else { return };
    let Some(route) = routes.get(flow_of(first)) else { return };
    let segment_len = (run.len() > 1).then_some(first.len() as u16);
    if !send.push_slices(route, segment_len, run) {
        send.send(socket);
        send.push_slices(route, segment_len, run);
    }
}
