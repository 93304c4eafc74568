//! Receiving in batches (recvmmsg(2)).

use crate::egress::Path;
use crate::io::cmsg::RECEIVE_BYTES;
use crate::io::mapping::Mapping;
use crate::io::receive_buffer::{
    self, BUFFER_BYTES, CONTROL_AT, NAME_AT, PAYLOAD_AT, RECEIVED_BYTES_MAX, Unusable,
};
use crate::io::{RECEIVE_BATCH_MAX, address::NAME_BYTES};
use std::os::fd::RawFd;
use std::{fmt, io, mem, ptr, slice};

/// Datagrams of one call. Both families have their turn in a cycle.
const BATCH: usize = 64;

const _: () = assert!(2 * BATCH <= RECEIVE_BATCH_MAX);

/// Buffers for one batch, and how far it has been taken.
pub(super) struct Receiver {
    memory: Mapping,
    /// `messages` points into it.
    _parts: Box<[libc::iovec]>,
    messages: Box<[libc::mmsghdr]>,
    filled: usize,
    next: usize,
}

impl Receiver {
    pub(super) fn new() -> io::Result<Self> {
        let memory = Mapping::anonymous(BATCH * BUFFER_BYTES)?;
        // SAFETY: BATCH buffers of BUFFER_BYTES lie in the mapping.
        let buffer = |index: usize| unsafe { memory.address().add(index * BUFFER_BYTES) };
        let mut parts: Box<[libc::iovec]> = (0..BATCH)
            .map(|index| libc::iovec {
                // SAFETY: PAYLOAD_AT is inside the buffer.
                iov_base: unsafe { buffer(index).add(PAYLOAD_AT) }.cast(),
                iov_len: RECEIVED_BYTES_MAX,
            })
            .collect();
        let first_part = parts.as_mut_ptr();
        let message = |index: usize| {
            // SAFETY: mmsghdr is plain numbers and pointers; all zero is an empty message.
            let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
            // SAFETY: both offsets are inside the buffer.
            message.msg_hdr.msg_name = unsafe { buffer(index).add(NAME_AT) }.cast();
            // SAFETY: as above.
            message.msg_hdr.msg_control = unsafe { buffer(index).add(CONTROL_AT) }.cast();
            // SAFETY: `index` is below BATCH, the length of the parts.
            message.msg_hdr.msg_iov = unsafe { first_part.add(index) };
            message.msg_hdr.msg_iovlen = 1;
            message
        };
        let messages = (0..BATCH).map(message).collect();
        Ok(Self { memory, _parts: parts, messages, filled: BATCH, next: BATCH })
    }

    /// Receives a batch without blocking; true when it is full. Everything received before has been taken.
    pub(super) fn fill(&mut self, fd: RawFd) -> io::Result<bool> {
        debug_assert_eq!(self.next, self.filled, "a batch is taken before the next is received");
        // The kernel wrote what it used over what it may use.
        for message in &mut self.messages[..self.filled] {
            message.msg_hdr.msg_namelen = NAME_BYTES as u32;
            message.msg_hdr.msg_controllen = RECEIVE_BYTES;
        }
        self.filled = 0;
        self.next = 0;
        // SAFETY: each message points to a name, a control buffer and one part that live as long as `self`; nothing
        // borrows them now, for `take` borrows `self`.
        let received = unsafe {
            libc::recvmmsg(
                fd,
                self.messages.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        self.filled = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        Ok(self.filled == BATCH)
    }

    /// The next datagram of the batch.
    pub(super) fn take(&mut self) -> Option<Result<(Path, &mut [u8]), Unusable>> {
        let message = self.messages[..self.filled].get(self.next)?;
        // SAFETY: buffer `next` is inside the mapping and initialized (zeroed once); `&mut self` makes this slice the
        // only one.
        let buffer = unsafe {
            slice::from_raw_parts_mut(self.memory.address().add(self.next * BUFFER_BYTES), BUFFER_BYTES)
        };
        self.next += 1;
        let header = &message.msg_hdr;
        let truncated = header.msg_flags & libc::MSG_TRUNC != 0;
        let len = message.msg_len as usize;
        Some(receive_buffer::parse(
            buffer,
            header.msg_namelen as usize,
            header.msg_controllen,
            len,
            truncated,
        ))
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("filled", &self.filled).field("next", &self.next).finish()
    }
}
