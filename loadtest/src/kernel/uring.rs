//! One socket on an io_uring: sends leave and receives come in one `io_uring_enter`.
//!
//! DEFER_TASKRUN makes the thread that opened the ring do all its work inside its own enters, and SINGLE_ISSUER lets no
//! other thread enter. So the kernel touches memory an entry names only between the two ends of an enter; every SAFETY
//! note here stands on that. A send carries MSG_DONTWAIT: it is over when the enter that submitted it returns.

use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use std::{fmt, io, mem};

use io_uring::types::{BufRingEntry, Fixed, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};

use super::address::NAME_BYTES;
use super::cmsg::RECEIVE_BYTES;
use super::memory::Memory;
use super::send::SendBatch;
use super::socket::UdpSocket;

/// Sends of one enter.
pub const SENDS_MAX: usize = 256;
const ENTRIES: u32 = 2 * SENDS_MAX as u32;
const COMPLETIONS: u32 = 2048;

const SOCKET: Fixed = Fixed(0);
const GROUP: u16 = 0;
/// Buffers, a power of two: 128 KiB stay in the second-level cache.
const BUFFERS: u16 = 64;
const BUFFER_BYTES: usize = 2048;
/// The buffer ring's entries come first, on a page of their own.
const RING_BYTES: usize = 4096;
/// `struct io_uring_recvmsg_out`, name and control messages, in front of the datagram.
const PAYLOAD_AT: usize = 16 + NAME_BYTES + RECEIVE_BYTES;

const RECEIVE: u64 = 0;
const SEND: u64 = 1;

/// What has come, and the way out. Tied to the thread that opened it.
pub struct Uring {
    /// Holds the ring, so it is dropped before the buffers the kernel fills.
    outlet: Outlet,
    inlet: Inlet,
}

/// The sending half.
pub struct Outlet {
    ring: IoUring,
    batch: SendBatch,
    /// Sends the kernel refused.
    refused: u64,
    /// The ring accepts entries of this thread alone.
    _not_send: PhantomData<*mut ()>,
}

/// The receiving half.
pub struct Inlet {
    memory: Memory,
    tail: u16,
    /// Buffers with what has come, and bytes of each in use.
    received: Vec<(u16, usize)>,
    template: Box<libc::msghdr>,
    armed: bool,
}

impl Uring {
    /// Opens a ring on `socket`, whose options decide what is received, with room for `messages` sends of `bytes`.
    ///
    /// # Errors
    /// When the kernel is older than 6.1 or refuses io_uring.
    ///
    /// # Panics
    /// When `messages` is 0 or above [`SENDS_MAX`], or `bytes` is 0.
    pub fn open(socket: &UdpSocket, messages: usize, bytes: usize) -> io::Result<Self> {
        assert!(messages <= SENDS_MAX, "more sends than a ring takes in at once");
        let mut builder = IoUring::builder();
        builder.setup_cqsize(COMPLETIONS).setup_submit_all().setup_single_issuer().setup_defer_taskrun();
        let ring = builder.build(ENTRIES)?;
        ring.submitter().register_files(&[socket.as_fd().as_raw_fd()])?;
        let inlet = Inlet::new(&ring)?;
        let batch = SendBatch::new(messages, bytes);
        Ok(Self { outlet: Outlet { ring, batch, refused: 0, _not_send: PhantomData }, inlet })
    }

    /// What the last [`Uring::turn`] brought, and the way out.
    pub const fn halves(&mut self) -> (&Inlet, &mut Outlet) {
        (&self.inlet, &mut self.outlet)
    }

    /// Sends the batch, gives back what was received before, and waits for more; gives how many datagrams came, 0 when
    /// `timeout` was over first.
    ///
    /// # Errors
    /// When the kernel is out of memory.
    pub fn turn(&mut self, timeout: Duration) -> io::Result<usize> {
        self.inlet.give_back();
        if !self.inlet.armed {
            let template = &raw const *self.inlet.template;
            let entry = opcode::RecvMsgMulti::new(SOCKET, template, GROUP).build().user_data(RECEIVE);
            // SAFETY: the template lives in a box until the ring is gone, and the buffers it fills are the inlet's.
            unsafe { self.outlet.push(&entry) }?;
            self.inlet.armed = true;
        }
        self.outlet.queue_batch()?;
        let time = Timespec::from(timeout);
        let args = SubmitArgs::new().timespec(&time);
        match self.outlet.ring.submitter().submit_with_args(1, &args) {
            Err(error) if !matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR)) => {
                return Err(error);
            }
            _ => {}
        }
        self.outlet.batch.clear();
        if self.collect() > 0 {
            // The wait ended with the first of them; others have come since.
            self.outlet.look()?;
            self.collect();
        }
        Ok(self.inlet.received.len())
    }

    /// Takes what the kernel reports; gives how many datagrams there are.
    fn collect(&mut self) -> usize {
        for completion in self.outlet.ring.completion() {
            if completion.user_data() == SEND {
                // A send that succeeds reports nothing.
                self.outlet.refused += 1;
            } else {
                self.inlet.note(&completion);
            }
        }
        self.inlet.received.len()
    }
}

impl Outlet {
    /// What leaves with the next [`Uring::turn`] or [`Outlet::flush`].
    pub const fn batch(&mut self) -> &mut SendBatch {
        &mut self.batch
    }

    /// Sends the batch now and empties it.
    ///
    /// # Errors
    /// When the kernel is out of memory.
    pub fn flush(&mut self) -> io::Result<()> {
        self.queue_batch()?;
        while !self.ring.submission().is_empty() {
            self.ring.submit()?;
        }
        self.batch.clear();
        Ok(())
    }

    /// Sends the kernel has refused so far, as far as [`Uring::turn`] has heard.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Has the kernel report what has happened, without waiting.
    fn look(&self) -> io::Result<()> {
        let flags = EnterFlags::GETEVENTS.bits();
        // SAFETY: no argument is passed, and nothing is submitted.
        unsafe { self.ring.submitter().enter::<libc::sigset_t>(0, 0, flags, None) }.map(drop)
    }

    fn queue_batch(&mut self) -> io::Result<()> {
        let mut queue = self.ring.submission();
        for message in self.batch.prepare() {
            let entry = opcode::SendMsg::new(SOCKET, &raw const message.msg_hdr)
                .flags(libc::MSG_DONTWAIT as u32)
                .build()
                .flags(squeue::Flags::SKIP_SUCCESS)
                .user_data(SEND);
            // SAFETY: the message and all it points to are the batch's, which changes only after the enter that
            // submits the entry: with MSG_DONTWAIT the send is over then.
            unsafe { queue.push(&entry) }.map_err(|_| io::Error::from(io::ErrorKind::StorageFull))?;
        }
        Ok(())
    }

    /// # Safety
    /// Memory the entry names stays valid until it has completed.
    unsafe fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.ring.submission().push(entry) }.map_err(|_| io::Error::from(io::ErrorKind::StorageFull))
    }
}

impl Inlet {
    fn new(ring: &IoUring) -> io::Result<Self> {
        // SAFETY: msghdr is plain numbers and pointers; all zero is an empty message.
        let mut template: libc::msghdr = unsafe { mem::zeroed() };
        template.msg_namelen = NAME_BYTES as u32;
        template.msg_controllen = RECEIVE_BYTES;
        let memory = Memory::new(RING_BYTES + usize::from(BUFFERS) * BUFFER_BYTES);
        let received = Vec::with_capacity(usize::from(BUFFERS));
        let mut inlet = Self { memory, tail: 0, received, template: Box::new(template), armed: false };
        (0..BUFFERS).for_each(|buffer| inlet.give(buffer));
        let address = inlet.memory.address(0).expose_provenance() as u64;
        // SAFETY: the memory starts at a page and has one for the entries; `Uring` drops the ring before it.
        unsafe { ring.submitter().register_buf_ring_with_flags(address, BUFFERS, GROUP, 0) }?;
        Ok(inlet)
    }

    /// How many datagrams have come.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.received.len()
    }

    /// True when none has.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// The datagrams that have come.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        self.received.iter().map(|&(buffer, len)| {
            // The kernel has handed these buffers over, and gets them back by `give`.
            self.memory.bytes(Self::place(buffer) + PAYLOAD_AT, len.saturating_sub(PAYLOAD_AT))
        })
    }

    const fn place(buffer: u16) -> usize {
        RING_BYTES + buffer as usize * BUFFER_BYTES
    }

    fn note(&mut self, completion: &cqueue::Entry) {
        // Every buffer is in use when it ends: it is made anew with the next turn.
        self.armed &= cqueue::more(completion.flags());
        let len = usize::try_from(completion.result());
        if let (Ok(len), Some(buffer)) = (len, cqueue::buffer_select(completion.flags())) {
            self.received.push((buffer, len.min(BUFFER_BYTES)));
        }
    }

    fn give_back(&mut self) {
        while let Some((buffer, _)) = self.received.pop() {
            self.give(buffer);
        }
    }

    /// Gives a buffer to the kernel.
    fn give(&mut self, buffer: u16) {
        let address = self.memory.address(Self::place(buffer)).expose_provenance() as u64;
        let first = self.memory.address(0).cast::<BufRingEntry>();
        let place = usize::from(self.tail & (BUFFERS - 1));
        // SAFETY: `place` is below the number of entries, which lie aligned at the start of the memory. The kernel
        // reads an entry only after the tail has moved beyond it, and only inside an enter of this thread.
        let entry = unsafe { &mut *first.add(place) };
        entry.set_addr(address);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail shares the first entry's spare field, which no setter above touches; it is aligned for u16.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(first).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

impl fmt::Debug for Uring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uring")
            .field("received", &self.inlet.received.len())
            .field("batch", &self.outlet.batch)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::send::Route;
    use crate::kernel::socket::SocketOptions;
    use std::net::Ipv4Addr;

    #[test]
    fn what_comes_goes_out_again_more_often_than_there_are_buffers() {
        let bind = || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0).into(), &SocketOptions::default()).unwrap();
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = bind();
        let mut ring = Uring::open(&socket, 8, 1000).unwrap();
        let home = Route { destination: peer.local_addr().unwrap(), source: Some([127, 0, 0, 9].into()) };
        for round in 0..3 * BUFFERS {
            peer.send_to(&round.to_be_bytes(), (Ipv4Addr::new(127, 0, 0, 9), socket.address().port()))
                .unwrap();
            while ring.turn(Duration::from_secs(1)).unwrap() == 0 {}
            let (inlet, outlet) = ring.halves();
            let datagrams: Vec<_> = inlet.datagrams().collect();
            assert_eq!(datagrams, [round.to_be_bytes()]);
            assert!(outlet.batch().push_slices(&home, Some(1), &datagrams));
            outlet.flush().unwrap();
            let mut byte = [0; 9];
            for half in round.to_be_bytes() {
                assert_eq!(peer.recv(&mut byte).unwrap(), 1, "the run was cut");
                assert_eq!(byte[0], half);
            }
        }
        assert_eq!(ring.halves().1.refused(), 0);
    }

    #[test]
    fn a_refused_send_is_counted() {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0).into(), &SocketOptions::default()).unwrap();
        let mut ring = Uring::open(&socket, 2, 10).unwrap();
        let stranger = Route { destination: ([127, 0, 0, 1], 9).into(), source: Some([192, 0, 2, 1].into()) };
        assert!(ring.halves().1.batch().push_slices(&stranger, None, &[b"x"]));
        ring.turn(Duration::ZERO).unwrap();
        assert_eq!(ring.halves().1.refused(), 1);
    }
}
