//! Peers outside, whom the operator allowed: each allocation that speaks to one has a socket of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use millrace_turn::server::{OpenFailed, Relay, Slot};

use super::{narrow, to_peer_key};
use crate::egress::{Egress, Path, Via};

/// Opens and closes them for the server.
pub(super) struct Sockets<'a, E>(pub(super) &'a mut E);

impl<E: Egress> Relay for Sockets<'_, E> {
    fn open(&mut self, allocation: Slot, relayed: SocketAddr) -> Result<(), OpenFailed> {
        self.0.open(Via::relayed(narrow(allocation)), relayed).map_err(|_| OpenFailed)
    }

    fn is_free(&mut self, relayed: SocketAddr) -> bool {
        self.0.is_free(relayed)
    }

    fn close(&mut self, allocation: Slot, relayed: SocketAddr) {
        self.0.close(Via::relayed(narrow(allocation)), relayed);
    }
}

/// Sends data of an allocation's client to `peer`; false when no slot is free, or none is as long.
#[must_use]
pub(super) fn send(allocation: Slot, peer: SocketAddr, data: &[u8], egress: &mut impl Egress) -> bool {
    let local = match peer {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let path = Path { local, remote: peer, via: Via::relayed(narrow(allocation)) };
    let room = egress.reserve(to_peer_key(allocation), &path);
    let Some(place) = room.and_then(|room| room.get_mut(..data.len())) else { return false };
    place.copy_from_slice(data);
    egress.commit(data.len());
    true
}
