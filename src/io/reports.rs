//! Receiver reports and transport-wide feedback: many, small, and none of them urgent.
//!
//! Two hundred viewers report two thousand times a second, and to be woken for one costs as much as to send it twenty
//! packets. So the kernel puts them into a socket of their own on the same port (SO_REUSEPORT with a program, socket(7)),
//! which nobody waits for: the loop looks there in passing, every [`EVERY`] while it is awake anyway and [`LATEST`] after
//! the last look while there is traffic.
//!
//! The program sees a datagram before anybody has verified it. All that a false report gains is to be read late.

use super::counters::Counters;
use super::receiver::Receiver;
use super::socket::Family;
use crate::egress::Via;
use crate::ingress::Trains;
use crate::time::Timestamp;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// A loop that is awake looks for reports this often.
const EVERY: Duration = Duration::from_millis(5);
/// A loop that sleeps wakes for them this long after its last look. Round trips read from them are in doubt by as much.
const LATEST: Duration = Duration::from_millis(20);

/// The sockets that reports come to, and the buffers they are read into.
#[derive(Debug)]
pub(super) struct Reports {
    /// By family.
    sockets: [Option<OwnedFd>; 2],
    receiver: Receiver,
}

impl Reports {
    /// # Errors
    /// When memory is missing.
    pub(super) fn new(sockets: [Option<OwnedFd>; 2]) -> io::Result<Self> {
        Ok(Self { sockets, receiver: Receiver::new()? })
    }

    /// Delivers at most a batch of each family; true when more may be there.
    pub(super) fn receive<E>(
        &mut self,
        egress: &mut E,
        counters: impl Fn(&mut E) -> &mut Counters,
        mut deliver: impl FnMut(Trains<'_>, &mut E),
    ) -> bool {
        let mut more = false;
        for family in Family::ALL {
            // What a panic left behind goes first.
            if self.receiver.is_drained() {
                more |= self.fill(family, counters(egress));
            }
            while !self.receiver.is_drained() {
                deliver(self.receiver.take(counters(egress)), egress);
            }
        }
        more
    }

    fn fill(&mut self, family: Family, counters: &mut Counters) -> bool {
        let Some(socket) = &self.sockets[family as usize] else { return false };
        match self.receiver.fill(socket.as_raw_fd(), Via::MEDIA) {
            Ok(full) => full,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(_) => {
                counters.receive_errors += 1;
                false
            }
        }
    }
}

/// When the reports have their turn.
#[derive(Debug, Default)]
pub(super) struct Turn {
    looked_at: Timestamp,
    /// The last look may not have seen all.
    more: bool,
    /// Datagrams in and out until then.
    traffic: u64,
}

impl Turn {
    pub(super) fn has_come(&self, now: Timestamp) -> bool {
        self.more || now >= self.looked_at + EVERY
    }

    pub(super) const fn took(&mut self, now: Timestamp, more: bool, counters: &Counters) {
        (self.looked_at, self.more) = (now, more);
        self.traffic = traffic(counters);
    }

    /// When it comes although nothing else happens. Where nothing is received and nothing sent nobody reports.
    pub(super) fn latest(&self, counters: &Counters) -> Timestamp {
        if self.more {
            Timestamp::ZERO
        } else if self.traffic == traffic(counters) {
            Timestamp::NEVER
        } else {
            self.looked_at + LATEST
        }
    }
}

const fn traffic(counters: &Counters) -> u64 {
    counters.datagrams_in + counters.datagrams_out
}

/// Lets the kernel choose between the two sockets of an address: reports go to the one that was bound second.
///
/// # Errors
/// When the kernel has no such programs (before 4.5), or the socket shares its address with nobody.
pub(super) fn steer(socket: RawFd) -> io::Result<()> {
    let mut program = program();
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let len = size_of::<libc::sock_fprog>() as libc::socklen_t;
    // SAFETY: the program and its instructions are readable for the call, which copies them.
    let done = unsafe {
        libc::setsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            len,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Of the sockets of an address, by the order they were bound in.
const MEDIA: u32 = 0;
const REPORTS: u32 = 1;

/// RTP version 2 in the first byte, packet type in the second, format in the low bits of the first: as `wire::demux` and
/// `wire::rtcp` know them. A load beyond the end of a datagram gives 0, which is media.
fn program() -> [libc::sock_filter; 11] {
    const VERSION_BITS: u32 = 0xC0;
    const VERSION: u32 = 0x80;
    const FORMAT_BITS: u32 = 0x1F;
    const RECEIVER_REPORT: u32 = 201;
    const TRANSPORT_LAYER_FEEDBACK: u32 = 205;
    const TRANSPORT_WIDE: u32 = 15;
    let load = |at| instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, at);
    let mask = |bits| instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, bits);
    let is = |value, yes, no| instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, yes, no, value);
    let give = |socket| instruction(libc::BPF_RET | libc::BPF_K, 0, 0, socket);
    [
        load(0),
        mask(VERSION_BITS),
        is(VERSION, 0, 6),
        load(1),
        is(RECEIVER_REPORT, 5, 0),
        is(TRANSPORT_LAYER_FEEDBACK, 0, 3),
        load(0),
        mask(FORMAT_BITS),
        is(TRANSPORT_WIDE, 1, 0),
        give(MEDIA),
        give(REPORTS),
    ]
}

const fn instruction(code: u32, yes: u8, no: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: yes, jf: no, k }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::socket::Sockets;
    use std::net::{IpAddr, SocketAddr, UdpSocket};

    /// The first bytes of what waits in a socket.
    fn waiting(socket: &OwnedFd) -> Vec<Vec<u8>> {
        let socket = UdpSocket::from(socket.try_clone().unwrap());
        let mut buffer = [0; 64];
        std::iter::from_fn(|| socket.recv(&mut buffer).ok().map(|len| buffer[..len].to_vec())).collect()
    }

    #[test]
    fn reports_alone_come_to_their_own_socket() {
        let mut sockets = Sockets::bind(0).unwrap();
        let reports = sockets.take_reports();
        let reporting: [&[u8]; 3] = [&[0x8F, 205, 0, 5], &[0xAF, 205, 0, 5], &[0x81, 201, 0, 7]];
        // A NACK, a key frame request, a sender report, media, STUN, DTLS, ChannelData, and what is hardly anything.
        let others: [&[u8]; 9] = [
            &[0x81, 205, 0, 3],
            &[0x81, 206, 0, 2],
            &[0x80, 200, 0, 6],
            &[0x90, 96, 0, 1],
            &[0, 1, 0, 0],
            &[22, 254, 253, 0],
            &[0x4F, 205, 0, 1],
            &[0x8F],
            &[],
        ];
        let families = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
        for ((media, reports), local) in sockets.descriptors().zip(&reports).zip(families) {
            let client = UdpSocket::bind((local, 0)).unwrap();
            client.connect(SocketAddr::new(local, sockets.port())).unwrap();
            for bytes in reporting.iter().chain(&others) {
                client.send(bytes).unwrap();
            }
            // The loopback device delivers before a send returns.
            assert_eq!(waiting(reports.as_ref().unwrap()), reporting);
            assert_eq!(waiting(&media.try_clone_to_owned().unwrap()), others);
        }
    }

    fn counters(datagrams_in: u64) -> Counters {
        Counters { datagrams_in, ..Counters::default() }
    }

    #[test]
    fn a_loop_that_is_awake_looks_now_and_then() {
        let mut turn = Turn::default();
        let start = Timestamp::from_nanos(1_000_000_000);
        assert!(turn.has_come(start));
        turn.took(start, false, &counters(0));
        assert!(!turn.has_come(start + EVERY / 2));
        assert!(turn.has_come(start + EVERY));
        turn.took(start + EVERY, true, &counters(0));
        assert!(turn.has_come(start + EVERY), "there is more");
    }

    #[test]
    fn a_loop_wakes_for_them_only_where_there_is_traffic() {
        let mut turn = Turn::default();
        let start = Timestamp::from_nanos(1_000_000_000);
        turn.took(start, false, &counters(7));
        assert_eq!(turn.latest(&counters(7)), Timestamp::NEVER);
        assert_eq!(turn.latest(&counters(8)), start + LATEST);
        turn.took(start, true, &counters(8));
        assert_eq!(turn.latest(&counters(8)), Timestamp::ZERO);
    }
}
