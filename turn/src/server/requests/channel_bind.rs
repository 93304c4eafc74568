//! ChannelBind (RFC 8656 §12.2): a number for a peer, and a permission for its address with it.

use std::net::SocketAddr;

use super::own_allocation;
use crate::error_code::ErrorCode;
use crate::server::answers::signed;
use crate::server::authenticate::Asker;
use crate::server::channels::is_channel;
use crate::server::config::{CHANNEL_LIFETIME_S, PERMISSION_LIFETIME_S};
use crate::server::policy::Reach;
use crate::server::record::{AllocationRecord, family_of};
use crate::server::types::{Outcome, Relay};
use crate::server::users::Kind;
use crate::server::{Call, SECOND_NS, Server};
use crate::writer::Writer;

impl Server<'_> {
    pub(super) fn channel_bind(
        &mut self,
        call: &Call<'_>,
        asker: &Asker,
        answer: &mut [u8],
        relay: &mut impl Relay,
    ) -> Result<Outcome, ErrorCode> {
        let slot = own_allocation(asker)?;
        let (bad, full) = (ErrorCode::BAD_REQUEST, ErrorCode::INSUFFICIENT_CAPACITY);
        let number = call.message.channel_number().filter(|number| is_channel(*number)).ok_or(bad)?;
        let peer = call.message.xor_peer_address().ok_or(bad)?;
        let record = self.table.get(slot).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        self.check_family(record, peer)?;
        let reach = self.config.policy.judge(peer).map_err(|_| ErrorCode::FORBIDDEN)?;
        let place = record.place_for_channel(number, peer).map_err(|_| bad)?.ok_or(full)?;
        let more_channels = u32::from(!record.is_bound(place));
        let more_permissions = u32::from(record.permission_of(peer.ip()).is_none());
        let users = &self.table.users;
        if record.free_permissions() < more_permissions as usize
            || !users.has_room(record.user_at, Kind::Channel, more_channels)
            || !users.has_room(record.user_at, Kind::Permission, more_permissions)
        {
            return Err(full);
        }
        if reach == Reach::Outside && !self.table.open_socket(slot, family_of(peer), relay) {
            return Err(full);
        }
        if let Some((record, users)) = self.table.split(slot) {
            let after = |lifetime_s: u32| call.now.monotonic_ns + u64::from(lifetime_s) * SECOND_NS;
            record.via = call.client.via;
            let is_new = record.permit(users, peer.ip(), after(PERMISSION_LIFETIME_S));
            self.record.counters.permissions_opened += u64::from(is_new);
            let is_new = record.bind(users, place, number, peer, reach, after(CHANNEL_LIFETIME_S));
            self.record.counters.channels_opened += u64::from(is_new);
        }
        self.table.reschedule(slot);
        let writer = Writer::success(answer, call.message.method(), call.message.transaction());
        Ok(signed(writer, &asker.signer))
    }

    /// A peer has the family of one of the allocation's relayed addresses, and writes its address as that family does.
    pub(super) fn check_family(&self, record: &AllocationRecord, peer: SocketAddr) -> Result<(), ErrorCode> {
        let as_written = usize::from(peer.is_ipv6());
        let fits = as_written == family_of(peer) && record.relayed_towards(peer).is_some();
        if fits { Ok(()) } else { Err(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH) }
    }
}
