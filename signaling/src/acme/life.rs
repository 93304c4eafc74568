//! Validity of a certificate (RFC 5280, section 4.1.2.5), which decides when it is renewed.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::time::Time;

/// When the first certificate in a PEM file expires, in milliseconds since 1970. `None` when there is none.
pub(crate) fn expires_at_ms(pem: &[u8]) -> Option<u64> {
    let leaf = CertificateDer::from_pem_slice(pem).ok()?;
    Life::of(&leaf).map(|life| life.not_after_ms)
}

/// Start and end of the validity, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    not_before_ms: u64,
    not_after_ms: u64,
}

impl Life {
    /// Reads it from a certificate in DER. `None` when that cannot be read, or ends before it begins.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(certificate).ok()?;
        let validity = certificate.tbs_certificate().validity();
        let (not_before_ms, not_after_ms) =
            (since_1970(validity.not_before)?, since_1970(validity.not_after)?);
        (not_before_ms < not_after_ms).then_some(Self { not_before_ms, not_after_ms })
    }

    /// When to renew it: a third of the validity is left then. In milliseconds since 1970.
    pub(super) const fn renewal_ms(&self) -> u64 {
        self.not_after_ms - (self.not_after_ms - self.not_before_ms) / 3
    }

    /// Milliseconds until it ends.
    pub(super) const fn left_ms(&self, now_ms: u64) -> u64 {
        self.not_after_ms.saturating_sub(now_ms)
    }
}

fn since_1970(time: Time) -> Option<u64> {
    u64::try_from(time.to_unix_duration().as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn life(from: (i32, u8, u8), to: (i32, u8, u8)) -> (Option<Life>, [u64; 2], Vec<u8>) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(to.0, to.1, to.2);
        let ms = [params.not_before, params.not_after]
            .map(|time| u64::try_from(time.unix_timestamp()).unwrap() * 1_000);
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
        (Life::of(&der), ms, der)
    }

    #[test]
    fn both_spellings_of_a_time_are_read() {
        for (from, to) in [
            ((2024, 2, 29), (2024, 3, 1)),
            ((1999, 12, 31), (2000, 1, 1)),
            ((2025, 1, 1), (2049, 12, 31)),
            ((2026, 11, 21), (2100, 3, 1)),
            ((1970, 3, 1), (9999, 12, 31)),
        ] {
            let (life, [not_before_ms, not_after_ms], _) = life(from, to);
            assert_eq!(life, Some(Life { not_before_ms, not_after_ms }), "{from:?} {to:?}");
        }
    }

    #[test]
    fn a_third_is_left_at_renewal() {
        let life = Life { not_before_ms: 1_000, not_after_ms: 91_000 };
        assert_eq!((life.renewal_ms(), life.left_ms(61_000), life.left_ms(99_000)), (61_000, 30_000, 0));
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let (_, _, der) = life((2025, 1, 1), (2045, 1, 1));
        for len in 0..der.len() {
            assert_eq!(Life::of(&der[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn a_date_that_does_not_exist_is_refused() {
        let (_, _, der) = life((2025, 1, 1), (2045, 1, 1));
        let written = b"250101000000Z";
        let at = der.windows(written.len()).position(|bytes| bytes == written).unwrap();
        for wrong in [b"250132000000Z", b"251301000000Z", b"250101000000+", b"25010100000 Z"] {
            let mut der = der.clone();
            der[at..at + wrong.len()].copy_from_slice(wrong);
            assert_eq!(Life::of(&der), None, "{}", wrong.escape_ascii());
        }
    }
}
