//! SHA-256, and the fingerprint of a certificate made with it.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};

/// SHA-256 of `bytes` (FIPS 180-4).
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

/// The SHA-256 of a certificate in DER: what `a=fingerprint:sha-256` carries (RFC 8122 §5).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Of a certificate in DER form.
    pub fn of(certificate_der: &[u8]) -> Self {
        Self(sha256(certificate_der))
    }
}

/// Upper-case hex bytes with colons between, as in SDP.
impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            let colon = if place == 0 { "" } else { ":" };
            write!(formatter, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::unhex;

    #[test]
    fn sha256_of_abc() {
        let wanted = unhex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(sha256(b"abc")[..], wanted);
    }

    #[test]
    fn a_fingerprint_reads_as_in_sdp() {
        let text = Fingerprint::of(b"abc").to_string();
        assert!(text.starts_with("BA:78:16:BF:"), "{text}");
        assert_eq!(text.len(), 32 * 3 - 1);
    }
}
