//! Receiving in batches (recvmmsg(2)).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::slice::Chunks;
use std::{fmt, mem, ptr};

use super::address::{self, NAME_BYTES};
use super::cmsg::{self, RECEIVE_BYTES};
use super::memory::Memory;
use super::socket::UdpSocket;

/// Holds the longest train UDP_GRO makes.
pub const GRO_BUFFER_BYTES: usize = 64 << 10;

/// Name and control messages of one receive, in front of all buffers.
const HEAD_BYTES: usize = NAME_BYTES + RECEIVE_BYTES;

/// One receive: a datagram, or with UDP_GRO several that came from one sender as one train.
#[derive(Clone, Copy, Debug)]
pub struct Received<'b> {
    /// Who sent it.
    pub source: SocketAddr,
    /// The address of ours it came to; the socket must have been asked for pktinfo.
    pub local: Option<IpAddr>,
    /// What came, from the first datagram's first byte to the last one's last.
    pub bytes: &'b [u8],
    /// Length of each datagram but the last, if there are several.
    pub segment_len: Option<usize>,
    /// The buffer was too short; the rest is lost.
    pub truncated: bool,
}

impl<'b> Received<'b> {
    /// The datagrams one by one. None for an empty datagram.
    pub fn datagrams(&self) -> Chunks<'b, u8> {
        self.bytes.chunks(self.segment_len.unwrap_or(usize::MAX))
    }
}

/// Buffers for one `recvmmsg`, and what the last one brought.
pub struct ReceiveBatch {
    memory: Memory,
    /// `messages` points into it, and it is never touched again.
    _parts: Box<[libc::iovec]>,
    messages: Box<[libc::mmsghdr]>,
    buffer_bytes: usize,
    filled: usize,
}

// SAFETY: the pointers in the messages are to memory and parts of the batch's own, which move along with it.
unsafe impl Send for ReceiveBatch {}

impl ReceiveBatch {
    /// Room for `messages` receives of up to `buffer_bytes` each ([`GRO_BUFFER_BYTES`] with UDP_GRO).
    ///
    /// # Panics
    /// When either is 0.
    #[must_use]
    pub fn new(messages: usize, buffer_bytes: usize) -> Self {
        assert!(messages > 0 && buffer_bytes > 0, "a batch of nothing");
        let memory = Memory::new(messages * (HEAD_BYTES + buffer_bytes));
        let buffer = |index: usize| memory.address(messages * HEAD_BYTES + index * buffer_bytes);
        let part = |index: usize| libc::iovec { iov_base: buffer(index).cast(), iov_len: buffer_bytes };
        let mut parts: Box<[libc::iovec]> = (0..messages).map(part).collect();
        let first_part = parts.as_mut_ptr();
        let message = |index: usize| {
            // SAFETY: mmsghdr is plain numbers and pointers; all zero is an empty message.
            let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
            message.msg_hdr.msg_name = memory.address(index * HEAD_BYTES).cast();
            message.msg_hdr.msg_control = memory.address(index * HEAD_BYTES + NAME_BYTES).cast();
            // SAFETY: `index` is below the number of parts.
            message.msg_hdr.msg_iov = unsafe { first_part.add(index) };
            message.msg_hdr.msg_iovlen = 1;
            message
        };
        let messages = (0..messages).map(message).collect::<Box<[_]>>();
        let filled = messages.len();
        Self { memory, _parts: parts, messages, buffer_bytes, filled }
    }

    /// Receives what is there, up to a full batch, in place of what was received before; 0 when nothing is.
    ///
    /// # Errors
    /// What the socket reports, such as an ICMP error of an earlier send; what lies behind it is still there.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        // The kernel wrote what it used over what it may use.
        for message in &mut self.messages[..self.filled] {
            message.msg_hdr.msg_namelen = NAME_BYTES as u32;
            message.msg_hdr.msg_controllen = RECEIVE_BYTES;
        }
        self.filled = 0;
        // SAFETY: each message points to a name, control bytes and one part that live as long as `self`, and nothing
        // borrows them now: what was received borrows `self`.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                self.messages.as_mut_ptr(),
                self.messages.len() as u32,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        match usize::try_from(received) {
            Ok(received) => {
                self.filled = received;
                Ok(received)
            }
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                error => Err(error),
            },
        }
    }

    /// What the last [`ReceiveBatch::receive`] brought; full when there may be more in the socket.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Received<'_>> {
        (0..self.filled).map(|index| self.get(index))
    }

    /// How many receives one call may bring.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.messages.len()
    }

    fn get(&self, index: usize) -> Received<'_> {
        let message = &self.messages[index];
        let header = &message.msg_hdr;
        let name_len = (header.msg_namelen as usize).min(NAME_BYTES);
        let control_len = header.msg_controllen.min(RECEIVE_BYTES);
        let head = index * HEAD_BYTES;
        let told = cmsg::parse(self.memory.bytes(head + NAME_BYTES, control_len));
        let source = address::parse(self.memory.bytes(head, name_len));
        let at = self.messages.len() * HEAD_BYTES + index * self.buffer_bytes;
        let len = (message.msg_len as usize).min(self.buffer_bytes);
        Received {
            source: source.expect("an internet socket names the sender"),
            local: told.local,
            bytes: self.memory.bytes(at, len),
            segment_len: told.segment_len,
            truncated: header.msg_flags & libc::MSG_TRUNC != 0,
        }
    }
}

impl fmt::Debug for ReceiveBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiveBatch")
            .field("capacity", &self.capacity())
            .field("filled", &self.filled)
            .finish_non_exhaustive()
    }
}
