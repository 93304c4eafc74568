//! Writes one STUN message into a slot, without allocating.

use std::net::SocketAddr;

use crate::address;
use crate::attribute::{AttributeType, UNKNOWN_MAX, UnknownAttributes};
use crate::error_code::ErrorCode;
use crate::fingerprint;
use crate::integrity::{INTEGRITY_BYTES, INTEGRITY_SHA256_BYTES_MAX, IntegrityKey, IntegrityKeySha256};
use crate::message::{Class, HEADER_BYTES, MAGIC_COOKIE, Method, TransactionId, join_type};

/// The slot cannot hold the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotTooSmall;

impl std::fmt::Display for SlotTooSmall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the slot cannot hold the message")
    }
}

impl std::error::Error for SlotTooSmall {}

/// Writes a message attribute by attribute; [`Writer::finish`] gives its length.
///
/// Attributes stand in the order of the calls: integrity after what it covers, fingerprint last. A slot that is too
/// small shows at the end, so that the calls in between read as a list.
#[derive(Debug)]
pub struct Writer<'s> {
    slot: &'s mut [u8],
    len: usize,
    transaction: TransactionId,
    overflowed: bool,
}

impl<'s> Writer<'s> {
    /// Begins a message of any class.
    pub fn new(slot: &'s mut [u8], class: Class, method: Method, transaction: TransactionId) -> Self {
        let mut writer = Self { slot, len: 0, transaction, overflowed: false };
        let [type_high, type_low] = join_type(class, method).to_be_bytes();
        writer.push(&[type_high, type_low, 0, 0]);
        writer.push(&MAGIC_COOKIE);
        writer.push(&transaction.0);
        writer
    }

    /// Begins a request.
    pub fn request(slot: &'s mut [u8], method: Method, transaction: TransactionId) -> Self {
        Self::new(slot, Class::Request, method, transaction)
    }

    /// Begins the success response to the request of that method and transaction.
    pub fn success(slot: &'s mut [u8], method: Method, transaction: TransactionId) -> Self {
        Self::new(slot, Class::Success, method, transaction)
    }

    /// Begins the error response to the request of that method and transaction; its ERROR-CODE is written.
    pub fn error(slot: &'s mut [u8], method: Method, transaction: TransactionId, code: ErrorCode) -> Self {
        let mut writer = Self::new(slot, Class::Error, method, transaction);
        writer.attribute(AttributeType::ERROR_CODE, &code.encode());
        writer
    }

    /// The transaction of the message.
    pub const fn transaction(&self) -> TransactionId {
        self.transaction
    }

    /// Adds any attribute; the padding is zeros.
    pub fn attribute(&mut self, kind: AttributeType, value: &[u8]) {
        let Ok(len) = u16::try_from(value.len()) else {
            self.overflowed = true;
            return;
        };
        let [[kind_high, kind_low], [len_high, len_low]] = [kind.0.to_be_bytes(), len.to_be_bytes()];
        self.push(&[kind_high, kind_low, len_high, len_low]);
        self.push(value);
        self.push(&[0; 3][..value.len().next_multiple_of(4) - value.len()]);
        self.count();
    }

    /// Adds USERNAME.
    pub fn username(&mut self, username: &[u8]) {
        self.attribute(AttributeType::USERNAME, username);
    }

    /// Adds REALM.
    pub fn realm(&mut self, realm: &[u8]) {
        self.attribute(AttributeType::REALM, realm);
    }

    /// Adds NONCE.
    pub fn nonce(&mut self, nonce: &[u8]) {
        self.attribute(AttributeType::NONCE, nonce);
    }

    /// Adds SOFTWARE.
    pub fn software(&mut self, software: &[u8]) {
        self.attribute(AttributeType::SOFTWARE, software);
    }

    /// Adds XOR-MAPPED-ADDRESS; an IPv4 address in IPv6 form is written as IPv4.
    pub fn xor_mapped_address(&mut self, address: SocketAddr) {
        self.xor_address(AttributeType::XOR_MAPPED_ADDRESS, address);
    }

    /// Adds XOR-RELAYED-ADDRESS.
    pub fn xor_relayed_address(&mut self, address: SocketAddr) {
        self.xor_address(AttributeType::XOR_RELAYED_ADDRESS, address);
    }

    /// Adds XOR-PEER-ADDRESS; an IPv4 address in IPv6 form is written as IPv4.
    pub fn xor_peer_address(&mut self, address: SocketAddr) {
        self.xor_address(AttributeType::XOR_PEER_ADDRESS, address);
    }

    fn xor_address(&mut self, kind: AttributeType, address: SocketAddr) {
        let (value, len) = address::encode_xor(address, &self.transaction);
        self.attribute(kind, &value[..len]);
    }

    /// Adds LIFETIME.
    pub fn lifetime_s(&mut self, seconds: u32) {
        self.attribute(AttributeType::LIFETIME, &seconds.to_be_bytes());
    }

    /// Adds CHANNEL-NUMBER.
    pub fn channel_number(&mut self, number: u16) {
        let [high, low] = number.to_be_bytes();
        self.attribute(AttributeType::CHANNEL_NUMBER, &[high, low, 0, 0]);
    }

    /// Adds REQUESTED-TRANSPORT with this protocol number; UDP is 17.
    pub fn requested_transport(&mut self, protocol: u8) {
        self.attribute(AttributeType::REQUESTED_TRANSPORT, &[protocol, 0, 0, 0]);
    }

    /// Adds PRIORITY.
    pub fn priority(&mut self, priority: u32) {
        self.attribute(AttributeType::PRIORITY, &priority.to_be_bytes());
    }

    /// Adds USE-CANDIDATE.
    pub fn use_candidate(&mut self) {
        self.attribute(AttributeType::USE_CANDIDATE, &[]);
    }

    /// Adds ICE-CONTROLLED.
    pub fn ice_controlled(&mut self, tie_breaker: u64) {
        self.attribute(AttributeType::ICE_CONTROLLED, &tie_breaker.to_be_bytes());
    }

    /// Adds ICE-CONTROLLING.
    pub fn ice_controlling(&mut self, tie_breaker: u64) {
        self.attribute(AttributeType::ICE_CONTROLLING, &tie_breaker.to_be_bytes());
    }

    /// Adds UNKNOWN-ATTRIBUTES.
    pub fn unknown_attributes(&mut self, unknown: &UnknownAttributes) {
        let mut value = [0; 2 * UNKNOWN_MAX];
        let mut len = 0;
        for (out, kind) in value.as_chunks_mut::<2>().0.iter_mut().zip(unknown.iter()) {
            *out = kind.0.to_be_bytes();
            len += 2;
        }
        self.attribute(AttributeType::UNKNOWN_ATTRIBUTES, &value[..len]);
    }

    /// Adds MESSAGE-INTEGRITY over all that stands there.
    pub fn integrity(&mut self, key: &IntegrityKey) {
        let at = self.len;
        self.attribute(AttributeType::MESSAGE_INTEGRITY, &[0; INTEGRITY_BYTES]);
        if !self.overflowed {
            let tag = key.sign(self.slot, at);
            self.slot[at + 4..self.len].copy_from_slice(&tag);
        }
    }

    /// Adds MESSAGE-INTEGRITY-SHA256 over all that stands there.
    pub fn integrity_sha256(&mut self, key: &IntegrityKeySha256) {
        let at = self.len;
        self.attribute(AttributeType::MESSAGE_INTEGRITY_SHA256, &[0; INTEGRITY_SHA256_BYTES_MAX]);
        if !self.overflowed {
            let tag = key.sign(self.slot, at);
            self.slot[at + 4..self.len].copy_from_slice(&tag);
        }
    }

    /// Adds FINGERPRINT over all that stands there. The last call before [`Self::finish`].
    pub fn fingerprint(&mut self) {
        let at = self.len;
        self.attribute(AttributeType::FINGERPRINT, &[0; 4]);
        if !self.overflowed {
            let value = fingerprint::of(&self.slot[..at]);
            self.slot[at + 4..self.len].copy_from_slice(&value);
        }
    }

    /// Length of the message in bytes.
    ///
    /// # Errors
    /// [`SlotTooSmall`]; the slot then holds a part of the message and is not to be sent.
    pub fn finish(self) -> Result<usize, SlotTooSmall> {
        if self.overflowed { Err(SlotTooSmall) } else { Ok(self.len) }
    }

    fn push(&mut self, bytes: &[u8]) {
        match self.slot.get_mut(self.len..self.len + bytes.len()) {
            Some(free) if !self.overflowed => {
                free.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            _ => self.overflowed = true,
        }
    }

    /// Brings the header's length up to date, so that what stands there is a message at every step.
    fn count(&mut self) {
        match u16::try_from(self.len.saturating_sub(HEADER_BYTES)) {
            Ok(len) if !self.overflowed => self.slot[2..4].copy_from_slice(&len.to_be_bytes()),
            _ => self.overflowed = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Message, Verdict};

    const TRANSACTION: TransactionId = TransactionId([3; 12]);

    fn everything(slot: &mut [u8]) -> Result<usize, SlotTooSmall> {
        let mut unknown = UnknownAttributes::default();
        unknown.push(AttributeType(0x7001));
        unknown.push(AttributeType(0x7002));
        unknown.push(AttributeType(0x7003));
        let mut writer = Writer::error(slot, Method::BINDING, TRANSACTION, ErrorCode::UNKNOWN_ATTRIBUTE);
        writer.unknown_attributes(&unknown);
        writer.realm(b"realm");
        writer.nonce(b"nonce!");
        writer.software(b"s");
        writer.xor_mapped_address("192.0.2.7:5000".parse().unwrap());
        writer.ice_controlled(u64::MAX);
        writer.integrity(&IntegrityKey::short_term(b"key"));
        writer.fingerprint();
        writer.finish()
    }

    #[test]
    fn what_is_written_is_read() {
        let mut slot = [0xee; 256];
        let len = everything(&mut slot).unwrap();
        let message = Message::parse(&slot[..len]).unwrap();
        assert_eq!(message.class(), Class::Error);
        assert_eq!(message.transaction(), TRANSACTION);
        assert_eq!(message.error_code(), Some((ErrorCode::UNKNOWN_ATTRIBUTE, &b""[..])));
        assert!(message.unknown_attributes().eq([0x7001, 0x7002, 0x7003].map(AttributeType)));
        assert_eq!(message.realm(), Some(&b"realm"[..]));
        assert_eq!(message.nonce(), Some(&b"nonce!"[..]));
        assert_eq!(message.software(), Some(&b"s"[..]));
        assert_eq!(message.xor_mapped_address(), Some("192.0.2.7:5000".parse().unwrap()));
        assert_eq!(message.ice_controlled(), Some(u64::MAX));
        assert_eq!(message.integrity(&IntegrityKey::short_term(b"key")), Verdict::Valid);
        assert_eq!(message.fingerprint(), Verdict::Valid);
    }

    #[test]
    fn padding_is_zeros_whatever_the_slot_held() {
        let mut slot = [0xee; 64];
        let mut writer = Writer::request(&mut slot, Method::BINDING, TRANSACTION);
        writer.software(b"abcde");
        assert_eq!(writer.finish(), Ok(32));
        assert_eq!(slot[24..32], *b"abcde\0\0\0");
    }

    #[test]
    fn every_slot_too_small_is_an_error_and_stays_untouched_beyond_its_end() {
        let mut whole = [0; 256];
        let len = everything(&mut whole).unwrap();
        for short in 0..len {
            assert_eq!(everything(&mut whole[..short]), Err(SlotTooSmall), "{short} bytes");
        }
        assert_eq!(everything(&mut whole[..len]), Ok(len));
    }

    #[test]
    fn more_than_a_length_field_can_say_is_refused() {
        let mut slot = vec![0; 100_000];
        let mut writer = Writer::request(&mut slot, Method::BINDING, TRANSACTION);
        writer.software(&[b'x'; 65_000]);
        writer.software(&[b'x'; 65_000]);
        assert_eq!(writer.finish(), Err(SlotTooSmall));
        let mut writer = Writer::request(&mut slot, Method::BINDING, TRANSACTION);
        writer.software(&[b'x'; 65_536]);
        assert_eq!(writer.finish(), Err(SlotTooSmall));
    }
}
