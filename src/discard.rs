//! Why a datagram was dropped: a counted reason, never an error.
//!
//! The first word of each name says whose doing it was: `Peer…` a peer (or somebody who plays one), `Network…` the
//! network between, `Our…` this relay. Nothing here is ever formatted on the packet path; a report reads the counters.

/// Reasons for dropping a datagram or a packet in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Discard {
    /// First byte belongs to no protocol of RFC 7983 that we speak.
    PeerUnknownProtocol,
    /// From an address that never passed a connectivity check.
    PeerUnknownSource,
    /// STUN that does not parse, or of a class and method we never answer.
    PeerStunMalformed,
    /// STUN whose user name names no peer here.
    PeerStunUnknownUser,
    /// STUN whose MESSAGE-INTEGRITY or FINGERPRINT is wrong.
    PeerStunUnauthenticated,
    /// DTLS record that cannot be part of the handshake at this point.
    PeerDtlsUnexpected,
    /// RTP header that does not parse (RFC 3550 §5.1, RFC 8285).
    PeerRtpMalformed,
    /// RTCP that does not parse.
    PeerRtcpMalformed,
    /// SRTP or SRTCP shorter than its tag and index.
    PeerSrtpTooShort,
    /// SRTP or SRTCP whose tag does not verify.
    PeerSrtpUnauthenticated,
    /// SRTCP sent in the clear (E = 0).
    PeerSrtcpUnencrypted,
    /// An SSRC that neither signaling nor MID/RID explains.
    PeerUnknownSsrc,
    /// A payload type that was not negotiated.
    PeerUnknownPayloadType,
    /// More unsignaled SSRCs than a transport may bring.
    PeerTooManySsrcs,
    /// Media before the handshake is done, or after the peer closed.
    PeerNotLive,
    /// Longer than any packet of ours.
    PeerTooLong,
    /// A packet index seen before, or a connectivity check seen before that comes from another address.
    NetworkReplayed,
    /// A packet index older than the replay window.
    NetworkTooOld,
    /// A Binding beyond the allowance of its source address.
    PeerRateLimited,
    /// No free slot to send from.
    OurEgressFull,
    /// The handshake queue of this cycle is full.
    OurHandshakeQueueFull,
    /// A table of the shard is full.
    OurTableFull,
}

impl Discard {
    /// Every reason, in the order of their counters.
    pub const ALL: [Self; 22] = [
        Self::PeerUnknownProtocol,
        Self::PeerUnknownSource,
        Self::PeerStunMalformed,
        Self::PeerStunUnknownUser,
        Self::PeerStunUnauthenticated,
        Self::PeerDtlsUnexpected,
        Self::PeerRtpMalformed,
        Self::PeerRtcpMalformed,
        Self::PeerSrtpTooShort,
        Self::PeerSrtpUnauthenticated,
        Self::PeerSrtcpUnencrypted,
        Self::PeerUnknownSsrc,
        Self::PeerUnknownPayloadType,
        Self::PeerTooManySsrcs,
        Self::PeerNotLive,
        Self::PeerTooLong,
        Self::NetworkReplayed,
        Self::NetworkTooOld,
        Self::PeerRateLimited,
        Self::OurEgressFull,
        Self::OurHandshakeQueueFull,
        Self::OurTableFull,
    ];

    /// Name of its counter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PeerUnknownProtocol => "discard_peer_unknown_protocol",
            Self::PeerUnknownSource => "discard_peer_unknown_source",
            Self::PeerStunMalformed => "discard_peer_stun_malformed",
            Self::PeerStunUnknownUser => "discard_peer_stun_unknown_user",
            Self::PeerStunUnauthenticated => "discard_peer_stun_unauthenticated",
            Self::PeerDtlsUnexpected => "discard_peer_dtls_unexpected",
            Self::PeerRtpMalformed => "discard_peer_rtp_malformed",
            Self::PeerRtcpMalformed => "discard_peer_rtcp_malformed",
            Self::PeerSrtpTooShort => "discard_peer_srtp_too_short",
            Self::PeerSrtpUnauthenticated => "discard_peer_srtp_unauthenticated",
            Self::PeerSrtcpUnencrypted => "discard_peer_srtcp_unencrypted",
            Self::PeerUnknownSsrc => "discard_peer_unknown_ssrc",
            Self::PeerUnknownPayloadType => "discard_peer_unknown_payload_type",
            Self::PeerTooManySsrcs => "discard_peer_too_many_ssrcs",
            Self::PeerNotLive => "discard_peer_not_live",
            Self::PeerTooLong => "discard_peer_too_long",
            Self::NetworkReplayed => "discard_network_replayed",
            Self::NetworkTooOld => "discard_network_too_old",
            Self::PeerRateLimited => "discard_peer_rate_limited",
            Self::OurEgressFull => "discard_our_egress_full",
            Self::OurHandshakeQueueFull => "discard_our_handshake_queue_full",
            Self::OurTableFull => "discard_our_table_full",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_place_and_name() {
        for (place, reason) in Discard::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, place);
        }
        let mut names = Discard::ALL.map(Discard::name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
