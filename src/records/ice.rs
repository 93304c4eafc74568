//! What ICE needs to go on: credentials of both generations, the paths that were checked and when.

use bytemuck::{Pod, Zeroable};

use crate::records::path::PathRecord;
use crate::time::Timestamp;

/// Shortest user fragment and password (RFC 8839 §5.4).
pub const UFRAG_BYTES_MIN: usize = 4;
/// See [`UFRAG_BYTES_MIN`].
pub const PWD_BYTES_MIN: usize = 22;

/// Longest user fragment and password that fit a record. RFC 8839 §5.4 allows 256; no browser or library at large
/// sends more than these.
pub const UFRAG_BYTES_MAX: usize = 32;
/// See [`UFRAG_BYTES_MAX`].
pub const PWD_BYTES_MAX: usize = 64;

/// Paths of one peer that can be valid at a time: a browser with a few interfaces towards a server with two addresses.
pub const VALID_PATHS_MAX: usize = 8;

/// Checks that are remembered, so that their like from elsewhere is known as a replay.
pub const SEEN_CHECKS_MAX: usize = 128;

/// Why credentials were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCredentials {
    /// Wrong length of the user fragment.
    #[error("the ICE user fragment must have {UFRAG_BYTES_MIN} to {UFRAG_BYTES_MAX} characters")]
    UfragLength,
    /// Wrong length of the password.
    #[error("the ICE password must have {PWD_BYTES_MIN} to {PWD_BYTES_MAX} characters")]
    PwdLength,
    /// A character that is no ice-char.
    #[error("ICE credentials consist of letters, digits, '+' and '/'")]
    Character,
}

/// User fragment and password of one side, or none when all is zero.
#[derive(Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct CredentialsRecord {
    ufrag: [u8; UFRAG_BYTES_MAX],
    pwd: [u8; PWD_BYTES_MAX],
    ufrag_len: u8,
    pwd_len: u8,
}

impl CredentialsRecord {
    /// Checks and copies.
    ///
    /// # Errors
    /// [`BadCredentials`] unless both are ice-chars of a length that RFC 8839 §5.4 and the record allow.
    pub fn new(ufrag: &str, pwd: &str) -> Result<Self, BadCredentials> {
        let is_ice_char = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
        if !(UFRAG_BYTES_MIN..=UFRAG_BYTES_MAX).contains(&ufrag.len()) {
            return Err(BadCredentials::UfragLength);
        }
        if !(PWD_BYTES_MIN..=PWD_BYTES_MAX).contains(&pwd.len()) {
            return Err(BadCredentials::PwdLength);
        }
        if !ufrag.bytes().chain(pwd.bytes()).all(is_ice_char) {
            return Err(BadCredentials::Character);
        }
        let mut record = Self::zeroed();
        record.ufrag[..ufrag.len()].copy_from_slice(ufrag.as_bytes());
        record.pwd[..pwd.len()].copy_from_slice(pwd.as_bytes());
        record.ufrag_len = u8::try_from(ufrag.len()).expect("at most UFRAG_BYTES_MAX");
        record.pwd_len = u8::try_from(pwd.len()).expect("at most PWD_BYTES_MAX");
        Ok(record)
    }

    /// The user fragment; empty when there is none.
    pub fn ufrag(&self) -> &[u8] {
        self.ufrag.get(..usize::from(self.ufrag_len)).unwrap_or_default()
    }

    /// The password, or `None` when there is none: memory that was never filled must not open with an empty password.
    pub fn pwd(&self) -> Option<&[u8]> {
        self.pwd.get(..usize::from(self.pwd_len)).filter(|pwd| pwd.len() >= PWD_BYTES_MIN)
    }

    /// Wipes the password. The user fragment stays, so that the owner of a table by fragment can still find its entry.
    pub fn retire(&mut self) {
        self.pwd = [0; PWD_BYTES_MAX];
        self.pwd_len = 0;
    }
}

/// Shows the user fragment, which goes over the wire in the clear, and never the password.
impl std::fmt::Debug for CredentialsRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.ufrag().escape_ascii())
    }
}

/// Credentials of both sides between two ICE restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct GenerationRecord {
    /// Ours: checks come with our user fragment first and under our password.
    pub local: CredentialsRecord,
    /// The peer's: for checks of our own, which a lite agent never sends.
    pub remote: CredentialsRecord,
}

/// One path that passed a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ValidPathRecord {
    /// The path, or none: the place is free.
    pub path: PathRecord,
    /// When its last check came.
    pub last_check: Timestamp,
}

/// All of one peer's ICE. Written by [`crate::ice`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct IceRecord {
    /// When the last fresh check came on any path; [`Timestamp::ZERO`] before the first.
    pub last_check: Timestamp,
    /// The paths from which the peer is listened to, in no order.
    pub paths: [ValidPathRecord; VALID_PATHS_MAX],
    /// The path that is sent on: one of `paths`, or none.
    pub selected: PathRecord,
    /// Ring of the last transactions, folded to 32 bits.
    pub seen: [u32; SEEN_CHECKS_MAX],
    /// Transactions ever put into the ring.
    pub seen_count: u32,
    /// 1 once a check came under the current credentials.
    pub current_used: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// The credentials of the last restart.
    pub current: GenerationRecord,
    /// The ones before, answered until a path is nominated under the current ones.
    pub previous: GenerationRecord,
}

const _: () = assert!(size_of::<IceRecord>() == 1416 && size_of::<ValidPathRecord>() == 56);

impl IceRecord {
    /// A peer that has not been heard of.
    pub fn new(local: CredentialsRecord, remote: CredentialsRecord) -> Self {
        Self { current: GenerationRecord { local, remote }, ..Self::zeroed() }
    }

    /// Every user fragment of ours that may lead to this peer, the current one first; also one that is answered no
    /// more, so that tables by fragment can be kept in step around a restart and at the end.
    pub fn local_ufrags(&self) -> impl Iterator<Item = &[u8]> {
        [&self.current, &self.previous]
            .into_iter()
            .map(|generation| generation.local.ufrag())
            .filter(|ufrag| !ufrag.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PWD: &str = "abcdefghijklmnopqrstuv";

    #[test]
    fn credentials_come_back() {
        let long = ("u".repeat(UFRAG_BYTES_MAX), "p".repeat(PWD_BYTES_MAX));
        for (ufrag, pwd) in [("a+/9", PWD), (&*long.0, &*long.1)] {
            let record = CredentialsRecord::new(ufrag, pwd).unwrap();
            assert_eq!((record.ufrag(), record.pwd()), (ufrag.as_bytes(), Some(pwd.as_bytes())));
        }
    }

    #[test]
    fn credentials_out_of_the_rfc_are_refused() {
        let refused = |ufrag: &str, pwd: &str| CredentialsRecord::new(ufrag, pwd).unwrap_err();
        assert_eq!(refused("abc", PWD), BadCredentials::UfragLength);
        assert_eq!(refused(&"a".repeat(33), PWD), BadCredentials::UfragLength);
        assert_eq!(refused("abcd", &PWD[1..]), BadCredentials::PwdLength);
        assert_eq!(refused("abcd", &"a".repeat(65)), BadCredentials::PwdLength);
        assert_eq!(refused("ab:d", PWD), BadCredentials::Character);
        assert_eq!(refused("abcd", "abcdefghijklmnopqrstu "), BadCredentials::Character);
    }

    #[test]
    fn zeroed_and_nonsense_memory_holds_no_password() {
        assert_eq!(CredentialsRecord::zeroed().pwd(), None);
        assert_eq!(CredentialsRecord::zeroed().ufrag(), b"");
        let mut nonsense = CredentialsRecord::new("abcd", PWD).unwrap();
        (nonsense.ufrag_len, nonsense.pwd_len) = (255, 255);
        assert_eq!((nonsense.ufrag(), nonsense.pwd()), (&b""[..], None));
    }

    #[test]
    fn retired_credentials_keep_their_name_only() {
        let mut record = CredentialsRecord::new("abcd", PWD).unwrap();
        record.retire();
        assert_eq!((record.ufrag(), record.pwd()), (&b"abcd"[..], None));
        assert!(record.pwd.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_password_is_never_shown() {
        let credentials = CredentialsRecord::new("abcd", PWD).unwrap();
        let shown = format!("{:?}", IceRecord::new(credentials, credentials));
        assert!(shown.contains("abcd") && !shown.contains(PWD), "{shown}");
    }
}
