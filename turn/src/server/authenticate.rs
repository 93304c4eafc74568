//! Who asks: the long-term mechanism (RFC 8489 §9.2.4), in an order that lets strangers cost little.
//!
//! ```text
//!   no integrity ─► 401   half the attributes ─► 400   nonce not ours or old ─► 438   only then an HMAC over the message
//! ```

use crate::allowance::{KEY_KINDS_FROM, source_key};
use crate::attribute::AttributeType;
use crate::error_code::ErrorCode;
use crate::server::credentials::{Algorithm, Key, Name, USERNAME_BYTES_MAX};
use crate::server::types::{Outcome, Reason, Slot};
use crate::server::{Call, Server};

/// MD5 and SHA-256, without parameters (RFC 8489 §18.5).
pub(super) const OFFERED_ALGORITHMS: [u8; 8] = [0, 1, 0, 0, 0, 2, 0, 0];

/// What failed attempts of one source address are counted under.
const FAILURES_OF_SOURCE: u64 = KEY_KINDS_FROM;

/// What failed attempts for one user are counted under.
const FAILURES_OF_USER: u64 = KEY_KINDS_FROM * 2;

/// What an answer is signed with.
pub(super) struct Signer {
    pub(super) key: Key,
    /// By MESSAGE-INTEGRITY-SHA256, as the request was.
    pub(super) sha256: bool,
}

/// One who proved to know the password.
pub(super) struct Asker {
    pub(super) signer: Signer,
    /// A digest of the user name.
    pub(super) user: [u8; 16],
    /// Whom the use counts for. For the owner of an allocation it is not asked again.
    pub(super) quota_user: [u8; 16],
    /// When the credential ends, in seconds since 1970.
    pub(super) until_unix_s: u64,
    /// The allocation of this 5-tuple, whoever made it.
    pub(super) slot: Option<Slot>,
    /// Whether the allocation is the asker's own.
    pub(super) is_owner: bool,
}

/// A user who is to prove it.
struct Suspect {
    keys: Vec<Key>,
    user: [u8; 16],
    quota_user: [u8; 16],
    until_unix_s: u64,
    is_owner: bool,
}

impl Server<'_> {
    /// The asker, or what becomes of a request whose sender proved nothing.
    pub(super) fn authenticate(&mut self, call: &Call<'_>, answer: &mut [u8]) -> Result<Asker, Outcome> {
        let message = call.message;
        let sha256 = message.has_integrity_sha256();
        if !sha256 && !message.has_integrity() {
            return Err(self.refuse_stranger(call, ErrorCode::UNAUTHENTICATED, answer));
        }
        let (Some(name), Some(realm), Some(nonce), Some(algorithm)) =
            (name_of(call), message.realm(), message.nonce(), Self::algorithm_of(call))
        else {
            return Err(self.refuse_stranger(call, ErrorCode::BAD_REQUEST, answer));
        };
        if !self.nonces.is_good(nonce, call.now.unix_s, call.client) {
            return Err(self.refuse_stranger(call, ErrorCode::STALE_NONCE, answer));
        }
        let [family, source] = source_key(call.client.remote.ip());
        let source = [FAILURES_OF_SOURCE + family, source];
        if !self.allowance.would_admit_key(call.now.monotonic_ns, source) {
            return Err(Outcome::Silence(Reason::RateLimited));
        }

        let slot = self.table.find(&call.client.key());
        let suspect = self.suspect(name, algorithm, slot);
        let known = realm == self.keyring.realm() && !suspect.keys.is_empty();
        let nobody = [self.keyring.nobody(algorithm)];
        let keys = if known { &suspect.keys[..] } else { &nobody[..] };
        match keys.iter().find(|key| key.verifies(message)) {
            Some(key) if known => Ok(Asker {
                signer: Signer { key: *key, sha256 },
                user: suspect.user,
                quota_user: suspect.quota_user,
                until_unix_s: suspect.until_unix_s,
                slot,
                is_owner: suspect.is_owner,
            }),
            _ => Err(self.refuse_failure(call, source, suspect.user, answer)),
        }
    }

    /// Keys that may be right: of the allocation itself if it is this user's, else of the credentials.
    fn suspect(&self, name: Name<'_>, algorithm: Algorithm, slot: Option<Slot>) -> Suspect {
        let user = self.keyring.identity(name);
        let owned = slot.and_then(|slot| self.table.get(slot)).filter(|record| record.user == user);
        if let Some(record) = owned
            && let Some(key) = Key::from_record(record.key, record.key_len)
            && key.algorithm() == algorithm
        {
            return Suspect {
                keys: vec![key],
                user,
                quota_user: record.quota_user,
                until_unix_s: record.credential_until_unix_s,
                is_owner: true,
            };
        }
        let is_owner = owned.is_some();
        match self.keyring.find(name, algorithm) {
            Some(found) => Suspect {
                keys: found.keys,
                user,
                quota_user: found.quota_user,
                until_unix_s: found.until_unix_s,
                is_owner,
            },
            None => Suspect { keys: Vec::new(), user, quota_user: [0; 16], until_unix_s: 0, is_owner },
        }
    }

    /// A wrong password, or nobody's name: both sides are counted. The user's own count bounds what guesses from everywhere
    /// are told, and keeps nobody out who knows the password.
    fn refuse_failure(
        &mut self,
        call: &Call<'_>,
        source: [u64; 2],
        user: [u8; 16],
        answer: &mut [u8],
    ) -> Outcome {
        self.record.counters.bad_credentials += 1;
        let now_ns = call.now.monotonic_ns;
        let [user, _] = *user.as_chunks::<8>().0 else { return Outcome::Silence(Reason::RateLimited) };
        let user = [FAILURES_OF_USER, u64::from_le_bytes(user)];
        let admitted = self.allowance.admit_key(now_ns, source) & self.allowance.admit_key(now_ns, user);
        if admitted {
            self.refuse_stranger(call, ErrorCode::UNAUTHENTICATED, answer)
        } else {
            Outcome::Silence(Reason::RateLimited)
        }
    }

    /// How the password becomes a key (RFC 8489 §9.2.4); `None` for a bad request. One who was offered nothing and names
    /// an algorithm is answered as if it had been.
    fn algorithm_of(call: &Call<'_>) -> Option<Algorithm> {
        let offered = call.message.find(AttributeType::PASSWORD_ALGORITHMS);
        let chosen = call.message.find(AttributeType::PASSWORD_ALGORITHM);
        match (offered, chosen) {
            (None, None) => Some(Algorithm::Md5),
            (Some(offered), Some(chosen)) if offered == OFFERED_ALGORITHMS => match chosen {
                [0, 1, 0, 0] => Some(Algorithm::Md5),
                [0, 2, 0, 0] => Some(Algorithm::Sha256),
                _ => None,
            },
            _ => None,
        }
    }
}

/// USERNAME, or USERHASH (RFC 8489 §14.4).
fn name_of<'a>(call: &Call<'a>) -> Option<Name<'a>> {
    if let Some(name) = call.message.username() {
        return (name.len() <= USERNAME_BYTES_MAX).then_some(Name::Plain(name));
    }
    let hash = call.message.find(AttributeType::USERHASH)?;
    hash.try_into().ok().map(Name::Hash)
}
