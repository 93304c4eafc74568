//! THE loop: a burst of packets in the clear becomes, for each viewer, as many sealed packets one behind the other.

use arrayvec::ArrayVec;

use super::track::Track;
use crate::egress::Egress;
use crate::ids::InboundSlot;
use crate::metrics::Counters;
use crate::peer::outbound::{Outbound, Outgoing};
use crate::records::{SubscriptionRecord, Table, Text};
use crate::router::cache::Facts;
use crate::router::runs::make_runs_whole;
use crate::router::switch::{Incoming, Verdict};
use crate::time::Timestamp;
use crate::wire::block::Block;
use crate::wire::carried::Carried;
use crate::wire::extension::ExtensionMap;

/// Packets that are fanned out together. Beyond 16 a longer run saves nothing, and the packets stay in the cache.
pub const BURST_MAX: usize = 16;

/// One packet of a published stream, opened.
pub struct Arrival<'b> {
    /// The stream it came on.
    pub source: InboundSlot,
    /// Its number among the packets that viewers see.
    pub dense: u64,
    /// The publisher's RTP timestamp.
    pub rtp: u32,
    /// RTP clock in Hz.
    pub clock_rate_hz: u32,
    /// Format number of the payload.
    pub format: u32,
    /// Marker bit.
    pub marker: bool,
    /// The payload ends in padding.
    pub padding: bool,
    /// A viewer may start here.
    pub switch_point: bool,
    /// Whether it may have to be sent again.
    pub keep: bool,
    /// Extensions that travel with it.
    pub carried: Carried,
    /// Payload in the clear, and behind it the room where its tag stood.
    pub bytes: &'b mut [u8],
    /// Length of the payload.
    pub payload_len: usize,
    /// Bytes of padding added behind it to keep a run whole (`runs`).
    pub run_padding: usize,
}

impl Arrival<'_> {
    /// Payload in the clear.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[..self.payload_len]
    }

    /// The same with what was added to keep a run whole.
    #[inline]
    pub(super) fn padded_payload(&self) -> &[u8] {
        &self.bytes[..self.payload_len + self.run_padding]
    }
}

/// Packets of one track that came together.
pub type Burst<'b> = ArrayVec<Arrival<'b>, BURST_MAX>;

/// What the loop works with besides the packets: each borrowed from another part of the shard.
pub struct Viewers<'a, 'm> {
    /// State of every subscription.
    pub subscriptions: &'a mut Table<'m, SubscriptionRecord>,
    /// The sending side of every peer.
    pub outbound: &'a mut [Outbound],
    /// What is counted.
    pub counters: &'a mut Counters,
}

/// Sends `burst` to everyone who watches `track`. Gives whether somebody still waits for a key frame.
#[inline]
pub fn fan_out(
    now: Timestamp,
    burst: &mut Burst<'_>,
    track: &mut Track,
    viewers: &mut Viewers<'_, '_>,
    egress: &mut impl Egress,
) -> bool {
    if track.rtx_subscribers > 0 {
        keep(burst, track);
    }
    make_runs_whole(burst);
    let mut blocks = Blocks::default();
    let mut somebody_waits = false;
    for &slot in &track.subscribers {
        let subscription = &mut viewers.subscriptions[slot];
        let viewer = &mut viewers.outbound[subscription.peer.index()];
        if !viewer.is_live() {
            continue;
        }
        blocks.prepare(now, burst, viewer.extensions(), &subscription.mid);
        let mut waits = false;
        for (arrival, block) in burst.iter().zip(&blocks.of_burst) {
            let Some(codec) = subscription.codecs.by_format(arrival.format) else { continue };
            let payload_type = codec.payload_type;
            // The record advances here, before the packet is queued: a packet that is then lost leaves a gap, and no
            // index is ever used again.
            let rewrite = match subscription.switch.forward(now, &Incoming::of(arrival)) {
                Verdict::Forward(rewrite) => rewrite,
                verdict => {
                    waits = verdict == Verdict::Waits;
                    continue;
                }
            };
            waits = false;
            subscription.packets += 1;
            subscription.octets += arrival.payload_len as u64;
            let outgoing = Outgoing {
                marker: arrival.marker,
                padding: arrival.padding || arrival.run_padding > 0,
                payload_type,
                rtp: rewrite.rtp,
                ssrc: subscription.ssrc,
                index: rewrite.index,
                block,
                payload: arrival.padded_payload(),
            };
            match viewer.send_rtp(now, &outgoing, egress) {
                Ok(len) => {
                    viewers.counters.rtp_out += 1;
                    viewers.counters.rtp_out_bytes += len as u64;
                }
                Err(reason) => viewers.counters.discard(reason),
            }
        }
        somebody_waits |= waits;
    }
    somebody_waits
}

/// Keeps what viewers may ask for again.
fn keep(burst: &Burst<'_>, track: &mut Track) {
    for arrival in burst.iter().filter(|arrival| arrival.keep) {
        let facts = Facts { rtp: arrival.rtp, format: arrival.format, marker: arrival.marker };
        let cache = track.cache.get_or_insert_default();
        cache.keep(arrival.source, arrival.dense, facts, &arrival.carried, arrival.payload());
    }
}

impl Incoming {
    #[inline]
    const fn of(arrival: &Arrival<'_>) -> Self {
        Self {
            source: arrival.source,
            dense: arrival.dense,
            rtp: arrival.rtp,
            clock_rate_hz: arrival.clock_rate_hz,
            switch_point: arrival.switch_point,
        }
    }
}

/// The extension blocks of a burst, written once for all viewers in a row who want them alike: browsers of one make
/// number their extensions alike, and streams of one session have the same MIDs.
#[derive(Default)]
struct Blocks {
    wanted: Option<(ExtensionMap, Text)>,
    of_burst: ArrayVec<Block, BURST_MAX>,
}

impl Blocks {
    #[inline]
    fn prepare(&mut self, now: Timestamp, burst: &Burst<'_>, map: &ExtensionMap, mid: &Text) {
        if self.wanted.as_ref().is_some_and(|(had_map, had_mid)| had_map == map && had_mid == mid) {
            return;
        }
        self.wanted = Some((*map, *mid));
        self.of_burst.clear();
        for arrival in burst {
            self.of_burst.push(Block::new(map, mid.as_bytes(), &arrival.carried, now));
        }
    }
}
