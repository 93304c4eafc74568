//! What signaling is told by the clock: once a second what the shard has to do, and of each peer what flows and whether its
//! path is alive, when that changed.
//!
//! Nothing of it costs a packet anything: the counts that are compared are kept for other reasons. A large shard looks at
//! its peers by parts, so that media never waits for all of them.

use millrace_control as contract;

use super::timers::Timer;
use super::{Shard, describe};
use crate::ids::PeerSlot;
use crate::limits::{DISCONNECTED_AFTER, PEERS_MAX, WATCH_INTERVAL, WATCHED_AT_ONCE};
use crate::records::MediaKind;
use crate::records::peer::PeerState;
use crate::time::Timestamp;

/// What was seen at the last look.
pub(super) struct Watch {
    /// By place in the peers' table.
    peers: Vec<Seen>,
    /// Place at which the next look begins.
    next: usize,
    /// Peers of which something is to be told. Events take memory, and time is part of the media path, so they are made
    /// when they are fetched.
    changed: Vec<PeerSlot>,
    /// What is to be told of the shard.
    load: Option<contract::Load>,
    /// When that was last.
    load_at: Timestamp,
    totals: Totals,
}

/// What was seen of a peer.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Its checks stay away.
    pub(super) disconnected: bool,
    pub(super) flow: contract::MediaFlow,
}

/// Counters of which the rates are told.
#[derive(Clone, Copy, Default)]
struct Totals {
    packets_in: u64,
    packets_out: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl Watch {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            peers: vec![Seen::default(); PEERS_MAX],
            next: 0,
            changed: Vec::with_capacity(WATCHED_AT_ONCE),
            load: None,
            load_at: now,
            totals: Totals::default(),
        }
    }

    pub(super) fn of(&self, slot: PeerSlot) -> Seen {
        self.peers[slot.index()]
    }

    /// The place of a peer was taken, or its transport ended.
    pub(super) fn forget(&mut self, slot: PeerSlot) {
        self.peers[slot.index()] = Seen::default();
    }
}

impl Shard<'_> {
    pub(super) fn begin_watch(&mut self, now: Timestamp) {
        self.watch.totals = self.totals();
        self.timers.arm(Timer::Watch, now + WATCH_INTERVAL);
    }

    pub(super) fn on_watch_timer(&mut self, now: Timestamp) {
        let places = self.records.peers.touched();
        let end = (self.watch.next + WATCHED_AT_ONCE).min(places);
        for place in self.watch.next..end {
            self.watch_peer(now, PeerSlot::from(place));
        }
        self.watch.next = if end == places { 0 } else { end };
        if now >= self.watch.load_at + WATCH_INTERVAL {
            self.tell_load(now);
        }
        let parts = u32::try_from(places.div_ceil(WATCHED_AT_ONCE)).unwrap_or(1).max(1);
        self.timers.arm(Timer::Watch, now + WATCH_INTERVAL / parts);
    }

    fn watch_peer(&mut self, now: Timestamp, slot: PeerSlot) {
        let record = &self.records.peers[slot];
        if self.peers[slot.index()].is_none() || !matches!(record.state(), PeerState::Dtls | PeerState::Live)
        {
            return;
        }
        let disconnected = now.since(record.ice.last_check) >= DISCONNECTED_AFTER;
        let seen = Seen { disconnected, flow: self.flow_of(slot) };
        if seen != self.watch.of(slot) {
            self.watch.peers[slot.index()] = seen;
            self.watch.changed.push(slot);
        }
    }

    /// What came from a peer and went to it since the last look.
    fn flow_of(&mut self, slot: PeerSlot) -> contract::MediaFlow {
        let mut flow = contract::MediaFlow::default();
        let Some(peer) = self.peers[slot.index()].as_ref() else { return flow };
        for &stream in &peer.inbound {
            let record = &self.records.inbound[stream];
            let Some(inbound) = self.inbound[stream.index()].as_mut().filter(|_| record.repairs.is_none())
            else {
                continue;
            };
            // Above 0 once a packet came.
            let received = record.replay.newest().map_or(0, |newest| newest + 1);
            let flows = std::mem::replace(&mut inbound.seen, received) != received;
            match self.records.tracks[record.track].kind() {
                MediaKind::Audio => flow.audio_in |= flows,
                MediaKind::Video => flow.video_in |= flows,
            }
        }
        for &subscription in &peer.subscriptions {
            let record = &self.records.subscriptions[subscription];
            let Some(viewer) = self.viewers[subscription.index()].as_mut() else { continue };
            let flows = std::mem::replace(&mut viewer.seen, record.packets) != record.packets;
            match record.kind() {
                MediaKind::Audio => flow.audio_out |= flows,
                MediaKind::Video => flow.video_out |= flows,
            }
        }
        flow
    }

    fn tell_load(&mut self, now: Timestamp) {
        let totals = self.totals();
        let before = std::mem::replace(&mut self.watch.totals, totals);
        let passed = now.since(std::mem::replace(&mut self.watch.load_at, now));
        let rate = |now: u64, before: u64| {
            let per_s = u128::from(now.saturating_sub(before)) * 1_000_000_000 / passed.as_nanos().max(1);
            u64::try_from(per_s).unwrap_or(u64::MAX)
        };
        let packets = |now, before| u32::try_from(rate(now, before)).unwrap_or(u32::MAX);
        let count = |held: usize| u32::try_from(held).unwrap_or(u32::MAX);
        let load = contract::Load {
            peers: count(self.records.peers.len()),
            tracks: count(self.records.tracks.len()),
            subscriptions: count(self.routes.by_subscription.len()),
            packets_in_per_s: packets(totals.packets_in, before.packets_in),
            packets_out_per_s: packets(totals.packets_out, before.packets_out),
            bits_in_per_s: 8 * rate(totals.bytes_in, before.bytes_in),
            bits_out_per_s: 8 * rate(totals.bytes_out, before.bytes_out),
            // Both are known to the thread and to control.
            busy_permille: 0,
            draining: false,
        };
        self.watch.load = Some(load);
    }

    /// The next thing that was seen and not told yet.
    pub(super) fn poll_watch(&mut self) -> Option<contract::EventKind> {
        while let Some(slot) = self.watch.changed.pop() {
            // A peer that was removed or closed since then has had its last event.
            let is_over =
                self.peers[slot.index()].is_none() || self.records.peers[slot].state() == PeerState::Closed;
            if !is_over {
                return Some(self.describe_event(slot, contract::CloseCause::Unknown, ""));
            }
        }
        self.watch.load.take().map(contract::EventKind::Load)
    }

    fn totals(&self) -> Totals {
        let counters = &self.records.counters;
        Totals {
            packets_in: counters.rtp_in,
            packets_out: counters.rtp_out,
            bytes_in: counters.rtp_in_bytes,
            bytes_out: counters.rtp_out_bytes,
        }
    }

    /// Tells signaling all that is known of a peer's transport.
    pub(super) fn tell_peer(&mut self, slot: PeerSlot, cause: contract::CloseCause, reason: &str) {
        let event = self.describe_event(slot, cause, reason);
        self.events.push_back(event);
    }

    fn describe_event(
        &self,
        slot: PeerSlot,
        cause: contract::CloseCause,
        reason: &str,
    ) -> contract::EventKind {
        let record = &self.records.peers[slot];
        let seen = self.watch.of(slot);
        contract::EventKind::Peer(contract::PeerEvent {
            peer: record.id.0,
            state: describe::state(record.state()) as i32,
            remote: describe::remote(record),
            reason: reason.to_owned(),
            ice: describe::ice_state(record, seen) as i32,
            flow: Some(seen.flow),
            cause: cause as i32,
        })
    }
}
