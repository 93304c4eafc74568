//! What clients ask for, one kind to a file.

mod allocate;
mod channel_bind;
mod channel_data;
mod create_permission;
mod refresh;
mod send;

use crate::attribute::AttributeType;
use crate::error_code::ErrorCode;
use crate::message::Method;
use crate::server::answers::signed;
use crate::server::authenticate::Asker;
use crate::server::types::{Outcome, Relay, Slot};
use crate::server::{Call, Server};
use crate::writer::Writer;

/// Attributes that must be understood, and are. Those of which nothing is to be had are answered with more than 420.
const KNOWN: [AttributeType; 18] = [
    AttributeType::USERNAME,
    AttributeType::USERHASH,
    AttributeType::REALM,
    AttributeType::NONCE,
    AttributeType::PASSWORD_ALGORITHM,
    AttributeType::MESSAGE_INTEGRITY,
    AttributeType::MESSAGE_INTEGRITY_SHA256,
    AttributeType::CHANNEL_NUMBER,
    AttributeType::LIFETIME,
    AttributeType::XOR_PEER_ADDRESS,
    AttributeType::DATA,
    AttributeType::REQUESTED_ADDRESS_FAMILY,
    AttributeType::REQUESTED_TRANSPORT,
    AttributeType::DONT_FRAGMENT,
    AttributeType::EVEN_PORT,
    AttributeType::RESERVATION_TOKEN,
    AttributeType::XOR_MAPPED_ADDRESS,
    AttributeType::XOR_RELAYED_ADDRESS,
];

impl Server<'_> {
    pub(super) fn request(&mut self, call: &Call<'_>, answer: &mut [u8], relay: &mut impl Relay) -> Outcome {
        let asker = match self.authenticate(call, answer) {
            Ok(asker) => asker,
            Err(outcome) => return outcome,
        };
        let unknown = call.message.unknown_required(&KNOWN);
        if !unknown.is_empty() {
            let code = ErrorCode::UNKNOWN_ATTRIBUTE;
            self.record.counters.refuse(code);
            let (method, transaction) = (call.message.method(), call.message.transaction());
            let mut writer = Writer::error(answer, method, transaction, code);
            writer.unknown_attributes(&unknown);
            return signed(writer, &asker.signer);
        }
        let outcome = match call.message.method() {
            Method::ALLOCATE => self.allocate(call, &asker, answer, relay),
            Method::REFRESH => self.refresh(call, &asker, answer, relay),
            Method::CREATE_PERMISSION => self.create_permission(call, &asker, answer, relay),
            _ => self.channel_bind(call, &asker, answer, relay),
        };
        outcome.unwrap_or_else(|code| self.refuse(call, &asker.signer, code, answer))
    }
}

/// The allocation that the asker may change, which is its own (RFC 8656 §5).
fn own_allocation(asker: &Asker) -> Result<Slot, ErrorCode> {
    let slot = asker.slot.ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
    if asker.is_owner { Ok(slot) } else { Err(ErrorCode::WRONG_CREDENTIALS) }
}

/// The index of the family that an attribute names (RFC 8656 §18.6): 0 for IPv4, 1 for IPv6.
fn family_in(call: &Call<'_>, kind: AttributeType, unknown: ErrorCode) -> Result<Option<usize>, ErrorCode> {
    match call.message.find(kind) {
        None => Ok(None),
        Some([1, _, _, _]) => Ok(Some(0)),
        Some([2, _, _, _]) => Ok(Some(1)),
        Some([_, _, _, _]) => Err(unknown),
        Some(_) => Err(ErrorCode::BAD_REQUEST),
    }
}

/// The asked for lifetime in seconds, within bounds (RFC 8656 §7.2); 0 is left as it is.
fn lifetime_s(call: &Call<'_>, max_s: u32) -> Result<u32, ErrorCode> {
    use crate::server::config::LIFETIME_DEFAULT_S;
    if call.message.find(AttributeType::LIFETIME).is_none() {
        return Ok(LIFETIME_DEFAULT_S);
    }
    match call.message.lifetime_s() {
        None => Err(ErrorCode::BAD_REQUEST),
        Some(0) => Ok(0),
        Some(asked_s) => Ok(asked_s.clamp(LIFETIME_DEFAULT_S, max_s)),
    }
}
