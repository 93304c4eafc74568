//! Refresh (RFC 8656 §8.2).

use super::{family_in, lifetime_s, own_allocation};
use crate::attribute::AttributeType;
use crate::error_code::ErrorCode;
use crate::server::answers::signed;
use crate::server::authenticate::Asker;
use crate::server::types::{Outcome, Relay, Slot};
use crate::server::{Call, SECOND_NS, Server};
use crate::writer::Writer;

impl Server<'_> {
    pub(super) fn refresh(
        &mut self,
        call: &Call<'_>,
        asker: &Asker,
        answer: &mut [u8],
        relay: &mut impl Relay,
    ) -> Result<Outcome, ErrorCode> {
        let slot = own_allocation(asker)?;
        let mismatch = ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH;
        let family = family_in(call, AttributeType::REQUESTED_ADDRESS_FAMILY, mismatch)?;
        let lifetime_s = lifetime_s(call, self.config.lifetime_max_s)?;
        let record = self.table.get(slot).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        let families = record.relayed.map(|relayed| relayed.get().is_some());
        if family.is_some_and(|family| !families[family]) {
            return Err(mismatch);
        }
        if lifetime_s == 0 {
            match family {
                Some(family) if families == [true, true] => self.give_back_family(slot, family, relay),
                _ => {
                    self.table.close(slot, call.now, relay);
                    self.record.counters.allocations_released += 1;
                }
            }
        } else if asker.until_unix_s <= call.now.unix_s {
            // Whoever lost the right to allocate has lost the right to go on: the allocation ends at its own time.
            return Ok(self.refuse_stranger(call, ErrorCode::UNAUTHENTICATED, answer));
        } else {
            self.prolong(call, slot, lifetime_s);
        }
        let mut writer = Writer::success(answer, call.message.method(), call.message.transaction());
        writer.lifetime_s(lifetime_s);
        Ok(signed(writer, &asker.signer))
    }

    fn prolong(&mut self, call: &Call<'_>, slot: Slot, lifetime_s: u32) {
        if let Some((record, _)) = self.table.split(slot) {
            record.expires_at_ns = call.now.monotonic_ns + u64::from(lifetime_s) * SECOND_NS;
            record.via = call.client.via;
            self.record.counters.allocations_refreshed += 1;
        }
        self.table.reschedule(slot);
    }

    /// Of a dual allocation one address is given back, with all that belongs to it.
    fn give_back_family(&mut self, slot: Slot, family: usize, relay: &mut impl Relay) {
        self.table.close_family(slot, family, relay);
        if let Some((record, _)) = self.table.split(slot) {
            record.relayed[family] = bytemuck::Zeroable::zeroed();
        }
        self.table.reschedule(slot);
    }
}
