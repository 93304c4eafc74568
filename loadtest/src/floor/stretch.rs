//! One measurement: a loop, a source and a drain for a while.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};
use std::{io, thread};

use super::drain::Drain;
use super::fan::Fan;
use super::ports::{Method, Port, Totals};
use super::shape::Shape;
use super::source::Source;
use crate::failure::Failure;
use crate::kernel::priority::prefer_this_thread;
use crate::kernel::socket::{SocketOptions, UdpSocket};
use crate::kernel::{affinity, clock, netns};
use crate::load::relay::all_cores;

/// Traffic before the measured one: it fetches keys and buffers into the caches and pages in.
const WARM_UP: Duration = Duration::from_millis(100);
/// After this long without a packet the loop is idle and says so.
const IDLE: Duration = Duration::from_millis(20);
/// How long the last packets may take to be counted.
const SETTLE: Duration = Duration::from_secs(2);

/// What one stretch cost.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Measured {
    /// CPU time of the loop's thread, in the kernel and out of it, for each packet that reached a viewer.
    pub cpu_ns_per_packet: f64,
    /// Packets that reached a viewer.
    pub delivered: u64,
    /// Packets that should have and did not.
    pub lost: u64,
    /// Packets of one message to the kernel, on average.
    pub packets_per_send: f64,
    /// CPU time of the loop's thread.
    pub cpu_ns: u64,
    /// How long the traffic took.
    pub seconds: f64,
}

/// Where the loop is, and where those are it receives from and sends to.
#[derive(Clone, Debug, Default)]
pub enum Place {
    /// On loopback; every viewer has an address of its own, and one socket drains them all.
    #[default]
    Loopback,
    /// The loop is in a network namespace, as a server is that is measured there.
    Namespace {
        /// Where the namespace is mounted.
        path: PathBuf,
        /// The loop's address in there.
        inside: Ipv4Addr,
        /// Ours, which all viewers share; each has a socket of its own.
        outside: Ipv4Addr,
    },
}

/// Measures the floor of a shape. The loop has the first core this process was started with, where a relay's first shard
/// runs; everything else has the others. Blocks for `duration` and about a quarter of a second more.
///
/// # Errors
/// [`Failure::Usage`] for a shape that cannot be; [`Failure::Io`] when the kernel refuses a socket, a thread or
/// io_uring; [`Failure::Late`] when the loop does not come to rest, as on a machine that cannot keep up.
pub fn measure(shape: &Shape, method: Method, duration: Duration) -> Result<Measured, Failure> {
    measure_at(&Place::Loopback, &all_cores(), shape, method, duration)
}

/// The same elsewhere; of `cores` the first is the loop's.
///
/// # Errors
/// As [`measure`], and when the namespace cannot be entered.
pub fn measure_at(
    place: &Place,
    cores: &[usize],
    shape: &Shape,
    method: Method,
    duration: Duration,
) -> Result<Measured, Failure> {
    shape.check()?;
    let (own, others) = cores.split_first().ok_or_else(|| io::Error::other("no core to run on"))?;
    let others = if others.is_empty() { vec![*own] } else { others.to_vec() };
    let (inside, drain) = match place {
        Place::Loopback => (Ipv4Addr::LOCALHOST, Drain::on_loopback(shape.viewers(), others.clone())?),
        Place::Namespace { inside, outside, .. } => {
            (*inside, Drain::at(*outside, shape.viewers(), others.clone())?)
        }
    };
    let fan = Fan::new(shape, inside.into(), method.has_runs(), |number| drain.viewer(number));
    let watch = Watch::default();
    let (bound, port) = mpsc::channel();
    thread::scope(|scope| {
        // The threads' names are for `perf` and `top`.
        let name = |name: &str| thread::Builder::new().name(name.to_owned());
        name("floor-loop").spawn_scoped(scope, || {
            let looped = open_in(place, *own, method, bound)
                .and_then(|port| run_loop(port, fan, shape.header_len(), &watch));
            watch.end(looped);
        })?;
        let port = port.recv().map_err(|_| watch.failure())?;
        let source = Source::new(shape, (inside, port).into())?;
        let stretch = name("floor-source").spawn_scoped(scope, || {
            affinity::pin_this_thread(&others)?;
            clock::use_exact_timers()?;
            let _ = prefer_this_thread();
            run_stretches(shape, source, &drain, &watch, duration)
        });
        // Ends the loop, also when there is no source.
        let stretch = stretch.inspect_err(|_| watch.stop.store(true, Ordering::Relaxed))?;
        let measured = stretch.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        watch.stop.store(true, Ordering::Relaxed);
        measured
    })
}

/// Moves the loop's thread to its core and place and binds its socket there.
fn open_in(place: &Place, core: usize, method: Method, bound: mpsc::Sender<u16>) -> io::Result<Port> {
    affinity::pin_this_thread(&[core])?;
    // As a relay's threads where it is measured.
    let _ = prefer_this_thread();
    if let Place::Namespace { path, .. } = place {
        netns::enter(path)?;
    }
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0).into(), &SocketOptions::default())?;
    let port = socket.address().port();
    let opened = Port::open(method, socket)?;
    // Nobody may be waiting any more.
    let _ = bound.send(port);
    Ok(opened)
}

/// What the loop's thread shows the others.
#[derive(Default)]
struct Watch {
    stop: AtomicBool,
    /// Counts the times it was idle.
    idle: AtomicU64,
    /// As of the last time it was.
    seen: Mutex<(Totals, u64)>,
    failed: Mutex<Option<io::Error>>,
    ended: AtomicBool,
}

impl Watch {
    fn show(&self, totals: &Totals) {
        *self.seen.lock().expect("no holder panics") = (*totals, clock::thread_cpu_ns());
        self.idle.fetch_add(1, Ordering::Release);
    }

    fn end(&self, looped: io::Result<()>) {
        *self.failed.lock().expect("no holder panics") = looped.err();
        self.ended.store(true, Ordering::Release);
    }

    /// Why the loop ended before its time.
    fn failure(&self) -> Failure {
        while !self.ended.load(Ordering::Acquire) {
            thread::yield_now();
        }
        let failed = self.failed.lock().expect("no holder panics").take();
        failed.unwrap_or_else(|| io::Error::other("the floor's loop ended")).into()
    }

    /// Totals and CPU time once the loop has come to rest.
    fn settled(&self) -> Result<(Totals, u64), Failure> {
        let start = Instant::now();
        let idle = self.idle.load(Ordering::Acquire);
        // The first may have begun before the last packet came.
        while self.idle.load(Ordering::Acquire) < idle + 2 {
            if self.ended.load(Ordering::Acquire) {
                return Err(self.failure());
            }
            if start.elapsed() > SETTLE {
                return Err(Failure::Late("the floor's loop did not come to rest".to_owned()));
            }
            thread::sleep(IDLE / 4);
        }
        Ok(*self.seen.lock().expect("no holder panics"))
    }
}

fn run_loop(mut port: Port, mut fan: Fan, header_len: usize, watch: &Watch) -> io::Result<()> {
    let mut totals = Totals::default();
    while !watch.stop.load(Ordering::Relaxed) {
        if !port.turn(IDLE, header_len, &mut fan, &mut totals)? {
            watch.show(&totals);
        }
    }
    Ok(())
}

fn run_stretches(
    shape: &Shape,
    mut source: Source,
    drain: &Drain,
    watch: &Watch,
    duration: Duration,
) -> Result<Measured, Failure> {
    source.run(WARM_UP.as_nanos() as u64);
    let (before, cpu_before_ns) = watch.settled()?;
    let drained_before = drain.datagrams();
    let start = Instant::now();
    let sent = source.run(duration.as_nanos() as u64);
    let seconds = start.elapsed().as_secs_f64();
    let (after, cpu_after_ns) = watch.settled()?;
    let delivered = drain.datagrams() - drained_before;
    let cpu_ns = cpu_after_ns - cpu_before_ns;
    let expected = sent * shape.deliveries_per_packet() as u64;
    let sealed = after.sealed - before.sealed;
    tracing::debug!(
        sent,
        received = after.received - before.received,
        sealed,
        refused = after.refused,
        "stretch"
    );
    Ok(Measured {
        cpu_ns_per_packet: cpu_ns as f64 / delivered.max(1) as f64,
        delivered,
        lost: expected.saturating_sub(delivered),
        packets_per_send: sealed as f64 / (after.messages - before.messages).max(1) as f64,
        cpu_ns,
        seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::super::shape::tests::even;
    use super::super::shape::{Audience, Traffic};
    use super::*;
    use crate::frames::Frames;
    use std::sync::Arc;

    /// Few packets and large buffers: nothing is lost however slow the machine is.
    fn stretch(shape: &Shape, method: Method) -> Measured {
        measure(shape, method, Duration::from_millis(50)).unwrap()
    }

    #[test]
    fn every_method_delivers_every_packet() {
        let shape = even(Audience::All { publishers: 2, viewers: 7 }, 400.0, 300, 4);
        for method in Method::ALL {
            let measured = stretch(&shape, method);
            assert_eq!((measured.delivered, measured.lost), (2 * 20 * 7, 0), "{method:?}");
            assert!(measured.cpu_ns > 0);
            // How many come at once is the scheduler's; that some do, and only with GSO, is ours.
            assert_eq!(measured.packets_per_send > 1.0, method.has_runs(), "{method:?} {measured:?}");
        }
    }

    #[test]
    fn rooms_and_frames_deliver_too() {
        let rooms = even(Audience::Rooms { rooms: 5, size: 4 }, 100.0, 120, 1);
        for method in [Method::SendmmsgGso, Method::UringGso] {
            assert_eq!(stretch(&rooms, method).delivered, 20 * 5 * 3, "{method:?}");
        }
        let frames = Frames { per_second: 100.0, frames: vec![vec![1000, 1000, 900], vec![500]] };
        let mut shape = even(Audience::All { publishers: 1, viewers: 3 }, 1.0, 100, 1);
        shape.traffic = Traffic::Frames(Arc::new(frames));
        assert_eq!(stretch(&shape, Method::Uring).delivered, (3 + 1 + 3 + 1 + 3) * 3);
    }
}
