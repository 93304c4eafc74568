//! Bytes and values: what is inside a datagram, read and written without allocation.
//!
//! Everything here is a pure view over a slice, total on any input: rubbish gives a [`Discard`](crate::discard::Discard)
//! or ends an iterator, it never panics. Writers return the number of bytes written, 0 when it does not fit.

pub mod block;
pub mod carried;
pub mod demux;
pub mod edge_hello;
pub mod extension;
pub mod payload;
pub mod rtcp;
pub mod rtp;

#[cfg(test)]
pub(crate) mod testing;
