//! Receiving: multishot recvmsg into a ring of provided buffers.
//!
//! One request a socket delivers datagram after datagram, each into the next free buffer. There are only as many
//! buffers as stay in the cache; in an overload datagrams wait in the socket's own buffer, and the request ends with
//! ENOBUFS and is made again when buffers are back.

use super::ring::Ring;
use crate::egress::Path;
use crate::io::RECEIVE_BATCH_MAX;
use crate::io::address::NAME_BYTES;
use crate::io::cmsg::RECEIVE_BYTES;
use crate::io::mapping::Mapping;
use crate::io::receive_buffer::{self, BUFFER_BYTES, PAYLOAD_AT, Unusable};
use io_uring::types::BufRingEntry;
use std::sync::atomic::{AtomicU16, Ordering};
use std::{fmt, io, mem, slice};

/// Buffers, a power of two: 256 KiB. A batch empties all of them.
pub(super) const BUFFERS: u16 = 128;
/// The group the requests name.
pub(super) const GROUP: u16 = 0;
/// The ring's entries come first, on a page of their own.
const RING_BYTES: usize = 4096;

const _: () = assert!(BUFFERS.is_power_of_two() && BUFFERS as usize == RECEIVE_BATCH_MAX);
const _: () = assert!(BUFFERS as usize * size_of::<BufRingEntry>() <= RING_BYTES);

/// A datagram that has come and lies in a buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    pub(super) buffer: u16,
    /// Bytes of the buffer in use, with all that comes before the payload.
    pub(super) len: usize,
}

/// The provided buffers.
pub(super) struct Buffers {
    memory: Mapping,
    tail: u16,
}

impl Buffers {
    /// Makes the buffers and gives them all to the kernel.
    pub(super) fn new(ring: &Ring) -> io::Result<Self> {
        let memory = Mapping::anonymous(RING_BYTES + usize::from(BUFFERS) * BUFFER_BYTES)?;
        let mut buffers = Self { memory, tail: 0 };
        for buffer in 0..BUFFERS {
            buffers.give(buffer);
        }
        // SAFETY: a mapping is page-aligned and has RING_BYTES for the entries; `Uring` drops the ring before it.
        unsafe { ring.register_buffers(buffers.memory.address(), BUFFERS, GROUP)? };
        Ok(buffers)
    }

    /// Lends the buffer of a received datagram; it goes back to the kernel when the loan is dropped.
    pub(super) const fn lend(&mut self, received: Received) -> Lent<'_> {
        Lent { buffers: self, received }
    }

    fn address(&self, buffer: u16) -> *mut u8 {
        assert!(buffer < BUFFERS, "the kernel names buffers it was given");
        // SAFETY: the mapping holds BUFFERS buffers behind the ring's entries.
        unsafe { self.memory.address().add(RING_BYTES + usize::from(buffer) * BUFFER_BYTES) }
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

/// A buffer in the hands of the shard.
pub(super) struct Lent<'b> {
    buffers: &'b mut Buffers,
    received: Received,
}

impl Lent<'_> {
    /// The datagram and its path.
    #[allow(clippy::needless_pass_by_ref_mut, reason = "what is lent is borrowed mutably")]
    pub(super) fn datagram(&mut self) -> Result<(Path, &mut [u8]), Unusable> {
        let address = self.buffers.address(self.received.buffer);
        // SAFETY: the buffer is inside the mapping and initialized (zeroed once). The kernel has handed it over, and
        // gets it back only by `give`; `&mut self` makes this slice the only one.
        let buffer = unsafe { slice::from_raw_parts_mut(address, BUFFER_BYTES) };
        // struct io_uring_recvmsg_out.
        let field = |at: usize| {
            u32::from_ne_bytes([buffer[at], buffer[at + 1], buffer[at + 2], buffer[at + 3]]) as usize
        };
        let (name_len, control_len, flags) = (field(0), field(4), field(12));
        let payload_len = self.received.len.saturating_sub(PAYLOAD_AT);
        let truncated = flags & libc::MSG_TRUNC as usize != 0;
        receive_buffer::parse(buffer, name_len, control_len, payload_len, truncated)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.buffers.give(self.received.buffer);
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
        f.debug_struct("Buffers").field("tail", &self.tail).finish_non_exhaustive()
    }
}
