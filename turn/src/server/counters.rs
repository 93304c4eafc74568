//! What happened, by outcome, and what is there now.

use bytemuck::{Pod, Zeroable};

use crate::error_code::ErrorCode;
use crate::server::types::Reason;

/// Every code that a request is refused with, in the order of [`Counters::refused`].
pub const REFUSALS: [ErrorCode; 12] = [
    ErrorCode::BAD_REQUEST,
    ErrorCode::UNAUTHENTICATED,
    ErrorCode::FORBIDDEN,
    ErrorCode::UNKNOWN_ATTRIBUTE,
    ErrorCode::ALLOCATION_MISMATCH,
    ErrorCode::STALE_NONCE,
    ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED,
    ErrorCode::WRONG_CREDENTIALS,
    ErrorCode::UNSUPPORTED_TRANSPORT,
    ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH,
    ErrorCode::ALLOCATION_QUOTA_REACHED,
    ErrorCode::INSUFFICIENT_CAPACITY,
];

/// Counters since the record was zeroed; they only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Counters {
    /// Allocations made.
    pub allocations_opened: u64,
    /// Allocations refreshed.
    pub allocations_refreshed: u64,
    /// Allocations given back by their client.
    pub allocations_released: u64,
    /// Allocations whose time was over.
    pub allocations_expired: u64,
    /// Allocations whose client's connection ended.
    pub allocations_abandoned: u64,
    /// Permissions made; a refreshed one is none.
    pub permissions_opened: u64,
    /// Channels bound; a refreshed one is none.
    pub channels_opened: u64,
    /// Bindings answered.
    pub bindings: u64,
    /// Requests whose integrity was wrong, or whose user is unknown.
    pub bad_credentials: u64,
    /// Packets that clients had relayed.
    pub to_peer_packets: u64,
    /// Their data in bytes.
    pub to_peer_bytes: u64,
    /// Packets that clients were relayed.
    pub to_client_packets: u64,
    /// Their data in bytes.
    pub to_client_bytes: u64,
    /// Refusals by code, in the order of [`REFUSALS`].
    pub refused: [u64; REFUSALS.len()],
    /// Silences by reason, in the order of [`Reason::ALL`].
    pub silences: [u64; Reason::ALL.len()],
}

impl Counters {
    pub(super) const fn silence(&mut self, reason: Reason) {
        self.silences[reason as usize] += 1;
    }

    pub(super) fn refuse(&mut self, code: ErrorCode) {
        let at = REFUSALS.iter().position(|listed| *listed == code);
        debug_assert!(at.is_some(), "{code:?} is not counted");
        if let Some(count) = at.and_then(|at| self.refused.get_mut(at)) {
            *count += 1;
        }
    }

    /// How often requests were refused with this code.
    pub fn refused_with(&self, code: ErrorCode) -> u64 {
        REFUSALS.iter().position(|listed| *listed == code).map_or(0, |at| self.refused[at])
    }

    /// How often there was silence for this reason.
    pub const fn silent_for(&self, reason: Reason) -> u64 {
        self.silences[reason as usize]
    }
}

/// What is there now. An entry whose time is over counts until [`super::Server::handle_timeout`] has seen it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Allocations.
    pub allocations: u32,
    /// Their permissions.
    pub permissions: u32,
    /// Their channels.
    pub channels: u32,
    /// Users with an allocation.
    pub users: u32,
    /// Sockets towards outside peers.
    pub sockets: u32,
}
