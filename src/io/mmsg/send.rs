//! Sending runs in batches (sendmmsg(2) with UDP_SEGMENT).

use crate::egress::{Egress, Path, RunKey, Via};
use crate::io::address::Name;
use crate::io::cmsg::SendControl;
use crate::io::counters::Counters;
use crate::io::send_error::{RETRIES_MAX, SendError, last_errno, send_singly};
use crate::io::send_queue::{QueueSize, RUN_SEGMENTS_MAX, Run, SendQueue};
use crate::io::side::{SideSockets, Token};
use crate::io::socket::{Family, Sockets};
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::{fmt, io, mem};

/// Runs of one call.
const BATCH: usize = 64;
/// Datagrams of one call.
const PARTS: usize = 16 * RUN_SEGMENTS_MAX;
/// How often a flush waits for room in a full socket, and how long each time. The loop stands still meanwhile.
const WAITS_MAX: u8 = 4;
const WAIT_MS: i32 = 2;

/// The egress of this backend.
pub struct Sender {
    pub(super) sockets: Sockets,
    pub(super) queue: SendQueue,
    pub(super) counters: Counters,
    pub(super) side: SideSockets,
    /// Of what was opened since it was asked last.
    pub(super) opened: Vec<Token>,
    has_side_runs: bool,
    batch: Batch,
}

/// What one system call is given.
struct Batch {
    runs: Vec<Run>,
    names: Box<[Name]>,
    controls: Box<[SendControl]>,
    parts: Vec<libc::iovec>,
    messages: Box<[libc::mmsghdr]>,
}

impl Sender {
    pub(super) fn new(mut sockets: Sockets, size: QueueSize) -> io::Result<Self> {
        let side = SideSockets::new(sockets.take_side());
        Ok(Self {
            sockets,
            queue: SendQueue::new(size)?,
            counters: Counters::default(),
            opened: side.tokens().collect(),
            side,
            has_side_runs: false,
            batch: Batch::new(),
        })
    }

    /// Sends every run; all slots are free afterwards.
    pub(super) fn flush(&mut self) {
        if self.queue.len() == 0 {
            return;
        }
        for family in Family::ALL {
            self.flush_family(family);
        }
        if self.has_side_runs {
            self.flush_side();
            self.has_side_runs = false;
        }
        self.queue.clear();
    }

    /// Runs of side sockets, in their order; those of one socket that come in a row go together.
    fn flush_side(&mut self) {
        let mut from = None;
        // A full side socket waits for nobody: what TURN carries may be lost like any datagram.
        let mut waits = 0;
        for place in 0..self.queue.len() {
            let run = self.queue.run(place);
            if run.path.via == Via::MEDIA {
                continue;
            }
            let Some(fd) = self.side.get(run.path.via, Family::of(&run.path.remote)) else {
                self.lose(&run);
                continue;
            };
            if let Some(before) = from
                && (before != fd || !self.batch.has_room(&run))
            {
                self.send_batch(before, &mut waits);
            }
            from = Some(fd);
            self.batch.push(&self.queue, run);
        }
        if let Some(fd) = from {
            self.send_batch(fd, &mut waits);
        }
    }

    fn flush_family(&mut self, family: Family) {
        let fd = self.sockets.get(family);
        let mut waits = WAITS_MAX;
        for place in 0..self.queue.len() {
            let run = self.queue.run(place);
            if run.path.via != Via::MEDIA {
                self.has_side_runs = true;
                continue;
            }
            if Family::of(&run.path.remote) != family {
                continue;
            }
            let Some(fd) = fd else {
                self.lose(&run);
                continue;
            };
            if !self.batch.has_room(&run) {
                self.send_batch(fd, &mut waits);
            }
            self.batch.push(&self.queue, run);
        }
        if let Some(fd) = fd {
            self.send_batch(fd, &mut waits);
        }
    }

    fn send_batch(&mut self, fd: RawFd, waits: &mut u8) {
        self.batch.prepare();
        let mut done = 0;
        let mut retries = 0;
        while done < self.batch.runs.len() {
            let sent = self.batch.send(fd, done);
            if sent > 0 {
                self.sent(done, sent);
                done += sent;
                retries = 0;
                continue;
            }
            let run = self.batch.runs[done];
            match SendError::of(last_errno(), run.count) {
                SendError::GsoRefused => {
                    send_singly(fd, &self.queue, &run, &mut self.counters);
                    self.queue.rest(&run);
                    self.queue.release(&run);
                }
                SendError::NoRoom if *waits > 0 => {
                    *waits -= 1;
                    self.counters.send_retries += 1;
                    wait_for_room(fd);
                    continue;
                }
                SendError::Again if retries < RETRIES_MAX => {
                    retries += 1;
                    self.counters.send_retries += 1;
                    continue;
                }
                SendError::NoRoom | SendError::Again | SendError::Lost => self.lose(&run),
            }
            done += 1;
            retries = 0;
        }
        self.batch.clear();
    }

    fn sent(&mut self, first: usize, count: usize) {
        for run in &self.batch.runs[first..first + count] {
            self.counters.sends += 1;
            self.counters.gso_runs += u64::from(run.count > 1);
            self.counters.datagrams_out += u64::from(run.count);
            self.counters.bytes_out += u64::from(run.bytes);
            self.queue.release(run);
        }
    }

    fn lose(&mut self, run: &Run) {
        self.counters.send_errors += u64::from(run.count);
        self.queue.release(run);
    }
}

impl Egress for Sender {
    fn reserve(&mut self, key: RunKey, path: &Path) -> Option<&mut [u8]> {
        if !self.queue.has_slot() {
            self.counters.slots_exhausted += 1;
            self.flush();
        } else if self.queue.is_due_before(key) {
            self.flush();
        }
        // A flush sends or drops, so there is a slot now.
        self.queue.reserve(key, path)
    }

    fn commit(&mut self, len: usize) {
        self.queue.commit(len);
    }

    fn reserved(&mut self) -> &mut [u8] {
        self.queue.reserved()
    }

    fn open(&mut self, via: Via, address: SocketAddr) -> io::Result<()> {
        if self.side.is_open(via, address) {
            return Ok(());
        }
        self.close(via, address);
        let token = self.side.open(via, address)?;
        self.opened.push(token);
        Ok(())
    }

    fn is_free(&self, address: SocketAddr) -> bool {
        SideSockets::could_open(address)
    }

    fn close(&mut self, via: Via, address: SocketAddr) {
        self.flush();
        drop(self.side.take(via, Family::of(&address)));
    }
}

impl Batch {
    fn new() -> Self {
        // SAFETY: mmsghdr is plain numbers and pointers; all zero is an empty message.
        let empty: libc::mmsghdr = unsafe { mem::zeroed() };
        Self {
            runs: Vec::with_capacity(BATCH),
            names: vec![Name::EMPTY; BATCH].into(),
            controls: vec![SendControl::EMPTY; BATCH].into(),
            parts: Vec::with_capacity(PARTS),
            messages: vec![empty; BATCH].into(),
        }
    }

    fn has_room(&self, run: &Run) -> bool {
        self.runs.len() < BATCH && self.parts.len() + usize::from(run.count) <= PARTS
    }

    fn push(&mut self, queue: &SendQueue, run: Run) {
        let place = self.runs.len();
        let header = &mut self.messages[place].msg_hdr;
        header.msg_namelen = self.names[place].write(&run.path.remote);
        let control = &mut self.controls[place];
        control.write(&run.path.local, (run.count > 1).then_some(run.segment_len));
        header.msg_controllen = control.len();
        header.msg_iovlen = usize::from(run.count);
        self.parts.extend(queue.segments(&run));
        self.runs.push(run);
    }

    /// Sets the pointers, after everything they point to has been written.
    fn prepare(&mut self) {
        let mut parts = self.parts.as_mut_ptr();
        let messages = self.messages[..self.runs.len()].iter_mut();
        for ((message, name), control) in messages.zip(&mut self.names).zip(&mut self.controls) {
            let header = &mut message.msg_hdr;
            header.msg_name = name.as_mut_ptr();
            header.msg_control = control.as_mut_ptr();
            header.msg_iov = parts;
            // SAFETY: the lengths add up to the number of parts, so this ends at most one past the last.
            parts = unsafe { parts.add(header.msg_iovlen) };
        }
    }

    /// How many runs from `first` on the kernel took; 0 when it refused that one, and errno says why.
    fn send(&mut self, fd: RawFd, first: usize) -> usize {
        let messages = &mut self.messages[first..self.runs.len()];
        // SAFETY: each message points to a name, a control buffer, parts and slots that live and stay as they are
        // across the call.
        let sent = unsafe {
            libc::sendmmsg(fd, messages.as_mut_ptr(), messages.len() as u32, libc::MSG_DONTWAIT as _)
        };
        usize::try_from(sent).unwrap_or(0)
    }

    fn clear(&mut self) {
        self.runs.clear();
        self.parts.clear();
    }
}

fn wait_for_room(fd: RawFd) {
    let mut poll = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one valid pollfd.
    unsafe { libc::poll(&raw mut poll, 1, WAIT_MS) };
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("sockets", &self.sockets)
            .field("queue", &self.queue)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
