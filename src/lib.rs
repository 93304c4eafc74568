//! Millrace's relay: sharded UDP loops that do ICE, DTLS-SRTP and fan-out without copying media.

#![deny(unsafe_code)]

pub mod crypto;
pub mod discard;
pub mod dtls;
pub mod egress;
pub mod ice;
pub mod records;
pub mod feedback;
pub mod records;
pub mod srtp;
#[allow(unsafe_code, reason = "the one folder that touches the kernel")]
pub mod io;
pub mod time;
pub mod wire;
