//! Rooms larger than a core: a packet crosses once to each shard with viewers, in the clear, and is fanned out there.
//!
//! ```text
//!   on_rtp ── forward ──► staged ── flush_parcels ──► (another thread) ──► handle_parcels ──► fan_out
//!                home.rs                                    mirror.rs
//! ```
//!
//! Like everything of a shard this knows no thread: who runs it takes the parcels and gives them to the other shard.
//! Keys, numbers and caches of a viewer stay with the viewer's shard.

mod home;
mod mirror;

use std::collections::VecDeque;

use super::Shard;
use super::on_rtp::Pending;
use crate::egress::Egress;
use crate::ids::TrackId;
use crate::limits::BRIDGE_PACKETS_MAX;
use crate::metrics::Counters;
use crate::router::parcel::{Content, Packet, Parcel};
use crate::time::Timestamp;

/// A shard's end of the ways to all others.
pub(super) struct Bridge {
    shard: u32,
    /// What waits for [`Shard::flush_parcels`], with the shard it is for.
    staged: VecDeque<(u32, Parcel)>,
    /// Buffers that are not on their way.
    #[expect(clippy::vec_box, reason = "a buffer goes from shard to shard without being copied")]
    free: Vec<Box<Packet>>,
    /// Whether there are buffers at all.
    stocked: bool,
}

impl Bridge {
    /// The end of `shard`. Buffers are made when a track is first wanted elsewhere.
    pub(super) const fn new(shard: u32) -> Self {
        Self { shard, staged: VecDeque::new(), free: Vec::new(), stocked: false }
    }

    /// Makes the buffers, once. There are never more: when all are on their way, a packet is dropped.
    fn stock(&mut self) {
        if !self.stocked {
            self.stocked = true;
            self.staged.reserve(BRIDGE_PACKETS_MAX);
            self.free = (0..BRIDGE_PACKETS_MAX).map(|_| Box::new(Packet::EMPTY)).collect();
        }
    }

    fn stage(&mut self, to: u32, track: TrackId, content: Content) {
        self.staged.push_back((to, Parcel { from: self.shard, track, content }));
    }

    /// Stages a packet that `write` puts into a buffer.
    #[inline]
    fn stage_packet(
        &mut self,
        to: u32,
        track: TrackId,
        counters: &mut Counters,
        write: impl FnOnce(&mut Packet) -> bool,
    ) {
        let Some(mut packet) = self.free.pop() else {
            counters.bridge_dropped += 1;
            return;
        };
        if write(&mut packet) {
            self.stage(to, track, Content::Packet(packet));
        } else {
            self.free.push(packet);
            counters.discard(crate::discard::Discard::PeerTooLong);
        }
    }

    fn recycle(&mut self, packet: Box<Packet>) {
        // After a panic there is a new stock, and the old one may still come back.
        if self.free.len() < self.free.capacity() {
            self.free.push(packet);
        }
    }
}

impl Shard<'_> {
    /// Gives what is meant for other shards to `post`, which hands back what finds no room there.
    pub fn flush_parcels(&mut self, mut post: impl FnMut(u32, Parcel) -> Result<(), Parcel>) {
        while let Some((to, parcel)) = self.bridge.staged.pop_front() {
            let len = match &parcel.content {
                Content::Packet(packet) => Some(packet.payload().len()),
                _ => None,
            };
            let counters = &mut self.records.counters;
            match (post(to, parcel), len) {
                (Ok(()), Some(len)) => {
                    counters.bridge_out += 1;
                    counters.bridge_out_bytes += len as u64;
                }
                (Ok(()), None) => {}
                (Err(parcel), _) => {
                    counters.bridge_dropped += 1;
                    if let Content::Packet(packet) = parcel.content {
                        self.bridge.recycle(packet);
                    }
                }
            }
        }
    }

    /// Takes what came from other shards. Packets of one track that come in a row are fanned out together.
    pub fn handle_parcels(&mut self, now: Timestamp, parcels: &mut [Parcel], egress: &mut impl Egress) {
        let mut pending = Pending::default();
        for &mut Parcel { from, track, ref mut content } in parcels {
            if let Content::Packet(packet) = content {
                if let Err(reason) = self.on_far_packet(now, from, track, packet, &mut pending, egress) {
                    self.records.counters.discard(reason);
                }
                continue;
            }
            // What is said after a packet counts after it.
            self.forward(now, &mut pending, egress);
            match *content {
                // Datagrams are taken out before (`turn/crossing.rs`).
                Content::Packet(_) | Content::Datagram(_) => {}
                Content::Report { stream, report } => self.on_far_report(from, track, stream, report),
                Content::Published => self.on_published(now, from, track),
                Content::Demand(wanted) => self.on_demand(from, track, wanted),
                Content::Keyframe => self.on_far_keyframe_request(now, track),
                Content::Missing { stream, dense } => self.on_missing(from, track, stream, dense),
            }
        }
        self.forward(now, &mut pending, egress);
    }

    /// Takes a buffer of its own back from the shard that it went to.
    pub fn recycle(&mut self, packet: Box<Packet>) {
        self.bridge.recycle(packet);
    }
}
