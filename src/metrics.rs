//! What a shard counts. The numbers live in the shard's records, so they go on after a panic.

use crate::discard::Discard;

macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident),* $(,)?) => {
        /// Counters of one shard since its records were made.
        #[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
        #[repr(C)]
        pub struct Counters {
            $($(#[$doc])* pub $field: u64,)*
            discards: [u64; Discard::ALL.len()],
        }

        impl Counters {
            /// Every counter with its name, in a fixed order.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                [$((stringify!($field), self.$field)),*]
                    .into_iter()
                    .chain(Discard::ALL.into_iter().map(|reason| (reason.name(), self.discards[reason as usize])))
            }
        }
    };
}

counters! {
    /// Authenticated RTP packets in.
    rtp_in,
    /// Their bytes, as datagrams.
    rtp_in_bytes,
    /// RTP packets queued to viewers, retransmissions included.
    rtp_out,
    /// Their bytes, as datagrams.
    rtp_out_bytes,
    /// Packets that only probe the network and vanished here: padding, and RTX of what had arrived.
    rtp_padding_in,
    /// Lost packets that came back by RTX.
    rtp_repaired,
    /// Retransmissions to viewers.
    rtx_out,
    /// Retransmissions asked for that the cache no longer held.
    rtx_missed,
    /// Transport-wide feedbacks of viewers.
    feedback_in,
    /// Packets that viewers report to have got.
    packets_delivered,
    /// Packets that viewers report not to have got.
    packets_lost,
    /// Authenticated RTCP compounds in.
    rtcp_in,
    /// RTCP compounds out.
    rtcp_out,
    /// NACKed sequence numbers sent to publishers.
    nack_out,
    /// NACKed sequence numbers received from viewers.
    nack_in,
    /// Key frame requests sent to publishers.
    keyframe_requests_out,
    /// Key frame requests received from viewers, before merging.
    keyframe_requests_in,
    /// Key frames that arrived.
    keyframes_in,
    /// Connectivity checks answered.
    stun_checks,
    /// Plain Bindings answered.
    stun_bindings,
    /// Handshakes finished.
    dtls_connected,
    /// Handshakes given up, wrong fingerprints included.
    dtls_failed,
    /// Peers whose consent expired.
    consent_expired,
    /// Packets handed to other shards for their viewers.
    bridge_out,
    /// Their payload bytes.
    bridge_out_bytes,
    /// Packets taken over from other shards.
    bridge_in,
    /// Their payload bytes.
    bridge_in_bytes,
    /// Packets and words for other shards that found no room.
    bridge_dropped,
    /// Commands carried out.
    commands_done,
    /// Commands refused.
    commands_rejected,
    /// Times the shard was rebuilt from its records.
    rebuilds,
}

impl Counters {
    /// Counts a dropped packet under its reason.
    pub const fn discard(&mut self, reason: Discard) {
        self.discards[reason as usize] += 1;
    }

    /// Packets dropped for `reason`.
    pub const fn discarded(&self, reason: Discard) -> u64 {
        self.discards[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_discard_has_its_own_counter() {
        let mut counters = <Counters as bytemuck::Zeroable>::zeroed();
        counters.discard(Discard::PeerTooLong);
        let raised: Vec<_> = counters.iter().filter(|(_, value)| *value > 0).collect();
        assert_eq!(raised, [("discard_peer_too_long", 1)]);
    }
}
