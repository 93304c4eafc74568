//! MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256: HMACs under keys that are set up once (RFC 8489 §14.5, §14.6).

use aws_lc_rs::{constant_time, hmac};

use crate::md5;
use crate::message::HEADER_BYTES;

/// Length of the tag in bytes.
pub const INTEGRITY_BYTES: usize = 20;

/// A key, ready for use: the HMAC's inner and outer state are computed, so neither a check nor a signature allocates.
#[derive(Clone, Debug)]
pub struct IntegrityKey(hmac::Key);

impl IntegrityKey {
    /// Key of the short-term mechanism: the password itself (RFC 8489 §9.1.1). ICE passwords are ASCII, for which
    /// OpaqueString changes nothing; other passwords come prepared.
    pub fn short_term(password: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password))
    }

    /// Key of the long-term mechanism: MD5 of `username:realm:password` (RFC 8489 §9.2.2), each already prepared by
    /// OpaqueString (RFC 8265 §4.2).
    pub fn long_term(username: &[u8], realm: &[u8], password: &[u8]) -> Self {
        Self::short_term(&md5::digest(&[username, b":", realm, b":", password]))
    }

    /// Tag over `message` up to `at`, where its MESSAGE-INTEGRITY begins.
    pub(crate) fn sign(&self, message: &[u8], at: usize) -> [u8; INTEGRITY_BYTES] {
        let mut tag = [0; INTEGRITY_BYTES];
        tag.copy_from_slice(sign(&self.0, message, at, INTEGRITY_BYTES).as_ref());
        tag
    }

    /// Whether `tag` is right, in constant time.
    pub(crate) fn verify(&self, message: &[u8], at: usize, tag: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.sign(message, at), tag).is_ok()
    }
}

/// Longest and shortest tag of MESSAGE-INTEGRITY-SHA256 in bytes (RFC 8489 §14.6).
pub(crate) const INTEGRITY_SHA256_BYTES_MAX: usize = 32;
/// See [`INTEGRITY_SHA256_BYTES_MAX`].
pub(crate) const INTEGRITY_SHA256_BYTES_MIN: usize = 16;

/// A key for MESSAGE-INTEGRITY-SHA256 (RFC 8489 §14.6), ready for use.
#[derive(Clone, Debug)]
pub struct IntegrityKeySha256(hmac::Key);

impl IntegrityKeySha256 {
    /// From the key that both mechanisms begin with: a password, or the digest of the long-term mechanism.
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The whole tag over `message` up to `at`, where its MESSAGE-INTEGRITY-SHA256 begins.
    pub(crate) fn sign(&self, message: &[u8], at: usize) -> [u8; INTEGRITY_SHA256_BYTES_MAX] {
        let mut tag = [0; INTEGRITY_SHA256_BYTES_MAX];
        tag.copy_from_slice(sign(&self.0, message, at, INTEGRITY_SHA256_BYTES_MAX).as_ref());
        tag
    }

    /// Whether `tag`, whole or cut, is right, in constant time.
    pub(crate) fn verify(&self, message: &[u8], at: usize, tag: &[u8]) -> bool {
        let whole = sign(&self.0, message, at, tag.len());
        let Some(expected) = whole.as_ref().get(..tag.len()) else { return false };
        constant_time::verify_slices_are_equal(expected, tag).is_ok()
    }
}

/// HMAC over `message` up to `at`. The header's length counts up to the end of the integrity attribute, whatever
/// follows it (RFC 8489 §14.5).
fn sign(key: &hmac::Key, message: &[u8], at: usize, tag_bytes: usize) -> hmac::Tag {
    debug_assert!(at >= HEADER_BYTES && at <= message.len());
    let counted = at + 4 + tag_bytes - HEADER_BYTES;
    let counted = u16::try_from(counted).unwrap_or(u16::MAX).to_be_bytes();
    let mut context = hmac::Context::with_key(key);
    context.update(&message[..2]);
    context.update(&counted);
    context.update(&message[4..at]);
    context.sign()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_itself_is_never_shown() {
        let shown = format!("{:?}", IntegrityKey::short_term(b"hunter2hunter2"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
