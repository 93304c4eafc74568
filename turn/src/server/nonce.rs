//! Nonces without memory: the time they were made and an HMAC over it and the client's address.
//!
//! ```text
//!   obMatJos2wAAA  65a1b2c3  Kd83hfl02mXw9zQa        security bits (only if offered), time, 12 bytes of HMAC in base64
//! ```
//!
//! A server that remembers no stranger cannot be made to remember many. A nonce that was caught is of no use from
//! another address, and for ten minutes only.

use std::net::IpAddr;

use aws_lc_rs::{constant_time, hmac};

use crate::server::base64;
use crate::server::types::Client;

/// How long a nonce is good, in seconds.
pub const NONCE_LIFETIME_S: u64 = 600;

/// How far a nonce may come from the future: the clock was set back.
const FUTURE_S: u64 = 60;

const TIME_BYTES: usize = 8;
const TAG_BYTES: usize = 12;
const BARE_BYTES: usize = TIME_BYTES + TAG_BYTES / 3 * 4;

/// The nonce cookie with both security bits: password algorithms and user hashes are understood (RFC 8489 §9.2).
const SECURITY: &[u8; 13] = b"obMatJos2wAAA";

/// Longest nonce in bytes.
pub(super) const NONCE_BYTES_MAX: usize = SECURITY.len() + BARE_BYTES;

pub(super) struct Nonces {
    key: hmac::Key,
    /// Whether security bits are offered.
    secure: bool,
}

impl Nonces {
    pub(super) fn new(key: &[u8; 32], secure: bool) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), secure }
    }

    /// Writes a nonce of this time for this client; gives its length.
    pub(super) fn write(&self, unix_s: u64, client: &Client, out: &mut [u8; NONCE_BYTES_MAX]) -> usize {
        let prefix = if self.secure { &SECURITY[..] } else { &[] };
        out[..prefix.len()].copy_from_slice(prefix);
        let bare = &mut out[prefix.len()..];
        let [_, _, _, _, time @ ..] = unix_s.to_be_bytes();
        for (digits, byte) in bare.as_chunks_mut::<2>().0.iter_mut().zip(time) {
            *digits = [byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]);
        }
        let mut context = hmac::Context::with_key(&self.key);
        match client.remote.ip().to_canonical() {
            IpAddr::V4(ip) => context.update(&ip.octets()),
            IpAddr::V6(ip) => context.update(&ip.octets()),
        }
        context.update(&client.remote.port().to_be_bytes());
        context.update(&[client.transport as u8]);
        context.update(&time);
        base64::encode(&context.sign().as_ref()[..TAG_BYTES], &mut bare[TIME_BYTES..]);
        prefix.len() + BARE_BYTES
    }

    /// Whether this is a nonce of ours for this client that is still good.
    pub(super) fn is_good(&self, nonce: &[u8], unix_s: u64, client: &Client) -> bool {
        let Some(made_s) = self.made_s(nonce, unix_s) else { return false };
        if unix_s.saturating_sub(made_s) > NONCE_LIFETIME_S || made_s.saturating_sub(unix_s) > FUTURE_S {
            return false;
        }
        let mut expected = [0; NONCE_BYTES_MAX];
        let len = self.write(made_s, client, &mut expected);
        constant_time::verify_slices_are_equal(&expected[..len], nonce).is_ok()
    }

    /// The time in a nonce. It has 32 bits, which the present time completes.
    fn made_s(&self, nonce: &[u8], unix_s: u64) -> Option<u64> {
        let bare = if self.secure { nonce.strip_prefix(SECURITY)? } else { nonce };
        if bare.len() != BARE_BYTES {
            return None;
        }
        let digits = std::str::from_utf8(&bare[..TIME_BYTES]).ok()?;
        let low = u64::from(u32::from_str_radix(digits, 16).ok()?);
        Some((unix_s & !u64::from(u32::MAX)) | low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::types::Transport;

    fn client(remote: &str) -> Client {
        Client {
            transport: Transport::Udp,
            remote: remote.parse().unwrap(),
            local: "192.0.2.2:3478".parse().unwrap(),
            via: 0,
        }
    }

    fn write(nonces: &Nonces, unix_s: u64, client: &Client) -> Vec<u8> {
        let mut out = [0; NONCE_BYTES_MAX];
        let len = nonces.write(unix_s, client, &mut out);
        out[..len].to_vec()
    }

    #[test]
    fn a_nonce_is_good_for_its_client_and_its_time() {
        let one = client("192.0.2.1:1000");
        for secure in [false, true] {
            let nonces = Nonces::new(&[1; 32], secure);
            let nonce = write(&nonces, 1_000_000, &one);
            assert_eq!(nonce.len(), if secure { 37 } else { 24 });
            assert!(nonces.is_good(&nonce, 1_000_000, &one));
            assert!(nonces.is_good(&nonce, 1_000_000 + NONCE_LIFETIME_S, &one));
            assert!(!nonces.is_good(&nonce, 1_000_001 + NONCE_LIFETIME_S, &one));
            assert!(!nonces.is_good(&nonce, 1_000_000 - FUTURE_S - 1, &one));
            assert!(nonces.is_good(&nonce, 1_000_000, &client("[::ffff:192.0.2.1]:1000")));
            for other in ["192.0.2.1:1001", "192.0.2.2:1000", "[::192.0.2.1]:1000"] {
                assert!(!nonces.is_good(&nonce, 1_000_000, &client(other)), "{other}");
            }
            let tcp = Client { transport: Transport::Tcp, ..one };
            assert!(!nonces.is_good(&nonce, 1_000_000, &tcp));
            assert!(!Nonces::new(&[2; 32], secure).is_good(&nonce, 1_000_000, &one), "another key");
            assert!(!Nonces::new(&[1; 32], !secure).is_good(&nonce, 1_000_000, &one), "another form");
        }
    }

    #[test]
    fn no_other_bytes_are_a_nonce() {
        let one = client("192.0.2.1:1000");
        let nonces = Nonces::new(&[1; 32], false);
        let nonce = write(&nonces, 1_000_000, &one);
        for at in 0..nonce.len() {
            assert!(!nonces.is_good(&nonce[..at], 1_000_000, &one));
            for flip in 1..=u8::MAX {
                let mut changed = nonce.clone();
                changed[at] ^= flip;
                assert!(!nonces.is_good(&changed, 1_000_000, &one), "{changed:?}");
            }
        }
    }
}
