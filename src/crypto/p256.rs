//! ECDSA keys on P-256: only as much as it takes to know one when it is read back from disk.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

/// Length of a public key in bytes: an uncompressed point (SEC 1 §2.3.3).
pub const PUBLIC_KEY_BYTES: usize = 65;

/// The public key of a private key in PKCS #8, or `None` if those bytes are no P-256 key.
pub fn public_key(pkcs8: &[u8]) -> Option<[u8; PUBLIC_KEY_BYTES]> {
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8).ok()?;
    pair.public_key().as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn rubbish_is_no_key() {
        assert_eq!(super::public_key(&[]), None);
        assert_eq!(super::public_key(&[0x30; 138]), None);
    }
}
