//! The way through the kernel and back: datagrams a send, gathered or not where they arrive, by backend. Over loopback,
//! to a shard on a thread of its own that throws them away; the slower of the two ends is what is measured.

#[path = "rig/cores.rs"]
mod cores;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cores::{End, pin};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use millrace::egress::{Egress, Path, RunKey};
use millrace::ingress::Train;
use millrace::io::counters::Counters;
use millrace::io::socket::Sockets;
use millrace::io::{AnyBackend, Backend, BackendKind, QueueSize, open};
use millrace::time::Timestamp;
use tokio_uring::net::UdpSocket;

const KINDS: [BackendKind; 2] = [BackendKind::Uring, BackendKind::Mmsg];
const SEGMENTS: [usize; 5] = [1, 2, 4, 8, 16];
/// Datagrams that leave in one cycle.
const CYCLE: usize = 64;
const DATAGRAM_BYTES: usize = 1130;
/// Datagrams under way when the next cycle begins: of two cycles none finds its socket full, even where the kernel grants
/// no more than its default.
const UNDER_WAY_MAX: u64 = CYCLE as u64;
/// Far beyond what any of this takes; after it something was lost.
const PATIENCE: Duration = Duration::from_secs(20);
const SIZE: QueueSize = QueueSize { slots: 512, keys: CYCLE };

/// What both threads look at.
#[derive(Default)]
struct Shared {
    arrived: AtomicU64,
    stopping: AtomicBool,
}

/// The far end.
struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: JoinHandle<Counters>,
}

impl Receiver {
    /// `None` where the kernel refuses the backend, or does not gather though it is to.
    fn start(kind: BackendKind, gathers: bool) -> Option<Self> {
        let sockets = Sockets::bind(0).expect("a port is free");
        if sockets.set_gathering(gathers).is_err() && gathers {
            return None;
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, sockets.port()));
        let shared = Arc::<Shared>::default();
        let (theirs, (tell, told)) = (Arc::clone(&shared), channel());
        let thread = thread::spawn(move || {
            pin(End::Far);
            let tell = || tell.send(()).expect("it is waited for");
            match open(Some(kind), sockets, SIZE).map(|opened| opened.backend) {
                Ok(AnyBackend::Uring(backend)) => drain(backend, &theirs, tell),
                Ok(AnyBackend::Mmsg(backend)) => drain(backend, &theirs, tell),
                Err(_) => Counters::default(),
            }
        });
        told.recv().ok()?;
        Some(Self { address, shared, thread })
    }

    /// Waits until no more than `under_way` of `sent` datagrams have not arrived.
    fn wait(&self, sent: u64, under_way: u64) {
        if self.shared.arrived.load(Ordering::Acquire) + under_way >= sent {
            return;
        }
        let start = Instant::now();
        while self.shared.arrived.load(Ordering::Acquire) + under_way < sent {
            assert!(start.elapsed() < PATIENCE, "a datagram was lost");
            thread::yield_now();
        }
    }

    fn stop(self) -> Counters {
        self.shared.stopping.store(true, Ordering::Release);
        self.thread.join().expect("it does not panic")
    }
}

fn drain<B: Backend>(mut backend: B, shared: &Shared, tell: impl FnOnce()) -> Counters {
    tell();
    while !shared.stopping.load(Ordering::Acquire) {
        backend.receive(|trains, _| {
            let count: usize = trains.iter().map(Train::len).sum();
            shared.arrived.fetch_add(count as u64, Ordering::Release);
        });
        backend.flush();
        // It never sleeps: what a wake costs depends on the machine, and on how far behind the other end happens to be.
        backend.park(Timestamp::ZERO);
    }
    *backend.counters()
}

/// Sends a cycle's datagrams, `segments` of them in each send.
fn cycle<B: Backend>(backend: &mut B, path: &Path, segments: usize) {
    for number in 0..CYCLE {
        // A run ends where the next key begins.
        let key = RunKey((number / segments) as u32);
        let slot = backend.egress().reserve(key, path).expect("a slot is free");
        slot[..8].copy_from_slice(&(number as u64).to_be_bytes());
        backend.egress().commit(DATAGRAM_BYTES);
    }
    backend.flush();
    backend.park(Timestamp::ZERO);
}

fn row<B: Backend>(criterion: &mut Criterion, mut backend: B, gathers: bool) {
    let how = if gathers { "gathered" } else { "one by one" };
    let mut group = criterion.benchmark_group(format!("sockets/{}/{how}", backend.kind()));
    group.throughput(Throughput::Elements(CYCLE as u64));
    for segments in SEGMENTS {
        let Some(receiver) = Receiver::start(backend.kind(), gathers) else { continue };
        let path = Path { local: IpAddr::from(Ipv4Addr::LOCALHOST), remote: receiver.address, ..Path::NONE };
        let (mut sent, before) = (0, *backend.counters());
        group.bench_function(BenchmarkId::from_parameter(segments), |bencher| {
            bencher.iter_custom(|cycles| {
                let start = Instant::now();
                for _ in 0..cycles {
                    cycle(&mut backend, &path, segments);
                    sent += CYCLE as u64;
                    receiver.wait(sent, UNDER_WAY_MAX);
                }
                receiver.wait(sent, 0);
                start.elapsed()
            });
        });
        let (after, theirs) = (*backend.counters(), receiver.stop());
        assert_eq!(
            (after.sends - before.sends) * segments as u64,
            sent,
            "runs are as long as they are to be"
        );
        let pieces = if gathers { sent / segments as u64 } else { sent };
        assert_eq!((theirs.datagrams_in, theirs.receives), (sent, pieces), "they arrive as they are to");
    }
    group.finish();
}

/// UDP_SEGMENT in a control message (cmsg(3), udp(7)).
fn segment_control() -> Vec<u8> {
    let (len, level, kind) = (18_u64, 17_i32, 103_i32);
    let mut control = Vec::new();
    control.extend(len.to_ne_bytes());
    control.extend(level.to_ne_bytes());
    control.extend(kind.to_ne_bytes());
    control.extend((DATAGRAM_BYTES as u16).to_ne_bytes());
    control.resize(24, 0);
    control
}

/// A cycle's datagrams, one task for each send; its sends are under way together.
async fn their_cycle(
    socket: &Rc<UdpSocket>,
    remote: SocketAddr,
    segments: usize,
    buffers: &mut Vec<Vec<u8>>,
) {
    let sends: Vec<_> = buffers
        .drain(..)
        .map(|buffer| {
            let socket = Rc::clone(socket);
            tokio_uring::spawn(async move {
                if segments == 1 {
                    let (sent, buffer) = socket.send_to(buffer, remote).await;
                    return (sent, buffer);
                }
                let (sent, mut buffers, _) =
                    socket.sendmsg(vec![buffer], Some(remote), Some(segment_control())).await;
                (sent, buffers.pop().expect("it was one"))
            })
        })
        .collect();
    for send in sends {
        let (sent, buffer) = send.await.expect("it does not panic");
        assert_eq!(sent.expect("it is sent"), segments * DATAGRAM_BYTES);
        buffers.push(buffer);
    }
}

async fn their_cycles(receiver: &Receiver, cycles: u64, segments: usize, sent: &mut u64) -> Duration {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let socket = Rc::new(UdpSocket::bind(local).await.expect("a port is free"));
    let mut buffers = vec![vec![0; segments * DATAGRAM_BYTES]; CYCLE / segments];
    let start = Instant::now();
    for _ in 0..cycles {
        their_cycle(&socket, receiver.address, segments, &mut buffers).await;
        *sent += CYCLE as u64;
        receiver.wait(*sent, UNDER_WAY_MAX);
    }
    receiver.wait(*sent, 0);
    start.elapsed()
}

/// The same from `tokio-uring`, to the same receiver of ours.
fn theirs(criterion: &mut Criterion) {
    for (how, gathers) in [("one by one", false), ("gathered", true)] {
        let mut group = criterion.benchmark_group(format!("sockets/tokio-uring/{how}"));
        group.throughput(Throughput::Elements(CYCLE as u64));
        for segments in SEGMENTS {
            let Some(receiver) = Receiver::start(BackendKind::Uring, gathers) else { continue };
            let mut sent = 0;
            group.bench_function(BenchmarkId::from_parameter(segments), |bencher| {
                bencher.iter_custom(|cycles| {
                    tokio_uring::start(their_cycles(&receiver, cycles, segments, &mut sent))
                });
            });
            assert_eq!(receiver.stop().datagrams_in, sent);
        }
        group.finish();
    }
}

fn sockets(criterion: &mut Criterion) {
    pin(End::Near);
    for kind in KINDS {
        for gathers in [false, true] {
            let sockets = Sockets::bind(0).expect("a port is free");
            match open(Some(kind), sockets, SIZE).map(|opened| opened.backend) {
                Ok(AnyBackend::Uring(backend)) => row(criterion, backend, gathers),
                Ok(AnyBackend::Mmsg(backend)) => row(criterion, backend, gathers),
                Err(why) => eprintln!("without {kind}: {why}"),
            }
        }
    }
}

criterion_group!(benches, sockets, theirs);
criterion_main!(benches);
