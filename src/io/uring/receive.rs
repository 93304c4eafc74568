//! Receiving: multishot recvmsg into a ring of provided buffers.
//!
//! One request a socket delivers train after train, each into the next free buffer. Only as many buffers are in
//! circulation as stay in the cache. In an overload the request ends with ENOBUFS; then the spare ones join until the
//! backlog is gone, and what finds none of these either waits in the socket's own buffer.

use super::ring::Ring;
use crate::egress::Via;
use crate::ingress::{TRAINS_MAX, Train, Trains};
use crate::io::address::NAME_BYTES;
use crate::io::cmsg::RECEIVE_BYTES;
use crate::io::counters::Counters;
use crate::io::mapping::Mapping;
use crate::io::receive_buffer::{self, BUFFER_BYTES, PAYLOAD_AT, Unusable};
use arrayvec::ArrayVec;
use io_uring::types::BufRingEntry;
use std::sync::atomic::{AtomicU16, Ordering};
use std::{fmt, io, mem, slice};

/// Buffers there are, a power of two. A page of one comes with its first use.
pub(super) const BUFFERS: u16 = 256;
/// Of these, in circulation while the shard keeps up: 64 single datagrams are 100 KiB.
const HOT_BUFFERS: u16 = 64;
/// The group the requests name.
pub(super) const GROUP: u16 = 0;
/// The ring's entries come first, on a page of their own.
const RING_BYTES: usize = 4096;

const _: () = assert!(BUFFERS.is_power_of_two() && HOT_BUFFERS < BUFFERS);
const _: () = assert!(BUFFERS as usize * size_of::<BufRingEntry>() <= RING_BYTES);

/// A train that has come and lies in a buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    pub(super) buffer: u16,
    /// Bytes of the buffer in use, with all that comes before the datagrams.
    pub(super) len: usize,
    /// The socket it came to.
    pub(super) via: Via,
}

/// The provided buffers.
pub(super) struct Buffers {
    memory: Mapping,
    tail: u16,
    /// Buffers that are not in circulation.
    spare: Vec<u16>,
}

impl Buffers {
    /// Makes the buffers and gives the hot ones to the kernel.
    pub(super) fn new(ring: &Ring) -> io::Result<Self> {
        let memory = Mapping::lazy(RING_BYTES + usize::from(BUFFERS) * BUFFER_BYTES)?;
        let mut buffers = Self { memory, tail: 0, spare: (HOT_BUFFERS..BUFFERS).rev().collect() };
        (0..HOT_BUFFERS).for_each(|buffer| buffers.give(buffer));
        // SAFETY: a mapping is page-aligned and has RING_BYTES for the entries; `Uring` drops the ring before it.
        unsafe { ring.register_buffers(buffers.memory.address(), BUFFERS, GROUP)? };
        Ok(buffers)
    }

    /// Brings every buffer into circulation: the hot ones were not enough.
    pub(super) fn widen(&mut self) {
        while let Some(buffer) = self.spare.pop() {
            self.give(buffer);
        }
    }

    /// Lends the buffers of received trains; they go back when the loan is dropped.
    pub(super) const fn lend(&mut self, received: ArrayVec<Received, TRAINS_MAX>, backlog: bool) -> Lent<'_> {
        Lent { buffers: self, received, backlog }
    }

    fn address(&self, buffer: u16) -> *mut u8 {
        assert!(buffer < BUFFERS, "the kernel names buffers it was given");
        // SAFETY: the mapping holds BUFFERS buffers behind the ring's entries.
        unsafe { self.memory.address().add(RING_BYTES + usize::from(buffer) * BUFFER_BYTES) }
    }

    /// Takes a buffer back: to the kernel again, or out of circulation when the hot ones are enough.
    fn take_back(&mut self, buffer: u16, backlog: bool) {
        if backlog || self.spare.len() == usize::from(BUFFERS - HOT_BUFFERS) {
            self.give(buffer);
        } else {
            self.spare.push(buffer);
        }
    }

    /// Gives a buffer to the kernel.
    fn give(&mut self, buffer: u16) {
        let address = self.address(buffer).expose_provenance() as u64;
        let first = self.memory.address().cast::<BufRingEntry>();
        let place = usize::from(self.tail & (BUFFERS - 1));
        // SAFETY: `place` is below the number of entries, which lie aligned at the start of the mapping. The kernel
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

/// Buffers in the hands of the shard.
pub(super) struct Lent<'b> {
    buffers: &'b mut Buffers,
    received: ArrayVec<Received, TRAINS_MAX>,
    /// More has come than this loan.
    backlog: bool,
}

impl Lent<'_> {
    /// The trains in them. They are counted.
    #[allow(clippy::needless_pass_by_ref_mut, reason = "what is lent is borrowed mutably")]
    pub(super) fn trains(&mut self, counters: &mut Counters) -> Trains<'_> {
        let mut trains = Trains::new();
        for &Received { buffer, len, via } in &self.received {
            let address = self.buffers.address(buffer);
            // SAFETY: the buffer is inside the mapping and initialized (zeroed once). The kernel has handed it over, each
            // one once, and gets it back only by `give`; `&mut self` keeps all of them until the trains are gone.
            let buffer = unsafe { slice::from_raw_parts_mut(address, BUFFER_BYTES) };
            match parse(buffer, len, via) {
                Ok(train) => {
                    counters.count_train(&train);
                    trains.push(train);
                }
                Err(unusable) => unusable.count(counters),
            }
        }
        trains
    }
}

/// The train in a buffer of which the kernel has used `len` bytes.
fn parse(buffer: &mut [u8], len: usize, via: Via) -> Result<Train<'_>, Unusable> {
    // struct io_uring_recvmsg_out.
    let field =
        |at: usize| u32::from_ne_bytes([buffer[at], buffer[at + 1], buffer[at + 2], buffer[at + 3]]) as usize;
    let (name_len, control_len, flags) = (field(0), field(4), field(12));
    let truncated = flags & libc::MSG_TRUNC as usize != 0;
    receive_buffer::parse(buffer, name_len, control_len, len.saturating_sub(PAYLOAD_AT), truncated, via)
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        for received in &self.received {
            self.buffers.take_back(received.buffer, self.backlog);
        }
    }
}

/// What the requests are made with: how much room a buffer leaves for the name and the control messages.
pub(super) fn template() -> Box<libc::msghdr> {
    // SAFETY: msghdr is plain numbers and pointers; all zero is an empty message.
    let mut template: libc::msghdr = unsafe { mem::zeroed() };
    template.msg_namelen = NAME_BYTES as u32;
    template.msg_controllen = RECEIVE_BYTES;
    Box::new(template)
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffers")
            .field("tail", &self.tail)
            .field("spare", &self.spare.len())
            .finish_non_exhaustive()
    }
}
