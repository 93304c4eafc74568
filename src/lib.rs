//! Millrace's relay: sharded UDP loops that do ICE, DTLS-SRTP and fan-out without copying media.
//!
//! A packet's journey, one file after the other: [`io::cycle`] gives it to the [`shard`], which asks
//! [`wire::demux`] what it is; media is opened by [`srtp`], noted by [`feedback`], numbered by [`router::dense`] and
//! sent by [`router::fanout`] to each viewer through [`router::switch`] and [`peer::outbound`] into an [`egress`] slot,
//! which [`io`] sends. What a call needs to go on stands in [`records`].
//!
//! `ARCHITECTURE.md` draws the house.

#![deny(unsafe_code)]

pub mod config;
pub mod congestion;
pub mod control;
pub mod crypto;
pub mod discard;
pub mod dtls;
pub mod edge;
pub mod egress;
pub mod feedback;
pub mod front;
pub mod ice;
pub mod ids;
pub mod ingress;
#[allow(unsafe_code, reason = "the one folder that touches the kernel")]
pub mod io;
pub mod limits;
pub mod metrics;
pub mod peer;
pub mod random;
pub mod records;
pub mod relay;
pub mod router;
pub mod shard;
pub mod srtp;
#[cfg(test)]
mod testing;
pub mod time;
pub mod turn;
pub mod wire;
