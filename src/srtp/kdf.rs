//! Session keys from a master key: AES-CM as pseudo-random function (RFC 3711 §4.3, RFC 6188 §3, RFC 7714 §11).
//!
//! The key derivation rate is 0 as DTLS-SRTP has it (RFC 5764 §4.1.2), so each key is derived once.

use crate::crypto::ctr::CtrKey;

/// Bytes of the salt that goes into the derivation; GCM's 12 are filled up with zeros (RFC 7714 §11).
const KDF_SALT_BYTES: usize = 14;
/// Where the label is XORed in: before it six bytes, behind it the six of "index DIV rate", zero here.
const LABEL_PLACE: usize = 7;

/// What a session key is for (RFC 3711 §4.3.2).
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Label {
    RtpCipher = 0,
    RtpMac = 1,
    RtpSalt = 2,
    RtcpCipher = 3,
    RtcpMac = 4,
    RtcpSalt = 5,
}

/// Derives the session keys of one master key.
pub(super) struct Kdf {
    prf: CtrKey,
    salt: [u8; KDF_SALT_BYTES],
}

impl Kdf {
    /// From a master key of 16 or 32 bytes and a master salt of at most 14.
    pub(super) fn new(master_key: &[u8], master_salt: &[u8]) -> Self {
        let mut salt = [0; KDF_SALT_BYTES];
        salt[..master_salt.len()].copy_from_slice(master_salt);
        Self { prf: CtrKey::new(master_key), salt }
    }

    /// The first `N` bytes of the key for `label`.
    pub(super) fn derive<const N: usize>(&self, label: Label) -> [u8; N] {
        let mut iv = [0; 16];
        iv[..KDF_SALT_BYTES].copy_from_slice(&self.salt);
        iv[LABEL_PLACE] ^= label as u8;
        let mut key = [0; N];
        self.prf.apply(iv, &mut key);
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::unhex;

    /// RFC 3711 appendix B.3.
    #[test]
    fn the_keys_of_rfc_3711_b_3() {
        let kdf =
            Kdf::new(&unhex("E1F97A0D3E018BE0D64FA32C06DE4139"), &unhex("0EC675AD498AFEEBB6960B3AABE6"));
        assert_eq!(kdf.derive::<16>(Label::RtpCipher)[..], unhex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(kdf.derive::<14>(Label::RtpSalt)[..], unhex("30CBBC08863D8C85D49DB34A9AE1"));
        let wanted = unhex(
            "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCE
             E049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC25
             6D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2",
        );
        assert_eq!(kdf.derive::<94>(Label::RtpMac)[..], wanted);
    }
}
