//! The view of one STUN message (RFC 8489 §5): parsed once, within bounds for good.

use std::net::SocketAddr;
use std::ops::Range;

use crate::address;
use crate::attribute::{self, Attribute, AttributeType, UnknownAttributes};
use crate::error_code::ErrorCode;
use crate::fingerprint;
use crate::integrity::{INTEGRITY_BYTES, INTEGRITY_SHA256_BYTES_MAX, INTEGRITY_SHA256_BYTES_MIN};
use crate::integrity::{IntegrityKey, IntegrityKeySha256};

/// Length of the header in bytes (RFC 8489 §5).
pub const HEADER_BYTES: usize = 20;

/// Bytes 4 to 7 of the header (RFC 8489 §5).
pub(crate) const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// Whether the bytes look enough like STUN to be worth parsing: two zero bits and the magic cookie (RFC 7983 §7).
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0xc0 == 0) && datagram.get(4..8) == Some(&MAGIC_COOKIE[..])
}

/// Why bytes are not a STUN message. For counters and tests; nobody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// Fewer bytes than a header has.
    Short,
    /// The two first bits are not zero, or the magic cookie is missing.
    Foreign,
    /// The length field is not a multiple of four or does not say where the datagram ends.
    Length,
    /// An attribute runs past the end of the message.
    Attribute,
    /// Something follows FINGERPRINT, which is last by definition (RFC 8489 §14.7).
    AfterFingerprint,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Short => "shorter than a STUN header",
            Self::Foreign => "not STUN",
            Self::Length => "the length field does not match the datagram",
            Self::Attribute => "an attribute runs past the end",
            Self::AfterFingerprint => "FINGERPRINT is not the last attribute",
        })
    }
}

impl std::error::Error for Malformed {}

/// Class of a message (RFC 8489 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// Answer: done.
    Success,
    /// Answer: refused, with an ERROR-CODE.
    Error,
}

/// Method of a message: 12 bits (RFC 8489 §5). Any number may arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Method(pub u16);

impl Method {
    /// Binding (RFC 8489 §18.2).
    pub const BINDING: Self = Self(0x001);
    /// Allocate (RFC 8656 §17), as all that follow.
    pub const ALLOCATE: Self = Self(0x003);
    /// Refresh.
    pub const REFRESH: Self = Self(0x004);
    /// Send, an indication from the client.
    pub const SEND: Self = Self(0x006);
    /// Data, an indication to the client.
    pub const DATA: Self = Self(0x007);
    /// CreatePermission.
    pub const CREATE_PERMISSION: Self = Self(0x008);
    /// ChannelBind.
    pub const CHANNEL_BIND: Self = Self(0x009);
}

/// Takes the 14 bits of a message type apart: `M11..M7 C1 M6..M4 C0 M3..M0` (RFC 8489 §5).
const fn split_type(bits: u16) -> (Class, Method) {
    let class = match (bits & 0x0100 != 0, bits & 0x0010 != 0) {
        (false, false) => Class::Request,
        (false, true) => Class::Indication,
        (true, false) => Class::Success,
        (true, true) => Class::Error,
    };
    (class, Method((bits & 0x000f) | ((bits >> 1) & 0x0070) | ((bits >> 2) & 0x0f80)))
}

/// The inverse of [`split_type`]; bits of the method beyond the twelfth are dropped.
pub(crate) const fn join_type(class: Class, method: Method) -> u16 {
    let class = match class {
        Class::Request => 0x0000,
        Class::Indication => 0x0010,
        Class::Success => 0x0100,
        Class::Error => 0x0110,
    };
    let Method(method) = method;
    class | (method & 0x000f) | ((method & 0x0070) << 1) | ((method & 0x0f80) << 2)
}

/// Number of a transaction: 96 random bits that the client chose (RFC 8489 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(pub [u8; 12]);

/// What a check of integrity or fingerprint found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Verdict {
    /// The attribute is not there.
    Absent,
    /// The attribute is there and right.
    Valid,
    /// The attribute is there and wrong.
    Invalid,
}

impl Verdict {
    pub(crate) const fn of(right: bool) -> Self {
        if right { Self::Valid } else { Self::Invalid }
    }
}

/// One STUN message, borrowed from its datagram.
///
/// Where an attribute comes twice the first one counts. What follows MESSAGE-INTEGRITY is not seen, save
/// MESSAGE-INTEGRITY-SHA256 and FINGERPRINT (RFC 8489 §14.5): it is covered by no key and anybody may have added it.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    class: Class,
    method: Method,
    transaction: TransactionId,
    /// Attributes that count lie between the header and this offset.
    visible_end: usize,
    /// Offset of the first MESSAGE-INTEGRITY, unless a MESSAGE-INTEGRITY-SHA256 comes before it.
    integrity_at: Option<usize>,
    /// Offset of the first MESSAGE-INTEGRITY-SHA256; it may follow a MESSAGE-INTEGRITY and covers it then.
    integrity_sha256_at: Option<usize>,
    /// Offset of FINGERPRINT.
    fingerprint_at: Option<usize>,
}

impl<'a> Message<'a> {
    /// Reads a whole datagram as one message. Total: any bytes give a view or a reason.
    ///
    /// Neither integrity nor fingerprint is checked here; see [`Self::integrity`] and [`Self::fingerprint`].
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are not exactly one well-formed message.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (header, attributes) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(Malformed::Short)?;
        let &[type_high, type_low, len_high, len_low, _, _, _, _, ref transaction @ ..] = header;
        if !is_stun(bytes) {
            return Err(Malformed::Foreign);
        }
        let len = usize::from(u16::from_be_bytes([len_high, len_low]));
        if len != attributes.len() || len % 4 != 0 {
            return Err(Malformed::Length);
        }
        let (class, method) = split_type(u16::from_be_bytes([type_high, type_low]));
        let mut message = Self {
            bytes,
            class,
            method,
            transaction: TransactionId(*transaction),
            visible_end: bytes.len(),
            integrity_at: None,
            integrity_sha256_at: None,
            fingerprint_at: None,
        };
        message.walk(attributes)?;
        debug_assert!(HEADER_BYTES <= message.visible_end && message.visible_end <= bytes.len());
        Ok(message)
    }

    /// Goes over every attribute once: checks its bounds and finds the three that end what counts.
    fn walk(&mut self, mut rest: &'a [u8]) -> Result<(), Malformed> {
        let mut sealed = false;
        while !rest.is_empty() {
            if self.fingerprint_at.is_some() {
                return Err(Malformed::AfterFingerprint);
            }
            let at = self.bytes.len() - rest.len();
            let (attribute, after) = attribute::split_first(rest).ok_or(Malformed::Attribute)?;
            match attribute.kind {
                AttributeType::MESSAGE_INTEGRITY if !sealed => self.integrity_at = Some(at),
                AttributeType::MESSAGE_INTEGRITY_SHA256 if self.integrity_sha256_at.is_none() => {
                    self.integrity_sha256_at = Some(at);
                }
                AttributeType::FINGERPRINT => self.fingerprint_at = Some(at),
                _ => {}
            }
            if attribute.kind.ends_what_counts() && !sealed {
                sealed = true;
                self.visible_end = at;
            }
            rest = after;
        }
        Ok(())
    }

    /// The datagram.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its class.
    pub const fn class(&self) -> Class {
        self.class
    }

    /// Its method.
    pub const fn method(&self) -> Method {
        self.method
    }

    /// Its transaction.
    pub const fn transaction(&self) -> TransactionId {
        self.transaction
    }

    /// The attributes that count, in order, without integrity and fingerprint.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes { rest: self.bytes.get(HEADER_BYTES..self.visible_end).unwrap_or_default() }
    }

    /// Value of the first attribute of this type, as it is on the wire without padding.
    pub fn find(&self, kind: AttributeType) -> Option<&'a [u8]> {
        self.attributes().find(|attribute| attribute.kind == kind).map(|attribute| attribute.value)
    }

    /// Where in the datagram the value of the first attribute of this type lies.
    pub fn find_range(&self, kind: AttributeType) -> Option<Range<usize>> {
        let mut attributes = self.attributes();
        loop {
            let at = self.visible_end - attributes.rest.len();
            let attribute = attributes.next()?;
            if attribute.kind == kind {
                return Some(at + 4..at + 4 + attribute.value.len());
            }
        }
    }

    pub(crate) fn find_chunk<const N: usize>(&self, kind: AttributeType) -> Option<[u8; N]> {
        self.find(kind)?.try_into().ok()
    }

    /// USERNAME (RFC 8489 §14.3).
    pub fn username(&self) -> Option<&'a [u8]> {
        self.find(AttributeType::USERNAME)
    }

    /// REALM (RFC 8489 §14.9).
    pub fn realm(&self) -> Option<&'a [u8]> {
        self.find(AttributeType::REALM)
    }

    /// NONCE (RFC 8489 §14.10).
    pub fn nonce(&self) -> Option<&'a [u8]> {
        self.find(AttributeType::NONCE)
    }

    /// SOFTWARE (RFC 8489 §14.14). Words of a stranger: never log them unescaped.
    pub fn software(&self) -> Option<&'a [u8]> {
        self.find(AttributeType::SOFTWARE)
    }

    /// XOR-MAPPED-ADDRESS (RFC 8489 §14.2); `None` too when its family or length is wrong.
    pub fn xor_mapped_address(&self) -> Option<SocketAddr> {
        address::decode_xor(self.find(AttributeType::XOR_MAPPED_ADDRESS)?, &self.transaction)
    }

    /// ERROR-CODE and its reason phrase (RFC 8489 §14.8); `None` too when the code is not 300 to 699.
    pub fn error_code(&self) -> Option<(ErrorCode, &'a [u8])> {
        ErrorCode::decode(self.find(AttributeType::ERROR_CODE)?)
    }

    /// The types listed in UNKNOWN-ATTRIBUTES (RFC 8489 §14.13).
    pub fn unknown_attributes(&self) -> impl Iterator<Item = AttributeType> + use<'a> {
        let value = self.find(AttributeType::UNKNOWN_ATTRIBUTES).unwrap_or_default();
        value.as_chunks::<2>().0.iter().map(|kind| AttributeType(u16::from_be_bytes(*kind)))
    }

    /// PRIORITY (RFC 8445 §16.1); `None` too when it is not four bytes long.
    pub fn priority(&self) -> Option<u32> {
        self.find_chunk(AttributeType::PRIORITY).map(u32::from_be_bytes)
    }

    /// Whether USE-CANDIDATE is there (RFC 8445 §16.1).
    pub fn use_candidate(&self) -> bool {
        self.find(AttributeType::USE_CANDIDATE).is_some()
    }

    /// Tie-breaker of ICE-CONTROLLED (RFC 8445 §16.1); `None` too when it is not eight bytes long.
    pub fn ice_controlled(&self) -> Option<u64> {
        self.find_chunk(AttributeType::ICE_CONTROLLED).map(u64::from_be_bytes)
    }

    /// Tie-breaker of ICE-CONTROLLING (RFC 8445 §16.1); `None` too when it is not eight bytes long.
    pub fn ice_controlling(&self) -> Option<u64> {
        self.find_chunk(AttributeType::ICE_CONTROLLING).map(u64::from_be_bytes)
    }

    /// The types that must be understood (below 0x8000) and are not in `known` (RFC 8489 §6.3.1).
    pub fn unknown_required(&self, known: &[AttributeType]) -> UnknownAttributes {
        let mut unknown = UnknownAttributes::default();
        for attribute in self.attributes() {
            if attribute.kind.is_required() && !known.contains(&attribute.kind) {
                unknown.push(attribute.kind);
            }
        }
        unknown
    }

    /// XOR-PEER-ADDRESS, the first one (RFC 8656 §18.3); `None` too when its family or length is wrong.
    pub fn xor_peer_address(&self) -> Option<SocketAddr> {
        address::decode_xor(self.find(AttributeType::XOR_PEER_ADDRESS)?, &self.transaction)
    }

    /// Every XOR-PEER-ADDRESS; `None` for one whose family or length is wrong.
    pub fn xor_peer_addresses(&self) -> impl Iterator<Item = Option<SocketAddr>> + use<'a> {
        let transaction = self.transaction;
        self.attributes()
            .filter(|attribute| attribute.kind == AttributeType::XOR_PEER_ADDRESS)
            .map(move |attribute| address::decode_xor(attribute.value, &transaction))
    }

    /// XOR-RELAYED-ADDRESS, the first one (RFC 8656 §18.5); `None` too when its family or length is wrong.
    pub fn xor_relayed_address(&self) -> Option<SocketAddr> {
        address::decode_xor(self.find(AttributeType::XOR_RELAYED_ADDRESS)?, &self.transaction)
    }

    /// LIFETIME in seconds (RFC 8656 §18.2); `None` too when it is not four bytes long.
    pub fn lifetime_s(&self) -> Option<u32> {
        self.find_chunk(AttributeType::LIFETIME).map(u32::from_be_bytes)
    }

    /// CHANNEL-NUMBER (RFC 8656 §18.1); `None` too when it is not four bytes long.
    pub fn channel_number(&self) -> Option<u16> {
        let [high, low, _, _] = self.find_chunk(AttributeType::CHANNEL_NUMBER)?;
        Some(u16::from_be_bytes([high, low]))
    }

    /// Checks MESSAGE-INTEGRITY (RFC 8489 §14.5), in constant time as to the tag. MESSAGE-INTEGRITY-SHA256 is not
    /// looked at, see [`Self::integrity_sha256`].
    pub fn integrity(&self, key: &IntegrityKey) -> Verdict {
        let Some(at) = self.integrity_at else { return Verdict::Absent };
        let Some((attribute, _)) = self.bytes.get(at..).and_then(attribute::split_first) else {
            return Verdict::Absent;
        };
        // A tag of another length is wrong, never a shorter tag to compare.
        Verdict::of(attribute.value.len() == INTEGRITY_BYTES && key.verify(self.bytes, at, attribute.value))
    }

    /// Whether there is a MESSAGE-INTEGRITY, right or wrong.
    pub const fn has_integrity(&self) -> bool {
        self.integrity_at.is_some()
    }

    /// Checks MESSAGE-INTEGRITY-SHA256 (RFC 8489 §14.6), in constant time as to the tag. A tag may be cut down to 16
    /// bytes, no further.
    pub fn integrity_sha256(&self, key: &IntegrityKeySha256) -> Verdict {
        let Some(at) = self.integrity_sha256_at else { return Verdict::Absent };
        let Some((attribute, _)) = self.bytes.get(at..).and_then(attribute::split_first) else {
            return Verdict::Absent;
        };
        let len = attribute.value.len();
        let lawful = (INTEGRITY_SHA256_BYTES_MIN..=INTEGRITY_SHA256_BYTES_MAX).contains(&len) && len % 4 == 0;
        Verdict::of(lawful && key.verify(self.bytes, at, attribute.value))
    }

    /// Whether there is a MESSAGE-INTEGRITY-SHA256, right or wrong.
    pub const fn has_integrity_sha256(&self) -> bool {
        self.integrity_sha256_at.is_some()
    }

    /// Checks FINGERPRINT (RFC 8489 §14.7).
    pub fn fingerprint(&self) -> Verdict {
        let Some(at) = self.fingerprint_at else { return Verdict::Absent };
        let (Some(covered), Some((attribute, _))) =
            (self.bytes.get(..at), self.bytes.get(at..).and_then(attribute::split_first))
        else {
            return Verdict::Absent;
        };
        Verdict::of(attribute.value == fingerprint::of(covered))
    }
}

/// Iterator over attributes, see [`Message::attributes`].
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let (attribute, after) = attribute::split_first(self.rest)?;
        self.rest = after;
        Some(attribute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Writer;

    const KEY: &[u8] = b"a password of twenty-two";

    /// A check as a browser sends it; `extra` is appended after the integrity, before the fingerprint.
    fn check(extra: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut slot = [0; 256];
        let mut writer = Writer::request(&mut slot, Method::BINDING, TransactionId(*b"abcdefghijkl"));
        writer.username(b"us:them");
        writer.priority(0x6e00_01ff);
        writer.ice_controlling(42);
        writer.integrity(&IntegrityKey::short_term(KEY));
        extra(&mut writer);
        writer.fingerprint();
        let len = writer.finish().unwrap();
        slot[..len].to_vec()
    }

    /// Reads everything a message can be asked for, so that a panic anywhere shows.
    fn exercise(bytes: &[u8], key: &IntegrityKey) {
        let Ok(message) = Message::parse(bytes) else { return };
        assert_eq!(message.bytes(), bytes);
        let _ = (message.username(), message.realm(), message.nonce(), message.software());
        let _ = (message.xor_mapped_address(), message.error_code(), message.unknown_attributes().count());
        let _ = (message.priority(), message.use_candidate(), message.ice_controlled());
        let _ = (message.ice_controlling(), message.unknown_required(&[]));
        let _ = (message.integrity(key), message.fingerprint());
        assert!(message.attributes().map(|attribute| attribute.value.len()).sum::<usize>() <= bytes.len());
    }

    #[test]
    fn class_and_method_come_apart_and_together_for_every_type() {
        for bits in 0..0x4000 {
            let (class, method) = split_type(bits);
            assert!(method.0 < 0x1000);
            assert_eq!(join_type(class, method), bits);
        }
        assert_eq!(split_type(0x0101), (Class::Success, Method::BINDING));
        assert_eq!(split_type(0x0111), (Class::Error, Method::BINDING));
        assert_eq!(split_type(0x0011), (Class::Indication, Method::BINDING));
    }

    #[test]
    fn a_check_is_read_back() {
        let bytes = check(|_| {});
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.class(), message.method()), (Class::Request, Method::BINDING));
        assert_eq!(message.transaction(), TransactionId(*b"abcdefghijkl"));
        assert_eq!(message.username(), Some(&b"us:them"[..]));
        assert_eq!(message.priority(), Some(0x6e00_01ff));
        assert_eq!(message.ice_controlling(), Some(42));
        assert_eq!(message.ice_controlled(), None);
        assert!(!message.use_candidate());
        assert_eq!(message.integrity(&IntegrityKey::short_term(KEY)), Verdict::Valid);
        assert_eq!(message.integrity(&IntegrityKey::short_term(b"another")), Verdict::Invalid);
        assert_eq!(message.fingerprint(), Verdict::Valid);
    }

    #[test]
    fn what_is_appended_after_integrity_does_not_exist() {
        // Length and fingerprint are repaired, as an attacker on the path would.
        let bytes = check(|writer| {
            writer.use_candidate();
            writer.attribute(AttributeType::REALM, b"evil");
            writer.attribute(AttributeType(0x7abc), b"must be understood");
            writer.integrity(&IntegrityKey::short_term(b"attacker's"));
        });
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.fingerprint(), Verdict::Valid);
        assert_eq!(message.integrity(&IntegrityKey::short_term(KEY)), Verdict::Valid);
        assert_eq!(message.integrity(&IntegrityKey::short_term(b"attacker's")), Verdict::Invalid);
        assert!(!message.use_candidate());
        assert_eq!(message.realm(), None);
        assert!(message.unknown_required(&[]).iter().all(|kind| kind != AttributeType(0x7abc)));
        assert_eq!(message.username(), Some(&b"us:them"[..]));
    }

    #[test]
    fn sha256_before_integrity_hides_it_and_after_it_is_tolerated() {
        let mut slot = [0; 256];
        let key = IntegrityKey::short_term(KEY);
        let mut writer = Writer::request(&mut slot, Method::BINDING, TransactionId([0; 12]));
        writer.attribute(AttributeType::MESSAGE_INTEGRITY_SHA256, &[0; 32]);
        writer.integrity(&key);
        let len = writer.finish().unwrap();
        assert_eq!(Message::parse(&slot[..len]).unwrap().integrity(&key), Verdict::Absent);

        let bytes = check(|writer| writer.attribute(AttributeType::MESSAGE_INTEGRITY_SHA256, &[0; 32]));
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.integrity(&key), message.fingerprint()), (Verdict::Valid, Verdict::Valid));
    }

    #[test]
    fn the_first_of_duplicates_wins() {
        let mut slot = [0; 128];
        let mut writer = Writer::request(&mut slot, Method::BINDING, TransactionId([0; 12]));
        writer.username(b"first");
        writer.username(b"second");
        let len = writer.finish().unwrap();
        assert_eq!(Message::parse(&slot[..len]).unwrap().username(), Some(&b"first"[..]));
    }

    #[test]
    fn every_malformation_has_its_name() {
        let whole = check(|_| {});
        let reason = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = whole.clone();
            change(&mut bytes);
            Message::parse(&bytes).err()
        };
        assert_eq!(reason(&|bytes| bytes.truncate(19)), Some(Malformed::Short));
        assert_eq!(reason(&|bytes| bytes[0] |= 0x80), Some(Malformed::Foreign));
        assert_eq!(reason(&|bytes| bytes[5] ^= 1), Some(Malformed::Foreign));
        assert_eq!(reason(&|bytes| bytes[3] -= 4), Some(Malformed::Length));
        assert_eq!(reason(&|bytes| bytes.push(0)), Some(Malformed::Length));
        assert_eq!(
            reason(&|bytes| {
                bytes.extend([0; 3]);
                bytes[3] += 3;
            }),
            Some(Malformed::Length)
        );
        assert_eq!(reason(&|bytes| bytes[22] = 0xff), Some(Malformed::Attribute));
        assert_eq!(
            reason(&|bytes| {
                bytes.extend([0x80, 0x22, 0, 0]);
                bytes[3] += 4;
            }),
            Some(Malformed::AfterFingerprint)
        );
    }

    #[test]
    fn typed_values_of_a_wrong_length_are_absent() {
        let mut slot = [0; 256];
        let mut writer = Writer::success(&mut slot, Method::BINDING, TransactionId([0; 12]));
        for kind in [
            AttributeType::PRIORITY,
            AttributeType::ICE_CONTROLLED,
            AttributeType::ICE_CONTROLLING,
            AttributeType::XOR_MAPPED_ADDRESS,
            AttributeType::ERROR_CODE,
            AttributeType::UNKNOWN_ATTRIBUTES,
        ] {
            writer.attribute(kind, b"");
        }
        writer.attribute(AttributeType::MESSAGE_INTEGRITY, &[0; 19]);
        writer.attribute(AttributeType::FINGERPRINT, &[0; 3]);
        let len = writer.finish().unwrap();
        let message = Message::parse(&slot[..len]).unwrap();
        assert_eq!(message.priority(), None);
        assert_eq!((message.ice_controlled(), message.ice_controlling()), (None, None));
        assert_eq!(message.xor_mapped_address(), None);
        assert_eq!(message.error_code(), None);
        assert_eq!(message.unknown_attributes().count(), 0);
        assert_eq!(message.integrity(&IntegrityKey::short_term(b"")), Verdict::Invalid);
        assert_eq!(message.fingerprint(), Verdict::Invalid);
    }

    #[test]
    fn no_truncation_panics_or_parses() {
        let whole = check(|_| {});
        let key = IntegrityKey::short_term(KEY);
        for len in 0..whole.len() {
            assert!(Message::parse(&whole[..len]).is_err(), "{len} bytes");
            // The same with the length field repaired, which lets the attribute walk see the cut.
            let mut cut = whole[..len].to_vec();
            if let Some(body) = len.checked_sub(HEADER_BYTES) {
                cut[2..4].copy_from_slice(&u16::try_from(body).unwrap().to_be_bytes());
            }
            exercise(&cut, &key);
        }
    }

    #[test]
    fn no_length_with_any_first_byte_panics() {
        let whole = check(|_| {});
        let key = IntegrityKey::short_term(KEY);
        for first in 0..=u8::MAX {
            for len in 0..=whole.len() + 8 {
                let mut bytes = whole.clone();
                bytes.resize(len, first);
                if let Some(byte) = bytes.first_mut() {
                    *byte = first;
                }
                exercise(&bytes, &key);
            }
        }
    }

    #[test]
    fn no_changed_byte_panics_or_passes() {
        let whole = check(|_| {});
        let key = IntegrityKey::short_term(KEY);
        for at in 0..whole.len() {
            for flip in 1..=u8::MAX {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                exercise(&bytes, &key);
                if let Ok(message) = Message::parse(&bytes) {
                    let verdicts = (message.integrity(&key), message.fingerprint());
                    assert_ne!(verdicts, (Verdict::Valid, Verdict::Valid), "byte {at} ^ {flip:#x}");
                }
            }
        }
    }

    #[test]
    fn noise_behind_a_good_header_never_panics() {
        let key = IntegrityKey::short_term(KEY);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..20_000 {
            let body = usize::try_from(next() % 64).unwrap() * 4;
            let mut bytes = vec![0; HEADER_BYTES];
            bytes[1] = 1;
            bytes[2..4].copy_from_slice(&u16::try_from(body).unwrap().to_be_bytes());
            bytes[4..8].copy_from_slice(&MAGIC_COOKIE);
            while bytes.len() < HEADER_BYTES + body {
                // Small types and lengths are the ones that reach deep.
                let kind = next().to_be_bytes();
                bytes.extend([kind[0] & 0x80, kind[1] & 0x2f, 0, kind[3] & 0x1f]);
            }
            exercise(&bytes, &key);
        }
    }
}
