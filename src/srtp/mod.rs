//! SRTP and SRTCP (RFC 3711, RFC 7714): sealing, opening, key derivation and the replay window.
//!
//! # The index rule
//!
//! Under one key an (SSRC, ROC, sequence number), and likewise an (SSRC, SRTCP index), protects **one packet, ever**.
//! A second one gives away the XOR of both, and with GCM also the key that authenticates (RFC 7714 §8.1). Hence:
//!
//! - whoever calls [`SealKeys`] has already moved the index forward in the record, before the packet is queued;
//! - a repeat of a packet is the very same sealed bytes, or RTX under its own SSRC;
//! - whoever goes on from an old copy of a record first jumps ahead by more than can have been sent since.
//!
//! # Order of work on what arrives
//!
//! ```text
//!   index = window.estimate(seq)      RFC 3711 §3.3.1: ROC within ±1
//!   window.check(index)?              a replay costs no cipher
//!   keys.open_rtp(index, …)?          takes &self: nothing can change before the tag verifies
//!   window.accept(index)              only now
//! ```
//!
//! Nothing here allocates after the keys are made, and nothing here keeps state: keys are a pure function of
//! [`KeyRecord`](crate::records::keys::KeyRecord), windows are records.

mod kdf;
mod open;
pub mod replay;
mod seal;
mod suite;
#[cfg(test)]
mod tests;

pub use open::OpenKeys;
pub use seal::SealKeys;

pub use crate::records::keys::Profile;

/// Highest index of RTP: 48 bits (RFC 3711 §3.3.1).
pub const RTP_INDEX_MAX: u64 = (1 << 48) - 1;
/// Highest index of SRTCP: 31 bits (RFC 3711 §3.4).
pub const RTCP_INDEX_MAX: u32 = (1 << 31) - 1;

/// Bytes of an RTP header without CSRCs and extensions (RFC 3550 §5.1).
const RTP_HEADER_BYTES_MIN: usize = 12;
/// Bytes of RTCP that stay in the clear: first header and SSRC (RFC 3711 §3.4).
const RTCP_CLEAR_BYTES: usize = 8;
/// Bytes of E-bit and index in SRTCP.
const RTCP_INDEX_BYTES: usize = 4;
/// The E-bit: this SRTCP packet is encrypted.
const RTCP_ENCRYPTED: u32 = 1 << 31;

/// The big-endian word at `place`; the caller has checked the length.
fn word_at(bytes: &[u8], place: usize) -> u32 {
    u32::from_be_bytes(bytes[place..place + 4].try_into().expect("four bytes were cut"))
}
