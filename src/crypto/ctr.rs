//! AES in counter mode: the keystream of AES-CM (RFC 3711 §4.1.1) and of SRTP's key derivation.

use std::fmt;

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};

/// Length of a counter block in bytes.
pub const IV_BYTES: usize = 16;

/// A key of AES-128 or AES-256 in counter mode.
pub struct CtrKey(EncryptingKey);

impl CtrKey {
    /// From 16 bytes (AES-128) or 32 bytes (AES-256).
    ///
    /// # Panics
    /// On any other length.
    pub fn new(key: &[u8]) -> Self {
        let algorithm = if key.len() == 16 { &AES_128 } else { &AES_256 };
        let key = UnboundCipherKey::new(algorithm, key).expect("an AES key has 16 or 32 bytes");
        Self(EncryptingKey::ctr(key).expect("AES has a counter mode"))
    }

    /// XORs the keystream that starts at the counter block `iv` into `text`: encrypts and decrypts alike.
    pub fn apply(&self, iv: [u8; IV_BYTES], text: &mut [u8]) {
        let context = EncryptionContext::Iv128(iv.into());
        self.0.less_safe_encrypt(text, context).expect("counter mode takes any length");
    }
}

impl fmt::Debug for CtrKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CtrKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::unhex;

    /// RFC 3711 appendix B.2: the first three blocks and those around the carry into the third byte.
    #[test]
    fn the_keystream_of_rfc_3711_b_2() {
        let key = CtrKey::new(&unhex("2B7E151628AED2A6ABF7158809CF4F3C"));
        let iv: [u8; IV_BYTES] = unhex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000").try_into().unwrap();
        let mut stream = vec![0; 0xff02 * 16];
        key.apply(iv, &mut stream);
        let block = |number: usize| &stream[number * 16..][..16];
        assert_eq!(block(0), unhex("E03EAD0935C95E80E166B16DD92B4EB4"));
        assert_eq!(block(1), unhex("D23513162B02D0F72A43A2FE4A5F97AB"));
        assert_eq!(block(2), unhex("41E95B3BB0A2E8DD477901E4FCA894C0"));
        assert_eq!(block(0xfeff), unhex("EC8CDF7398607CB0F2D21675EA9EA1E4"));
        assert_eq!(block(0xff00), unhex("362B7C3C6773516318A077D7FC5073AE"));
        assert_eq!(block(0xff01), unhex("6A2CC3787889374FBEB4C81B17BA6C44"));
    }
}
