//! Opening what a peer sends, in place. Everything takes `&self`: a forged packet cannot change a thing.

use super::seal::rtcp_aad;
use super::suite::{CmSuite, GcmSuite, Labels, Suite, roc_bytes};
use super::{
    RTCP_CLEAR_BYTES, RTCP_ENCRYPTED, RTCP_INDEX_BYTES, RTP_HEADER_BYTES_MIN, RTP_INDEX_MAX, word_at,
};
use crate::discard::Discard;
use crate::records::keys::{KeyRecord, Profile};

/// Longest packet that [`OpenKeys::open_rtp_any`] tries; a jumbo frame's datagram is dropped there.
const TRIAL_BYTES_MAX: usize = 2048;

/// Session ciphers of what one peer sends.
#[derive(Debug)]
pub struct OpenKeys {
    profile: Profile,
    rtp: Suite,
    rtcp: Suite,
}

impl OpenKeys {
    /// From the inbound half of a record, or `None` while it holds no keys.
    pub fn from_record(record: &KeyRecord) -> Option<Self> {
        let (profile, key, salt) = record.inbound()?;
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

    /// Opens one SRTP packet in place; `header_len` counts CSRCs and extensions, `index` is the window's estimate.
    ///
    /// Returns the length of header and plaintext.
    ///
    /// # Errors
    /// Too short, or the tag does not verify: the packet's contents are lost then, and nothing else has changed.
    pub fn open_rtp(&self, index: u64, header_len: usize, packet: &mut [u8]) -> Result<usize, Discard> {
        let plain_len = self.plain_rtp_len(header_len, packet)?;
        let ssrc = word_at(packet, 8);
        if !is_of(packet, index) {
            return Err(Discard::PeerSrtpUnauthenticated);
        }
        match &self.rtp {
            Suite::Gcm(suite) => {
                let (header, sealed) = packet.split_at_mut(header_len);
                suite
                    .key
                    .open_in_place(suite.nonce(ssrc, index), header, sealed)
                    .map_err(|_| Discard::PeerSrtpUnauthenticated)?;
            }
            Suite::Cm(suite) => open_cm(suite, ssrc, index, header_len, plain_len, packet)?,
        }
        Ok(plain_len)
    }

    /// Opens one SRTP packet whose roll-over counter is in doubt, as after a restart: tries `indices` in turn
    /// ([`ReplayWindow::candidates`](crate::records::replay::ReplayWindow::candidates)). Costs a copy and up to one
    /// cipher for each index.
    ///
    /// Returns the length of header and plaintext, and the index that fitted.
    ///
    /// # Errors
    /// As [`OpenKeys::open_rtp`], but the packet stays as it was; also over 2 048 bytes.
    pub fn open_rtp_any(
        &self,
        indices: impl IntoIterator<Item = u64>,
        header_len: usize,
        packet: &mut [u8],
    ) -> Result<(usize, u64), Discard> {
        let plain_len = self.plain_rtp_len(header_len, packet)?;
        if packet.len() > TRIAL_BYTES_MAX {
            return Err(Discard::PeerTooLong);
        }
        let ssrc = word_at(packet, 8);
        indices
            .into_iter()
            .find(|&index| {
                is_of(packet, index)
                    && match &self.rtp {
                        Suite::Gcm(suite) => try_gcm(suite, ssrc, index, header_len, packet),
                        Suite::Cm(suite) => {
                            open_cm(suite, ssrc, index, header_len, plain_len, packet).is_ok()
                        }
                    }
            })
            .map(|index| (plain_len, index))
            .ok_or(Discard::PeerSrtpUnauthenticated)
    }

    /// The index that an SRTCP packet claims, so that its replay can be refused before any cipher runs.
    ///
    /// # Errors
    /// Too short, or E = 0: nobody sends us SRTCP in the clear.
    pub fn rtcp_index(&self, packet: &[u8]) -> Result<u32, Discard> {
        self.plain_rtcp_len(packet)?;
        let trailer = word_at(packet, self.rtcp_trailer_place(packet.len()));
        if trailer & RTCP_ENCRYPTED == 0 {
            return Err(Discard::PeerSrtcpUnencrypted);
        }
        Ok(trailer & !RTCP_ENCRYPTED)
    }

    /// Opens one SRTCP packet in place (RFC 3711 §3.4, RFC 7714 §9).
    ///
    /// Returns the length of the plain compound packet and its index.
    ///
    /// # Errors
    /// As [`OpenKeys::rtcp_index`], or the tag does not verify: the packet's contents are lost then.
    pub fn open_rtcp(&self, packet: &mut [u8]) -> Result<(usize, u32), Discard> {
        let index = self.rtcp_index(packet)?;
        let plain_len = self.plain_rtcp_len(packet)?;
        let ssrc = word_at(packet, 4);
        match &self.rtcp {
            Suite::Gcm(suite) => {
                let (head, _) = packet.split_at_mut(packet.len() - RTCP_INDEX_BYTES);
                let (clear, sealed) = head.split_at_mut(RTCP_CLEAR_BYTES);
                let aad = rtcp_aad(clear, (RTCP_ENCRYPTED | index).to_be_bytes());
                suite
                    .key
                    .open_in_place(suite.nonce(ssrc, u64::from(index)), &aad, sealed)
                    .map_err(|_| Discard::PeerSrtpUnauthenticated)?;
            }
            Suite::Cm(suite) => {
                let (covered, tag) = packet.split_at_mut(plain_len + RTCP_INDEX_BYTES);
                suite.mac.verify(covered, &[], tag).map_err(|_| Discard::PeerSrtpUnauthenticated)?;
                suite.apply(ssrc, u64::from(index), &mut covered[RTCP_CLEAR_BYTES..plain_len]);
            }
        }
        Ok((plain_len, index))
    }

    /// Length of header and plaintext, once both header and tag are known to be there.
    fn plain_rtp_len(&self, header_len: usize, packet: &[u8]) -> Result<usize, Discard> {
        let plain_len = packet.len().checked_sub(self.profile.rtp_overhead());
        plain_len
            .filter(|&plain_len| header_len >= RTP_HEADER_BYTES_MIN && plain_len >= header_len)
            .ok_or(Discard::PeerSrtpTooShort)
    }

    /// Length of the plain compound packet, once header, tag and index are known to be there.
    fn plain_rtcp_len(&self, packet: &[u8]) -> Result<usize, Discard> {
        let plain_len = packet.len().checked_sub(self.profile.rtcp_overhead());
        plain_len.filter(|&plain_len| plain_len >= RTCP_CLEAR_BYTES).ok_or(Discard::PeerSrtpTooShort)
    }

    /// Where E-bit and index stand: last of all with GCM, before the tag with HMAC.
    fn rtcp_trailer_place(&self, packet_len: usize) -> usize {
        match &self.rtcp {
            Suite::Gcm(_) => packet_len - RTCP_INDEX_BYTES,
            Suite::Cm(_) => packet_len - self.profile.rtcp_overhead(),
        }
    }
}

/// Whether `index` is in range and ends in the packet's sequence number. AES-CM's tag covers the roll-over counter and
/// the header only, so it alone would let a wrong index pass and give rubbish for plaintext.
fn is_of(packet: &[u8], index: u64) -> bool {
    index <= RTP_INDEX_MAX && index.to_be_bytes()[6..] == packet[2..4]
}

/// Verifies, then decrypts; a packet that does not verify stays as it was.
fn open_cm(
    suite: &CmSuite,
    ssrc: u32,
    index: u64,
    header_len: usize,
    plain_len: usize,
    packet: &mut [u8],
) -> Result<(), Discard> {
    let (covered, tag) = packet.split_at_mut(plain_len);
    suite.mac.verify(covered, &roc_bytes(index), tag).map_err(|_| Discard::PeerSrtpUnauthenticated)?;
    suite.apply(ssrc, index, &mut covered[header_len..]);
    Ok(())
}

/// Opens beside the packet, because a failed open in place destroys it; copies back on success.
fn try_gcm(suite: &GcmSuite, ssrc: u32, index: u64, header_len: usize, packet: &mut [u8]) -> bool {
    let mut scratch = [0; TRIAL_BYTES_MAX];
    let (header, sealed) = packet.split_at_mut(header_len);
    let plaintext = &mut scratch[..sealed.len() - crate::crypto::gcm::TAG_BYTES];
    let opened = suite.key.open(suite.nonce(ssrc, index), header, sealed, plaintext).is_ok();
    if opened {
        sealed[..plaintext.len()].copy_from_slice(plaintext);
    }
    opened
}
