//! What a datagram is, by its first two bytes (RFC 7983 §7, RFC 5761 §4).

/// Protocols that share one media port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RFC 8489; first byte 0 to 3.
    Stun,
    /// RFC 6347 and 9147; first byte 20 to 63.
    Dtls,
    /// TURN ChannelData, RFC 8656 §12.4; first byte 64 to 79.
    TurnChannel,
    /// SRTP; first byte 128 to 191.
    Rtp,
    /// SRTCP: as RTP, with a packet type of 192 to 223 in the second byte.
    Rtcp,
}

/// Tells the protocol of `datagram`, or `None` for what we do not speak (ZRTP, QUIC, one lone byte of RTP).
#[inline]
pub fn kind(datagram: &[u8]) -> Option<Kind> {
    match *datagram {
        [128..=191, 192..=223, ..] => Some(Kind::Rtcp),
        [128..=191, _, ..] => Some(Kind::Rtp),
        [0..=3, ..] => Some(Kind::Stun),
        [20..=63, ..] => Some(Kind::Dtls),
        [64..=79, ..] => Some(Kind::TurnChannel),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_names_the_protocol() {
        for first in 0..=255u8 {
            let expected = match first {
                0..=3 => Some(Kind::Stun),
                20..=63 => Some(Kind::Dtls),
                64..=79 => Some(Kind::TurnChannel),
                128..=191 => Some(Kind::Rtp),
                _ => None,
            };
            assert_eq!(kind(&[first, 0, 0]), expected, "first byte {first}");
        }
    }

    #[test]
    fn the_second_byte_tells_rtcp_from_rtp() {
        for packet_type in 200..=207u8 {
            assert_eq!(kind(&[0x80, packet_type]), Some(Kind::Rtcp));
        }
        // Payload types 96 to 127 and 0 to 63, each with and without the marker.
        for payload_type in (0..=63u8).chain(96..=127) {
            assert_eq!(kind(&[0x90, payload_type]), Some(Kind::Rtp));
            assert_eq!(kind(&[0x90, payload_type | 0x80]), Some(Kind::Rtp));
        }
    }

    #[test]
    fn nothing_and_next_to_nothing_are_no_media() {
        assert_eq!(kind(&[]), None);
        assert_eq!(kind(&[0x80]), None);
    }
}
