//! THE loop: one packet in the clear becomes one sealed packet for each viewer.

use super::track::Track;
use crate::egress::Egress;
use crate::ids::InboundSlot;
use crate::metrics::Counters;
use crate::peer::outbound::{Outbound, Outgoing};
use crate::records::{SubscriptionRecord, Table};
use crate::router::cache::Facts;
use crate::router::switch::{Incoming, Verdict};
use crate::time::Timestamp;
use crate::wire::carried::Carried;

/// One packet of a published stream, opened.
pub struct Arrival<'a> {
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
    /// Only padding; `payload` ends with its count.
    pub padding: bool,
    /// A viewer may start here.
    pub switch_point: bool,
    /// Whether it may have to be sent again.
    pub keep: bool,
    /// Extensions that travel with it.
    pub carried: Carried,
    /// Payload in the clear.
    pub payload: &'a [u8],
}

/// What the loop works with besides the packet: each borrowed from another part of the shard.
pub struct Viewers<'a, 'm> {
    /// State of every subscription.
    pub subscriptions: &'a mut Table<'m, SubscriptionRecord>,
    /// The sending side of every peer.
    pub outbound: &'a [Outbound],
    /// What is counted.
    pub counters: &'a mut Counters,
}

/// Sends `arrival` to everyone who watches `track`. Gives whether somebody still waits for a key frame.
#[inline]
pub fn fan_out(
    now: Timestamp,
    arrival: &Arrival<'_>,
    track: &mut Track,
    viewers: &mut Viewers<'_, '_>,
    egress: &mut impl Egress,
) -> bool {
    if arrival.keep && track.rtx_subscribers > 0 {
        let facts = Facts { rtp: arrival.rtp, format: arrival.format, marker: arrival.marker };
        let cache = track.cache.get_or_insert_default();
        cache.keep(arrival.source, arrival.dense, facts, &arrival.carried, arrival.payload);
    }
    let incoming = Incoming {
        source: arrival.source,
        dense: arrival.dense,
        rtp: arrival.rtp,
        clock_rate_hz: arrival.clock_rate_hz,
        switch_point: arrival.switch_point,
    };
    let mut somebody_waits = false;
    for &slot in &track.subscribers {
        let subscription = &mut viewers.subscriptions[slot];
        let viewer = &viewers.outbound[subscription.peer.index()];
        if !viewer.is_live() {
            continue;
        }
        let Some(codec) = subscription.codecs.by_format(arrival.format) else { continue };
        let payload_type = codec.payload_type;
        // The record advances here, before the packet is queued: a packet that is then lost leaves a gap, and no
        // index is ever used again.
        let rewrite = match subscription.switch.forward(now, &incoming) {
            Verdict::Forward(rewrite) => rewrite,
            Verdict::Waits => {
                somebody_waits = true;
                continue;
            }
            Verdict::Drop => continue,
        };
        subscription.packets += 1;
        subscription.octets += arrival.payload.len() as u64;
        let outgoing = Outgoing {
            marker: arrival.marker,
            padding: arrival.padding,
            payload_type,
            rtp: rewrite.rtp,
            ssrc: subscription.ssrc,
            index: rewrite.index,
            mid: subscription.mid.as_bytes(),
            carried: &arrival.carried,
            payload: arrival.payload,
        };
        match viewer.send_rtp(&outgoing, egress) {
            Ok(len) => {
                viewers.counters.rtp_out += 1;
                viewers.counters.rtp_out_bytes += len as u64;
            }
            Err(reason) => viewers.counters.discard(reason),
        }
    }
    somebody_waits
}
