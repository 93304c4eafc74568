//! How a received train lies in its buffer, the same in both backends.
//!
//! ```text
//!   0        16           48            112                                 66816
//!   | header | name       | control     | datagrams                         |
//! ```
//! The header is `io_uring_recvmsg_out`; the other backend leaves it unused. Datagrams start at a multiple of 16.

use super::address::{self, NAME_BYTES};
use super::cmsg::{self, RECEIVE_BYTES, Told};
use super::counters::Counters;
use crate::egress::{Path, Via};
use crate::ingress::Train;

/// From one buffer to the next. A train has up to 65 507 bytes. What is above 64 KiB staggers the buffers, so that the
/// starts of all of them, which is all that single datagrams touch, do not fall on the same places of the caches.
pub(super) const BUFFER_BYTES: usize = 65_536 + 1_280;
/// `struct io_uring_recvmsg_out`: four u32.
pub(super) const HEADER_BYTES: usize = 16;
/// Where the sender's address begins.
pub(super) const NAME_AT: usize = HEADER_BYTES;
/// Where the control messages begin.
pub(super) const CONTROL_AT: usize = NAME_AT + NAME_BYTES;
/// Where the datagrams begin.
pub(super) const PAYLOAD_AT: usize = CONTROL_AT + RECEIVE_BYTES;
/// Room for the datagrams.
pub(super) const TRAIN_BYTES_MAX: usize = BUFFER_BYTES - PAYLOAD_AT;
/// Longest datagram that is handed to the shard; an Ethernet frame carries 1472.
pub const RECEIVED_BYTES_MAX: usize = 1952;

const _: () = assert!(PAYLOAD_AT.is_multiple_of(16) && BUFFER_BYTES.is_multiple_of(64));
const _: () = assert!(TRAIN_BYTES_MAX >= 65_507 && RECEIVED_BYTES_MAX >= crate::egress::DATAGRAM_BYTES_MAX);

/// Why a datagram never reaches the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// Longer than any of ours, or than a buffer.
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

/// The train in `buffer`, which came to the socket `via`; lengths are the kernel's.
pub(super) fn parse(
    buffer: &mut [u8],
    name_len: usize,
    control_len: usize,
    payload_len: usize,
    truncated: bool,
    via: Via,
) -> Result<Train<'_>, Unusable> {
    let (head, payload) = buffer.split_at_mut(PAYLOAD_AT);
    let name = head.get(NAME_AT..NAME_AT + name_len.min(NAME_BYTES)).ok_or(Unusable::Empty)?;
    let control = head.get(CONTROL_AT..CONTROL_AT + control_len.min(RECEIVE_BYTES)).ok_or(Unusable::Empty)?;
    let Told { local, segment_len } = cmsg::told(control).ok_or(Unusable::Empty)?;
    let remote = address::parse(name).ok_or(Unusable::Empty)?;
    let segment_len = segment_len.unwrap_or(payload_len);
    if truncated || segment_len > RECEIVED_BYTES_MAX {
        return Err(Unusable::Truncated);
    }
    match payload.get_mut(..payload_len) {
        Some(bytes) if !bytes.is_empty() => {
            Ok(Train { path: Path { local, remote, via }, bytes, segment_len })
        }
        _ => Err(Unusable::Empty),
    }
}
