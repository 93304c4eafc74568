//! Receiving in batches (recvmmsg(2)).

use crate::egress::Via;
use crate::ingress::Trains;
use crate::io::address::NAME_BYTES;
use crate::io::cmsg::RECEIVE_BYTES;
use crate::io::counters::Counters;
use crate::io::mapping::Mapping;
use crate::io::receive_buffer::{self, BUFFER_BYTES, CONTROL_AT, NAME_AT, PAYLOAD_AT, TRAIN_BYTES_MAX};
use std::os::fd::RawFd;
use std::{fmt, io, mem, ptr, slice};

/// Trains of one call. Both families have their turn in a cycle.
const BATCH: usize = 64;

/// Buffers for one batch, and how far it has been taken.
pub(super) struct Receiver {
    memory: Mapping,
    /// `messages` points into it.
    _parts: Box<[libc::iovec]>,
    messages: Box<[libc::mmsghdr]>,
    filled: usize,
    next: usize,
    /// The socket of what was received.
    via: Via,
}

impl Receiver {
    pub(super) fn new() -> io::Result<Self> {
        let memory = Mapping::lazy(BATCH * BUFFER_BYTES)?;
        // SAFETY: BATCH buffers of BUFFER_BYTES lie in the mapping.
        let buffer = |index: usize| unsafe { memory.address().add(index * BUFFER_BYTES) };
        let mut parts: Box<[libc::iovec]> = (0..BATCH)
            .map(|index| libc::iovec {
                // SAFETY: PAYLOAD_AT is inside the buffer.
                iov_base: unsafe { buffer(index).add(PAYLOAD_AT) }.cast(),
                iov_len: TRAIN_BYTES_MAX,
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
        Ok(Self { memory, _parts: parts, messages, filled: BATCH, next: BATCH, via: Via::MEDIA })
    }

    /// Receives a batch from the socket `via` without blocking; true when it is full. Everything received before has been taken.
    pub(super) fn fill(&mut self, fd: RawFd, via: Via) -> io::Result<bool> {
        self.via = via;
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

    /// The next trains of what was received; none when all have been taken. They are counted.
    pub(super) fn take(&mut self, counters: &mut Counters) -> Trains<'_> {
        let mut trains = Trains::new();
        while let Some(message) = self.messages[..self.filled].get(self.next).filter(|_| !trains.is_full()) {
            // SAFETY: buffer `next` is inside the mapping and initialized (zeroed once). Each turn takes another one, and
            // `&mut self` keeps all of them until the trains are gone.
            let buffer = unsafe {
                slice::from_raw_parts_mut(self.memory.address().add(self.next * BUFFER_BYTES), BUFFER_BYTES)
            };
            self.next += 1;
            let (header, len) = (&message.msg_hdr, message.msg_len as usize);
            let truncated = header.msg_flags & libc::MSG_TRUNC != 0;
            let name_len = header.msg_namelen as usize;
            match receive_buffer::parse(buffer, name_len, header.msg_controllen, len, truncated, self.via) {
                Ok(train) => {
                    counters.count_train(&train);
                    trains.push(train);
                }
                Err(unusable) => unusable.count(counters),
            }
        }
        trains
    }

    /// Whether everything received has been taken.
    pub(super) const fn is_drained(&self) -> bool {
        self.next == self.filled
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("filled", &self.filled).field("next", &self.next).finish()
    }
}
