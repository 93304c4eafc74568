//! Sealing what we send, straight into the slot it leaves from.

use super::suite::{Labels, Suite, roc_bytes};
use super::{
    RTCP_CLEAR_BYTES, RTCP_ENCRYPTED, RTCP_INDEX_BYTES, RTCP_INDEX_MAX, RTP_HEADER_BYTES_MIN, RTP_INDEX_MAX,
    word_at,
};
use crate::records::keys::{KeyRecord, Profile};

/// Session ciphers of what we send to one peer.
#[derive(Debug)]
pub struct SealKeys {
    profile: Profile,
    rtp: Suite,
    rtcp: Suite,
}

impl SealKeys {
    /// From the outbound half of a record, or `None` while it holds no keys.
    pub fn from_record(record: &KeyRecord) -> Option<Self> {
        let (profile, key, salt) = record.outbound()?;
        Some(Self::new(profile, key, salt))
    }

    /// From a master key and salt.
    ///
    /// # Panics
    /// When their lengths are not the profile's.
    pub fn new(profile: Profile, master_key: &[u8], master_salt: &[u8]) -> Self {
        assert_eq!((master_key.len(), master_salt.len()), (profile.key_len(), profile.salt_len()));
        Self {
            profile,
            rtp: Suite::new(profile, master_key, master_salt, Labels::RTP),
            rtcp: Suite::new(profile, master_key, master_salt, Labels::RTCP),
        }
    }

    /// From one suite of session keys for both protocols, as the RFC's vectors give them.
    #[cfg(test)]
    pub(super) fn from_suites(profile: Profile, rtp: Suite, rtcp: Suite) -> Self {
        Self { profile, rtp, rtcp }
    }

    /// The profile in use.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Seals one RTP packet (RFC 3711 §3.1, RFC 7714 §8). The header with CSRCs and extensions stands in
    /// `slot[..header_len]` already; the payload is read from `plaintext` and written once, behind it, sealed.
    ///
    /// `index` is ROC << 16 | sequence number, 48 bits, and is used for this packet only (the index rule).
    ///
    /// Returns the length of the datagram, or `None` when it does not fit in the slot, the header is shorter than
    /// 12 bytes or the index is used up; the slot then holds nothing to send.
    pub fn seal_rtp(
        &self,
        ssrc: u32,
        index: u64,
        header_len: usize,
        plaintext: &[u8],
        slot: &mut [u8],
    ) -> Option<usize> {
        let len = header_len + plaintext.len() + self.profile.rtp_overhead();
        if header_len < RTP_HEADER_BYTES_MIN || index > RTP_INDEX_MAX {
            return None;
        }
        let (header, sealed) = slot.get_mut(..len)?.split_at_mut(header_len);
        debug_assert_eq!(word_at(header, 8), ssrc, "the header names another source");
        debug_assert_eq!(header[2..4], index.to_be_bytes()[6..], "the header has another sequence number");
        match &self.rtp {
            Suite::Gcm(suite) => suite.key.seal(suite.nonce(ssrc, index), header, plaintext, sealed),
            Suite::Cm(suite) => {
                // The library has counter mode in place only, so this profile pays for one copy.
                let (text, _) = sealed.split_at_mut(plaintext.len());
                text.copy_from_slice(plaintext);
                suite.apply(ssrc, index, text);
                let (packet, tag) = slot[..len].split_at_mut(header_len + plaintext.len());
                let tag_len = tag.len();
                tag.copy_from_slice(&suite.mac.sign(packet, &roc_bytes(index))[..tag_len]);
            }
        }
        Some(len)
    }

    /// Seals the compound RTCP packet in `packet[..len]` in place, with E-bit and index (RFC 3711 §3.4, RFC 7714 §9).
    ///
    /// `index` is used for this SSRC once (the index rule).
    ///
    /// Returns the length of the datagram, or `None` when it does not fit in `packet`, is shorter than 8 bytes or the
    /// index is used up; there is nothing to send then.
    pub fn seal_rtcp(&self, ssrc: u32, index: u32, packet: &mut [u8], len: usize) -> Option<usize> {
        if len < RTCP_CLEAR_BYTES || index > RTCP_INDEX_MAX {
            return None;
        }
        let sealed_len = len + self.profile.rtcp_overhead();
        let packet = packet.get_mut(..sealed_len)?;
        debug_assert_eq!(word_at(packet, 4), ssrc, "the first report is from another source");
        let trailer = (RTCP_ENCRYPTED | index).to_be_bytes();
        match &self.rtcp {
            Suite::Gcm(suite) => {
                // Header, ciphertext, tag, index; header and index are associated data (RFC 7714 §9.2).
                let (head, place) = packet.split_at_mut(sealed_len - RTCP_INDEX_BYTES);
                place.copy_from_slice(&trailer);
                let (clear, text) = head.split_at_mut(RTCP_CLEAR_BYTES);
                let aad = rtcp_aad(clear, trailer);
                suite.key.seal_in_place(suite.nonce(ssrc, u64::from(index)), &aad, text);
            }
            Suite::Cm(suite) => {
                // Header, ciphertext, index, tag; the tag covers all before it.
                suite.apply(ssrc, u64::from(index), &mut packet[RTCP_CLEAR_BYTES..len]);
                packet[len..len + RTCP_INDEX_BYTES].copy_from_slice(&trailer);
                let (covered, tag) = packet.split_at_mut(len + RTCP_INDEX_BYTES);
                let tag_len = tag.len();
                tag.copy_from_slice(&suite.mac.sign(covered, &[])[..tag_len]);
            }
        }
        Some(sealed_len)
    }
}

/// Associated data of a GCM-sealed RTCP packet: its first eight bytes, E-bit and index (RFC 7714 §9.2).
pub(super) fn rtcp_aad(clear: &[u8], trailer: [u8; RTCP_INDEX_BYTES]) -> [u8; 12] {
    let mut aad = [0; 12];
    aad[..RTCP_CLEAR_BYTES].copy_from_slice(clear);
    aad[RTCP_CLEAR_BYTES..].copy_from_slice(&trailer);
    aad
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(profile: Profile) -> SealKeys {
        SealKeys::new(profile, &[1; 32][..profile.key_len()], &[2; 14][..profile.salt_len()])
    }

    fn header(seq: u16) -> [u8; 12] {
        let mut header = [0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
        header[2..4].copy_from_slice(&seq.to_be_bytes());
        header
    }

    #[test]
    fn what_does_not_fit_is_not_sealed() {
        for profile in Profile::ALL {
            let keys = keys(profile);
            let len = 12 + 100 + profile.rtp_overhead();
            let mut slot = vec![0; len];
            slot[..12].copy_from_slice(&header(1));
            assert_eq!(keys.seal_rtp(9, 1, 12, &[5; 101], &mut slot), None);
            assert_eq!(keys.seal_rtp(9, 1, 11, &[5; 100], &mut slot), None);
            assert_eq!(keys.seal_rtp(9, 1, 12, &[5; 100], &mut slot), Some(len));

            let len = 8 + profile.rtcp_overhead();
            let mut packet = vec![0; len];
            packet[7] = 9;
            assert_eq!(keys.seal_rtcp(9, 1, &mut packet[..len - 1], 8), None);
            assert_eq!(keys.seal_rtcp(9, 1, &mut packet, 7), None);
            assert_eq!(keys.seal_rtcp(9, 1, &mut packet, 8), Some(len));
        }
    }

    #[test]
    fn an_index_beyond_its_range_is_never_used() {
        let keys = keys(Profile::AeadAes128Gcm);
        let mut slot = [0; 100];
        slot[..12].copy_from_slice(&header(0));
        assert_eq!(keys.seal_rtp(9, RTP_INDEX_MAX + 1, 12, &[], &mut slot), None);
        let mut packet = [0; 100];
        packet[7] = 9;
        assert_eq!(keys.seal_rtcp(9, RTCP_INDEX_MAX + 1, &mut packet, 8), None);
    }

    #[test]
    fn no_record_no_keys() {
        assert!(SealKeys::from_record(&KeyRecord::NONE).is_none());
    }
}
