//! CreatePermission (RFC 8656 §10.2): all of its addresses or none.

use std::net::IpAddr;

use super::own_allocation;
use crate::error_code::ErrorCode;
use crate::server::answers::signed;
use crate::server::authenticate::Asker;
use crate::server::config::PERMISSION_LIFETIME_S;
use crate::server::policy::Reach;
use crate::server::record::{PERMISSIONS_MAX, family_of};
use crate::server::types::{Outcome, Relay, Slot};
use crate::server::users::Kind;
use crate::server::{Call, SECOND_NS, Server};
use crate::writer::Writer;

/// The addresses of one request, each once.
#[derive(Default)]
struct Addresses {
    ips: [Option<IpAddr>; PERMISSIONS_MAX],
    /// How many of them have no permission yet.
    new: u32,
    /// Families of which some peer is outside.
    outside: [bool; 2],
}

impl Addresses {
    fn iter(&self) -> impl Iterator<Item = IpAddr> {
        self.ips.into_iter().flatten()
    }
}

impl Server<'_> {
    pub(super) fn create_permission(
        &mut self,
        call: &Call<'_>,
        asker: &Asker,
        answer: &mut [u8],
        relay: &mut impl Relay,
    ) -> Result<Outcome, ErrorCode> {
        let slot = own_allocation(asker)?;
        let addresses = self.addresses(call, slot)?;
        let full = ErrorCode::INSUFFICIENT_CAPACITY;
        let record = self.table.get(slot).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        let has_place = record.free_permissions() >= addresses.new as usize;
        if !has_place || !self.table.users.has_room(record.user_at, Kind::Permission, addresses.new) {
            return Err(full);
        }
        for family in [0, 1] {
            if addresses.outside[family] && !self.table.open_socket(slot, family, relay) {
                return Err(full);
            }
        }
        let until_ns = call.now.monotonic_ns + u64::from(PERMISSION_LIFETIME_S) * SECOND_NS;
        if let Some((record, users)) = self.table.split(slot) {
            record.via = call.client.via;
            for ip in addresses.iter() {
                let is_new = record.permit(users, ip, until_ns);
                self.record.counters.permissions_opened += u64::from(is_new);
            }
        }
        self.table.reschedule(slot);
        let writer = Writer::success(answer, call.message.method(), call.message.transaction());
        Ok(signed(writer, &asker.signer))
    }

    /// Every address of the request, judged.
    fn addresses(&self, call: &Call<'_>, slot: Slot) -> Result<Addresses, ErrorCode> {
        let record = self.table.get(slot).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        let mut addresses = Addresses::default();
        for peer in call.message.xor_peer_addresses() {
            let peer = peer.ok_or(ErrorCode::BAD_REQUEST)?;
            self.check_family(record, peer)?;
            let reach = self.config.policy.judge_ip(peer.ip()).map_err(|_| ErrorCode::FORBIDDEN)?;
            addresses.outside[family_of(peer)] |= reach == Reach::Outside;
            if addresses.iter().any(|ip| ip == peer.ip()) {
                continue;
            }
            let free = addresses.ips.iter_mut().find(|ip| ip.is_none());
            *free.ok_or(ErrorCode::INSUFFICIENT_CAPACITY)? = Some(peer.ip());
            addresses.new += u32::from(record.permission_of(peer.ip()).is_none());
        }
        if addresses.ips[0].is_none() { Err(ErrorCode::BAD_REQUEST) } else { Ok(addresses) }
    }
}
