//! Answers checks and applies what they say to the record.

use millrace_turn::{AttributeType, Class, ErrorCode, IntegrityKey, Message, Method, Verdict, Writer};

use super::{consent, seen, username_local_ufrag};
use crate::discard::Discard;
use crate::egress::Path;
use crate::records::ice::{CredentialsRecord, GenerationRecord, IceRecord};
use crate::records::path::PathRecord;
use crate::time::Timestamp;

/// Attributes below 0x8000 that a check may carry without being refused: those of ICE, and those of STUN that have no
/// meaning in a check and are passed over (RFC 8489 §6.3).
const KNOWN: [AttributeType; 8] = [
    AttributeType::USERNAME,
    AttributeType::PRIORITY,
    AttributeType::USE_CANDIDATE,
    AttributeType::ERROR_CODE,
    AttributeType::UNKNOWN_ATTRIBUTES,
    AttributeType::REALM,
    AttributeType::NONCE,
    AttributeType::XOR_MAPPED_ADDRESS,
];

/// What a check changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing but times.
    None,
    /// The peer is listened to from this path from now on; what is sent goes where it went.
    PathValidated,
    /// There was no path to send on, now this is it (and it is listened to).
    Selected(Path),
    /// What is sent goes this way from now on (and it is listened to).
    Migrated(Path),
}

/// A check that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handled {
    /// Length of the answer in the slot, in bytes. It goes back the way the check came.
    pub response_len: usize,
    /// What changed.
    pub effect: Effect,
    /// A path that had to make room in the table and is no longer listened to.
    pub forgotten: Option<Path>,
}

/// The keys of one peer's record, made ready so that a check costs no allocation. No state of its own.
#[derive(Clone, Debug)]
pub struct Agent {
    current: Option<IntegrityKey>,
    previous: Option<IntegrityKey>,
}

/// Under which credentials a check came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Generation {
    Current,
    Previous,
}

impl Agent {
    /// Makes the keys of a record ready, be it new or from before a restart.
    pub fn restore(record: &IceRecord) -> Self {
        let key = |generation: &GenerationRecord| generation.local.pwd().map(IntegrityKey::short_term);
        Self { current: key(&record.current), previous: key(&record.previous) }
    }

    /// ICE restart (RFC 8445 §9): new credentials, while the path and what is heard on it stay as they are. Checks
    /// under the ones before are answered until a path is nominated under the new ones.
    ///
    /// `false` when these are the local credentials already: a repeated command restarts nothing.
    pub fn restart(
        &mut self,
        record: &mut IceRecord,
        local: CredentialsRecord,
        remote: CredentialsRecord,
    ) -> bool {
        if local == record.current.local {
            record.current.remote = remote;
            return false;
        }
        // A generation the peer never took up must not push out the one it still uses: an answer may get lost.
        if record.current_used == 1 || self.previous.is_none() {
            record.previous = record.current;
        }
        record.current = GenerationRecord { local, remote };
        record.current_used = 0;
        *self = Self::restore(record);
        true
    }

    /// Handles a Binding that names this peer, and writes the answer to `slot`.
    ///
    /// # Errors
    /// The reason why it is met with silence: no request, a stranger's, or a replay from elsewhere. Nothing changed.
    pub fn handle_binding(
        &mut self,
        record: &mut IceRecord,
        now: Timestamp,
        path: &Path,
        check: &Message<'_>,
        slot: &mut [u8],
    ) -> Result<Handled, Discard> {
        if check.class() != Class::Request || check.method() != Method::BINDING {
            return Err(Discard::PeerStunMalformed);
        }
        let (generation, key) = self.authenticate(record, check)?;
        if let Some(refusal) = refusal_of(check) {
            let response_len = write_refusal(check, refusal, key, slot)?;
            return Ok(Handled { response_len, effect: Effect::None, forgotten: None });
        }
        // Written first: when there is no room for the answer, the check has not happened.
        let response_len = write_success(check, path, key, slot)?;
        if !seen::note(record, check.transaction()) {
            // Its first datagram did all there was to do. The peer repeats it when our answer got lost; anybody
            // may repeat it from elsewhere.
            return if consent::is_validated(record, path) {
                Ok(Handled { response_len, effect: Effect::None, forgotten: None })
            } else {
                Err(Discard::NetworkReplayed)
            };
        }
        let nominates = check.use_candidate();
        let (effect, forgotten) = apply(record, now, path, nominates);
        if generation == Generation::Current {
            record.current_used = 1;
            if nominates {
                record.previous.local.retire();
                self.previous = None;
            }
        }
        Ok(Handled { response_len, effect, forgotten })
    }

    /// Finds the credentials a check names and proves it made with them. The cheap tests come first.
    ///
    /// The half of USERNAME behind the colon is not compared: during a restart browsers send checks with the new half
    /// of theirs and the old one of ours, and RFC 8445 §7.3 asks for ours only.
    fn authenticate(
        &self,
        record: &IceRecord,
        check: &Message<'_>,
    ) -> Result<(Generation, &IntegrityKey), Discard> {
        let ufrag = username_local_ufrag(check).ok_or(Discard::PeerStunUnknownUser)?;
        let (generation, key) = if ufrag == record.current.local.ufrag() {
            (Generation::Current, &self.current)
        } else if ufrag == record.previous.local.ufrag() {
            (Generation::Previous, &self.previous)
        } else {
            return Err(Discard::PeerStunUnknownUser);
        };
        let key = key.as_ref().ok_or(Discard::PeerStunUnknownUser)?;
        if check.fingerprint() == Verdict::Invalid || check.integrity(key) != Verdict::Valid {
            return Err(Discard::PeerStunUnauthenticated);
        }
        Ok((generation, key))
    }
}

/// Why a check that is authentic is nevertheless no good.
fn refusal_of(check: &Message<'_>) -> Option<ErrorCode> {
    if !check.unknown_required(&KNOWN).is_empty() {
        Some(ErrorCode::UNKNOWN_ATTRIBUTE)
    } else if check.find(AttributeType::ICE_CONTROLLED).is_some() {
        // We are lite and so always controlled; a peer that thinks it is too must change (RFC 8445 §7.3.1.1).
        Some(ErrorCode::ROLE_CONFLICT)
    } else if check.priority().is_none() {
        // RFC 8445 §7.1.1: PRIORITY must be there.
        Some(ErrorCode::BAD_REQUEST)
    } else {
        None
    }
}

/// A fresh check came along `path`: it is valid, and perhaps sent on from now on.
fn apply(record: &mut IceRecord, now: Timestamp, path: &Path, nominates: bool) -> (Effect, Option<Path>) {
    let place = PathRecord::from(path);
    let touched = consent::touch(record, place, now);
    let before = record.selected;
    let effect = if before.is_none() {
        record.selected = place;
        Effect::Selected(*path)
    } else if nominates && before != place {
        record.selected = place;
        Effect::Migrated(*path)
    } else if touched.is_new {
        Effect::PathValidated
    } else {
        Effect::None
    };
    debug_assert!(record.paths.iter().any(|valid| valid.path == record.selected), "what is sent on is valid");
    (effect, touched.evicted)
}

/// RFC 8445 §7.3.1.3 and RFC 8489 §6.3.1.1: the address it came from, under the key it came with.
fn write_success(
    check: &Message<'_>,
    path: &Path,
    key: &IntegrityKey,
    slot: &mut [u8],
) -> Result<usize, Discard> {
    let mut writer = Writer::success(slot, check.method(), check.transaction());
    writer.xor_mapped_address(path.remote);
    seal(writer, key)
}

fn write_refusal(
    check: &Message<'_>,
    code: ErrorCode,
    key: &IntegrityKey,
    slot: &mut [u8],
) -> Result<usize, Discard> {
    let mut writer = Writer::error(slot, check.method(), check.transaction(), code);
    if code == ErrorCode::UNKNOWN_ATTRIBUTE {
        writer.unknown_attributes(&check.unknown_required(&KNOWN));
    }
    seal(writer, key)
}

fn seal(mut writer: Writer<'_>, key: &IntegrityKey) -> Result<usize, Discard> {
    writer.integrity(key);
    writer.fingerprint();
    writer.finish().map_err(|_| Discard::OurEgressFull)
}
