//! HMAC (RFC 2104): with SHA-1 for SRTP peers that have no GCM, with SHA-256 between our own threads.

use std::fmt;

use aws_lc_rs::constant_time;
use aws_lc_rs::hmac::{self, Context, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256, Key};

use super::Unauthenticated;

/// Length of a whole tag in bytes; SRTP cuts it to 10.
pub const TAG_BYTES: usize = 20;

/// A key of HMAC-SHA1.
pub struct HmacSha1Key(Key);

impl HmacSha1Key {
    /// From a key of any length; SRTP uses 20 bytes.
    pub fn new(key: &[u8]) -> Self {
        Self(Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, key))
    }

    /// The tag of `first` followed by `second`.
    pub fn sign(&self, first: &[u8], second: &[u8]) -> [u8; TAG_BYTES] {
        let mut context = Context::with_key(&self.0);
        context.update(first);
        context.update(second);
        context.sign().as_ref().try_into().expect("a SHA-1 tag has 20 bytes")
    }

    /// Compares `tag`, which may be cut short, with that of `first` followed by `second`, in constant time.
    ///
    /// # Errors
    /// They differ, or `tag` is empty or longer than [`TAG_BYTES`].
    pub fn verify(&self, first: &[u8], second: &[u8], tag: &[u8]) -> Result<(), Unauthenticated> {
        let wanted = self.sign(first, second);
        let wanted = wanted.get(..tag.len()).filter(|wanted| !wanted.is_empty()).ok_or(Unauthenticated)?;
        constant_time::verify_slices_are_equal(wanted, tag).map_err(|_| Unauthenticated)
    }
}

impl fmt::Debug for HmacSha1Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HmacSha1Key(..)")
    }
}

/// Length of a tag of HMAC-SHA-256 in bytes.
pub const SHA256_TAG_BYTES: usize = 32;

/// A key of HMAC-SHA-256.
pub struct HmacSha256Key(Key);

impl HmacSha256Key {
    /// From a key of any length; 32 bytes are as good as more.
    pub fn new(key: &[u8]) -> Self {
        Self(Key::new(HMAC_SHA256, key))
    }

    /// The tag of `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; SHA256_TAG_BYTES] {
        hmac::sign(&self.0, message).as_ref().try_into().expect("a SHA-256 tag has 32 bytes")
    }

    /// Compares the whole `tag` with that of `message`, in constant time.
    ///
    /// # Errors
    /// They differ.
    pub fn verify(&self, message: &[u8], tag: &[u8]) -> Result<(), Unauthenticated> {
        hmac::verify(&self.0, message, tag).map_err(|_| Unauthenticated)
    }
}

impl fmt::Debug for HmacSha256Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HmacSha256Key(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::unhex;

    /// RFC 2202 §3, test case 2.
    #[test]
    fn a_vector_of_rfc_2202() {
        let key = HmacSha1Key::new(b"Jefe");
        let tag = unhex("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(key.sign(b"what do ya want ", b"for nothing?")[..], tag);
        assert_eq!(key.verify(b"what do ya want ", b"for nothing?", &tag[..10]), Ok(()));
        assert_eq!(key.verify(b"what do ya want ", b"for nothing!", &tag[..10]), Err(Unauthenticated));
        assert_eq!(key.verify(b"what do ya want ", b"for nothing?", &[]), Err(Unauthenticated));
        assert_eq!(key.verify(b"what do ya want ", b"for nothing?", &[0; 21]), Err(Unauthenticated));
    }
    /// RFC 4231 §4.3, test case 2.
    #[test]
    fn a_vector_of_rfc_4231() {
        let key = HmacSha256Key::new(b"Jefe");
        let tag = unhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert_eq!(key.sign(b"what do ya want for nothing?")[..], tag);
        assert_eq!(key.verify(b"what do ya want for nothing?", &tag), Ok(()));
        assert_eq!(key.verify(b"what do ya want for nothing!", &tag), Err(Unauthenticated));
        assert_eq!(key.verify(b"what do ya want for nothing?", &tag[..31]), Err(Unauthenticated));
        assert_eq!(key.verify(b"what do ya want for nothing?", &[]), Err(Unauthenticated));
    }
}
