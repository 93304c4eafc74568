//! The egress of this backend, and what becomes of completions.
//!
//! A send is submitted with MSG_DONTWAIT, so it is over when the enter that submitted it returns, and with
//! CQE_SKIP_SUCCESS, so only a failure is reported: an enter that sends and then sleeps is not woken by its own sends,
//! but at once by one that needs care.
//!
//! Sends that found the socket full form a line. The first of it is submitted again without MSG_DONTWAIT: the kernel
//! waits for room, and reports when it is over. The others stay behind it, and so does every new send of that socket,
//! for the kernel would serve several that wait in no order. (Only sends of the very enter that filled the socket can
//! still overtake, when room appears in its middle.)

use super::operations::{OPERATIONS, OperationId, Operations};
use super::receive::{BUFFERS, GROUP, Received, template};
use super::ring::{EVENT_FILE, Ring, socket_file};
use crate::egress::{Egress, Path, RunKey, Via};
use crate::ingress::TRAINS_MAX;
use crate::io::counters::Counters;
use crate::io::send_error::{SendError, send_singly};
use crate::io::send_queue::{QueueSize, Run, SendQueue};
use crate::io::side::{SideSockets, Token};
use crate::io::socket::{Family, Sockets};
use arrayvec::ArrayVec;
use io_uring::{cqueue, opcode, squeue, types};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::time::Duration;
use std::{fmt, io, mem};

/// How often a full queue waits for sends that wait for room, and how long each time. The loop stands still meanwhile.
const WAITS_MAX: u8 = 4;
const WAIT: Duration = Duration::from_millis(2);

/// What a completion is of: the upper half of its user data. The lower half names the operation.
const RECEIVE: u64 = 0; // plus the family
const WAKE: u64 = 2;
const SEND: u64 = 3;
const SIDE: u64 = 4; // the lower half is a `Token`
const CANCEL: u64 = 5;

const fn user_data(kind: u64, id: u32) -> u64 {
    kind << 32 | id as u64
}

/// What a run leaves from.
#[derive(Clone, Copy)]
enum File {
    Media(Family),
    Side(RawFd),
}

/// The ring, the sends in it, and the datagrams that have come.
pub struct Driver {
    /// Before everything its entries point to, so that it is closed first.
    ring: Ring,
    state: State,
}

/// Sends that wait for room in one socket.
struct Line {
    /// The kernel has the first of them.
    head_waits: bool,
    /// The others, in order.
    rest: VecDeque<OperationId>,
}

/// All but the ring, so that completions can be handled while they are read.
struct State {
    sockets: Sockets,
    queue: SendQueue,
    counters: Counters,
    operations: Operations,
    /// Submitted or about to be, with MSG_DONTWAIT; in order.
    inline: Vec<OperationId>,
    /// By family: those that found the socket full.
    lines: [Line; 2],
    received: VecDeque<Received>,
    /// A receive ended for want of buffers.
    starved: bool,
    /// Requests the kernel holds: a receive for each family, the read of the eventfd.
    armed: [bool; 3],
    side: SideSockets,
    /// Side sockets that no request receives from now.
    unarmed: Vec<Token>,
    template: Box<libc::msghdr>,
    /// What the eventfd's read writes; its value means nothing.
    event_count: Box<u64>,
}

impl Driver {
    pub(super) fn new(ring: Ring, mut sockets: Sockets, size: QueueSize) -> io::Result<Self> {
        let operations = Operations::new(size.slots)?;
        // A family the host lacks needs no request.
        let armed = [false, !sockets.has_ipv6(), false];
        let side = SideSockets::new(sockets.take_side());
        let state = State {
            sockets,
            queue: SendQueue::new(size)?,
            counters: Counters::default(),
            inline: Vec::with_capacity(OPERATIONS),
            lines: [Line::new(), Line::new()],
            operations,
            received: VecDeque::with_capacity(usize::from(BUFFERS)),
            starved: false,
            armed,
            unarmed: side.tokens().collect(),
            side,
            template: template(),
            event_count: Box::new(0),
        };
        Ok(Self { ring, state })
    }

    pub(super) const fn counters(&self) -> &Counters {
        &self.state.counters
    }

    pub(super) const fn counters_mut(&mut self) -> &mut Counters {
        &mut self.state.counters
    }

    pub(super) const fn forget_reservation(&mut self) {
        self.state.queue.forget();
    }

    /// The next trains that have come.
    pub(super) fn take_received(&mut self) -> ArrayVec<Received, TRAINS_MAX> {
        let count = self.state.received.len().min(TRAINS_MAX);
        self.state.received.drain(..count).collect()
    }

    /// Whether more have come.
    pub(super) fn has_received(&self) -> bool {
        !self.state.received.is_empty()
    }

    /// Whether a receive ended for want of buffers since this was asked last.
    pub(super) const fn take_starved(&mut self) -> bool {
        mem::replace(&mut self.state.starved, false)
    }

    /// True when there is nothing to do but to wait.
    pub(super) fn is_idle(&self) -> bool {
        self.state.received.is_empty()
            && self.state.lines.iter().all(|line| line.head_waits || line.rest.is_empty())
    }

    /// Makes every request again that has ended.
    pub(super) fn arm(&mut self) {
        if self.state.armed == [true; 3] && self.state.unarmed.is_empty() {
            return;
        }
        for family in Family::ALL {
            // Until what has come is delivered there may be no free buffer, and a receive would end at once.
            let waits = self.state.starved && self.has_received();
            if !waits && !self.state.armed[family as usize] && self.ring.has_room() {
                let entry =
                    opcode::RecvMsgMulti::new(socket_file(family), &raw const *self.state.template, GROUP)
                        .build()
                        .user_data(user_data(RECEIVE + family as u64, 0));
                // SAFETY: the template lives as long as the ring; the buffers it fills are those of the group, whose
                // owner `Uring` drops after the ring.
                unsafe { self.ring.push(&entry) };
                self.state.armed[family as usize] = true;
            }
        }
        if !self.state.armed[WAKE as usize] && self.ring.has_room() {
            let target = (&raw mut *self.state.event_count).cast();
            let entry = opcode::Read::new(EVENT_FILE, target, 8).build().user_data(user_data(WAKE, 0));
            // SAFETY: eight writable bytes in a box of their own, which outlives the ring and is not read meanwhile.
            unsafe { self.ring.push(&entry) };
            self.state.armed[WAKE as usize] = true;
        }
        self.arm_side();
    }

    /// Receives from every side socket again whose request has ended.
    fn arm_side(&mut self) {
        // As for media: what starved waits until what has come is delivered.
        while !(self.state.starved && self.has_received())
            && self.ring.has_room()
            && let Some(token) = self.state.unarmed.pop()
        {
            let Some(fd) = self.state.side.find(token) else { continue };
            let entry = opcode::RecvMsgMulti::new(types::Fd(fd), &raw const *self.state.template, GROUP)
                .build()
                .user_data(user_data(SIDE, token.bits()));
            // SAFETY: as for the media sockets. The kernel holds the file until the request ends.
            unsafe { self.ring.push(&entry) };
        }
    }

    /// Hands every queued run to the submission queue. The kernel takes them at the next [`Driver::enter`].
    pub(super) fn flush(&mut self) {
        self.move_lines();
        for place in 0..self.state.queue.len() {
            let run = self.state.queue.run(place);
            let Some(file) = self.state.file(&run.path).filter(|_| self.make_room(&run)) else {
                self.state.lose(&run);
                continue;
            };
            let id = self.state.operations.begin(run);
            match file {
                File::Media(family) if !self.state.lines[family as usize].is_empty() => {
                    self.state.lines[family as usize].rest.push_back(id);
                }
                file => self.push(id, file, true),
            }
        }
        self.state.queue.clear();
    }

    /// Lets the kernel wait with the first of each line.
    fn move_lines(&mut self) {
        for family in Family::ALL {
            let line = &mut self.state.lines[family as usize];
            if line.head_waits || !self.ring.has_room() {
                continue;
            }
            let Some(&head) = line.rest.front() else { continue };
            let run = self.state.operations.get_mut(head).run;
            if self.state.operations.has_parts(&run) {
                line.rest.pop_front();
                line.head_waits = true;
                self.push(head, File::Media(family), false);
            }
        }
    }

    fn push(&mut self, id: OperationId, file: File, inline: bool) {
        let message = self.state.operations.write(id, &self.state.queue);
        self.state.operations.get_mut(id).waits = !inline;
        let send = match file {
            File::Media(family) => opcode::SendMsg::new(socket_file(family), message),
            File::Side(fd) => opcode::SendMsg::new(types::Fd(fd), message),
        };
        let entry = if inline {
            self.state.inline.push(id);
            send.flags(libc::MSG_DONTWAIT as u32).build().flags(squeue::Flags::SKIP_SUCCESS)
        } else {
            send.build()
        };
        let entry = entry.user_data(user_data(SEND, id));
        // SAFETY: the message stays as it is until the operation ends, its parts until the entry has been submitted,
        // the slots they name until the run is released, which follows the operation's end.
        unsafe { self.ring.push(&entry) };
    }

    /// Room for one more send; false when too many wait for room in the socket.
    fn make_room(&mut self, run: &Run) -> bool {
        for _ in 0..=WAITS_MAX {
            if self.state.operations.has_room(run) && self.ring.has_room() {
                return true;
            }
            // The first enter is enough unless all operations wait.
            let waits = self.state.inline.is_empty();
            self.enter(waits.then_some(WAIT));
            self.move_lines();
        }
        false
    }

    /// Submits, collects, and sleeps for up to `timeout` when nothing is there.
    pub(super) fn enter(&mut self, timeout: Option<Duration>) {
        let submitted = self.ring.enter(1, timeout).is_ok();
        for completion in self.ring.completions() {
            self.state.handle_completion(&completion);
        }
        // If the kernel was out of memory, some entries still wait, and nobody knows which sends are over.
        if submitted {
            self.state.operations.submitted();
            self.state.settle();
        }
    }
}

impl Line {
    fn new() -> Self {
        Self { head_waits: false, rest: VecDeque::with_capacity(OPERATIONS) }
    }

    fn is_empty(&self) -> bool {
        !self.head_waits && self.rest.is_empty()
    }
}

impl State {
    fn handle_completion(&mut self, completion: &cqueue::Entry) {
        let (kind, id) = (completion.user_data() >> 32, completion.user_data() as u32);
        match kind {
            SEND => self.handle_sent(id, completion.result()),
            WAKE => self.armed[WAKE as usize] = false,
            SIDE => self.handle_side(Token::from_bits(id), completion),
            CANCEL => {}
            _ => self.handle_media(kind as usize, completion),
        }
    }

    fn handle_sent(&mut self, id: OperationId, result: i32) {
        let operation = self.operations.get_mut(id);
        operation.errno = (result < 0).then_some(-result);
        // A send that waited reports its success too. The others are settled together, in order.
        if operation.waits {
            self.settle_waited(id);
        }
    }

    fn handle_media(&mut self, request: usize, completion: &cqueue::Entry) {
        if !cqueue::more(completion.flags()) {
            self.armed[request] = false;
        }
        self.handle_received(Via::MEDIA, completion);
    }

    fn handle_side(&mut self, token: Token, completion: &cqueue::Entry) {
        let open = self.side.find(token).is_some();
        if !cqueue::more(completion.flags()) && open {
            self.unarmed.push(token);
        }
        let buffer = cqueue::buffer_select(completion.flags());
        match buffer {
            // What came before the socket was closed belongs to nobody; only its buffer matters.
            Some(buffer) if !open => self.received.push_back(Received { buffer, len: 0, via: token.via() }),
            None if !open => {}
            _ => self.handle_received(token.via(), completion),
        }
    }

    fn handle_received(&mut self, via: Via, completion: &cqueue::Entry) {
        let buffer = cqueue::buffer_select(completion.flags());
        match (usize::try_from(completion.result()), buffer) {
            (Ok(len), Some(buffer)) => self.received.push_back(Received { buffer, len, via }),
            _ if completion.result() == -libc::ENOBUFS => {
                self.counters.buffers_exhausted += 1;
                self.starved = true;
            }
            _ => self.counters.receive_errors += 1,
        }
    }

    /// What a run along `path` leaves from.
    #[inline]
    fn file(&self, path: &Path) -> Option<File> {
        let family = Family::of(&path.remote);
        if path.via == Via::MEDIA {
            return self.sockets.get(family).map(|_| File::Media(family));
        }
        self.side.get(path.via, family).map(File::Side)
    }

    /// Every send with MSG_DONTWAIT is over: without a report, it succeeded.
    fn settle(&mut self) {
        for place in 0..self.inline.len() {
            let id = self.inline[place];
            let operation = *self.operations.get_mut(id);
            let Some(errno) = operation.errno else {
                self.operations.end(id);
                self.sent(&operation.run);
                continue;
            };
            match SendError::of(errno, operation.run.count) {
                SendError::NoRoom | SendError::Again if operation.run.path.via == Via::MEDIA => {
                    self.stand_in_line(id);
                }
                SendError::GsoRefused => {
                    self.operations.end(id);
                    self.send_singly(&operation.run);
                }
                // A full side socket waits for nobody: what TURN carries may be lost like any datagram.
                SendError::Lost | SendError::NoRoom | SendError::Again => {
                    self.operations.end(id);
                    self.lose(&operation.run);
                }
            }
        }
        self.inline.clear();
    }

    fn stand_in_line(&mut self, id: OperationId) {
        let operation = self.operations.get_mut(id);
        operation.errno = None;
        self.counters.send_retries += 1;
        self.lines[Family::of(&operation.run.path.remote) as usize].rest.push_back(id);
    }

    /// The first of a line is over.
    fn settle_waited(&mut self, id: OperationId) {
        let operation = self.operations.end(id);
        self.lines[Family::of(&operation.run.path.remote) as usize].head_waits = false;
        match operation.errno.map(|errno| SendError::of(errno, operation.run.count)) {
            None => self.sent(&operation.run),
            Some(SendError::GsoRefused) => self.send_singly(&operation.run),
            Some(SendError::NoRoom | SendError::Again | SendError::Lost) => self.lose(&operation.run),
        }
    }

    fn sent(&mut self, run: &Run) {
        self.counters.sends += 1;
        self.counters.gso_runs += u64::from(run.count > 1);
        self.counters.datagrams_out += u64::from(run.count);
        self.counters.bytes_out += u64::from(run.bytes);
        self.queue.release(run);
    }

    fn send_singly(&mut self, run: &Run) {
        let family = Family::of(&run.path.remote);
        let fd = match run.path.via {
            Via::MEDIA => self.sockets.get(family),
            via => self.side.get(via, family),
        };
        let Some(fd) = fd else { return self.lose(run) };
        send_singly(fd, &self.queue, run, &mut self.counters);
        self.queue.rest(run);
        self.queue.release(run);
    }

    fn lose(&mut self, run: &Run) {
        self.counters.send_errors += u64::from(run.count);
        self.queue.release(run);
    }
}

impl Egress for Driver {
    fn reserve(&mut self, key: RunKey, path: &Path) -> Option<&mut [u8]> {
        if !self.state.queue.has_slot() {
            self.state.counters.slots_exhausted += 1;
            self.flush();
            self.enter(None);
            for _ in 0..WAITS_MAX {
                if self.state.queue.has_slot() {
                    break;
                }
                // Every slot waits for room in the socket.
                self.flush();
                self.enter(Some(WAIT));
            }
        } else if self.state.queue.is_due_before(key) {
            self.flush();
            self.enter(None);
        }
        let slot = self.state.queue.reserve(key, path);
        if slot.is_none() {
            self.state.counters.slots_refused += 1;
        }
        slot
    }

    fn commit(&mut self, len: usize) {
        self.state.queue.commit(len);
    }

    fn reserved(&mut self) -> &mut [u8] {
        self.state.queue.reserved()
    }

    fn open(&mut self, via: Via, address: SocketAddr) -> io::Result<()> {
        if self.state.side.is_open(via, address) {
            return Ok(());
        }
        self.close(via, address);
        let token = self.state.side.open(via, address)?;
        self.state.unarmed.push(token);
        Ok(())
    }

    fn is_free(&self, address: SocketAddr) -> bool {
        SideSockets::could_open(address)
    }

    fn close(&mut self, via: Via, address: SocketAddr) {
        if self.state.side.get(via, Family::of(&address)).is_none() {
            return;
        }
        // Entries name the descriptor by its number until the kernel has taken them in.
        self.flush();
        self.enter(None);
        if let Some((token, socket)) = self.state.side.take(via, Family::of(&address)) {
            if !self.ring.has_room() {
                self.enter(None);
            }
            let request = user_data(SIDE, token.bits());
            let entry = opcode::AsyncCancel::new(request).build().user_data(user_data(CANCEL, 0));
            // SAFETY: the entry names no memory.
            unsafe { self.ring.push(&entry) };
            drop(socket);
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("sockets", &self.state.sockets)
            .field("counters", &self.state.counters)
            .field("armed", &self.state.armed)
            .finish_non_exhaustive()
    }
}
