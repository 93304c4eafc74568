//! How a received datagram lies in its buffer, the same in both backends.
//!
//! ```text
//!   0        16           48            96                                  2048
//!   | header | name       | control     | payload                           |
//! ```
//! The header is `io_uring_recvmsg_out`; the other backend leaves it unused. Payloads start at a multiple of 16.

use super::address::{self, NAME_BYTES};
use super::cmsg::{self, RECEIVE_BYTES};
use super::counters::Counters;
use crate::egress::Path;

/// Whole pages hold whole buffers, and 128 of them are 256 KiB: they stay in the second-level cache.
pub(super) const BUFFER_BYTES: usize = 2048;
/// `struct io_uring_recvmsg_out`: four u32.
pub(super) const HEADER_BYTES: usize = 16;
/// Where the sender's address begins.
pub(super) const NAME_AT: usize = HEADER_BYTES;
/// Where the control messages begin.
pub(super) const CONTROL_AT: usize = NAME_AT + NAME_BYTES;
/// Where the datagram begins.
pub(super) const PAYLOAD_AT: usize = CONTROL_AT + RECEIVE_BYTES;
/// Longest datagram that is received whole; an Ethernet frame carries 1472.
pub const RECEIVED_BYTES_MAX: usize = BUFFER_BYTES - PAYLOAD_AT;

const _: () =
    assert!(PAYLOAD_AT.is_multiple_of(16) && RECEIVED_BYTES_MAX >= crate::egress::DATAGRAM_BYTES_MAX);

/// Why a datagram never reaches the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// Longer than a buffer.
    Truncated,
    /// Empty, or without its addresses.
    Empty,
}

impl Unusable {
    pub(super) const fn count(self, counters: &mut Counters) {
        match self {
            Self::Truncated => counters.truncated += 1,
            Self::Empty => counters.unusable += 1,
        }
    }
}

/// The datagram in `buffer` and its path; lengths are the kernel's.
pub(super) fn parse(
    buffer: &mut [u8],
    name_len: usize,
    control_len: usize,
    payload_len: usize,
    truncated: bool,
) -> Result<(Path, &mut [u8]), Unusable> {
    if truncated || payload_len > RECEIVED_BYTES_MAX {
        return Err(Unusable::Truncated);
    }
    let path = path(buffer, name_len, control_len).ok_or(Unusable::Empty)?;
    match buffer.get_mut(PAYLOAD_AT..PAYLOAD_AT + payload_len) {
        Some(payload) if !payload.is_empty() => Ok((path, payload)),
        _ => Err(Unusable::Empty),
    }
}

/// Sender and local address, from what the kernel wrote before the payload.
fn path(buffer: &[u8], name_len: usize, control_len: usize) -> Option<Path> {
    let name = buffer.get(NAME_AT..NAME_AT + name_len.min(NAME_BYTES))?;
    let control = buffer.get(CONTROL_AT..CONTROL_AT + control_len.min(RECEIVE_BYTES))?;
    Some(Path { remote: address::parse(name)?, local: cmsg::local_address(control)? })
}
