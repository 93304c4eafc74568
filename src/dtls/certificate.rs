//! The certificate of this relay: self-signed ECDSA on P-256, kept over restarts so that its fingerprint stays.

use std::fmt;

use super::handshake;
use crate::crypto::digest::Fingerprint;
use crate::crypto::p256;

/// First bytes of a saved certificate: name and version of the layout.
const MAGIC: &[u8; 8] = b"mrcert\x00\x01";

/// A certificate and its private key.
///
/// Its dates mean nothing here: WebRTC peers check the fingerprint alone (RFC 8827 §6.5).
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    key_pkcs8: Vec<u8>,
}

impl Certificate {
    /// A new self-signed one.
    ///
    /// # Panics
    /// When the system has no entropy to give.
    pub fn generate() -> Self {
        let (der, key_pkcs8) = handshake::generate();
        Self::new(der, key_pkcs8).expect("a certificate just made holds its own key")
    }

    /// From a certificate in DER and its key in PKCS #8; `None` unless that is a P-256 key and the certificate's own.
    fn new(der: Vec<u8>, key_pkcs8: Vec<u8>) -> Option<Self> {
        let public = p256::public_key(&key_pkcs8)?;
        let holds_key = der.windows(public.len()).any(|window| window == public);
        holds_key.then_some(Self { der, key_pkcs8 })
    }

    /// Bytes to keep, private key included: for a file only the relay can read.
    pub fn to_bytes(&self) -> Vec<u8> {
        let der_len = u32::try_from(self.der.len()).expect("a certificate has some hundred bytes");
        [MAGIC, &der_len.to_be_bytes()[..], &self.der, &self.key_pkcs8].concat()
    }

    /// From what [`to_bytes`](Self::to_bytes) gave; `None` if the bytes are cut, damaged or of another layout.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (der_len, rest) = rest.split_at_checked(4)?;
        let der_len = u32::from_be_bytes(der_len.try_into().ok()?);
        let (der, key_pkcs8) = rest.split_at_checked(usize::try_from(der_len).ok()?)?;
        Self::new(der.to_vec(), key_pkcs8.to_vec())
    }

    /// The certificate in DER form.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The private key in PKCS #8.
    pub(super) fn key_pkcs8(&self) -> &[u8] {
        &self.key_pkcs8
    }

    /// What signaling announces to browsers.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.der)
    }
}

/// Never shows the key.
impl fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Certificate")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_certificate_keeps_its_fingerprint() {
        let certificate = Certificate::generate();
        let loaded = Certificate::from_bytes(&certificate.to_bytes()).unwrap();
        assert_eq!(loaded, certificate);
        assert_eq!(loaded.fingerprint(), certificate.fingerprint());
        assert_ne!(Certificate::generate().fingerprint(), certificate.fingerprint());
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let certificate = Certificate::generate();
        let bytes = certificate.to_bytes();
        for len in 0..bytes.len() {
            assert!(Certificate::from_bytes(&bytes[..len]).is_none(), "cut to {len}");
        }
        let other = Certificate::generate();
        assert!(Certificate::new(certificate.der.clone(), other.key_pkcs8).is_none(), "another's key");
    }

    #[test]
    fn debug_shows_no_key() {
        let certificate = Certificate::generate();
        assert!(format!("{certificate:?}").starts_with("Certificate { fingerprint: Fingerprint("));
        assert!(format!("{certificate:?}").len() < 200);
    }
}
