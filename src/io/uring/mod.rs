//! The io_uring backend: one `io_uring_enter` a cycle submits the sends, collects what has come and sleeps.
//!
//! - [`ring`]: the ring, and on what its safety rests;
//! - [`receive`]: multishot recvmsg into provided buffers;
//! - [`driver`]: the egress, and what becomes of completions;
//! - [`operations`]: the sends in the kernel's hands;
//! - [`refused`]: why the kernel would not.

mod driver;
mod operations;
mod receive;
mod refused;
mod ring;

pub use refused::UringRefused;

use super::counters::Counters;
use super::reports::Reports;
use super::send_queue::QueueSize;
use super::socket::Sockets;
use super::waker::{Parker, Waker};
use super::{Backend, BackendKind, PARK_MAX, RECEIVE_BATCH_MAX, clock};
use crate::ingress::{Train, Trains};
use crate::time::Timestamp;
use driver::Driver;
use receive::Buffers;
use ring::Ring;
use std::io;

/// Sends and receives through an io_uring.
#[derive(Debug)]
pub struct Uring {
    /// Holds the ring, so it is dropped before the buffers the kernel fills.
    driver: Driver,
    buffers: Buffers,
    reports: Reports,
    parker: Parker,
}

/// Everything of the backend that the kernel may refuse.
pub(super) struct Prepared {
    /// Before the buffers, so that it is dropped before them.
    ring: Ring,
    buffers: Buffers,
    parker: Parker,
}

impl Prepared {
    /// # Errors
    /// The cause, in words for the operator.
    pub(super) fn open(sockets: &Sockets) -> Result<Self, UringRefused> {
        let ring = Ring::open(sockets)?;
        let refused = |error| UringRefused::of("io_uring_register", &error);
        let parker = Parker::new().map_err(refused)?;
        ring.register_event(parker.event()).map_err(refused)?;
        let buffers = Buffers::new(&ring).map_err(refused)?;
        Ok(Self { ring, buffers, parker })
    }
}

impl Uring {
    /// # Errors
    /// When memory is missing.
    pub(super) fn new(prepared: Prepared, mut sockets: Sockets, size: QueueSize) -> io::Result<Self> {
        let Prepared { ring, buffers, parker } = prepared;
        let reports = Reports::new(sockets.take_reports())?;
        let mut driver = Driver::new(ring, sockets, size)?;
        driver.arm();
        driver.enter(None);
        Ok(Self { driver, buffers, reports, parker })
    }
}

impl Backend for Uring {
    type Egress = Driver;

    fn kind(&self) -> BackendKind {
        BackendKind::Uring
    }

    fn receive(&mut self, mut deliver: impl FnMut(Trains<'_>, &mut Driver)) -> usize {
        if self.driver.take_starved() {
            self.buffers.widen();
        }
        let mut delivered = 0;
        while delivered < RECEIVE_BATCH_MAX {
            let received = self.driver.take_received();
            if received.is_empty() {
                break;
            }
            // The loan ends with this turn, also when the shard panics.
            let mut lent = self.buffers.lend(received, self.driver.has_received());
            let trains = lent.trains(self.driver.counters_mut());
            delivered += trains.iter().map(Train::len).sum::<usize>();
            deliver(trains, &mut self.driver);
        }
        delivered
    }

    fn receive_reports(&mut self, deliver: impl FnMut(Trains<'_>, &mut Driver)) -> bool {
        self.reports.receive(&mut self.driver, Driver::counters_mut, deliver)
    }

    fn egress(&mut self) -> &mut Driver {
        &mut self.driver
    }

    fn forget_reservation(&mut self) {
        self.driver.forget_reservation();
    }

    fn flush(&mut self) {
        self.driver.flush();
    }

    fn park(&mut self, until: Timestamp) {
        self.driver.arm();
        let wait = until.since(clock::now()).min(PARK_MAX);
        let sleeps = !wait.is_zero() && self.driver.is_idle() && self.parker.begin();
        self.driver.enter(sleeps.then_some(wait));
        if sleeps && self.driver.has_received() {
            // Packets come in bursts: by the time the first has woken us some of the others are there.
            self.driver.enter(None);
        }
        if self.parker.end() {
            self.driver.counters_mut().wakeups += 1;
        }
    }

    fn waker(&self) -> Waker {
        self.parker.waker()
    }

    fn counters(&self) -> &Counters {
        self.driver.counters()
    }

    fn count_cycle(&mut self) {
        self.driver.counters_mut().cycles += 1;
    }
}
