//! Sending in batches (sendmmsg(2) with UDP_SEGMENT).

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;
use std::{fmt, io, mem};

use super::address::Name;
use super::cmsg::SendControl;
use super::memory::Memory;
use super::socket::{UdpSocket, poll, pollfd};

/// How often a send waits for room in a full socket, and how long each time, before a message is given up.
const WAITS_MAX: u32 = 50;
const WAIT: Duration = Duration::from_millis(2);
/// Messages of one call (UIO_MAXIOV).
const CALL_MESSAGES_MAX: usize = 1024;

/// Where a message goes, and from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// To.
    pub destination: SocketAddr,
    /// From; `None` leaves it to the socket and the routing table.
    pub source: Option<IpAddr>,
}

impl From<SocketAddr> for Route {
    fn from(destination: SocketAddr) -> Self {
        Self { destination, source: None }
    }
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Sent {
    /// Messages the kernel took.
    pub messages: usize,
    /// Messages given up.
    pub lost: usize,
    /// System calls that sent.
    pub calls: usize,
    /// Why the last message was given up.
    pub error: Option<io::Error>,
}

/// Messages gathered for one `sendmmsg`, with memory of their own.
///
/// A message is written where it lies: [`SendBatch::push`] gives its place. With a segment length the kernel cuts it
/// into datagrams of that length and a shorter last one: at most 64 of them and 65 507 bytes (UDP_SEGMENT, udp(7)).
pub struct SendBatch {
    memory: Memory,
    used_bytes: usize,
    names: Vec<Name>,
    controls: Vec<SendControl>,
    parts: Vec<libc::iovec>,
    messages: Box<[libc::mmsghdr]>,
}

// SAFETY: the pointers in parts and messages are to the batch's own memory and vectors, which move along with it.
unsafe impl Send for SendBatch {}

impl SendBatch {
    /// Room for `messages` messages of together `bytes` bytes.
    ///
    /// # Panics
    /// When either is 0.
    #[must_use]
    pub fn new(messages: usize, bytes: usize) -> Self {
        assert!(messages > 0, "a batch of nothing");
        // SAFETY: mmsghdr is plain numbers and pointers; all zero is an empty message.
        let empty: libc::mmsghdr = unsafe { mem::zeroed() };
        Self {
            memory: Memory::new(bytes),
            used_bytes: 0,
            names: Vec::with_capacity(messages),
            controls: Vec::with_capacity(messages),
            parts: Vec::with_capacity(messages),
            messages: vec![empty; messages].into(),
        }
    }

    /// Messages in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// True when there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// True when one more message of `len_bytes` fits.
    #[must_use]
    pub fn has_room(&self, len_bytes: usize) -> bool {
        self.len() < self.messages.len() && len_bytes <= self.memory.len() - self.used_bytes
    }

    /// Adds a message of `len_bytes` and gives its place, to be written; what is there is undefined. `None`, and
    /// nothing added, when the batch is full.
    pub fn push(&mut self, route: &Route, segment_len: Option<u16>, len_bytes: usize) -> Option<&mut [u8]> {
        if !self.has_room(len_bytes) {
            return None;
        }
        let at = self.used_bytes;
        self.used_bytes += len_bytes;
        self.names.push(Name::of(&route.destination));
        self.controls.push(SendControl::new(route.source, segment_len));
        self.parts.push(libc::iovec { iov_base: self.memory.address(at).cast(), iov_len: len_bytes });
        Some(self.memory.bytes_mut(at, len_bytes))
    }

    /// Adds a message made of `slices`, one after the other. False, and nothing added, when the batch is full.
    pub fn push_slices(&mut self, route: &Route, segment_len: Option<u16>, slices: &[&[u8]]) -> bool {
        let len_bytes = slices.iter().map(|slice| slice.len()).sum();
        let Some(mut place) = self.push(route, segment_len, len_bytes) else { return false };
        for slice in slices {
            let (head, rest) = place.split_at_mut(slice.len());
            head.copy_from_slice(slice);
            place = rest;
        }
        true
    }

    /// Empties the batch without sending.
    pub fn clear(&mut self) {
        self.used_bytes = 0;
        self.names.clear();
        self.controls.clear();
        self.parts.clear();
    }

    /// Sends every message, in order, and empties the batch. A full socket is waited for, for up to 0.1 s; a message
    /// that is refused for another cause is given up, and those behind it are sent.
    pub fn send(&mut self, socket: &UdpSocket) -> Sent {
        self.prepare();
        let fd = socket.as_fd().as_raw_fd();
        let all = self.len();
        let send = |messages: &mut [libc::mmsghdr]| {
            let count = messages.len().min(CALL_MESSAGES_MAX) as u32;
            // SAFETY: each message points to a name, control bytes and a part, and that to bytes, which all live and
            // stay as they are across the call.
            unsafe { libc::sendmmsg(fd, messages.as_mut_ptr(), count, libc::MSG_DONTWAIT as _) }
        };
        let sent = drive(socket, &mut self.messages[..all], send);
        self.clear();
        sent
    }

    /// Sends every message with a `sendto` of its own, and empties the batch. Sources and segment lengths count for
    /// nothing: that call has no control messages.
    pub fn send_each(&mut self, socket: &UdpSocket) -> Sent {
        self.prepare();
        let fd = socket.as_fd().as_raw_fd();
        let all = self.len();
        let send = |messages: &mut [libc::mmsghdr]| {
            let header = &messages[0].msg_hdr;
            // SAFETY: `prepare` set the pointer to a part of this batch.
            let part = unsafe { *header.msg_iov };
            // SAFETY: bytes and name are readable for the lengths given, and stay so across the call.
            let sent = unsafe {
                libc::sendto(
                    fd,
                    part.iov_base,
                    part.iov_len,
                    libc::MSG_DONTWAIT,
                    header.msg_name.cast(),
                    header.msg_namelen,
                )
            };
            if sent < 0 { -1 } else { 1 }
        };
        let sent = drive(socket, &mut self.messages[..all], send);
        self.clear();
        sent
    }

    /// Sets the pointers, after everything they point to has been written.
    pub(super) fn prepare(&mut self) -> &[libc::mmsghdr] {
        let heads = self.names.iter().zip(&self.controls);
        for ((message, part), (name, control)) in self.messages.iter_mut().zip(&mut self.parts).zip(heads) {
            let header = &mut message.msg_hdr;
            header.msg_name = name.as_ptr().cast_mut();
            header.msg_namelen = name.len();
            header.msg_control = control.as_ptr().cast_mut();
            header.msg_controllen = control.len();
            header.msg_iov = &raw mut *part;
            header.msg_iovlen = 1;
        }
        &self.messages[..self.parts.len()]
    }
}

/// Calls `send` with what is left until nothing is. It gives how many messages it sent, or -1 and errno.
fn drive(
    socket: &UdpSocket,
    messages: &mut [libc::mmsghdr],
    send: impl Fn(&mut [libc::mmsghdr]) -> i32,
) -> Sent {
    let mut result = Sent::default();
    let mut done = 0;
    let mut waits = 0;
    while done < messages.len() {
        result.calls += 1;
        if let Ok(sent) = usize::try_from(send(&mut messages[done..])) {
            done += sent;
            result.messages += sent;
            continue;
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock if waits < WAITS_MAX => {
                waits += 1;
                // Whatever it says, the next send says it again.
                let _ = poll(&mut [pollfd(socket, libc::POLLOUT)], Some(WAIT));
            }
            _ => {
                done += 1;
                result.lost += 1;
                result.error = Some(error);
            }
        }
    }
    result
}

impl fmt::Debug for SendBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendBatch")
            .field("messages", &self.len())
            .field("used_bytes", &self.used_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::receive::{GRO_BUFFER_BYTES, ReceiveBatch};
    use crate::kernel::socket::{SocketOptions, wait_readable};
    use std::net::Ipv4Addr;

    fn socket(gro: bool) -> UdpSocket {
        let options = SocketOptions { gro, ..SocketOptions::default() };
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0).into(), &options).unwrap()
    }

    /// Datagrams as (source address, local address, bytes); waits for the first, takes what loopback has by then.
    fn receive(socket: &UdpSocket) -> Vec<(IpAddr, IpAddr, Vec<u8>)> {
        assert!(wait_readable(&[socket], None).unwrap());
        let mut batch = ReceiveBatch::new(4, GRO_BUFFER_BYTES);
        let mut datagrams = Vec::new();
        while batch.receive(socket).unwrap() > 0 {
            for received in batch.iter() {
                assert!(!received.truncated);
                let (source, local) = (received.source.ip(), received.local.unwrap());
                datagrams.extend(received.datagrams().map(|bytes| (source, local, bytes.to_vec())));
            }
        }
        datagrams
    }

    fn route(to: [u8; 4], from: [u8; 4], socket: &UdpSocket) -> Route {
        Route { destination: (to, socket.address().port()).into(), source: Some(from.into()) }
    }

    #[test]
    fn messages_arrive_in_order_with_the_addresses_they_were_given() {
        let (sender, receiver) = (socket(false), socket(false));
        let mut batch = SendBatch::new(10, 10_000);
        for number in 1..=9u8 {
            let route = route([127, 0, 1, number], [127, 0, 2, number], &receiver);
            assert!(batch.push_slices(&route, None, &[&[number; 10], &[number; 20]]));
        }
        let sent = batch.send(&sender);
        assert_eq!((sent.messages, sent.lost, sent.calls, batch.len()), (9, 0, 1, 0));
        let expected: Vec<_> = (1..=9u8)
            .map(|number| ([127, 0, 2, number].into(), [127, 0, 1, number].into(), vec![number; 30]))
            .collect();
        assert_eq!(receive(&receiver), expected);
    }

    #[test]
    fn a_run_is_cut_by_the_kernel_and_comes_whole_with_gro() {
        for gro in [false, true] {
            let (sender, receiver) = (socket(false), socket(gro));
            let mut batch = SendBatch::new(1, 10_000);
            let place =
                batch.push(&route([127, 0, 0, 1], [127, 0, 0, 1], &receiver), Some(1000), 2500).unwrap();
            for (number, segment) in place.chunks_mut(1000).enumerate() {
                segment.fill(number as u8);
            }
            assert_eq!(batch.send(&sender).messages, 1);
            let datagrams: Vec<_> = receive(&receiver).into_iter().map(|(_, _, bytes)| bytes).collect();
            assert_eq!(datagrams, [vec![0; 1000], vec![1; 1000], vec![2; 500]], "gro {gro}");
        }
    }

    #[test]
    fn one_by_one_they_arrive_too() {
        let (sender, receiver) = (socket(false), socket(false));
        let mut batch = SendBatch::new(3, 300);
        for number in 0..3 {
            batch
                .push(&Route::from(SocketAddr::from(([127, 0, 0, 1], receiver.address().port()))), None, 5)
                .unwrap()
                .fill(number);
        }
        let sent = batch.send_each(&sender);
        assert_eq!((sent.messages, sent.calls), (3, 3));
        let datagrams: Vec<_> = receive(&receiver).into_iter().map(|(_, _, bytes)| bytes).collect();
        assert_eq!(datagrams, [[0; 5], [1; 5], [2; 5]]);
    }

    #[test]
    fn a_refused_message_takes_no_other_with_it() {
        let (sender, receiver) = (socket(false), socket(false));
        let mut batch = SendBatch::new(3, 1000);
        let good = route([127, 0, 0, 1], [127, 0, 0, 1], &receiver);
        // Not an address of ours.
        let bad = Route { source: Some([192, 0, 2, 1].into()), ..good };
        assert!(batch.push_slices(&bad, None, &[b"lost"]) && batch.push_slices(&good, None, &[b"kept"]));
        let sent = batch.send(&sender);
        assert_eq!((sent.messages, sent.lost), (1, 1));
        assert!(sent.error.is_some());
        assert_eq!(receive(&receiver)[0].2, b"kept");
    }

    #[test]
    fn a_full_batch_takes_nothing_and_forgets_nothing() {
        let receiver = socket(false);
        let to = route([127, 0, 0, 1], [127, 0, 0, 1], &receiver);
        let mut batch = SendBatch::new(2, 100);
        assert!(batch.push(&to, None, 101).is_none() && batch.is_empty());
        assert!(batch.push(&to, None, 60).is_some() && batch.push(&to, None, 41).is_none());
        assert!(batch.push(&to, None, 40).is_some() && batch.push(&to, None, 0).is_none());
        assert_eq!(batch.len(), 2);
    }
}
