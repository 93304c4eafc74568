//! AES-GCM (NIST SP 800-38D) with a 12-byte nonce and a 16-byte tag.

use std::fmt;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::Unauthenticated;

/// Length of a nonce in bytes.
pub const NONCE_BYTES: usize = 12;
/// Length of a tag in bytes.
pub const TAG_BYTES: usize = 16;

/// A key of AES-128-GCM or AES-256-GCM.
///
/// The caller owes it one nonce for one message, ever (`srtp` says how an index gives one).
pub struct GcmKey(LessSafeKey);

impl GcmKey {
    /// From 16 bytes (AES-128) or 32 bytes (AES-256).
    ///
    /// # Panics
    /// On any other length.
    pub fn new(key: &[u8]) -> Self {
        let algorithm = if key.len() == 16 { &AES_128_GCM } else { &AES_256_GCM };
        Self(LessSafeKey::new(UnboundKey::new(algorithm, key).expect("an AES key has 16 or 32 bytes")))
    }

    /// Encrypts `plaintext` straight into `sealed`, the tag behind it: one pass, no copy.
    ///
    /// # Panics
    /// Unless `sealed` is exactly [`TAG_BYTES`] longer than `plaintext`.
    pub fn seal(&self, nonce: [u8; NONCE_BYTES], aad: &[u8], plaintext: &[u8], sealed: &mut [u8]) {
        let (ciphertext, tag) = sealed.split_at_mut(plaintext.len());
        self.0
            .seal_out_of_place_scatter(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad),
                plaintext,
                ciphertext,
                &[],
                tag,
            )
            .expect("the tag has its length and a datagram is far below the limit of GCM");
    }

    /// Encrypts `message[..plaintext_len]` in place and writes the tag behind it.
    ///
    /// # Panics
    /// Unless `message` is exactly [`TAG_BYTES`] longer than the plaintext.
    pub fn seal_in_place(&self, nonce: [u8; NONCE_BYTES], aad: &[u8], message: &mut [u8]) {
        let plaintext_len = message.len().checked_sub(TAG_BYTES).expect("the message has room for its tag");
        let (text, tag) = message.split_at_mut(plaintext_len);
        self.0
            .seal_in_place_scatter(Nonce::assume_unique_for_key(nonce), Aad::from(aad), text, &[], tag)
            .expect("the tag has its length and a datagram is far below the limit of GCM");
    }

    /// Opens ciphertext and tag in place; the plaintext is [`TAG_BYTES`] shorter and begins where the ciphertext did.
    ///
    /// # Errors
    /// The tag does not verify, or there is none. The contents of `sealed` are lost then.
    pub fn open_in_place(
        &self,
        nonce: [u8; NONCE_BYTES],
        aad: &[u8],
        sealed: &mut [u8],
    ) -> Result<(), Unauthenticated> {
        let opened = self.0.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), sealed);
        opened.map(|_| ()).map_err(|_| Unauthenticated)
    }

    /// Opens ciphertext and tag into `plaintext`, and leaves `sealed` as it is: for trials.
    ///
    /// # Errors
    /// The tag does not verify, or `plaintext` is not exactly [`TAG_BYTES`] shorter than `sealed`.
    pub fn open(
        &self,
        nonce: [u8; NONCE_BYTES],
        aad: &[u8],
        sealed: &[u8],
        plaintext: &mut [u8],
    ) -> Result<(), Unauthenticated> {
        let (ciphertext, tag) = sealed.split_at_checked(plaintext.len()).ok_or(Unauthenticated)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0
            .open_separate_gather(nonce, Aad::from(aad), ciphertext, tag, plaintext)
            .map_err(|_| Unauthenticated)
    }
}

impl fmt::Debug for GcmKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("GcmKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_ways_to_write_one_message_agree() {
        for key in [&[7_u8; 16][..], &[9; 32]] {
            let key = GcmKey::new(key);
            let (nonce, aad, text) = ([3; NONCE_BYTES], b"header", b"some plaintext of odd length");
            let mut sealed = vec![0; text.len() + TAG_BYTES];
            key.seal(nonce, aad, text, &mut sealed);

            let mut in_place = text.to_vec();
            in_place.resize(text.len() + TAG_BYTES, 0);
            key.seal_in_place(nonce, aad, &mut in_place);
            assert_eq!(in_place, sealed);

            let mut opened = vec![0; text.len()];
            key.open(nonce, aad, &sealed, &mut opened).unwrap();
            assert_eq!(opened, text);
            key.open_in_place(nonce, aad, &mut sealed).unwrap();
            assert_eq!(&sealed[..text.len()], text);
        }
    }

    #[test]
    fn what_is_shorter_than_a_tag_is_refused() {
        let key = GcmKey::new(&[1; 16]);
        for len in 0..TAG_BYTES {
            let mut sealed = vec![0; len];
            assert_eq!(key.open_in_place([0; 12], &[], &mut sealed), Err(Unauthenticated));
            assert_eq!(key.open([0; 12], &[], &sealed, &mut []), Err(Unauthenticated));
        }
    }
}
