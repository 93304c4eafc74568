//! Session ciphers of one direction of one protocol (RTP or RTCP): where an index becomes a nonce.

use std::fmt;

use super::kdf::{Kdf, Label};
use crate::crypto::ctr::CtrKey;
use crate::crypto::gcm::GcmKey;
use crate::crypto::mac::HmacSha1Key;
use crate::records::keys::Profile;

/// Length of an AES-CM session salt in bytes (RFC 3711 §8.2).
const CM_SALT_BYTES: usize = 14;
/// Length of a GCM session salt in bytes (RFC 7714 §12).
const GCM_SALT_BYTES: usize = 12;
/// Length of an HMAC-SHA1 session key in bytes (RFC 3711 §5.2).
const MAC_KEY_BYTES: usize = 20;

/// The labels of one protocol.
#[derive(Clone, Copy)]
pub(super) struct Labels {
    cipher: Label,
    mac: Label,
    salt: Label,
}

impl Labels {
    pub(super) const RTP: Self = Self { cipher: Label::RtpCipher, mac: Label::RtpMac, salt: Label::RtpSalt };
    pub(super) const RTCP: Self =
        Self { cipher: Label::RtcpCipher, mac: Label::RtcpMac, salt: Label::RtcpSalt };
}

/// Session ciphers of one protocol in one direction.
pub(super) enum Suite {
    Gcm(GcmSuite),
    /// Boxed: the HMAC state is large, and this suite is the slow one anyway.
    Cm(Box<CmSuite>),
}

impl Suite {
    /// From a master key and salt of the profile's lengths.
    pub(super) fn new(profile: Profile, master_key: &[u8], master_salt: &[u8], labels: Labels) -> Self {
        let kdf = Kdf::new(master_key, master_salt);
        match profile {
            Profile::AeadAes128Gcm => Self::gcm(&kdf.derive::<16>(labels.cipher), kdf.derive(labels.salt)),
            Profile::AeadAes256Gcm => Self::gcm(&kdf.derive::<32>(labels.cipher), kdf.derive(labels.salt)),
            Profile::AesCm128HmacSha1_80 => Self::Cm(Box::new(CmSuite {
                cipher: CtrKey::new(&kdf.derive::<16>(labels.cipher)),
                mac: HmacSha1Key::new(&kdf.derive::<MAC_KEY_BYTES>(labels.mac)),
                salt: kdf.derive(labels.salt),
            })),
        }
    }

    /// From session keys.
    pub(super) fn gcm(key: &[u8], salt: [u8; GCM_SALT_BYTES]) -> Self {
        Self::Gcm(GcmSuite { key: GcmKey::new(key), salt })
    }
}

/// Shows neither key nor salt.
impl fmt::Debug for Suite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Gcm(_) => "Gcm(..)",
            Self::Cm(_) => "Cm(..)",
        })
    }
}

/// AEAD_AES_128_GCM or AEAD_AES_256_GCM.
pub(super) struct GcmSuite {
    pub(super) key: GcmKey,
    salt: [u8; GCM_SALT_BYTES],
}

impl GcmSuite {
    /// The nonce of a packet: 16 zero bits, SSRC, 48-bit index, XORed with the salt (RFC 7714 §8.1).
    ///
    /// SRTCP's 31-bit index stands behind 16 zero bits (§9.1), so the same sum serves both.
    pub(super) fn nonce(&self, ssrc: u32, index: u64) -> [u8; GCM_SALT_BYTES] {
        let mut nonce = self.salt;
        xor(&mut nonce[2..6], &ssrc.to_be_bytes());
        xor(&mut nonce[6..12], &index.to_be_bytes()[2..]);
        nonce
    }
}

/// AES128_CM_HMAC_SHA1_80.
pub(super) struct CmSuite {
    pub(super) mac: HmacSha1Key,
    cipher: CtrKey,
    salt: [u8; CM_SALT_BYTES],
}

impl CmSuite {
    /// Encrypts or decrypts `text`, the encrypted part of the packet with this index (RFC 3711 §4.1.1).
    pub(super) fn apply(&self, ssrc: u32, index: u64, text: &mut [u8]) {
        let mut iv = [0; 16];
        iv[..CM_SALT_BYTES].copy_from_slice(&self.salt);
        xor(&mut iv[4..8], &ssrc.to_be_bytes());
        xor(&mut iv[8..14], &index.to_be_bytes()[2..]);
        self.cipher.apply(iv, text);
    }
}

/// The roll-over counter of an index, as the MAC takes it (RFC 3711 §4.2).
pub(super) fn roc_bytes(index: u64) -> [u8; 4] {
    let bytes = index.to_be_bytes();
    [bytes[2], bytes[3], bytes[4], bytes[5]]
}

fn xor(left: &mut [u8], right: &[u8]) {
    for (left, right) in left.iter_mut().zip(right) {
        *left ^= right;
    }
}
