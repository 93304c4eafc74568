//! SRTP master keys of one transport, as they stand in its record.

use std::fmt;

use bytemuck::{Pod, Zeroable};

/// Longest master key in bytes.
pub const MASTER_KEY_BYTES_MAX: usize = 32;
/// Longest master salt in bytes.
pub const MASTER_SALT_BYTES_MAX: usize = 14;

/// An SRTP protection profile. The number is IANA's (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Profile {
    /// SRTP_AES128_CM_HMAC_SHA1_80: for peers without GCM; six times dearer.
    AesCm128HmacSha1_80 = 1,
    /// SRTP_AEAD_AES_128_GCM.
    AeadAes128Gcm = 7,
    /// SRTP_AEAD_AES_256_GCM.
    AeadAes256Gcm = 8,
}

impl Profile {
    /// Every profile that we speak.
    pub const ALL: [Self; 3] = [Self::AesCm128HmacSha1_80, Self::AeadAes128Gcm, Self::AeadAes256Gcm];

    /// Of a number in a record; 0 and strangers are `None`.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::AesCm128HmacSha1_80),
            7 => Some(Self::AeadAes128Gcm),
            8 => Some(Self::AeadAes256Gcm),
            _ => None,
        }
    }

    /// Its number in a record.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Length of master and session key in bytes.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AeadAes128Gcm => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    /// Length of master and session salt in bytes.
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }

    /// Length of the authentication tag in bytes, of RTP and RTCP alike.
    pub const fn tag_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 => 10,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
        }
    }

    /// Bytes by which SRTP is longer than its RTP packet.
    pub const fn rtp_overhead(self) -> usize {
        self.tag_len()
    }

    /// Bytes by which SRTCP is longer than its RTCP packet: tag, E-bit and index (RFC 3711 §3.4).
    pub const fn rtcp_overhead(self) -> usize {
        self.tag_len() + 4
    }
}

/// Profile, master keys and salts of both directions. All zero means none.
///
/// Ciphers are a pure function of these bytes, so they are made anew after a restart.
#[derive(Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct KeyRecord {
    /// [`Profile::code`], or 0 for none.
    pub profile: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Master key of what the peer sends, zero behind its length.
    pub inbound_key: [u8; MASTER_KEY_BYTES_MAX],
    /// Master key of what we send.
    pub outbound_key: [u8; MASTER_KEY_BYTES_MAX],
    /// Master salt of what the peer sends.
    pub inbound_salt: [u8; MASTER_SALT_BYTES_MAX],
    /// Master salt of what we send.
    pub outbound_salt: [u8; MASTER_SALT_BYTES_MAX],
}

impl KeyRecord {
    /// No keys yet.
    pub const NONE: Self = Self {
        profile: 0,
        reserved: [0; 3],
        inbound_key: [0; MASTER_KEY_BYTES_MAX],
        outbound_key: [0; MASTER_KEY_BYTES_MAX],
        inbound_salt: [0; MASTER_SALT_BYTES_MAX],
        outbound_salt: [0; MASTER_SALT_BYTES_MAX],
    };

    /// The profile, or `None` while there are no keys.
    pub const fn profile(&self) -> Option<Profile> {
        Profile::from_code(self.profile)
    }

    /// Master key and salt of what the peer sends, or `None` while there are no keys.
    pub fn inbound(&self) -> Option<(Profile, &[u8], &[u8])> {
        let profile = self.profile()?;
        Some((profile, &self.inbound_key[..profile.key_len()], &self.inbound_salt[..profile.salt_len()]))
    }

    /// Master key and salt of what we send, or `None` while there are no keys.
    pub fn outbound(&self) -> Option<(Profile, &[u8], &[u8])> {
        let profile = self.profile()?;
        Some((profile, &self.outbound_key[..profile.key_len()], &self.outbound_salt[..profile.salt_len()]))
    }
}

/// Never shows a key.
impl fmt::Debug for KeyRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("KeyRecord").field("profile", &self.profile()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_does_not_move() {
        assert_eq!(size_of::<KeyRecord>(), 96);
        assert_eq!(align_of::<KeyRecord>(), 1);
    }

    #[test]
    fn a_code_names_its_profile_and_zero_names_none() {
        for code in 0..=u8::MAX {
            if let Some(profile) = Profile::from_code(code) {
                assert_eq!(profile.code(), code);
                assert!(profile.key_len() <= MASTER_KEY_BYTES_MAX);
                assert!(profile.salt_len() <= MASTER_SALT_BYTES_MAX);
            }
        }
        assert_eq!(KeyRecord::zeroed(), KeyRecord::NONE);
        assert!(KeyRecord::NONE.inbound().is_none() && KeyRecord::NONE.outbound().is_none());
    }

    #[test]
    fn debug_shows_no_key() {
        let record = KeyRecord { profile: 7, inbound_key: [0xab; 32], ..KeyRecord::NONE };
        let text = format!("{record:?}");
        assert!(text.contains("AeadAes128Gcm") && !text.contains("171") && !text.contains("ab"), "{text}");
    }
}
