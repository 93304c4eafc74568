//! Allocate (RFC 8656 §7.2).

use std::net::{IpAddr, SocketAddr};

use bytemuck::Zeroable;

use super::{family_in, lifetime_s};
use crate::attribute::AttributeType;
use crate::error_code::ErrorCode;
use crate::server::answers::signed;
use crate::server::authenticate::Asker;
use crate::server::config::LIFETIME_DEFAULT_S;
use crate::server::record::{AddressRecord, AllocationRecord};
use crate::server::types::{Outcome, Relay, Slot};
use crate::server::{Call, SECOND_NS, Server};
use crate::writer::Writer;

/// Number of UDP among the protocols of IP.
const UDP: u8 = 17;

/// The relayed addresses that a client is to get.
struct Wanted {
    relayed: [Option<IpAddr>; 2],
    /// The family that was asked for too and is not to be had.
    missing: Option<u8>,
}

impl Server<'_> {
    pub(super) fn allocate(
        &mut self,
        call: &Call<'_>,
        asker: &Asker,
        answer: &mut [u8],
        relay: &mut impl Relay,
    ) -> Result<Outcome, ErrorCode> {
        if let Some(slot) = asker.slot {
            if !self.is_of_earlier_connection(call, asker, slot) {
                return self.allocate_again(call, asker, slot, answer);
            }
            self.abandon(slot, call.now, relay);
        }
        check_transport(call)?;
        let even = wants_even_port(call)?;
        let wanted = self.wanted(call)?;
        let lifetime_s = match lifetime_s(call, self.config.lifetime_max_s)? {
            0 => LIFETIME_DEFAULT_S,
            lifetime_s => lifetime_s,
        };
        if asker.until_unix_s <= call.now.unix_s {
            return Ok(self.refuse_stranger(call, ErrorCode::UNAUTHENTICATED, answer));
        }
        if self.table.users.is_at_quota(&asker.quota_user) {
            return Err(ErrorCode::ALLOCATION_QUOTA_REACHED);
        }
        if self.table.is_full() {
            return Err(ErrorCode::INSUFFICIENT_CAPACITY);
        }
        let record = new_record(call, asker, lifetime_s);
        let full = ErrorCode::INSUFFICIENT_CAPACITY;
        let may_be_opened = !self.config.policy.allow.is_empty();
        let is_free = |port| {
            let mut ips = wanted.relayed.iter().flatten();
            !may_be_opened || ips.all(|&ip| relay.is_free(SocketAddr::new(ip, port)))
        };
        let port = self.table.take_port(call.now, even, is_free).ok_or(full)?;
        let slot = self.table.open(record, wanted.relayed, port).ok_or(full)?;
        self.record.allocations_high = self.table.high() as u64;
        self.record.counters.allocations_opened += 1;
        self.allocated(call, asker, slot, wanted.missing, answer)
    }

    /// A connection that comes from the address of an earlier one shows that the earlier one has ended.
    fn is_of_earlier_connection(&self, call: &Call<'_>, asker: &Asker, slot: Slot) -> bool {
        let has_ended = |record: &AllocationRecord| record.via != call.client.via;
        call.client.transport.is_stream() && asker.is_owner && self.table.get(slot).is_some_and(has_ended)
    }

    /// The client has an allocation: the same request once more is answered as it was, any other is refused.
    fn allocate_again(
        &self,
        call: &Call<'_>,
        asker: &Asker,
        slot: Slot,
        answer: &mut [u8],
    ) -> Result<Outcome, ErrorCode> {
        let is_repeated = self
            .table
            .get(slot)
            .is_some_and(|record| asker.is_owner && record.transaction == call.message.transaction().0);
        if !is_repeated {
            return Err(ErrorCode::ALLOCATION_MISMATCH);
        }
        let missing = self.wanted(call)?.missing;
        self.allocated(call, asker, slot, missing, answer)
    }

    /// Of which families relayed addresses are wanted and to be had (RFC 8656 §7.2, points 8 and 9).
    fn wanted(&self, call: &Call<'_>) -> Result<Wanted, ErrorCode> {
        let unsupported = ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED;
        let requested = family_in(call, AttributeType::REQUESTED_ADDRESS_FAMILY, unsupported)?;
        let bad = ErrorCode::BAD_REQUEST;
        match (requested, family_in(call, AttributeType::ADDITIONAL_ADDRESS_FAMILY, bad)?) {
            (None, Some(1)) => {
                let relayed = [0, 1].map(|family| self.config.relayed_ip(family));
                match relayed {
                    [None, None] => Err(unsupported),
                    [v4, v6] => {
                        let missing = if v4.is_none() { Some(1) } else { v6.is_none().then_some(2) };
                        Ok(Wanted { relayed, missing })
                    }
                }
            }
            (_, Some(_)) => Err(bad),
            (requested, None) => {
                let family = requested.unwrap_or(0);
                let ip = self.config.relayed_ip(family).ok_or(unsupported)?;
                let mut relayed = [None; 2];
                relayed[family] = Some(ip);
                Ok(Wanted { relayed, missing: None })
            }
        }
    }

    fn allocated(
        &self,
        call: &Call<'_>,
        asker: &Asker,
        slot: Slot,
        missing: Option<u8>,
        answer: &mut [u8],
    ) -> Result<Outcome, ErrorCode> {
        let record = self.table.get(slot).ok_or(ErrorCode::INSUFFICIENT_CAPACITY)?;
        let left_s = record.expires_at_ns.saturating_sub(call.now.monotonic_ns) / SECOND_NS;
        let mut writer = Writer::success(answer, call.message.method(), call.message.transaction());
        for relayed in record.relayed() {
            writer.xor_relayed_address(relayed);
        }
        writer.lifetime_s(u32::try_from(left_s).unwrap_or(u32::MAX));
        writer.xor_mapped_address(call.client.remote);
        if let Some(family) = missing {
            let [_, _, class, number] = ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED.encode();
            writer.attribute(AttributeType::ADDRESS_ERROR_CODE, &[family, 0, class, number]);
        }
        Ok(signed(writer, &asker.signer))
    }
}

fn check_transport(call: &Call<'_>) -> Result<(), ErrorCode> {
    match call.message.find(AttributeType::REQUESTED_TRANSPORT) {
        Some([UDP, _, _, _]) => Ok(()),
        Some([_, _, _, _]) => Err(ErrorCode::UNSUPPORTED_TRANSPORT),
        _ => Err(ErrorCode::BAD_REQUEST),
    }
}

/// Whether the port is to be even. Pairs of ports and reserved ports are not to be had; how they may be asked for is
/// checked all the same (RFC 8656 §7.2, points 5 to 7).
fn wants_even_port(call: &Call<'_>) -> Result<bool, ErrorCode> {
    const RESERVE_NEXT: u8 = 0x80;
    let has = |kind| call.message.find(kind).is_some();
    let (even, token) = (call.message.find(AttributeType::EVEN_PORT), has(AttributeType::RESERVATION_TOKEN));
    let family = has(AttributeType::REQUESTED_ADDRESS_FAMILY);
    let additional = has(AttributeType::ADDITIONAL_ADDRESS_FAMILY);
    if token && (even.is_some() || family || additional) || even.is_some() && additional {
        return Err(ErrorCode::BAD_REQUEST);
    }
    match even {
        _ if token => Err(ErrorCode::INSUFFICIENT_CAPACITY),
        None => Ok(false),
        Some(&[flags]) if flags & RESERVE_NEXT == 0 => Ok(true),
        Some([_]) => Err(ErrorCode::INSUFFICIENT_CAPACITY),
        Some(_) => Err(ErrorCode::BAD_REQUEST),
    }
}

fn new_record(call: &Call<'_>, asker: &Asker, lifetime_s: u32) -> AllocationRecord {
    let (key, key_len) = asker.signer.key.to_record();
    AllocationRecord {
        expires_at_ns: call.now.monotonic_ns + u64::from(lifetime_s) * SECOND_NS,
        credential_until_unix_s: asker.until_unix_s,
        user: asker.user,
        quota_user: asker.quota_user,
        key,
        key_len,
        transaction: call.message.transaction().0,
        via: call.client.via,
        remote: AddressRecord::new(call.client.remote),
        local: AddressRecord::new(call.client.local),
        transport: call.client.transport as u8,
        ..AllocationRecord::zeroed()
    }
}
