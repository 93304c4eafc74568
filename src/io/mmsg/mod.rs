//! The plain backend: `ppoll`, `recvmmsg` and `sendmmsg`. Works on every kernel since 4.18 (UDP_SEGMENT).

mod send;
mod watch;

use super::counters::Counters;
use super::receiver::Receiver;
use super::reports::Reports;
use super::send_queue::QueueSize;
use super::side::Token;
use super::socket::{Family, Sockets};
use super::waker::{Parker, Waker};
use super::{Backend, BackendKind, PARK_MAX, RECEIVE_BATCH_MAX, clock};
use crate::egress::Via;
use crate::ingress::{Train, Trains};
use crate::time::Timestamp;
use send::Sender;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr;
use watch::Watch;

/// Sends and receives with batched system calls.
#[derive(Debug)]
pub struct Mmsg {
    receiver: Receiver,
    reports: Reports,
    sender: Sender,
    parker: Parker,
    /// By family: datagrams may wait in its socket.
    ready: [bool; 2],
    watch: Watch,
    /// Side sockets in which datagrams wait.
    ready_side: Vec<Token>,
}

impl Mmsg {
    /// # Errors
    /// When memory or a descriptor is missing.
    pub fn new(mut sockets: Sockets, size: QueueSize) -> io::Result<Self> {
        let reports = Reports::new(sockets.take_reports())?;
        let sender = Sender::new(sockets, size)?;
        let mut mmsg = Self {
            receiver: Receiver::new()?,
            reports,
            sender,
            parker: Parker::new()?,
            ready: [true; 2],
            watch: Watch::new()?,
            ready_side: Vec::new(),
        };
        mmsg.watch_opened();
        Ok(mmsg)
    }

    fn watch_opened(&mut self) {
        for token in self.sender.opened.drain(..) {
            let Some(fd) = self.sender.side.find(token) else { continue };
            if self.watch.add(fd, token).is_err() {
                self.sender.counters.receive_errors += 1;
            }
        }
    }

    /// Delivers what the receiver holds, until `delivered` is a cycle's worth; gives how many that are.
    fn deliver(&mut self, mut delivered: usize, deliver: &mut impl FnMut(Trains<'_>, &mut Sender)) -> usize {
        // What is taken is gone from the receiver: after a panic, or in the next cycle, it goes on behind it.
        while !self.receiver.is_drained() && delivered < RECEIVE_BATCH_MAX {
            let trains = self.receiver.take(&mut self.sender.counters);
            delivered += trains.iter().map(Train::len).sum::<usize>();
            deliver(trains, &mut self.sender);
        }
        delivered
    }

    fn fill(&mut self, family: Family) {
        let ready = &mut self.ready[family as usize];
        let Some(fd) = self.sender.sockets.get(family).filter(|_| *ready) else { return };
        match self.receiver.fill(fd, Via::MEDIA) {
            // A full batch may not be all there is.
            Ok(full) => *ready = full,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => *ready = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // An ICMP error of an earlier send is reported once; the datagrams behind it are still there.
            Err(_) => self.sender.counters.receive_errors += 1,
        }
    }

    /// One batch of each side socket that has something; one that has more stays in the list.
    fn receive_side(
        &mut self,
        mut delivered: usize,
        deliver: &mut impl FnMut(Trains<'_>, &mut Sender),
    ) -> usize {
        for _ in 0..self.ready_side.len() {
            if !self.receiver.is_drained() || delivered >= RECEIVE_BATCH_MAX {
                break;
            }
            let token = self.ready_side.swap_remove(0);
            let Some(fd) = self.sender.side.find(token) else { continue };
            match self.receiver.fill(fd, token.via()) {
                Ok(true) => self.ready_side.push(token),
                Ok(false) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.sender.counters.receive_errors += 1,
            }
            delivered = self.deliver(delivered, deliver);
        }
        delivered
    }
}

impl Backend for Mmsg {
    type Egress = Sender;

    fn kind(&self) -> BackendKind {
        BackendKind::Mmsg
    }

    fn receive(&mut self, mut deliver: impl FnMut(Trains<'_>, &mut Sender)) -> usize {
        let mut delivered = self.deliver(0, &mut deliver);
        for family in Family::ALL {
            if self.receiver.is_drained() {
                self.fill(family);
            }
            delivered = self.deliver(delivered, &mut deliver);
        }
        self.receive_side(delivered, &mut deliver)
    }

    fn receive_reports(&mut self, deliver: impl FnMut(Trains<'_>, &mut Sender)) -> bool {
        self.reports.receive(&mut self.sender, |sender| &mut sender.counters, deliver)
    }

    fn egress(&mut self) -> &mut Sender {
        &mut self.sender
    }

    fn forget_reservation(&mut self) {
        self.sender.queue.forget();
    }

    fn flush(&mut self) {
        self.sender.flush();
    }

    fn park(&mut self, until: Timestamp) {
        self.watch_opened();
        let fds = Family::ALL.map(|family| self.sender.sockets.get(family).unwrap_or(-1));
        let event = self.parker.event().as_raw_fd();
        // poll(2) ignores a negative descriptor.
        let mut polls = [fds[0], fds[1], event, self.watch.descriptor()].map(|fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        });
        let wait = until.since(clock::now()).min(PARK_MAX);
        let backlog =
            self.ready.contains(&true) || !self.ready_side.is_empty() || !self.receiver.is_drained();
        let sleeps = !wait.is_zero() && !backlog && self.parker.begin();
        let timeout = libc::timespec {
            tv_sec: if sleeps { wait.as_secs() as libc::time_t } else { 0 },
            tv_nsec: if sleeps { wait.subsec_nanos().into() } else { 0 },
        };
        // SAFETY: `polls` and `timeout` are valid for the call; no signal mask is changed.
        let found = unsafe {
            libc::ppoll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, &raw const timeout, ptr::null())
        };
        if self.parker.end() {
            self.sender.counters.wakeups += 1;
        }
        if found <= 0 {
            return;
        }
        for (ready, poll) in self.ready.iter_mut().zip(&polls) {
            // POLLERR too: a receive takes the pending error off the socket.
            *ready |= poll.revents != 0;
        }
        // What is still in the list would come twice.
        if polls[3].revents != 0 && self.ready_side.is_empty() {
            self.watch.ready(&mut self.ready_side);
        }
        if polls[2].revents != 0 {
            let mut count = [0; 8];
            // SAFETY: eight writable bytes; the descriptor is readable, so this does not block.
            unsafe { libc::read(event, count.as_mut_ptr().cast(), count.len()) };
        }
    }

    fn waker(&self) -> Waker {
        self.parker.waker()
    }

    fn counters(&self) -> &Counters {
        &self.sender.counters
    }

    fn count_cycle(&mut self) {
        self.sender.counters.cycles += 1;
    }
}
