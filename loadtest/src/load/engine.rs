//! The thread that plays all peers: drains the sockets, sends what is due, keeps the peers' timers.
//!
//! ```text
//!   orders -> drain -> frames that are due -> timers -> flush -> sleep until the next frame or the next look
//! ```
//! It never sleeps in a poll: a receiver that is woken costs the sender a wake for each datagram, and the sender is what
//! is measured. It looks at its sockets every so often instead ([`Pace::look_ns`]).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{Builder, JoinHandle};

use super::cast::Group;
use super::net::Net;
pub use super::order::{GroupOutcome, Order, Outcome, Ready, Snapshot, Stage};
use super::track::Samples;
use super::world::World;
use crate::failure::Failure;
use crate::histogram::Histogram;
use crate::kernel::clock::{monotonic_ns, sleep_until, thread_cpu_ns, use_exact_timers};
use crate::kernel::priority::prefer_this_thread;

/// Frames a second of each stream while peers come up, at most: enough for a first packet, too few to be in the way.
const JOIN_FRAMES_PER_SECOND: f64 = 20.0;
/// A frame that is due this soon is waited for without sleeping: a sleep may end this late.
const SPIN_NS: u64 = 60_000;
/// Longest sleep when nothing is going on.
const IDLE_NS: u64 = 1_000_000;
/// Nothing came for this long: nothing is going on.
const QUIET_NS: u64 = 50_000_000;
/// Every peer has its turn once in this time.
const TICK_ROUND_NS: u64 = 1_000_000_000;
/// Every peer's transport-wide feedback has its turn once in this time.
const FEEDBACK_ROUND_NS: u64 = 100_000_000;

/// How the thread spends its time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Time between two looks at the sockets while media flows; 0 looks without a pause.
    pub look_ns: u64,
}

/// The thread, as others see it.
pub struct Engine {
    /// Where orders go.
    pub orders: Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts the thread; it inherits the caller's cores.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(net: Net, world: World, peers: usize, pace: Pace) -> Result<Self, Failure> {
        let (orders, inbox) = channel();
        let thread = Builder::new().name("engine".into()).spawn(move || {
            // Without it sleeps end 50 us late, which shows in the delays.
            let _ = use_exact_timers();
            // Nor may handshakes on the same core keep it waiting; without the right to say so, they do.
            let _ = prefer_this_thread();
            Loop::new(net, world, peers, pace, inbox).run();
        })?;
        Ok(Self { orders, thread: Some(thread) })
    }

    /// Gives an order that has an answer, and waits for it.
    ///
    /// # Errors
    /// When the thread has ended.
    pub fn ask<T>(&self, order: impl FnOnce(Sender<T>) -> Order) -> Result<T, Failure> {
        let gone = || Failure::Late("the engine's thread has ended".to_owned());
        let (answer, answered) = channel();
        self.orders.send(order(answer)).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A turn that comes round to every peer in a fixed time.
struct Round {
    period_ns: u64,
    began_ns: u64,
    done: u64,
}

impl Round {
    fn new(period_ns: u64, now_ns: u64) -> Self {
        Self { period_ns, began_ns: now_ns, done: 0 }
    }

    /// The next peer whose turn it is.
    fn next(&mut self, peers: usize, now_ns: u64) -> Option<usize> {
        let elapsed = u128::from(now_ns.saturating_sub(self.began_ns));
        let due = (elapsed * peers as u128 / u128::from(self.period_ns)) as u64;
        if peers == 0 || self.done >= due {
            return None;
        }
        // After a long pause nobody is owed more than one turn.
        self.done = self.done.max(due.saturating_sub(peers as u64)) + 1;
        Some(((self.done - 1) % peers as u64) as usize)
    }
}

struct Loop {
    net: Net,
    world: World,
    peers: usize,
    pace: Pace,
    orders: Receiver<Order>,
    stage: Stage,
    speed: f64,
    due: BinaryHeap<Reverse<(u64, usize)>>,
    ticks: Round,
    feedback: Round,
    datagrams: u64,
    trains: u64,
    last_arrival_ns: u64,
    lateness_us: Histogram,
    stopped: bool,
}

impl Loop {
    fn new(net: Net, world: World, peers: usize, pace: Pace, orders: Receiver<Order>) -> Self {
        let now = monotonic_ns();
        Self {
            net,
            world,
            peers,
            pace,
            orders,
            stage: Stage::Join,
            speed: 1.0,
            due: BinaryHeap::new(),
            ticks: Round::new(TICK_ROUND_NS, now),
            feedback: Round::new(FEEDBACK_ROUND_NS, now),
            datagrams: 0,
            trains: 0,
            last_arrival_ns: 0,
            lateness_us: Histogram::default(),
            stopped: false,
        }
    }

    fn run(mut self) {
        while !self.stopped {
            self.take_orders();
            let more = self.drain();
            let now = monotonic_ns();
            self.send_due(now);
            self.tick(now);
            for (peer, bytes) in self.world.replies.drain(..) {
                self.net.send(peer, &bytes);
            }
            self.net.flush();
            if !more {
                self.pause();
            }
        }
    }

    fn drain(&mut self) -> bool {
        let Self { net, world, .. } = self;
        let arrived = net.receive(|peer, datagram, now_ns| world.handle(peer, datagram, now_ns));
        self.datagrams += arrived.datagrams;
        self.trains += arrived.trains;
        if arrived.datagrams > 0 {
            self.last_arrival_ns = monotonic_ns();
        }
        arrived.more
    }

    fn pause(&self) {
        let now = monotonic_ns();
        let busy = now.saturating_sub(self.last_arrival_ns) < QUIET_NS;
        if busy && self.pace.look_ns == 0 {
            return;
        }
        let look = now + if busy { self.pace.look_ns } else { IDLE_NS };
        let wake = self.next_due().map_or(look, |due| look.min(due.saturating_sub(SPIN_NS)));
        if wake > now {
            sleep_until(wake);
        }
    }

    fn next_due(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    fn stretch(&self, source: usize) -> f64 {
        match self.stage {
            Stage::Join => {
                (self.world.sources[source].spec.frames.per_second / JOIN_FRAMES_PER_SECOND).max(1.0)
            }
            Stage::Full | Stage::Quiet => 1.0 / self.speed,
        }
    }

    fn send_due(&mut self, now: u64) {
        while let Some(&Reverse((due, source))) = self.due.peek() {
            if due > now {
                return;
            }
            self.due.pop();
            self.lateness_us.record((now - due) / 1000);
            self.send_frame(source);
            let next = self.world.sources[source].due_ns(self.stretch(source));
            self.due.push(Reverse((next, source)));
        }
    }

    fn send_frame(&mut self, source: usize) {
        let frame_ns = monotonic_ns();
        let frames = self.world.sources[source].frame();
        let position = self.world.sources[source].position();
        for (at, &size) in frames.frames[position].iter().enumerate() {
            let Some((source, cipher, transport_number)) = self.world.sender(source) else { return };
            let len = source.packet_len(size, cipher);
            let Some(place) = self.net.place(source.spec.peer, len) else { return };
            source.write(at, monotonic_ns(), frame_ns, *transport_number, cipher, place);
            *transport_number = transport_number.wrapping_add(1);
            self.world.totals.sent += 1;
        }
        self.world.sources[source].end_frame();
        // A frame leaves as it is, so that what is stamped is true.
        self.net.flush();
    }

    fn tick(&mut self, now: u64) {
        while let Some(peer) = self.ticks.next(self.peers, now) {
            self.world.tick(peer, now);
        }
        while let Some(peer) = self.feedback.next(self.peers, now) {
            self.world.feedback(peer);
        }
    }

    fn take_orders(&mut self) {
        loop {
            match self.orders.try_recv() {
                Ok(order) => self.take_order(order),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.stopped = true;
                    return;
                }
            }
        }
    }

    fn take_order(&mut self, order: Order) {
        let now = monotonic_ns();
        // Who asked and went away needs no answer.
        match order {
            Order::Open { peer, remote, inlet, tracks } => {
                self.net.outbox.set_route(peer, remote);
                self.world.open(peer, remote, inlet, tracks);
            }
            Order::Through { peer, server, in_channel } => {
                self.net.outbox.set_route(peer, server);
                self.net.outbox.set_framed(peer, in_channel);
            }
            Order::Send(peer, bytes) => self.net.send(peer, &bytes),
            Order::Ready(ready) => {
                let Ready { peer, cipher, agent, transport_cc, sources } = *ready;
                for source in self.world.ready(peer, cipher, agent, transport_cc, sources) {
                    self.start_source(source, now);
                }
            }
            Order::Expect { stream, kind, len_max } => self.world.expect(stream, kind, len_max),
            Order::Stage(stage, answer) => {
                self.stage = stage;
                self.due.clear();
                (0..self.world.sources.len()).for_each(|source| self.start_source(source, now));
                let _ = answer.send(now);
            }
            Order::Speed(speed) => self.speed = speed,
            Order::Begin(answer) => {
                self.world.begin();
                (self.datagrams, self.trains) = (0, 0);
                self.lateness_us = Histogram::default();
                let _ = answer.send(now);
            }
            Order::Snapshot(answer) => {
                let _ = answer.send(self.snapshot(now));
            }
            Order::Outcome(answer) => {
                let _ = answer.send(self.outcome(now));
            }
            Order::Stop => self.stopped = true,
        }
    }

    fn start_source(&mut self, source: usize, now: u64) {
        if self.stage == Stage::Quiet {
            return;
        }
        let stretch = self.stretch(source);
        let source_state = &mut self.world.sources[source];
        source_state.restart(now);
        self.due.push(Reverse((source_state.due_ns(stretch), source)));
    }

    fn snapshot(&mut self, now: u64) -> Snapshot {
        let recent = |samples: &mut Samples| std::mem::take(&mut samples.recent_us);
        let [crowd, bystander] = &mut self.world.samples;
        Snapshot {
            at_ns: now,
            cpu_ns: thread_cpu_ns(),
            totals: self.world.totals.clone(),
            datagrams: self.datagrams,
            trains: self.trains,
            recent_us: [recent(crowd), recent(bystander)],
        }
    }

    fn outcome(&mut self, now: u64) -> Outcome {
        let mut groups: [GroupOutcome; 2] = Default::default();
        for track in self.world.tracks() {
            let group = &mut groups[track.spec.group as usize];
            // A viewer that came late is owed what came after its first packet.
            let whole = track.account.is_whole().then(|| self.world.sent_of(track.spec.stream)).flatten();
            let counts = track.account.counts(whole);
            group.counts.add(&counts);
            group.lost_by_one_max = group.lost_by_one_max.max(counts.lost);
            group.tracks += 1;
            group.silent += usize::from(!track.account.is_started());
        }
        for group in [Group::Crowd, Group::Bystander] {
            groups[group as usize].samples = self.world.samples_of(group).clone();
        }
        Outcome {
            last: self.snapshot(now),
            groups,
            first_packet_ns: (0..self.peers).map(|peer| self.world.first_packet_ns(peer)).collect(),
            refused: self.net.outbox.lost,
            lateness_us: self.lateness_us.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_visits_everybody_once_and_owes_nothing_after_a_pause() {
        let mut round = Round::new(1000, 0);
        let mut visits = |now| std::iter::from_fn(|| round.next(4, now)).collect::<Vec<_>>();
        assert!(visits(249).is_empty());
        assert_eq!(visits(500), [0, 1]);
        assert_eq!(visits(1000), [2, 3]);
        assert_eq!(visits(1_000_000).len(), 4);
        assert!(visits(1_000_100).is_empty());
    }
}
