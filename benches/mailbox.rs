//! A shard's mail: a command there and its answer back, packets handed to another shard and their buffers back; each with
//! the wake of a thread that sleeps in its backend, where it does.

#[path = "rig/cores.rs"]
mod cores;

use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cores::{End, pin};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_channel::bounded;
use millrace::control::bridge::Port;
use millrace::control::mailbox::{Mail, Mailbox};
use millrace::ids::TrackId;
use millrace::io::socket::Sockets;
use millrace::io::waker::Waker;
use millrace::io::{AnyBackend, Backend, BackendKind, QueueSize, open};
use millrace::limits::BRIDGE_PACKETS_MAX;
use millrace::router::parcel::{Content, Packet, Parcel};
use millrace::time::Timestamp;
use millrace_control::ShardCounters;

const KINDS: [BackendKind; 2] = [BackendKind::Uring, BackendKind::Mmsg];
/// Packets that a receive batch has for another shard.
const BATCH: usize = 16;
/// After so long without mail a shard sleeps, and its core with it.
const REST: Duration = Duration::from_micros(100);
const HOME: u32 = 0;
const MIRROR: u32 = 1;

/// Starts a shard's thread that does what `make` makes and sleeps, until that is false. Where the kernel refuses the
/// backend, `make` is never called.
/// What comes back to whoever sends packets alone.
fn packet(content: Content) -> Option<Box<Packet>> {
    match content {
        Content::Packet(packet) => Some(packet),
        _ => None,
    }
}

fn start<W: FnMut() -> bool>(
    kind: BackendKind,
    make: impl FnOnce(Waker) -> W + Send + 'static,
) -> JoinHandle<()> {
    thread::spawn(move || {
        pin(End::Far);
        let sockets = Sockets::bind(0).expect("a port is free");
        let Ok(opened) = open(Some(kind), sockets, QueueSize { slots: 16, keys: 1 }) else { return };
        match opened.backend {
            AnyBackend::Uring(backend) => live(backend, make),
            AnyBackend::Mmsg(backend) => live(backend, make),
        }
    })
}

fn live<B: Backend, W: FnMut() -> bool>(mut backend: B, make: impl FnOnce(Waker) -> W) {
    let mut work = make(backend.waker());
    while work() {
        backend.receive(|_, _| {});
        backend.flush();
        backend.park(Timestamp::NEVER);
    }
}

/// Asked and answered, as signaling does: both threads sleep in between.
fn command(criterion: &mut Criterion) {
    pin(End::Near);
    let mut group = criterion.benchmark_group("mailbox/command answered");
    for kind in KINDS {
        let (tell, told) = channel();
        let shard = start(kind, move |waker| {
            let (mailbox, mail) = Mailbox::new(waker);
            tell.send(mailbox).expect("it is waited for");
            move || {
                mail.try_iter().all(|mail| match mail {
                    Mail::Counters(reply) => reply.send(ShardCounters::default()).is_ok(),
                    _ => false,
                })
            }
        });
        if let Ok(mailbox) = told.recv() {
            let (reply, replies) = bounded(1);
            group.bench_function(kind.name(), |bencher| {
                bencher.iter(|| {
                    assert!(mailbox.post(Mail::Counters(reply.clone())).is_ok());
                    replies.recv()
                });
            });
            assert!(mailbox.post(Mail::Stop).is_ok());
        }
        shard.join().expect("it does not panic");
    }
    group.finish();
}

/// The shard that has packets for another one, and its buffers that are at home.
struct Home {
    port: Port,
    #[expect(clippy::vec_box, reason = "a parcel holds its buffer by a box")]
    buffers: Vec<Box<Packet>>,
}

impl Home {
    /// A home, and a mirror that gives everything back. `None` where the kernel refuses the backend.
    fn start(kind: BackendKind) -> (Option<Self>, JoinHandle<()>) {
        let (tell, told) = channel();
        let mirror = start(kind, move |waker| {
            let mut ports = Port::connect([None, Some(waker)]).into_iter();
            tell.send(ports.next()).expect("it is waited for");
            let mirror = ports.next().expect("there are two");
            move || {
                mirror.receive().all(|parcel| {
                    let goes_on = matches!(parcel.content, Content::Packet(_));
                    mirror.give_back(parcel);
                    goes_on
                })
            }
        });
        let buffers = (0..BRIDGE_PACKETS_MAX).map(|_| Box::new(Packet::EMPTY)).collect();
        (told.recv().ok().flatten().map(|port| Self { port, buffers }), mirror)
    }

    /// Hands over as many packets as there are buffers, at most `count`; gives how many.
    fn post(&mut self, count: usize) -> usize {
        let first = self.buffers.len().saturating_sub(count);
        let mut posted = 0;
        for packet in self.buffers.drain(first..) {
            let parcel = Parcel { from: HOME, track: TrackId(1), content: Content::Packet(packet) };
            assert!(self.port.post(MIRROR, parcel).is_ok(), "there is room for every buffer");
            posted += 1;
        }
        self.port.wake();
        posted
    }

    /// Takes in the buffers that have come back; gives how many.
    fn collect(&mut self) -> usize {
        let before = self.buffers.len();
        self.buffers.extend(std::iter::from_fn(|| self.port.returned()).filter_map(packet));
        self.buffers.len() - before
    }

    /// Hands over `count` packets with one wake, to a shard that sleeps, and waits for the last buffer.
    fn hand_over(&mut self, count: usize) -> Duration {
        let rest = Instant::now();
        while rest.elapsed() < REST {
            std::hint::spin_loop();
        }
        let start = Instant::now();
        let mut away = self.post(count);
        while away > 0 {
            thread::yield_now();
            away -= self.collect();
        }
        start.elapsed()
    }

    /// Hands over `count` packets as fast as their buffers come back, and waits for the last.
    fn stream(&mut self, count: u64) -> Duration {
        let start = Instant::now();
        let (mut posted, mut returned) = (0, 0);
        while returned < count {
            posted += self.post(BATCH.min((count - posted) as usize)) as u64;
            match self.collect() {
                0 => thread::yield_now(),
                some => returned += some as u64,
            }
        }
        start.elapsed()
    }

    fn stop(mut self) {
        let last = Parcel { from: HOME, track: TrackId(1), content: Content::Published };
        assert!(self.port.post(MIRROR, last).is_ok());
        self.port.wake();
    }
}

/// To a shard that sleeps, until the last buffer is back; and to one that is kept busy, by the packet.
fn parcels(criterion: &mut Criterion) {
    pin(End::Near);
    let mut group = criterion.benchmark_group("mailbox/parcels");
    for kind in KINDS {
        let (home, mirror) = Home::start(kind);
        if let Some(mut home) = home {
            for count in [1, BATCH, 4 * BATCH] {
                group.throughput(Throughput::Elements(count as u64));
                group.bench_function(BenchmarkId::new(format!("{kind}/asleep"), count), |bencher| {
                    bencher.iter_custom(|rounds| (0..rounds).map(|_| home.hand_over(count)).sum());
                });
            }
            group.throughput(Throughput::Elements(1));
            group.bench_function(BenchmarkId::new(format!("{kind}/awake"), BATCH), |bencher| {
                bencher.iter_custom(|count| home.stream(count));
            });
            assert_eq!(home.buffers.len(), BRIDGE_PACKETS_MAX, "every buffer came back");
            home.stop();
        }
        mirror.join().expect("it does not panic");
    }
    group.finish();
}

criterion_group!(benches, command, parcels);
criterion_main!(benches);
