//! What an allocation needs to go on, as plain numbers in memory that the caller owns.
//!
//! ```text
//!   ServerRecord: nonce key, counters        AllocationRecord x N: who, until when, relayed addresses, key,
//!                                                                  16 permissions, 16 channels
//! ```
//!
//! A record of zeros is free. The server works in the records and keeps no second copy, so that a server made anew on
//! the same records goes on where the last one stopped, in the middle of a call.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use bytemuck::{Pod, Zeroable};

use crate::server::counters::Counters;
use crate::server::policy::canonical;
use crate::server::types::{Client, Transport};

/// Addresses that one allocation may have permissions for at a time.
pub const PERMISSIONS_MAX: usize = 16;

/// Channels that one allocation may have at a time.
pub const CHANNELS_MAX: usize = 16;

/// What a server keeps beside its allocations.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct ServerRecord {
    /// Key of the nonces; zeros until a server has been made on the record. Whoever knows it can make nonces.
    pub(super) nonce_key: [u8; 32],
    /// Places of allocations at or above this were never taken: nobody looks there, so their pages stay untouched.
    pub(super) allocations_high: u64,
    /// What happened so far.
    pub counters: Counters,
}

/// An address and a port, or none.
#[derive(Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct AddressRecord {
    /// IPv4 in its mapped form.
    ip: [u8; 16],
    port: u16,
    /// 4, 6, or 0 for none.
    family: u8,
    reserved: u8,
}

impl AddressRecord {
    pub(super) fn new(address: SocketAddr) -> Self {
        let (ip, family) = ip_bytes(address.ip());
        Self { ip, port: address.port(), family, reserved: 0 }
    }

    pub(super) fn get(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(ip_from_bytes(self.ip, self.family)?, self.port))
    }
}

fn ip_bytes(ip: IpAddr) -> ([u8; 16], u8) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => (ip.to_ipv6_mapped().octets(), 4),
        IpAddr::V6(ip) => (ip.octets(), 6),
    }
}

fn ip_from_bytes(bytes: [u8; 16], family: u8) -> Option<IpAddr> {
    let ip = IpAddr::V6(Ipv6Addr::from(bytes));
    match family {
        4 => Some(ip.to_canonical()),
        6 => Some(ip),
        _ => None,
    }
}

/// Leave for one address to be spoken with (RFC 8656 §9). Free where `expires_at_ns` is 0.
#[derive(Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct PermissionRecord {
    pub(super) expires_at_ns: u64,
    ip: [u8; 16],
    family: u8,
    reserved: [u8; 7],
}

impl PermissionRecord {
    pub(super) fn new(ip: IpAddr, expires_at_ns: u64) -> Self {
        let (ip, family) = ip_bytes(ip);
        Self { expires_at_ns, ip, family, reserved: [0; 7] }
    }

    pub(super) fn ip(&self) -> Option<IpAddr> {
        ip_from_bytes(self.ip, self.family)
    }

    pub(super) fn covers(&self, peer: &AddressRecord, now_ns: u64) -> bool {
        self.expires_at_ns > now_ns && self.ip == peer.ip && self.family == peer.family
    }
}

/// A channel and its peer (RFC 8656 §12). Free where `expires_at_ns` is 0.
#[derive(Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct ChannelRecord {
    pub(super) expires_at_ns: u64,
    pub(super) peer: AddressRecord,
    /// What the policy said of the peer, as a number of [`super::policy::Reach`]; 0 if it is forbidden.
    pub(super) reach: u8,
    pub(super) reserved: [u8; 3],
}

/// One allocation. Zeros are a free place.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct AllocationRecord {
    /// When it ends, of the monotonic clock. 0: the place is free.
    pub(super) expires_at_ns: u64,
    /// When its credential ends, in seconds since 1970.
    pub(super) credential_until_unix_s: u64,
    /// Relayed so far; for metrics.
    pub(super) to_peer_packets: u64,
    pub(super) to_peer_bytes: u64,
    pub(super) to_client_packets: u64,
    pub(super) to_client_bytes: u64,
    /// Who made it: a digest of the user name.
    pub(super) user: [u8; 16],
    /// Whom its use is counted for.
    pub(super) quota_user: [u8; 16],
    /// The key of its requests (RFC 8489 §9.2.2): 16 bytes of MD5 or 32 of SHA-256.
    pub(super) key: [u8; 32],
    /// Transaction of the Allocate request, by which its repetition is known.
    pub(super) transaction: [u8; 12],
    pub(super) via: u32,
    pub(super) remote: AddressRecord,
    pub(super) local: AddressRecord,
    /// The relayed address of each family: IPv4, IPv6.
    pub(super) relayed: [AddressRecord; 2],
    /// Where in the table of users its user is; found again by each new server.
    pub(super) user_at: u32,
    pub(super) key_len: u8,
    pub(super) transport: u8,
    /// Bits of the families whose socket is open, `1 << index` into `relayed`.
    pub(super) open: u8,
    /// Whether a socket could not be opened at its port.
    pub(super) port_is_bad: u8,
    /// Numbers of the channels, 0 for none: together, for a short way to the right one.
    pub(super) channel_numbers: [u16; CHANNELS_MAX],
    pub(super) channels: [ChannelRecord; CHANNELS_MAX],
    pub(super) permissions: [PermissionRecord; PERMISSIONS_MAX],
    /// The channel that data came back by last.
    pub(super) channel_hint: u8,
    pub(super) reserved: [u8; 7],
}

impl AllocationRecord {
    /// Whether the place is taken.
    pub const fn is_live(&self) -> bool {
        self.expires_at_ns != 0
    }

    /// When it ends unless it is refreshed, in nanoseconds of the monotonic clock.
    pub const fn expires_at_ns(&self) -> u64 {
        self.expires_at_ns
    }

    /// Whose it is; `None` for a free place.
    pub fn client(&self) -> Option<Client> {
        Some(Client {
            transport: Transport::from_number(self.transport),
            remote: self.remote.get()?,
            local: self.local.get()?,
            via: self.via,
        })
    }

    /// Its relayed addresses, IPv4 first.
    pub fn relayed(&self) -> impl Iterator<Item = SocketAddr> {
        self.relayed.into_iter().filter_map(|address| address.get())
    }

    /// Its relayed address of the family that `peer` has.
    pub(super) fn relayed_towards(&self, peer: SocketAddr) -> Option<SocketAddr> {
        self.relayed[family_of(peer)].get()
    }

    /// Packets and bytes that went to peers.
    pub const fn to_peers(&self) -> (u64, u64) {
        (self.to_peer_packets, self.to_peer_bytes)
    }

    /// Packets and bytes that went to the client.
    pub const fn to_client(&self) -> (u64, u64) {
        (self.to_client_packets, self.to_client_bytes)
    }

    pub(super) const fn count_to_peer(&mut self, bytes: usize) {
        self.to_peer_packets += 1;
        self.to_peer_bytes += bytes as u64;
    }

    /// Whether the socket of this peer's family is open.
    pub(super) fn is_open(&self, peer: SocketAddr) -> bool {
        self.open & (1 << family_of(peer)) != 0
    }
}

/// Index of an address's family in [`AllocationRecord::relayed`].
pub(super) fn family_of(address: SocketAddr) -> usize {
    usize::from(canonical(address).is_ipv6())
}

/// Shows no key.
impl std::fmt::Debug for AllocationRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AllocationRecord")
            .field("client", &self.client())
            .field("relayed", &self.relayed().collect::<Vec<_>>())
            .field("expires_at_ns", &self.expires_at_ns)
            .finish_non_exhaustive()
    }
}

/// Shows no key.
impl std::fmt::Debug for ServerRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerRecord").field("counters", &self.counters).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back() {
        for text in ["192.0.2.1:32853", "0.0.0.0:0", "[2001:db8::1]:443", "[::]:1", "[::1.2.3.4]:5"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(AddressRecord::new(address).get(), Some(address));
        }
        let mapped = AddressRecord::new("[::ffff:192.0.2.1]:7".parse().unwrap());
        assert_eq!(mapped.get(), "192.0.2.1:7".parse().ok());
        assert_eq!(AddressRecord::zeroed().get(), None);
    }

    #[test]
    fn zeros_are_a_free_place_and_keys_are_not_shown() {
        let mut record = AllocationRecord::zeroed();
        assert!(!record.is_live() && record.client().is_none() && record.relayed().next().is_none());
        record.key = [0xab; 32];
        assert!(!format!("{record:?}").contains("171"), "{record:?}");
    }
}
