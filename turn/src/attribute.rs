//! Attributes: type, length, value, padded to four bytes (RFC 8489 §14).

/// Type of an attribute. Any number may arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttributeType(pub u16);

impl AttributeType {
    /// RFC 8489 §14.3.
    pub const USERNAME: Self = Self(0x0006);
    /// RFC 8489 §14.5.
    pub const MESSAGE_INTEGRITY: Self = Self(0x0008);
    /// RFC 8489 §14.8.
    pub const ERROR_CODE: Self = Self(0x0009);
    /// RFC 8489 §14.13.
    pub const UNKNOWN_ATTRIBUTES: Self = Self(0x000a);
    /// RFC 8656 §18.1.
    pub const CHANNEL_NUMBER: Self = Self(0x000c);
    /// RFC 8656 §18.2.
    pub const LIFETIME: Self = Self(0x000d);
    /// RFC 8656 §18.3.
    pub const XOR_PEER_ADDRESS: Self = Self(0x0012);
    /// RFC 8656 §18.4.
    pub const DATA: Self = Self(0x0013);
    /// RFC 8489 §14.9.
    pub const REALM: Self = Self(0x0014);
    /// RFC 8489 §14.10.
    pub const NONCE: Self = Self(0x0015);
    /// RFC 8656 §18.5.
    pub const XOR_RELAYED_ADDRESS: Self = Self(0x0016);
    /// RFC 8656 §18.6.
    pub const REQUESTED_ADDRESS_FAMILY: Self = Self(0x0017);
    /// RFC 8656 §18.7.
    pub const EVEN_PORT: Self = Self(0x0018);
    /// RFC 8656 §18.8.
    pub const REQUESTED_TRANSPORT: Self = Self(0x0019);
    /// RFC 8656 §18.9.
    pub const DONT_FRAGMENT: Self = Self(0x001a);
    /// RFC 8489 §14.6.
    pub const MESSAGE_INTEGRITY_SHA256: Self = Self(0x001c);
    /// RFC 8489 §14.12.
    pub const PASSWORD_ALGORITHM: Self = Self(0x001d);
    /// RFC 8489 §14.4.
    pub const USERHASH: Self = Self(0x001e);
    /// RFC 8489 §14.2.
    pub const XOR_MAPPED_ADDRESS: Self = Self(0x0020);
    /// RFC 8656 §18.10.
    pub const RESERVATION_TOKEN: Self = Self(0x0022);
    /// RFC 8445 §16.1.
    pub const PRIORITY: Self = Self(0x0024);
    /// RFC 8445 §16.1.
    pub const USE_CANDIDATE: Self = Self(0x0025);
    /// RFC 8656 §18.11.
    pub const ADDITIONAL_ADDRESS_FAMILY: Self = Self(0x8000);
    /// RFC 8656 §18.12.
    pub const ADDRESS_ERROR_CODE: Self = Self(0x8001);
    /// RFC 8489 §14.11.
    pub const PASSWORD_ALGORITHMS: Self = Self(0x8002);
    /// RFC 8489 §14.14.
    pub const SOFTWARE: Self = Self(0x8022);
    /// RFC 8489 §14.7.
    pub const FINGERPRINT: Self = Self(0x8028);
    /// RFC 8445 §16.1.
    pub const ICE_CONTROLLED: Self = Self(0x8029);
    /// RFC 8445 §16.1.
    pub const ICE_CONTROLLING: Self = Self(0x802a);

    /// Whether one who does not know this type must refuse the request (RFC 8489 §14).
    pub const fn is_required(self) -> bool {
        self.0 < 0x8000
    }

    /// Whether what follows counts no more (RFC 8489 §14.5 to §14.7).
    pub(crate) const fn ends_what_counts(self) -> bool {
        matches!(self, Self::MESSAGE_INTEGRITY | Self::MESSAGE_INTEGRITY_SHA256 | Self::FINGERPRINT)
    }
}

/// One attribute of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its type.
    pub kind: AttributeType,
    /// Its value without padding.
    pub value: &'a [u8],
}

/// Takes the first attribute off and gives the rest, or `None` when it does not fit.
pub(crate) fn split_first(bytes: &[u8]) -> Option<(Attribute<'_>, &[u8])> {
    let (&[kind_high, kind_low, len_high, len_low], rest) = bytes.split_first_chunk()?;
    let len = usize::from(u16::from_be_bytes([len_high, len_low]));
    let (padded, rest) = rest.split_at_checked(len.next_multiple_of(4))?;
    let value = padded.get(..len)?;
    Some((Attribute { kind: AttributeType(u16::from_be_bytes([kind_high, kind_low])), value }, rest))
}

/// Most types that one UNKNOWN-ATTRIBUTES of ours lists. A request with more is hostile, and has the point made.
pub const UNKNOWN_MAX: usize = 8;

/// Types that had to be understood and were not: the first [`UNKNOWN_MAX`], each once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnknownAttributes {
    kinds: [AttributeType; UNKNOWN_MAX],
    len: usize,
}

impl UnknownAttributes {
    /// Adds a type, unless it is listed or the list is full.
    pub(crate) fn push(&mut self, kind: AttributeType) {
        if self.iter().any(|listed| listed == kind) {
            return;
        }
        if let Some(free) = self.kinds.get_mut(self.len) {
            *free = kind;
            self.len += 1;
        }
    }

    /// Whether everything was understood.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The types, in the order of the message.
    pub fn iter(&self) -> impl Iterator<Item = AttributeType> {
        self.kinds.iter().copied().take(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_belongs_to_the_attribute_and_not_to_the_value() {
        let bytes = [0x80, 0x22, 0, 5, b'h', b'e', b'l', b'l', b'o', 1, 2, 3, 9];
        let (attribute, rest) = split_first(&bytes).unwrap();
        assert_eq!(attribute, Attribute { kind: AttributeType::SOFTWARE, value: b"hello" });
        assert_eq!(rest, [9]);
        assert!(split_first(&bytes[..11]).is_none(), "the padding is cut");
        assert!(split_first(&bytes[..3]).is_none(), "the header is cut");
        assert!(split_first(&[0, 6, 0xff, 0xff]).is_none());
    }

    #[test]
    fn unknown_types_are_listed_once_and_no_more_than_fit() {
        let mut unknown = UnknownAttributes::default();
        assert!(unknown.is_empty());
        for kind in 0..20 {
            unknown.push(AttributeType(kind));
            unknown.push(AttributeType(kind));
        }
        assert!(!unknown.is_empty());
        assert!(unknown.iter().eq((0..8).map(AttributeType)));
    }
}
