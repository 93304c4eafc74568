//! Sending again what a viewer lost: RTX from the cache (RFC 4588), with a guard against viewers who ask without end.

use super::cache::Cache;
use super::viewer::Viewer;
use crate::egress::Egress;
use crate::ids::InboundSlot;
use crate::limits::RESEND_INTERVAL_MIN;
use crate::metrics::Counters;
use crate::peer::outbound::{Outbound, Outgoing};
use crate::records::SubscriptionRecord;
use crate::time::Timestamp;
use crate::wire::block::Block;

/// The viewer who asks.
pub struct Asking<'a> {
    /// Its subscription.
    pub subscription: &'a mut SubscriptionRecord,
    /// Its sending side.
    pub outbound: &'a mut Outbound,
    /// What it was sent lately, and how far away it is.
    pub viewer: &'a mut Viewer,
}

/// A packet that a viewer misses and that is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// Its stream.
    pub source: InboundSlot,
    /// Its number there.
    pub dense: u64,
}

/// Sends the packet that the viewer knows as `sequence` once more, if it is still kept.
///
/// # Errors
/// When it is not.
pub fn resend(
    now: Timestamp,
    sequence: u16,
    asking: &mut Asking<'_>,
    cache: Option<&mut Cache>,
    counters: &mut Counters,
    egress: &mut impl Egress,
) -> Result<(), Missed> {
    let Asking { subscription, outbound, viewer } = asking;
    let interval = viewer.round_trip.unwrap_or_default().max(RESEND_INTERVAL_MIN);
    if !subscription.has(SubscriptionRecord::RTX)
        || !outbound.admits(now)
        || !viewer.guard.admit(now, interval, sequence, subscription.packets)
    {
        return Ok(());
    }
    let source = subscription.switch.source;
    let Some(dense) = subscription.switch.dense_of(sequence) else {
        counters.rtx_missed += 1;
        return Ok(());
    };
    let Some(kept) = cache.and_then(|cache| cache.get(source, dense)) else {
        counters.rtx_missed += 1;
        return Err(Missed { source, dense });
    };
    let Some(payload_type) = subscription.codecs.rtx_of_format(kept.format) else {
        counters.rtx_missed += 1;
        return Ok(());
    };
    let index = subscription.rtx_index;
    subscription.rtx_index += 1;
    let block = Block::new(outbound.extensions(), subscription.mid.as_bytes(), &kept.carried, now);
    let outgoing = Outgoing {
        marker: kept.marker,
        padding: false,
        payload_type,
        rtp: kept.rtp.wrapping_add(subscription.switch.rtp_offset),
        ssrc: subscription.rtx_ssrc,
        index,
        block: &block,
        payload: kept.rtx_payload(sequence),
    };
    match outbound.send_rtp(now, &outgoing, egress) {
        Ok(len) => {
            counters.rtx_out += 1;
            counters.rtp_out += 1;
            counters.rtp_out_bytes += len as u64;
        }
        Err(reason) => counters.discard(reason),
    }
    Ok(())
}
