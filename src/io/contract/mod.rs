//! What every backend must do, run against each of them over the loopback device.

mod choosing;
mod living;
mod receiving;
mod sending;
mod side;

use super::alloc::allocations_of_this_thread;
use super::counters::Counters;
use super::cycle::{self, Core};
use super::socket::{Family, Sockets, set_option};
use super::uring::Prepared;
use super::{AnyBackend, Backend, BackendKind, QueueSize, RECEIVED_BYTES_MAX, clock, open};
use crate::egress::{Egress, Path, RunKey, Via};
use crate::ingress::{TRAINS_MAX, Trains};
use crate::time::Timestamp;
use living::*;
use receiving::*;
use sending::*;
use side::*;
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Far more than any step takes on a slow machine. A test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Says that a test checks nothing on this machine. CI must not pass on that.
fn skip(why: &str) {
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!in_ci, "skipped in CI: {why}");
    println!("skipped: {why}");
}

macro_rules! on_both_backends {
    ($($test:ident)*) => {
        mod uring {
            $(#[test] fn $test() {
                match super::refused() {
                    None => super::$test(super::BackendKind::Uring),
                    Some(why) => super::skip(&why),
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
    each_socket_tells_itself_and_answers_from_itself
    an_opened_socket_sends_and_receives_until_it_is_closed
    many_opened_sockets_are_all_heard
    one_family_of_an_opened_socket_ends_without_the_other_and_a_second_opening_keeps_it
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
    Path { local: remote.ip(), remote, via: Via::MEDIA }
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
