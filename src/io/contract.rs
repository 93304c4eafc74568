//! What every backend must do, run against each of them over the loopback device.

use super::alloc::allocations_of_this_thread;
use super::counters::Counters;
use super::cycle::{self, Core};
use super::socket::{Family, Sockets, set_option};
use super::uring::Prepared;
use super::{AnyBackend, Backend, BackendKind, QueueSize, RECEIVED_BYTES_MAX, clock, open};
use crate::egress::{Egress, Path, RunKey};
use crate::ingress::{TRAINS_MAX, Trains};
use crate::time::Timestamp;
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Far beyond what any step takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

macro_rules! on_both_backends {
    ($($test:ident)*) => {
        mod uring {
            $(#[test] fn $test() {
                match super::refused() {
                    None => super::$test(super::BackendKind::Uring),
                    Some(why) => println!("skipped: {why}"),
                }
            })*
        }
        mod mmsg {
            $(#[test] fn $test() { super::$test(super::BackendKind::Mmsg); })*
        }
    };
}

on_both_backends! {
    echoes_arrive_once_and_in_order
    an_answer_leaves_from_the_address_asked_at
    equal_datagrams_and_a_shorter_last_leave_in_one_send
    the_longest_runs_leave_in_one_send
    unequal_datagrams_split_into_runs
    more_datagrams_than_slots_lose_nothing
    more_datagrams_than_receive_buffers_lose_nothing
    a_refused_run_is_repeated_one_by_one
    a_full_socket_is_waited_for_and_stops_nobody_for_ever
    a_datagram_nobody_can_send_is_counted_and_harms_no_other
    another_thread_wakes_a_sleeping_shard
    a_deadline_ends_the_sleep
    long_and_empty_datagrams_are_counted_and_dropped
    a_train_falls_into_its_datagrams
    without_gathering_each_datagram_comes_alone
    more_trains_than_a_cycle_delivers_lose_nothing
    reports_are_read_in_passing
    a_panic_costs_what_is_in_hand_and_no_buffer
    the_steady_state_allocates_nothing
}

fn refused() -> Option<String> {
    // On a thread of its own: the end of a ring interrupts the thread it belonged to.
    let probe = || Prepared::open(&Sockets::bind(0).unwrap()).err().map(|refused| refused.to_string());
    thread::spawn(probe).join().unwrap()
}

type Handler = Box<dyn FnMut(&Path, &mut [u8], &mut dyn Egress) + Send>;
type Order = Box<dyn FnOnce(&mut dyn Egress) + Send>;

/// A core whose datagrams go to a closure, and whose commands are closures.
struct Script {
    handler: Handler,
    commands: Receiver<Option<Order>>,
    deadline: Timestamp,
    on_deadline: Option<Order>,
    stopping: bool,
}

impl Core for Script {
    fn handle_datagrams(&mut self, _: Timestamp, trains: Trains<'_>, egress: &mut impl Egress) {
        for train in trains {
            let path = train.path;
            for datagram in train.into_datagrams() {
                (self.handler)(&path, datagram, egress);
            }
        }
    }

    fn handle_commands(&mut self, _: Timestamp, egress: &mut impl Egress) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Some(command) => command(egress),
                None => self.stopping = true,
            }
        }
    }

    fn handle_deferred(&mut self, _: Timestamp, _: &mut impl Egress) {}

    fn handle_timeout(&mut self, now: Timestamp, egress: &mut impl Egress) {
        assert!(now >= self.deadline);
        self.deadline = Timestamp::NEVER;
        if let Some(command) = self.on_deadline.take() {
            command(egress);
        }
    }

    fn next_deadline(&self) -> Timestamp {
        self.deadline
    }

    fn has_deferred(&self) -> bool {
        false
    }

    fn end_of_cycle(&mut self, _: &Counters) {}

    fn stopping(&self) -> bool {
        self.stopping
    }
}

/// A shard's thread with a script in it.
struct Shard {
    port: u16,
    waker: super::waker::Waker,
    commands: Sender<Option<Order>>,
    thread: JoinHandle<Counters>,
}

impl Shard {
    fn start(kind: BackendKind, slots: usize, handler: Handler) -> Self {
        Self::start_on(Sockets::bind(0).unwrap(), kind, slots, Timestamp::NEVER, None, handler)
    }

    fn start_on(
        sockets: Sockets,
        kind: BackendKind,
        slots: usize,
        deadline: Timestamp,
        on_deadline: Option<Order>,
        handler: Handler,
    ) -> Self {
        let port = sockets.port();
        let (commands, mailbox) = channel();
        let (tell, told) = channel();
        let core = Script { handler, commands: mailbox, deadline, on_deadline, stopping: false };
        let thread = thread::spawn(move || {
            let opened = open(Some(kind), sockets, QueueSize { slots, keys: 16 }).unwrap();
            assert_eq!(opened.kind(), kind);
            match opened.backend {
                AnyBackend::Uring(mut backend) => drive(&mut backend, core, &tell),
                AnyBackend::Mmsg(mut backend) => drive(&mut backend, core, &tell),
            }
        });
        let waker = told.recv_timeout(PATIENCE).unwrap();
        Self { port, waker, commands, thread }
    }

    /// Runs `command` on the shard's thread, without waiting for it.
    fn command(&self, command: impl FnOnce(&mut dyn Egress) + Send + 'static) {
        self.commands.send(Some(Box::new(command))).unwrap();
        self.waker.wake();
    }

    /// Keeps the shard's thread busy until the sender is used or dropped.
    fn hold(&self) -> Sender<()> {
        let (release, released) = channel::<()>();
        let (tell, told) = channel();
        self.command(move |_| {
            tell.send(()).unwrap();
            let _ = released.recv();
        });
        told.recv_timeout(PATIENCE).unwrap();
        release
    }

    fn stop(self) -> Counters {
        self.commands.send(None).unwrap();
        self.waker.wake();
        self.thread.join().unwrap()
    }

    fn client(&self, local: &str, remote: &str) -> UdpSocket {
        let client = client(local);
        client.connect(SocketAddr::new(remote.parse().unwrap(), self.port)).unwrap();
        client
    }
}

/// Runs the core again on the same backend each time it panics.
fn drive<B: Backend>(backend: &mut B, mut core: Script, tell: &Sender<super::waker::Waker>) -> Counters {
    tell.send(backend.waker()).unwrap();
    while catch_unwind(AssertUnwindSafe(|| cycle::run(backend, &mut core))).is_err() {}
    *backend.counters()
}

fn client(local: &str) -> UdpSocket {
    let client = UdpSocket::bind(SocketAddr::new(local.parse().unwrap(), 0)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    socket2::SockRef::from(&client).set_recv_buffer_size(4 << 20).unwrap();
    client
}

fn loopback(client: &UdpSocket) -> Path {
    let remote = client.local_addr().unwrap();
    Path { local: remote.ip(), remote }
}

fn receive(client: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 65_536];
    let len = client.recv(&mut buffer).expect("the datagram comes");
    buffer[..len].to_vec()
}

fn send(egress: &mut dyn Egress, key: RunKey, path: &Path, bytes: &[u8]) {
    egress.reserve(key, path).expect("a slot is free")[..bytes.len()].copy_from_slice(bytes);
    egress.commit(bytes.len());
}

fn echo() -> Handler {
    Box::new(|path, datagram, egress| send(egress, RunKey(0), path, datagram))
}

fn ignore() -> Handler {
    Box::new(|_, _, _| {})
}

fn has_ipv6() -> bool {
    UdpSocket::bind("[::1]:0").is_ok()
}

/// A datagram of `len` bytes that begins with its number.
fn numbered(number: u32, len: usize) -> Vec<u8> {
    let mut datagram = vec![number as u8; len];
    datagram[..4].copy_from_slice(&number.to_be_bytes());
    datagram
}

fn number(datagram: &[u8]) -> u32 {
    u32::from_be_bytes(datagram[..4].try_into().unwrap())
}

fn assert_nothing_waits(client: &UdpSocket) {
    client.set_nonblocking(true).unwrap();
    assert!(client.recv(&mut [0; 16]).is_err(), "a datagram too many");
}

fn echoes_arrive_once_and_in_order(kind: BackendKind) {
    let handler: Handler = Box::new(|path, datagram, egress| {
        send(egress, RunKey(u32::from(path.remote.port()) % 16), path, datagram);
    });
    let shard = Shard::start(kind, 512, handler);
    let mut clients: Vec<UdpSocket> = (0..6).map(|_| shard.client("127.0.0.1", "127.0.0.1")).collect();
    if has_ipv6() {
        clients.extend((0..6).map(|_| shard.client("::1", "::1")));
    }
    let (rounds, burst) = (50, 20);
    for round in 0..rounds {
        for number in 0..burst {
            for client in &clients {
                let number = round * burst + number;
                client.send(&numbered(number, 100 + 200 * (number as usize % 3))).unwrap();
            }
        }
        for number in 0..burst {
            let number = round * burst + number;
            for client in &clients {
                assert_eq!(receive(client), numbered(number, 100 + 200 * (number as usize % 3)));
            }
        }
    }
    clients.iter().for_each(assert_nothing_waits);
    let counters = shard.stop();
    let count = u64::from(rounds * burst) * clients.len() as u64;
    assert_eq!((counters.datagrams_in, counters.datagrams_out), (count, count));
    assert_eq!(counters.bytes_in, counters.bytes_out);
}

fn an_answer_leaves_from_the_address_asked_at(kind: BackendKind) {
    let (tell, told) = channel();
    let handler: Handler = Box::new(move |path, datagram, egress| {
        tell.send(path.local).unwrap();
        send(egress, RunKey::NONE, path, datagram);
    });
    let shard = Shard::start(kind, 16, handler);
    let mut pairs = vec![("127.0.0.1", "127.0.0.2"), ("127.0.0.1", "127.0.0.3"), ("127.0.0.2", "127.0.0.1")];
    if has_ipv6() {
        pairs.push(("::1", "::1"));
    }
    for (from, to) in pairs {
        // A connected socket takes datagrams from the address it is connected to alone.
        let client = shard.client(from, to);
        client.send(b"hello").unwrap();
        assert_eq!(receive(&client), b"hello");
        assert_eq!(told.recv().unwrap(), to.parse::<IpAddr>().unwrap());
    }
    shard.stop();
}

fn equal_datagrams_and_a_shorter_last_leave_in_one_send(kind: BackendKind) {
    for local in ["127.0.0.1", "::1"].into_iter().take(1 + usize::from(has_ipv6())) {
        let shard = Shard::start(kind, 64, ignore());
        let client = client(local);
        let path = loopback(&client);
        shard.command(move |egress| {
            for number in 0..10 {
                send(egress, RunKey(3), &path, &numbered(number, 1000));
            }
            send(egress, RunKey(3), &path, &numbered(10, 300));
        });
        for number in 0..10 {
            assert_eq!(receive(&client), numbered(number, 1000));
        }
        assert_eq!(receive(&client), numbered(10, 300));
        let counters = shard.stop();
        assert_eq!((counters.sends, counters.gso_runs, counters.datagrams_out), (1, 1, 11));
        assert_eq!((counters.gso_refused, counters.bytes_out), (0, 10_300));
    }
}

fn the_longest_runs_leave_in_one_send(kind: BackendKind) {
    for local in ["127.0.0.1", "::1"].into_iter().take(1 + usize::from(has_ipv6())) {
        let shard = Shard::start(kind, 256, ignore());
        let client = client(local);
        let path = loopback(&client);
        // 64 of 1023 bytes and 44 of 1472: as near to 64 KiB as runs get.
        for (count, len) in [(64, 1023), (44, 1472), (64, 4)] {
            shard.command(move |egress| {
                (0..count).for_each(|number| send(egress, RunKey(3), &path, &numbered(number, len)));
            });
            (0..count).for_each(|number| assert_eq!(receive(&client), numbered(number, len)));
        }
        let counters = shard.stop();
        assert_eq!((counters.sends, counters.gso_runs, counters.gso_refused), (3, 3, 0));
    }
}

fn unequal_datagrams_split_into_runs(kind: BackendKind) {
    let shard = Shard::start(kind, 64, ignore());
    let client = client("127.0.0.1");
    let path = loopback(&client);
    let lens = [100, 200, 200, 50, 50, 60];
    shard.command(move |egress| {
        for (number, len) in lens.into_iter().enumerate() {
            send(egress, RunKey(3), &path, &numbered(number as u32, len));
        }
    });
    for (number, len) in lens.into_iter().enumerate() {
        assert_eq!(receive(&client), numbered(number as u32, len));
    }
    let counters = shard.stop();
    // 100 | 200 200 50 | 50 | 60
    assert_eq!((counters.sends, counters.gso_runs, counters.datagrams_out), (4, 1, 6));
}

fn more_datagrams_than_slots_lose_nothing(kind: BackendKind) {
    // Fewer than wait for an early flush.
    let slots = 32;
    let shard = Shard::start(kind, slots, ignore());
    let clients: Vec<UdpSocket> = (0..4).map(|_| client("127.0.0.1")).collect();
    let paths: Vec<Path> = clients.iter().map(loopback).collect();
    let each = 200;
    shard.command(move |egress| {
        for number in 0..each {
            for (key, path) in paths.iter().enumerate() {
                let len = 100 + (number as usize * 7) % 90;
                send(egress, RunKey(key as u32), path, &numbered(number, len));
            }
        }
    });
    for client in &clients {
        for expected in 0..each {
            assert_eq!(number(&receive(client)), expected);
        }
        assert_nothing_waits(client);
    }
    let counters = shard.stop();
    assert_eq!(counters.datagrams_out, 4 * u64::from(each));
    assert!(counters.slots_exhausted >= 4 * u64::from(each) / slots as u64 - 1);
    assert_eq!((counters.send_errors, counters.slots_refused), (0, 0));
}

fn more_datagrams_than_receive_buffers_lose_nothing(kind: BackendKind) {
    let shard = Shard::start(kind, 64, echo());
    let client = shard.client("127.0.0.1", "127.0.0.1");
    let count = 300;
    for _ in 0..3 {
        let release = shard.hold();
        for number in 0..count {
            client.send(&numbered(number, 50)).unwrap();
        }
        drop(release);
        for expected in 0..count {
            assert_eq!(number(&receive(&client)), expected);
        }
    }
    let counters = shard.stop();
    assert_eq!(counters.datagrams_in, 3 * u64::from(count));
}

fn a_refused_run_is_repeated_one_by_one(kind: BackendKind) {
    let sockets = Sockets::bind(0).unwrap();
    // The kernel cuts runs only when it may fill in checksums: udp_send_skb() answers EINVAL to a run on this socket.
    let fd = sockets.get(Family::Ipv4).unwrap();
    set_option(fd, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
    let shard = Shard::start_on(sockets, kind, 64, Timestamp::NEVER, None, ignore());
    let client = client("127.0.0.1");
    let path = loopback(&client);
    for round in 0..3 {
        shard.command(move |egress| {
            for number in 0..5 {
                send(egress, RunKey(1), &path, &numbered(round * 5 + number, 500));
            }
        });
        // Nothing else comes to wake the shard: the repeat must not wait for it.
        for number in 0..5 {
            assert_eq!(receive(&client), numbered(round * 5 + number, 500));
        }
    }
    let counters = shard.stop();
    // The first run taught it; the others went one by one from the start.
    assert_eq!((counters.gso_refused, counters.gso_runs), (1, 0));
    assert_eq!((counters.sends, counters.datagrams_out, counters.send_errors), (15, 15, 0));
}

/// A network of its own, with a neighbour that never answers: what is sent there waits in the kernel, and fills the
/// socket, until the neighbour is given up. False where the process may not make one.
fn enter_a_network_with_a_dead_neighbour() -> bool {
    // SAFETY: a plain call; it moves this thread alone.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return false;
    }
    let ip =
        |args: &str| Command::new("ip").args(args.split(' ')).status().is_ok_and(|status| status.success());
    ip("link set lo up")
        && ip("link add near type veth peer name far")
        && ip("addr add 10.9.0.1/24 dev near")
        && ip("link set near up")
        && ip("link set far up")
        // Given up after 20 ms instead of 3 s.
        && fs::write("/proc/sys/net/ipv4/neigh/near/retrans_time_ms", "20").is_ok()
        && fs::write("/proc/sys/net/ipv4/neigh/near/mcast_solicit", "1").is_ok()
}

fn a_full_socket_is_waited_for_and_stops_nobody_for_ever(kind: BackendKind) {
    let test = move || {
        if !enter_a_network_with_a_dead_neighbour() {
            println!("skipped: needs the right to make network namespaces, and ip(8)");
            return;
        }
        fill_the_socket(kind);
    };
    thread::spawn(test).join().unwrap();
}

fn fill_the_socket(kind: BackendKind) {
    let sockets = Sockets::bind(0).unwrap();
    set_option(sockets.get(Family::Ipv4).unwrap(), libc::SOL_SOCKET, libc::SO_SNDBUF, 1).unwrap();
    let shard = Shard::start_on(sockets, kind, 256, Timestamp::NEVER, None, ignore());
    let dead = Path { remote: "10.9.0.2:9".parse().unwrap(), ..Path::NONE };
    let count = 50;
    shard.command(move |egress| {
        (0..count).for_each(|number| send(egress, RunKey::NONE, &dead, &numbered(number, 1000)));
    });
    // The socket is one for all, so others wait too, but not for ever.
    let client = client("127.0.0.1");
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let path = loopback(&client);
    let mut asked = 0;
    let answered = (0..1000).any(|_| {
        let (tell, told) = channel();
        shard.command(move |egress| {
            let slot = egress.reserve(RunKey::NONE, &path).map(|slot| slot[..4].fill(1));
            slot.inspect(|()| egress.commit(4));
            tell.send(slot.is_some()).unwrap();
        });
        asked += u64::from(told.recv_timeout(PATIENCE).unwrap());
        client.recv(&mut [0; 8]).is_ok()
    });
    assert!(answered);
    let counters = shard.stop();
    assert!(counters.send_retries > 0);
    assert!(counters.datagrams_out + counters.send_errors <= u64::from(count) + asked);
    if kind == BackendKind::Uring {
        // It loses none, and the one that was answered had to stand behind all that came before it.
        assert_eq!(counters.send_errors, 0);
        assert!(counters.datagrams_out > u64::from(count), "{counters:?}");
    }
}

fn a_datagram_nobody_can_send_is_counted_and_harms_no_other(kind: BackendKind) {
    let shard = Shard::start(kind, 64, ignore());
    let client = client("127.0.0.1");
    let path = loopback(&client);
    // EACCES, for the socket may not broadcast; EINVAL, for there is no port 0.
    let broadcast = Path { remote: "255.255.255.255:9".parse().unwrap(), ..Path::NONE };
    let portless = Path { remote: "127.0.0.1:0".parse().unwrap(), ..Path::NONE };
    shard.command(move |egress| {
        send(egress, RunKey(1), &path, &numbered(0, 100));
        send(egress, RunKey(2), &broadcast, &numbered(1, 100));
        send(egress, RunKey(1), &path, &numbered(2, 100));
        send(egress, RunKey(3), &portless, &numbered(3, 100));
        send(egress, RunKey(3), &portless, &numbered(4, 100));
        send(egress, RunKey(1), &path, &numbered(5, 200));
    });
    for expected in [0, 2, 5] {
        assert_eq!(number(&receive(&client)), expected);
    }
    let counters = shard.stop();
    assert_eq!((counters.send_errors, counters.datagrams_out, counters.gso_refused), (3, 3, 1));
}

fn another_thread_wakes_a_sleeping_shard(kind: BackendKind) {
    let shard = Shard::start(kind, 16, ignore());
    for round in 0..200 {
        let (tell, told) = channel();
        shard.command(move |_| tell.send(round).unwrap());
        assert_eq!(told.recv_timeout(PATIENCE), Ok(round));
    }
    // Many at once, from many threads, to a shard that may be about to sleep.
    let (tell, told) = channel();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (commands, waker, tell) = (shard.commands.clone(), shard.waker.clone(), tell.clone());
            thread::spawn(move || {
                for _ in 0..500 {
                    let tell = tell.clone();
                    commands.send(Some(Box::new(move |_| tell.send(()).unwrap()))).unwrap();
                    waker.wake();
                }
            })
        })
        .collect();
    for _ in 0..2000 {
        told.recv_timeout(PATIENCE).unwrap();
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let counters = shard.stop();
    assert!((1..=2201).contains(&counters.wakeups), "{}", counters.wakeups);
}

fn a_deadline_ends_the_sleep(kind: BackendKind) {
    let client = client("127.0.0.1");
    let path = loopback(&client);
    let deadline = clock::now() + Duration::from_millis(30);
    let say: Order = Box::new(move |egress| send(egress, RunKey::NONE, &path, b"now"));
    let sockets = Sockets::bind(0).unwrap();
    let shard = Shard::start_on(sockets, kind, 16, deadline, Some(say), ignore());
    assert_eq!(receive(&client), b"now");
    assert!(clock::now() >= deadline);
    shard.stop();
}

fn long_and_empty_datagrams_are_counted_and_dropped(kind: BackendKind) {
    let handler: Handler = Box::new(|path, datagram, egress| {
        send(egress, RunKey::NONE, path, &(datagram.len() as u32).to_be_bytes());
    });
    let shard = Shard::start(kind, 16, handler);
    for local in ["127.0.0.1", "::1"].into_iter().take(1 + usize::from(has_ipv6())) {
        let client = shard.client(local, local);
        for len in [1, 0, RECEIVED_BYTES_MAX + 1, 60_000, RECEIVED_BYTES_MAX, 0, 2] {
            client.send(&vec![7; len]).unwrap();
        }
        for len in [1, RECEIVED_BYTES_MAX, 2] {
            assert_eq!(number(&receive(&client)) as usize, len);
        }
    }
    let families = 1 + u64::from(has_ipv6());
    let counters = shard.stop();
    assert_eq!((counters.truncated, counters.unusable), (2 * families, 2 * families));
    assert_eq!(counters.datagrams_in, 3 * families);
}

fn a_train_falls_into_its_datagrams(kind: BackendKind) {
    // What one backend sends in a run, another gets in one piece.
    let (tell, told) = channel();
    let handler: Handler = Box::new(move |_, datagram, _| tell.send(datagram.to_vec()).unwrap());
    let receiver = Shard::start(kind, 64, handler);
    let sender = Shard::start(kind, 64, ignore());
    for local in ["127.0.0.1", "::1"].into_iter().take(1 + usize::from(has_ipv6())) {
        let local: IpAddr = local.parse().unwrap();
        let path = Path { local, remote: SocketAddr::new(local, receiver.port) };
        sender.command(move |egress| {
            for number in 0..20 {
                send(egress, RunKey(1), &path, &numbered(number, 1100));
            }
            send(egress, RunKey(1), &path, &numbered(20, 90));
        });
    }
    let families = 1 + u64::from(has_ipv6());
    sender.stop();
    for _ in 0..families {
        for number in 0..21 {
            let expected = numbered(number, if number < 20 { 1100 } else { 90 });
            assert_eq!(told.recv_timeout(PATIENCE), Ok(expected));
        }
    }
    let counters = receiver.stop();
    assert_eq!((counters.receives, counters.datagrams_in), (families, 21 * families));
    assert_eq!(counters.bytes_in, (20 * 1100 + 90) * families);
}

fn without_gathering_each_datagram_comes_alone(kind: BackendKind) {
    let (tell, told) = channel();
    let handler: Handler = Box::new(move |_, datagram, _| tell.send(number(datagram)).unwrap());
    let sockets = Sockets::bind(0).unwrap();
    sockets.set_gathering(false).unwrap();
    let receiver = Shard::start_on(sockets, kind, 64, Timestamp::NEVER, None, handler);
    let sender = Shard::start(kind, 64, ignore());
    let local = IpAddr::from([127, 0, 0, 1]);
    let path = Path { local, remote: SocketAddr::new(local, receiver.port) };
    sender.command(move |egress| {
        for number in 0..20 {
            send(egress, RunKey(1), &path, &numbered(number, 1100));
        }
    });
    assert_eq!(sender.stop().sends, 1);
    for expected in 0..20 {
        assert_eq!(told.recv_timeout(PATIENCE), Ok(expected));
    }
    let counters = receiver.stop();
    assert_eq!((counters.receives, counters.datagrams_in), (20, 20));
}

fn more_trains_than_a_cycle_delivers_lose_nothing(kind: BackendKind) {
    let (trains, each) = (40, 10);
    let (tell, told) = channel();
    let handler: Handler = Box::new(move |_, datagram, _| tell.send(number(datagram)).unwrap());
    let receiver = Shard::start(kind, 64, handler);
    let sender = Shard::start(kind, 512, ignore());
    let local = IpAddr::from([127, 0, 0, 1]);
    let path = Path { local, remote: SocketAddr::new(local, receiver.port) };
    // They come while the shard is busy, so that it finds them all at once; a longer one begins each run.
    let release = receiver.hold();
    sender.command(move |egress| {
        for number in 0..trains * each {
            send(egress, RunKey(1), &path, &numbered(number, 100 + (number / each) as usize));
        }
    });
    let sent = sender.stop();
    assert_eq!(sent.sends, u64::from(trains));
    drop(release);
    for expected in 0..trains * each {
        assert_eq!(told.recv_timeout(PATIENCE), Ok(expected));
    }
    let counters = receiver.stop();
    assert_eq!((counters.receives, counters.datagrams_in), (u64::from(trains), u64::from(trains * each)));
}

fn reports_are_read_in_passing(kind: BackendKind) {
    const REPORT: [u8; 2] = [0x8F, 205];
    let (tell, told) = channel();
    let handler: Handler = Box::new(move |_, datagram, _| {
        let kind = if datagram[..2] == REPORT { "report" } else { "other" };
        tell.send((kind, number(&datagram[4..]))).unwrap();
    });
    let shard = Shard::start(kind, 64, handler);
    for local in ["127.0.0.1", "::1"].into_iter().take(1 + usize::from(has_ipv6())) {
        let client = shard.client(local, local);
        let release = shard.hold();
        // More than are read at once, and before them all what wakes the shard.
        let reports: u32 = 200;
        for number in 0..reports {
            let mut report = numbered(u32::from_be_bytes([REPORT[0], REPORT[1], 0, 0]), 60);
            report[4..8].copy_from_slice(&number.to_be_bytes());
            client.send(&report).unwrap();
        }
        client.send(&[0; 8]).unwrap();
        drop(release);
        let told = |_| told.recv_timeout(PATIENCE).unwrap();
        let (reported, others): (Vec<_>, Vec<_>) =
            (0..=reports).map(told).partition(|(kind, _)| *kind == "report");
        assert_eq!(
            reported.into_iter().map(|(_, number)| number).collect::<Vec<_>>(),
            Vec::from_iter(0..reports)
        );
        assert_eq!(others, [("other", 0)]);
    }
    shard.stop();
}

fn a_panic_costs_what_is_in_hand_and_no_buffer(kind: BackendKind) {
    let handler: Handler = Box::new(|path, datagram, egress| {
        let slot = egress.reserve(RunKey(0), path).unwrap();
        if datagram == b"panic" {
            slot.fill(0xff);
            // Unwinds without the hook's message.
            resume_unwind(Box::new("a bug in the core"));
        }
        slot[..datagram.len()].copy_from_slice(datagram);
        egress.commit(datagram.len());
    });
    let shard = Shard::start(kind, 8, handler);
    let client = shard.client("127.0.0.1", "127.0.0.1");
    // More often than there are buffers and slots: none may leak.
    for round in 0..300_u32 {
        let release = shard.hold();
        client.send(&numbered(round, 10)).unwrap();
        client.send(b"panic").unwrap();
        // The rest of the batch is lost with it; the next batch is not.
        for _ in 2..TRAINS_MAX {
            client.send(b"panic").unwrap();
        }
        client.send(&numbered(round, 12)).unwrap();
        drop(release);
        for len in [10, 12] {
            assert_eq!(receive(&client), numbered(round, len));
        }
    }
    assert_nothing_waits(&client);
    let counters = shard.stop();
    assert_eq!((counters.datagrams_in, counters.datagrams_out), (300 * (TRAINS_MAX as u64 + 1), 600));
}

fn the_steady_state_allocates_nothing(kind: BackendKind) {
    let (tell, told) = channel();
    let mut before = 0;
    let handler: Handler = Box::new(move |path, datagram, egress| {
        match number(datagram) {
            500 => before = allocations_of_this_thread(),
            4500 => tell.send(allocations_of_this_thread() - before).unwrap(),
            _ => {}
        }
        for _ in 0..4 {
            send(egress, RunKey(0), path, datagram);
        }
    });
    let shard = Shard::start(kind, 64, handler);
    let client = shard.client("127.0.0.1", "127.0.0.1");
    for round in 0..46 {
        for number in 0..100 {
            client.send(&numbered(round * 100 + number, 300)).unwrap();
        }
        for number in 0..400 {
            assert_eq!(receive(&client), numbered(round * 100 + number / 4, 300));
        }
    }
    assert_eq!(told.recv_timeout(PATIENCE), Ok(0));
    shard.stop();
}

#[test]
fn without_a_wish_the_backend_is_io_uring_or_says_why_not() {
    let opened = open(None, Sockets::bind(0).unwrap(), QueueSize { slots: 16, keys: 16 }).unwrap();
    assert_eq!(opened.kind() == BackendKind::Mmsg, opened.refused.is_some());
    assert_eq!(opened.refused.map(|refused| refused.to_string()), refused());
}

/// Makes one system call of this thread fail with `errno`, as a container's seccomp filter does.
fn forbid(call: libc::c_long, errno: i32) {
    let code = |code: u32, jump_false: u8, value: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: jump_false,
        k: value,
    };
    let mut program = [
        // The number of the call is the first field of struct seccomp_data.
        code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, call as u32),
        code(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        code(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: plain calls on a program that is valid while they run; they bind this thread alone.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter, 0, 0), 0);
    }
}

#[test]
fn a_refused_io_uring_names_its_cause_and_falls_back() {
    if let Some(why) = refused() {
        println!("skipped: {why}");
        return;
    }
    let (setup, enter, register) =
        (libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register);
    let cases = [
        (setup, libc::ENOSYS, "built without it"),
        (setup, libc::EPERM, "seccomp"),
        (setup, libc::ENOMEM, "memlock"),
        (setup, libc::EINVAL, "Linux 6.1"),
        (register, libc::EPERM, "io_uring_register"),
        (enter, libc::EPERM, "io_uring_enter"),
    ];
    for (call, errno, words) in cases {
        let test = move || {
            forbid(call, errno);
            let size = QueueSize { slots: 16, keys: 16 };
            let opened = open(None, Sockets::bind(0).unwrap(), size).unwrap();
            assert_eq!(opened.kind(), BackendKind::Mmsg);
            let why = opened.refused.unwrap().to_string();
            assert!(why.contains(words), "{why}");
            let error = open(Some(BackendKind::Uring), Sockets::bind(0).unwrap(), size).unwrap_err();
            assert!(error.to_string().contains(words) && error.to_string().contains("--backend mmsg"));
        };
        thread::spawn(test).join().unwrap();
    }
}
