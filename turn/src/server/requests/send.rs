//! Send indications (RFC 8656 §11.2): data with the peer's address on each.

use super::KNOWN;
use crate::attribute::AttributeType;
use crate::message::Verdict;
use crate::server::policy::Reach;
use crate::server::record::AddressRecord;
use crate::server::types::{Outcome, Reason, ToPeer};
use crate::server::{Call, Server};

impl Server<'_> {
    pub(in crate::server) fn send(&mut self, call: &Call<'_>) -> Outcome {
        self.try_send(call).map_or_else(Outcome::Silence, Outcome::ToPeer)
    }

    fn try_send(&mut self, call: &Call<'_>) -> Result<ToPeer, Reason> {
        let (now_ns, message) = (call.now.monotonic_ns, call.message);
        // Before anything else: who has no allocation is not worth a look at the rest.
        let allocation = self.table.find(&call.client.key()).ok_or(Reason::NoAllocation)?;
        let (record, users) = self.table.split(allocation).ok_or(Reason::NoAllocation)?;
        if record.expires_at_ns <= now_ns {
            return Err(Reason::NoAllocation);
        }
        if !message.unknown_required(&KNOWN).is_empty() || message.fingerprint() == Verdict::Invalid {
            return Err(Reason::BadIndication);
        }
        let peer = message.xor_peer_address().ok_or(Reason::BadIndication)?;
        let data = message.find_range(AttributeType::DATA).ok_or(Reason::BadIndication)?;
        if data.is_empty() {
            return Err(Reason::Empty);
        }
        if peer.ip().to_canonical() != peer.ip() {
            return Err(Reason::Family);
        }
        let relayed = record.relayed_towards(peer).ok_or(Reason::Family)?;
        if !record.permits(&AddressRecord::new(peer), now_ns) {
            return Err(Reason::NoPermission);
        }
        let reach = self.config.policy.judge(peer).map_err(|_| Reason::Forbidden)?;
        if reach == Reach::Outside && !record.is_open(peer) {
            return Err(Reason::NoSocket);
        }
        if !users.admit(record.user_at, now_ns, data.len()) {
            return Err(Reason::OverBandwidth);
        }
        record.count_to_peer(data.len());
        self.record.counters.to_peer_packets += 1;
        self.record.counters.to_peer_bytes += data.len() as u64;
        let dont_fragment = message.find(AttributeType::DONT_FRAGMENT).is_some();
        Ok(ToPeer { allocation, relayed, peer, reach, data, dont_fragment })
    }
}
