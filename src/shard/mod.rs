//! One core's whole world, sans-IO: datagrams, commands and time in; datagrams and events out.
//!
//! ```text
//!   handle_datagrams ─ wire::demux ──┬─ on_stun    ice, routes
//!                                    ├─ on_dtls    queued, worked on in handle_deferred
//!                                    ├─ on_rtp     srtp, feedback, router::fanout
//!                                    └─ on_rtcp    reports, NACK, PLI
//!   handle_command   what signaling asks
//!   handle_timeout   feedback, reports, handshakes, consent
//!   poll_event       what signaling is told
//!   handle_parcels   what other shards tell (bridge/); flush_parcels gives what they are told
//! ```
//!
//! The same seed and the same inputs give the same run. What must outlast the shard stands in the records it borrows;
//! everything else here can be made from them again (`restore.rs`).

mod bridge;
pub mod command;
mod describe;
mod handshakes;
mod on_dtls;
mod on_rtcp;
mod on_rtp;
mod on_stun;
mod on_timer;
mod reports;
mod restore;
mod routes;
mod timers;
mod watch;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use millrace_control as contract;
use millrace_turn::Allowance;

use crate::discard::Discard;
use crate::dtls::Settings;
use crate::egress::Egress;
use crate::ids::{PeerSlot, TrackSlot};
use crate::ingress::Trains;
use crate::limits::{INBOUND_MAX, PEERS_MAX, SUBSCRIPTIONS_MAX, TRACKS_MAX};
use crate::peer::Peer;
use crate::peer::inbound::Inbound;
use crate::peer::outbound::Outbound;
use crate::random::Random;
use crate::records::Records;
use crate::records::peer::PeerState;
use crate::router::track::Track;
use crate::router::viewer::Viewer;
use crate::time::{Epoch, Timestamp};
use crate::wire::demux::{self, Kind};
use bridge::Bridge;
use command::Fences;
use handshakes::HandshakeQueue;
use on_rtp::Pending;
use routes::Routes;
use timers::{Timer, Timers};
use watch::Watch;

/// What a shard is told when it starts.
#[derive(Clone)]
pub struct ShardConfig {
    /// Its id, from 0.
    pub id: u32,
    /// How many shards there are.
    pub shards: u32,
    /// Seed of everything random in it that is not a key.
    pub seed: u64,
    /// Ties its time to the DTLS library's.
    pub epoch: Epoch,
    /// Certificate and settings of every handshake.
    pub dtls: Arc<Settings>,
    /// Whether `InjectPanic` is obeyed.
    pub allow_fault_injection: bool,
}

/// A shard. Its fields are the tables of one core; each `on_*` file borrows those it needs.
pub struct Shard<'m> {
    config: ShardConfig,
    records: Records<'m>,
    routes: Routes,
    peers: Vec<Option<Box<Peer>>>,
    inbound: Vec<Option<Box<Inbound>>>,
    outbound: Vec<Outbound>,
    tracks: Vec<Track>,
    /// The track of each subscription.
    viewed: Vec<TrackSlot>,
    viewers: Vec<Option<Box<Viewer>>>,
    handshakes: HandshakeQueue,
    bindings: Allowance,
    bridge: Bridge,
    timers: Timers,
    watch: Watch,
    fences: Fences,
    events: VecDeque<contract::EventKind>,
    random: Random,
    panic_injected: bool,
    stall_injected: Option<Duration>,
}

impl<'m> Shard<'m> {
    /// A shard over `records`, which may hold calls already.
    pub fn new(config: ShardConfig, records: Records<'m>, now: Timestamp) -> Self {
        let mut random = Random::new(config.seed);
        let mut shard = Self {
            routes: Routes::new(random.next_u64()),
            peers: empty(PEERS_MAX, || None),
            inbound: empty(INBOUND_MAX, || None),
            outbound: empty(PEERS_MAX, || Outbound::VACANT),
            tracks: empty(TRACKS_MAX, Track::default),
            viewed: vec![TrackSlot::NONE; SUBSCRIPTIONS_MAX],
            viewers: empty(SUBSCRIPTIONS_MAX, || None),
            handshakes: HandshakeQueue::new(),
            bindings: Allowance::new([random.next_u64(), random.next_u64()]),
            bridge: Bridge::new(config.id),
            timers: Timers::new(INBOUND_MAX),
            watch: Watch::new(now),
            fences: Fences::default(),
            events: VecDeque::new(),
            random,
            panic_injected: false,
            stall_injected: None,
            config,
            records,
        };
        shard.restore(now);
        shard.begin_watch(now);
        shard
    }

    /// Takes datagrams. Their bytes are decrypted in place and mean nothing afterwards. Media of one track that comes in
    /// a row is fanned out together.
    #[inline]
    pub fn handle_datagrams(&mut self, now: Timestamp, trains: Trains<'_>, egress: &mut impl Egress) {
        let mut pending = Pending::default();
        for train in trains {
            let path = train.path;
            for datagram in train.into_datagrams() {
                let outcome = match demux::kind(datagram) {
                    Some(Kind::Rtp) => self.on_rtp(now, &path, datagram, &mut pending, egress),
                    Some(Kind::Rtcp) => self.on_rtcp(now, &path, datagram, egress),
                    Some(Kind::Stun) => self.on_stun(now, &path, datagram, egress),
                    Some(Kind::Dtls) => self.on_dtls(&path, datagram),
                    Some(Kind::TurnChannel) | None => Err(Discard::PeerUnknownProtocol),
                };
                if let Err(reason) = outcome {
                    self.records.counters.discard(reason);
                }
            }
        }
        self.forward(now, &mut pending, egress);
    }

    /// Whether [`Shard::handle_deferred`] has work.
    pub fn has_deferred(&self) -> bool {
        !self.handshakes.is_empty()
    }

    /// When to call [`Shard::handle_timeout`] next.
    pub fn next_deadline(&self) -> Timestamp {
        self.timers.next_deadline()
    }

    /// The next event for signaling.
    pub fn poll_event(&mut self) -> Option<contract::Event> {
        let kind = self.events.pop_front().or_else(|| self.poll_watch())?;
        Some(contract::Event { shard: self.config.id, kind: Some(kind) })
    }

    /// Peers it holds.
    pub fn peers_held(&self) -> u32 {
        u32::try_from(self.records.peers.len()).expect("tables are far shorter than 2^32")
    }

    /// Notes how far a peer got, and tells signaling.
    fn set_state(&mut self, slot: PeerSlot, state: PeerState) {
        self.records.peers[slot].set_state(state);
        self.tell_peer(slot, contract::CloseCause::Unknown, "");
    }

    /// A viewer needs a key frame of a track. Requests are merged; the timer sends them.
    fn want_keyframe(&mut self, now: Timestamp, track: TrackSlot) {
        let wanted = &mut self.tracks[track.index()];
        wanted.ask_now |= wanted.keyframes.request(now);
        let due = if wanted.ask_now { now } else { wanted.keyframes.next_deadline() };
        self.timers.arm(Timer::Keyframe(track.0), due);
    }
}

fn empty<T>(len: usize, vacant: impl Fn() -> T) -> Vec<T> {
    std::iter::repeat_with(vacant).take(len).collect()
}
