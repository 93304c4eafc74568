//! A shard's thread: one core, one socket pair, one mapping; a shard that panics is made again from the mapping.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use arrayvec::ArrayVec;
use crossbeam_channel::{Receiver, Sender};
use millrace_control as contract;

use super::bridge::Port;
use super::current::Current;
use super::mailbox::{Mail, ReplyTo};
use crate::crypto::mac::HmacSha256Key;
use crate::crypto::random;
use crate::egress::Egress;
use crate::ingress::Trains;
use crate::io::counters::Counters as IoCounters;
use crate::io::cycle::{self, Core};
use crate::io::mapping::Mapping;
use crate::io::waker::Waker;
use crate::io::{AnyBackend, Backend, BackendKind, OpenError, QueueSize, alloc, clock, socket::Sockets};
use crate::limits::{COMMANDS_PER_CYCLE, PARCELS_PER_CYCLE, RUN_KEYS};
use crate::records::{MAPPING_BYTES, Records};
use crate::router::fanout::BURST_MAX;
use crate::router::parcel::{Content, Parcel};
use crate::shard::{Shard, ShardConfig};
use crate::time::Timestamp;
use crate::turn::{self, MediaPorts, ServerTime, Turn};

/// What a shard's thread is made from.
pub struct Seat {
    /// What the shard is told.
    pub config: ShardConfig,
    /// Its sockets, bound.
    pub sockets: Sockets,
    /// The backend asked for, `None` for the best that works.
    pub backend: Option<BackendKind>,
    /// Core to run on, `None` to leave that to the kernel.
    pub core: Option<usize>,
    /// Where its events go.
    pub events: Current,
}

/// What a shard's thread says once it runs.
pub struct Running {
    /// Which backend it has.
    pub backend: BackendKind,
    /// Why it is not io_uring, where that was not asked for.
    pub refused: Option<String>,
    /// Wakes it.
    pub waker: Waker,
}

/// What a shard's thread is connected to, once all of them run.
pub struct Connections {
    /// From the control threads.
    pub mail: Receiver<Mail>,
    /// To and from the other shards.
    pub port: Port,
    /// Its TURN server, unless that is off.
    pub turn: Option<TurnSeat>,
    /// Where it says how many peers it holds.
    pub peers: Arc<AtomicU32>,
}

/// What a shard's TURN server is made from.
#[derive(Clone)]
pub struct TurnSeat {
    /// What it is told.
    pub config: turn::Config,
    /// Port that its clients speak to.
    pub port: u16,
    /// The media ports of this relay.
    pub media: MediaPorts,
    /// What the edge's words bear tags under, where there is an edge.
    pub edge_key: Option<Arc<HmacSha256Key>>,
}

/// Why a shard does not run.
#[derive(Debug, thiserror::Error)]
pub enum SeatError {
    /// No backend.
    #[error(transparent)]
    Backend(#[from] OpenError),
    /// No memory for the records.
    #[error("cannot map the records of a shard ({MAPPING_BYTES} bytes): {0}")]
    Mapping(#[from] std::io::Error),
}

/// Starts the thread of a shard. It says on `started` how that went, and begins to work once it is `connected`.
///
/// # Errors
/// When there is no thread.
pub fn start(
    seat: Seat,
    started: Sender<Result<Running, SeatError>>,
    connected: Receiver<Connections>,
) -> std::io::Result<thread::JoinHandle<()>> {
    let name = format!("shard-{}", seat.config.id);
    thread::Builder::new().name(name).spawn(move || {
        if let Some(core) = seat.core
            && let Err(error) = crate::io::affinity::pin_this_thread(core)
        {
            tracing::warn!(shard = seat.config.id, core, %error, "the shard is not pinned to its core");
        }
        let Seat { config, sockets, backend, events, .. } = seat;
        match open(sockets, backend) {
            Err(error) => drop(started.send(Err(error))),
            Ok((opened, mapping)) => {
                let running = Running {
                    backend: opened.kind(),
                    refused: opened.refused.as_ref().map(ToString::to_string),
                    waker: match &opened.backend {
                        AnyBackend::Uring(backend) => backend.waker(),
                        AnyBackend::Mmsg(backend) => backend.waker(),
                    },
                };
                drop(started.send(Ok(running)));
                let Ok(connections) = connected.recv() else { return };
                match opened.backend {
                    AnyBackend::Uring(mut backend) => {
                        live(&mut backend, mapping, config, &events, connections);
                    }
                    AnyBackend::Mmsg(mut backend) => {
                        live(&mut backend, mapping, config, &events, connections);
                    }
                }
            }
        }
    })
}

fn open(sockets: Sockets, backend: Option<BackendKind>) -> Result<(crate::io::Opened, Mapping), SeatError> {
    let opened = crate::io::open(backend, sockets, QueueSize::for_keys(RUN_KEYS))?;
    Ok((opened, Mapping::memfd(c"millrace-shard", MAPPING_BYTES)?))
}

/// Lives until it is stopped. A panic costs what was in hand at that moment, never a call.
fn live<B: Backend>(
    backend: &mut B,
    mut mapping: Mapping,
    mut config: ShardConfig,
    events: &Current,
    mut connections: Connections,
) {
    let mut panics = RecentPanics::default();
    loop {
        let mut records = match Records::attach(mapping.bytes_mut()) {
            Ok(records) => records,
            Err(error) => {
                tracing::error!(shard = config.id, %error, "the records of this shard cannot be used; it stops");
                return;
            }
        };
        let ended = panic::catch_unwind(AssertUnwindSafe(|| {
            let now = clock::now();
            let turn = connections.turn.clone().zip(records.turn.take()).map(|(seat, records)| {
                let mut turn = Turn::new(
                    seat.config,
                    records,
                    random::array(),
                    server_time(now),
                    seat.media,
                    seat.port,
                    seat.edge_key,
                );
                turn.reopen(backend.egress());
                turn
            });
            let shard = Shard::new(config.clone(), records, now);
            let mut worker = Worker {
                shard,
                turn: turn.unwrap_or_else(Turn::off),
                mail: &connections.mail,
                port: &mut connections.port,
                events,
                peers: &connections.peers,
                busy: Busy::from(now),
                io: IoCounters::default(),
                media: MediaAllocations::from_now(),
                stopping: false,
            };
            worker.count_peers();
            cycle::run(backend, &mut worker);
        }));
        match ended {
            Ok(()) => return,
            Err(_) if panics.are_too_many(clock::now()) => {
                tracing::error!(
                    shard = config.id,
                    "a bug: the shard panics again and again; its calls are given up"
                );
                let peers = peers_in(&mut mapping);
                mapping.bytes_mut().fill(0);
                let given_up = contract::EventKind::GivenUp(contract::GivenUp { peers });
                events.send_event(contract::Event { shard: config.id, kind: Some(given_up) });
            }
            Err(_) => {
                tracing::error!(
                    shard = config.id,
                    "a bug: the shard panicked and is rebuilt from its records"
                );
            }
        }
        // Another seed, in case the hash seed had a part in the panic.
        config.seed = config.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
    }
}

/// The ids of the peers in a shard's records.
fn peers_in(mapping: &mut Mapping) -> Vec<u64> {
    let records = Records::attach(mapping.bytes_mut());
    records.map_or_else(|_| Vec::new(), |records| records.peers.iter().map(|(_, peer)| peer.id.0).collect())
}

/// Panics in a row that a shard's calls survive. After more of them the cause is in the records themselves.
const PANICS_IN_A_ROW_MAX: u32 = 5;
/// Panics further apart than this are not in a row.
const PANIC_ROW_GAP: Duration = Duration::from_secs(10);

/// Tells a bug that strikes once from one that the records bring back each time.
#[derive(Default)]
struct RecentPanics {
    in_a_row: u32,
    last: Timestamp,
}

impl RecentPanics {
    /// One more, now.
    fn are_too_many(&mut self, now: Timestamp) -> bool {
        self.in_a_row = if now.since(self.last) < PANIC_ROW_GAP { self.in_a_row + 1 } else { 1 };
        self.last = now;
        self.in_a_row > PANICS_IN_A_ROW_MAX
    }
}

/// The TURN server's view of the time.
fn server_time(now: Timestamp) -> ServerTime {
    ServerTime { monotonic_ns: now.as_nanos(), unix_s: clock::unix_s() }
}

/// The shard with its mailbox, as the loop drives it.
struct Worker<'a, 'm> {
    shard: Shard<'m>,
    turn: Turn<'m>,
    mail: &'a Receiver<Mail>,
    port: &'a mut Port,
    events: &'a Current,
    peers: &'a AtomicU32,
    busy: Busy,
    io: IoCounters,
    media: MediaAllocations,
    stopping: bool,
}

/// The share of its time that this thread runs on a processor.
struct Busy {
    at: Timestamp,
    processor_time: Duration,
}

impl Busy {
    fn from(now: Timestamp) -> Self {
        Self { at: now, processor_time: clock::processor_time() }
    }

    /// In 1/1000, since it was asked last.
    fn permille(&mut self, now: Timestamp) -> u32 {
        let before = std::mem::replace(self, Self::from(now));
        let used = self.processor_time.saturating_sub(before.processor_time);
        let passed = now.since(before.at).as_nanos().max(1);
        u32::try_from(used.as_nanos() * 1_000 / passed).unwrap_or(u32::MAX)
    }
}

/// What this thread allocates on account of media: everything but commands, handshakes and events.
struct MediaAllocations {
    count: u64,
    mark: u64,
}

impl MediaAllocations {
    fn from_now() -> Self {
        Self { count: 0, mark: alloc::allocations_of_this_thread() }
    }

    /// Something else begins.
    fn pause(&mut self) {
        self.count += alloc::allocations_of_this_thread() - self.mark;
    }

    /// It is over.
    fn resume(&mut self) {
        self.mark = alloc::allocations_of_this_thread();
    }
}

impl Worker<'_, '_> {
    /// What other shards sent: media first of all, as from the network.
    fn take_parcels(&mut self, now: Timestamp, egress: &mut impl Egress) {
        while let Some(buffer) = self.port.returned() {
            match buffer {
                Content::Packet(packet) => self.shard.recycle(packet),
                Content::Datagram(datagram) => self.turn.recycle(datagram),
                _ => {}
            }
        }
        for _ in 0..PARCELS_PER_CYCLE / BURST_MAX {
            // As with datagrams, what is in hand when the shard panics is lost.
            let mut parcels: ArrayVec<Parcel, BURST_MAX> = self.port.receive().take(BURST_MAX).collect();
            if parcels.is_empty() {
                return;
            }
            // A word is a command of another shard.
            let words = parcels.iter().any(|parcel| !parcel.content.is_buffer());
            if words {
                self.media.pause();
            }
            self.shard.handle_parcels(now, &mut parcels, &mut self.turn.around(now, egress));
            if parcels.iter().any(|parcel| matches!(parcel.content, Content::Datagram(_))) {
                self.turn.handle_parcels(now, &mut parcels, &mut self.shard, egress);
            }
            parcels.into_iter().for_each(|parcel| self.port.give_back(parcel));
            if words {
                self.media.resume();
            }
        }
    }

    /// Hands over what the shard has for others, whole bursts at a time so that their runs stay whole too.
    fn post_parcels(&mut self) {
        let port = &mut *self.port;
        self.shard.flush_parcels(|to, parcel| port.post(to, parcel));
        self.turn.flush_parcels(|to, parcel| port.post(to, parcel));
        port.wake();
    }

    fn carry_out(&mut self, now: Timestamp, mail: Mail) {
        match mail {
            Mail::Command { command, fence, reply } => self.answer(now, fence, &command, reply),
            Mail::Snapshot(reply) => {
                reply.send_all(self.shard.snapshot_pages().map(contract::Reply::Snapshot));
            }
            Mail::WholeSnapshot(answer) => drop(answer.try_send(self.shard.snapshot())),
            Mail::Counters(answer) => {
                let own = [("media_allocations", self.media.count)];
                let beside = self.io.each().into_iter().chain(own).chain(self.turn.figures());
                drop(answer.try_send(self.shard.counters(beside)));
            }
            Mail::Stop => self.stopping = true,
        }
    }

    fn answer(&mut self, now: Timestamp, fence: u64, command: &contract::Command, reply: ReplyTo) {
        match self.shard.handle_fenced_command(now, fence, command) {
            Ok(()) => reply.send(contract::Reply::Done(contract::Done {})),
            Err(refusal) => reply.send(refusal.into_reply()),
        }
    }

    fn count_peers(&self) {
        self.peers.store(self.shard.peers_held(), Ordering::Relaxed);
    }

    /// An event in full: the shard knows no processor time.
    fn complete(&mut self, mut event: contract::Event) -> contract::Event {
        if let Some(contract::EventKind::Load(load)) = &mut event.kind {
            load.busy_permille = self.busy.permille(clock::now());
        }
        event
    }
}

impl Core for Worker<'_, '_> {
    fn handle_datagrams(&mut self, now: Timestamp, trains: Trains<'_>, egress: &mut impl Egress) {
        let (media, others) = turn::split(trains);
        if !media.is_empty() {
            self.shard.handle_datagrams(now, media, &mut self.turn.around(now, egress));
        }
        if !others.is_empty() {
            self.turn.handle_datagrams(server_time(now), others, &mut self.shard, egress);
        }
    }

    fn handle_commands(&mut self, now: Timestamp, egress: &mut impl Egress) {
        self.take_parcels(now, egress);
        // Before our own packets leave: the other shards work meanwhile.
        self.post_parcels();
        self.media.pause();
        let mut left = COMMANDS_PER_CYCLE;
        while left > 0
            && !self.shard.fault_is_due()
            && let Ok(mail) = self.mail.try_recv()
        {
            left = left.saturating_sub(mail.weight());
            self.carry_out(now, mail);
        }
        if left < COMMANDS_PER_CYCLE {
            self.count_peers();
        }
        self.media.resume();
        self.shard.panic_if_injected();
        if let Some(stall) = self.shard.take_stall() {
            thread::sleep(stall);
        }
    }

    fn handle_deferred(&mut self, now: Timestamp, egress: &mut impl Egress) {
        self.media.pause();
        self.shard.handle_deferred(now, &mut self.turn.around(now, egress));
        self.media.resume();
    }

    fn handle_timeout(&mut self, now: Timestamp, egress: &mut impl Egress) {
        self.shard.handle_timeout(now, &mut self.turn.around(now, egress));
        if self.turn.next_deadline() <= now {
            self.turn.handle_timeout(server_time(now), egress);
        }
    }

    fn next_deadline(&self) -> Timestamp {
        self.shard.next_deadline().min(self.turn.next_deadline())
    }

    fn has_deferred(&self) -> bool {
        self.shard.has_deferred() || !self.mail.is_empty() || !self.port.is_empty()
    }

    fn end_of_cycle(&mut self, counters: &IoCounters) {
        self.io = *counters;
        self.post_parcels();
        self.media.pause();
        while let Some(event) = self.shard.poll_event() {
            let event = self.complete(event);
            self.events.send_event(event);
        }
        self.media.resume();
    }

    fn stopping(&self) -> bool {
        self.stopping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_survive_a_bug_now_and_then_but_not_one_that_comes_back_at_once() {
        let mut panics = RecentPanics::default();
        let mut now = Timestamp::from_nanos(1);
        for _ in 0..20 {
            now = now + PANIC_ROW_GAP;
            assert!(!panics.are_too_many(now));
        }
        assert!(!(0..4).any(|_| panics.are_too_many(now)));
        assert!(panics.are_too_many(now));
    }
}
