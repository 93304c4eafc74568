//! ERROR-CODE (RFC 8489 §14.8).

/// Why a request was refused: a number from 300 to 699.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorCode(u16);

impl ErrorCode {
    /// Something is missing or malformed (RFC 8489 §14.8).
    pub const BAD_REQUEST: Self = Self(400);
    /// Credentials are missing or wrong (RFC 8489 §14.8).
    pub const UNAUTHENTICATED: Self = Self(401);
    /// The peer is one that nobody may reach through here (RFC 8656 §19).
    pub const FORBIDDEN: Self = Self(403);
    /// An attribute that must be understood is not (RFC 8489 §14.8).
    pub const UNKNOWN_ATTRIBUTE: Self = Self(420);
    /// There is no allocation where one is needed, or one where there must be none (RFC 8656 §19).
    pub const ALLOCATION_MISMATCH: Self = Self(437);
    /// The nonce is no longer good (RFC 8489 §14.8).
    pub const STALE_NONCE: Self = Self(438);
    /// No relayed address of that family is to be had (RFC 8656 §19).
    pub const ADDRESS_FAMILY_NOT_SUPPORTED: Self = Self(440);
    /// The allocation was made with other credentials (RFC 8656 §19).
    pub const WRONG_CREDENTIALS: Self = Self(441);
    /// Something else than UDP towards the peers (RFC 8656 §19).
    pub const UNSUPPORTED_TRANSPORT: Self = Self(442);
    /// The peer's family is not the allocation's (RFC 8656 §19).
    pub const PEER_ADDRESS_FAMILY_MISMATCH: Self = Self(443);
    /// The user has as many allocations as one may have (RFC 8656 §19).
    pub const ALLOCATION_QUOTA_REACHED: Self = Self(486);
    /// Both agents think they have the same role (RFC 8445 §16.1).
    pub const ROLE_CONFLICT: Self = Self(487);
    /// Try again later (RFC 8489 §14.8).
    pub const SERVER_ERROR: Self = Self(500);
    /// The server is full (RFC 8656 §19).
    pub const INSUFFICIENT_CAPACITY: Self = Self(508);

    /// The number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The value of the attribute, without a reason phrase: it is for humans who are not there, and it would make
    /// answers longer than questions.
    pub(crate) fn encode(self) -> [u8; 4] {
        let [hundreds, rest] = [self.0 / 100, self.0 % 100].map(|part| part.to_be_bytes()[1]);
        [0, 0, hundreds, rest]
    }

    /// The code and the reason phrase in a value.
    pub(crate) fn decode(value: &[u8]) -> Option<(Self, &[u8])> {
        let (&[_, _, hundreds, rest], reason) = value.split_first_chunk()?;
        let hundreds = hundreds & 0x07;
        let in_range = (3..=6).contains(&hundreds) && rest < 100;
        in_range.then(|| (Self(u16::from(hundreds) * 100 + u16::from(rest)), reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back() {
        for code in 300..700 {
            assert_eq!(ErrorCode::decode(&ErrorCode(code).encode()), Some((ErrorCode(code), &b""[..])));
        }
        assert_eq!(ErrorCode::ROLE_CONFLICT.encode(), [0, 0, 4, 87]);
    }

    #[test]
    fn codes_out_of_range_are_none() {
        for value in [&[0, 0, 2, 0][..], &[0, 0, 7, 0], &[0, 0, 4, 100], &[0, 0, 4], &[]] {
            assert_eq!(ErrorCode::decode(value), None, "{value:?}");
        }
        assert_eq!(ErrorCode::decode(&[0, 0, 4, 20, b'x']), Some((ErrorCode::UNKNOWN_ATTRIBUTE, &b"x"[..])));
    }
}
