//! Who may ask: the shared-secret scheme and static users (RFC 8489 §9.2).
//!
//! Shared secret: the user name is `expiry` or `expiry:user`, expiry in seconds since 1970, and the password is
//! base64(HMAC-SHA1(secret, user name)). Whoever knows the secret makes credentials, nobody keeps a list, and what leaks
//! ends by itself. Two secrets may stand side by side while one replaces the other.

use std::fmt;

use aws_lc_rs::{digest, hmac};

use crate::integrity::{IntegrityKey, IntegrityKeySha256};
use crate::md5;
use crate::message::{Message, Verdict};
use crate::server::base64;

/// Longest user name in bytes (RFC 8489 §14.3).
pub const USERNAME_BYTES_MAX: usize = 508;

/// Longest realm in bytes. The RFC allows 763; each byte of it makes the answer to a stranger longer.
pub const REALM_BYTES_MAX: usize = 128;

/// What the server knows about users.
#[derive(Clone)]
pub struct Credentials {
    /// The realm that clients are told, 1 to [`REALM_BYTES_MAX`] bytes; short, for it is in every answer to a stranger.
    pub realm: String,
    /// Secrets of the shared-secret scheme, the newest first.
    pub secrets: Vec<Vec<u8>>,
    /// Names and passwords, prepared by OpaqueString (RFC 8265 §4.2). Their credentials never end.
    pub static_users: Vec<(String, String)>,
}

/// Shows neither secrets nor passwords.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("realm", &self.realm).finish_non_exhaustive()
    }
}

/// The password that the shared-secret scheme gives a user name.
pub fn shared_secret_password(secret: &[u8], username: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    password(&key, username.as_bytes()).iter().copied().map(char::from).collect()
}

const PASSWORD_BYTES: usize = 28;

fn password(secret: &hmac::Key, username: &[u8]) -> [u8; PASSWORD_BYTES] {
    let mut text = [0; PASSWORD_BYTES];
    base64::encode(hmac::sign(secret, username).as_ref(), &mut text);
    text
}

/// How a password becomes a key (RFC 8489 §18.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Md5,
    Sha256,
}

/// A key of the long-term mechanism (RFC 8489 §9.2.2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    bytes: [u8; 32],
    len: u8,
}

impl Key {
    fn derive(algorithm: Algorithm, username: &[u8], realm: &[u8], password: &[u8]) -> Self {
        let mut bytes = [0; 32];
        match algorithm {
            Algorithm::Md5 => {
                bytes[..16].copy_from_slice(&md5::digest(&[username, b":", realm, b":", password]));
            }
            Algorithm::Sha256 => bytes = sha256(&[username, b":", realm, b":", password]),
        }
        Self { bytes, len: if algorithm == Algorithm::Md5 { 16 } else { 32 } }
    }

    /// From a record; `None` where the length is none of ours.
    pub(super) fn from_record(bytes: [u8; 32], len: u8) -> Option<Self> {
        matches!(len, 16 | 32).then_some(Self { bytes, len })
    }

    pub(super) const fn to_record(self) -> ([u8; 32], u8) {
        (self.bytes, self.len)
    }

    pub(super) const fn algorithm(self) -> Algorithm {
        if self.len == 16 { Algorithm::Md5 } else { Algorithm::Sha256 }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    pub(super) fn sha1(&self) -> IntegrityKey {
        IntegrityKey::short_term(self.bytes())
    }

    pub(super) fn sha256(&self) -> IntegrityKeySha256 {
        IntegrityKeySha256::new(self.bytes())
    }

    /// Whether the message's integrity is right under this key; the stronger one decides where there are both.
    pub(super) fn verifies(&self, message: &Message<'_>) -> bool {
        if message.has_integrity_sha256() {
            message.integrity_sha256(&self.sha256()) == Verdict::Valid
        } else {
            message.integrity(&self.sha1()) == Verdict::Valid
        }
    }
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

/// How a request names its user: USERNAME, or USERHASH (RFC 8489 §14.4).
#[derive(Clone, Copy)]
pub(super) enum Name<'a> {
    Plain(&'a [u8]),
    Hash(&'a [u8; 32]),
}

/// A user whose name is known, with every key that may be right.
pub(super) struct Candidate {
    pub(super) keys: Vec<Key>,
    /// Seconds since 1970; the credential is good before.
    pub(super) until_unix_s: u64,
    /// Whom the use counts for.
    pub(super) quota_user: [u8; 16],
}

struct StaticUser {
    hash: [u8; 32],
    quota_user: [u8; 16],
    keys: [Key; 2],
}

/// Credentials, with all prepared that can be.
pub(super) struct Keyring {
    realm: Vec<u8>,
    secrets: Vec<hmac::Key>,
    users: Vec<StaticUser>,
}

impl Keyring {
    pub(super) fn new(credentials: &Credentials) -> Self {
        let realm = credentials.realm.as_bytes().to_vec();
        let secrets = credentials
            .secrets
            .iter()
            .map(|secret| hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret))
            .collect();
        let users = credentials.static_users.iter().map(|(name, password)| {
            let (name, password) = (name.as_bytes(), password.as_bytes());
            StaticUser {
                hash: sha256(&[name, b":", &realm]),
                quota_user: short(sha256(&[b"static:", name])),
                keys: [Algorithm::Md5, Algorithm::Sha256]
                    .map(|algorithm| Key::derive(algorithm, name, &realm, password)),
            }
        });
        Self { users: users.collect(), secrets, realm }
    }

    pub(super) fn realm(&self) -> &[u8] {
        &self.realm
    }

    /// The user as allocations remember it: the same for both ways of naming.
    pub(super) fn identity(&self, name: Name<'_>) -> [u8; 16] {
        short(self.userhash(name))
    }

    fn userhash(&self, name: Name<'_>) -> [u8; 32] {
        match name {
            Name::Plain(name) => sha256(&[name, b":", &self.realm]),
            Name::Hash(hash) => *hash,
        }
    }

    /// The user of this name, good or expired; `None` for a name that nobody has.
    pub(super) fn find(&self, name: Name<'_>, algorithm: Algorithm) -> Option<Candidate> {
        let hash = self.userhash(name);
        if let Some(user) = self.users.iter().find(|user| user.hash == hash) {
            let keys = user.keys.iter().copied().filter(|key| key.algorithm() == algorithm).collect();
            return Some(Candidate { keys, until_unix_s: u64::MAX, quota_user: user.quota_user });
        }
        // The hash of a name that is in no list cannot be undone.
        let Name::Plain(name) = name else { return None };
        let (until_unix_s, user) = split_expiring(name)?;
        if self.secrets.is_empty() {
            return None;
        }
        let keys = self
            .secrets
            .iter()
            .map(|secret| Key::derive(algorithm, name, &self.realm, &password(secret, name)));
        Some(Candidate {
            keys: keys.collect(),
            until_unix_s,
            quota_user: short(sha256(&[b"shared:", user.unwrap_or(name)])),
        })
    }

    /// A key that is nobody's: checking against it takes as long as against a real one.
    pub(super) fn nobody(&self, algorithm: Algorithm) -> Key {
        Key::derive(algorithm, b"", &self.realm, b"")
    }

    /// Whether the record's user is still one that this server would let in: static users may have been removed.
    pub(super) fn knows_static(&self, identity: [u8; 16], key: Key) -> bool {
        self.users.iter().any(|user| short(user.hash) == identity && user.keys.contains(&key))
    }
}

/// Takes `expiry[:user]` apart. A user after the colon is counted under one name however often it comes with a new
/// expiry.
fn split_expiring(name: &[u8]) -> Option<(u64, Option<&[u8]>)> {
    let colon = name.iter().position(|byte| *byte == b':');
    let (digits, user) = match colon {
        Some(at) => (&name[..at], name.get(at + 1..).filter(|user| !user.is_empty())),
        None => (name, None),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let expiry = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((expiry, user))
}

fn short(hash: [u8; 32]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&hash[..16]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(secrets: &[&[u8]], users: &[(&str, &str)]) -> Keyring {
        Keyring::new(&Credentials {
            realm: "example.org".into(),
            secrets: secrets.iter().map(|secret| secret.to_vec()).collect(),
            static_users: users.iter().map(|&(name, password)| (name.into(), password.into())).collect(),
        })
    }

    #[test]
    fn the_shared_secret_gives_coturns_password() {
        // printf 1433895918:alice | openssl dgst -sha1 -hmac north -binary | base64
        let expected = shared_secret_password(b"north", "1433895918:alice");
        assert_eq!(expected, "RqMvcGPYTJMGThVLSi4amT4zFtI=");
        let ring = keyring(&[b"north"], &[]);
        let found = ring.find(Name::Plain(b"1433895918:alice"), Algorithm::Md5).unwrap();
        assert_eq!(found.until_unix_s, 1_433_895_918);
        let key = Key::derive(Algorithm::Md5, b"1433895918:alice", b"example.org", expected.as_bytes());
        assert!(found.keys == [key]);
    }

    #[test]
    fn two_secrets_are_two_keys_and_one_user() {
        let ring = keyring(&[b"new", b"old"], &[]);
        let [one, other] =
            ["100:a", "200:a"].map(|name| ring.find(Name::Plain(name.as_bytes()), Algorithm::Md5).unwrap());
        assert_eq!((one.keys.len(), one.until_unix_s, other.until_unix_s), (2, 100, 200));
        assert_eq!(one.quota_user, other.quota_user, "a new expiry is the same user");
        let bare = |name: &[u8]| ring.find(Name::Plain(name), Algorithm::Md5).unwrap().quota_user;
        assert_ne!(bare(b"100"), bare(b"200"), "without a user each name counts for itself");
    }

    #[test]
    fn names_that_nobody_has() {
        let ring = keyring(&[b"secret"], &[("george", "x")]);
        for name in [
            &b""[..],
            b":",
            b":a",
            b"a:100",
            b"-1:a",
            b"+1:a",
            b" 1:a",
            b"1e9:a",
            b"99999999999999999999:a",
            b"\xff\xff",
            b"George",
        ] {
            assert!(ring.find(Name::Plain(name), Algorithm::Md5).is_none(), "{name:?}");
        }
        assert!(keyring(&[], &[]).find(Name::Plain(b"100:a"), Algorithm::Md5).is_none(), "no secret, nobody");
    }

    /// RFC 5769 §2.4; the password as OpaqueString's elder, SASLprep, leaves it.
    #[test]
    fn the_long_term_vector_of_rfc_5769() {
        let message = Message::parse(&crate::rfc5769::REQUEST_LONG_TERM).unwrap();
        let verifies = |password| {
            let ring = keyring(&[], &[("マトリックス", password)]);
            let found = ring.find(Name::Plain(message.username().unwrap()), Algorithm::Md5).unwrap();
            found.keys.iter().any(|key| key.verifies(&message))
        };
        assert!(verifies("TheMatrIX") && !verifies("TheMatrix"));
    }

    #[test]
    fn static_users_are_found_by_name_and_by_hash() {
        let ring = keyring(&[b"secret"], &[("george", "x")]);
        let hash = sha256(&[b"george:example.org"]);
        for name in [Name::Plain(b"george"), Name::Hash(&hash)] {
            let found = ring.find(name, Algorithm::Sha256).unwrap();
            assert!(found.keys == [Key::derive(Algorithm::Sha256, b"george", b"example.org", b"x")]);
            assert_eq!(ring.identity(name), short(hash));
        }
        let expiring = sha256(&[b"100:a:example.org"]);
        assert!(ring.find(Name::Hash(&expiring), Algorithm::Md5).is_none());
    }
}
