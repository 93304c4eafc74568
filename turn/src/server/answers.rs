//! Answers to requests: refusals with and without integrity, and the beginnings of successes.

use crate::allowance::{KEY_KINDS_FROM, source_key};
use crate::attribute::AttributeType;
use crate::binding::answer_binding;
use crate::error_code::ErrorCode;
use crate::server::authenticate::{OFFERED_ALGORITHMS, Signer};
use crate::server::nonce::NONCE_BYTES_MAX;
use crate::server::types::{Outcome, Reason};
use crate::server::{Call, Server};
use crate::writer::Writer;

/// What answers to a stranger's stream are counted under, together with its port.
const STRANGERS_STREAM: u64 = KEY_KINDS_FROM * 3;

impl Server<'_> {
    /// A plain Binding: the address and nothing else.
    pub(super) fn binding(&mut self, call: &Call<'_>, answer: &mut [u8]) -> Outcome {
        if !self.admits_stranger(call) {
            return Outcome::Silence(Reason::RateLimited);
        }
        match answer_binding(call.message, call.client.remote, answer) {
            Some(len) => {
                self.record.counters.bindings += 1;
                Outcome::Answer(len)
            }
            None => Outcome::Silence(Reason::Malformed),
        }
    }

    /// Refuses one who has not proved to be anybody. 401 and 438 bring realm and nonce; past the allowance there is
    /// silence.
    pub(super) fn refuse_stranger(&mut self, call: &Call<'_>, code: ErrorCode, answer: &mut [u8]) -> Outcome {
        if !self.admits_stranger(call) {
            return Outcome::Silence(Reason::RateLimited);
        }
        self.record.counters.refuse(code);
        let mut writer = Writer::error(answer, call.message.method(), call.message.transaction(), code);
        if code != ErrorCode::BAD_REQUEST {
            let mut nonce = [0; NONCE_BYTES_MAX];
            let len = self.nonces.write(call.now.unix_s, call.client, &mut nonce);
            writer.realm(self.keyring.realm());
            writer.nonce(&nonce[..len]);
            if self.config.offer_sha256 {
                writer.attribute(AttributeType::PASSWORD_ALGORITHMS, &OFFERED_ALGORITHMS);
            }
        }
        finished(writer)
    }

    /// Whether one who has not proved to be anybody is answered. By datagrams each answer may hit a victim, and who gets
    /// none asks again; so all of an address share an allowance. A stream proves its address, and who asked by it waits
    /// for good; so each has its own, or a whole office that comes back at once would be left standing.
    fn admits_stranger(&mut self, call: &Call<'_>) -> bool {
        let remote = call.client.remote;
        let [mut kind, source] = source_key(remote.ip());
        if call.client.transport.is_stream() {
            kind += STRANGERS_STREAM + (u64::from(remote.port()) << 32);
        }
        self.allowance.admit_key(call.now.monotonic_ns, [kind, source])
    }

    /// Refuses a user.
    pub(super) fn refuse(
        &mut self,
        call: &Call<'_>,
        signer: &Signer,
        code: ErrorCode,
        answer: &mut [u8],
    ) -> Outcome {
        self.record.counters.refuse(code);
        let writer = Writer::error(answer, call.message.method(), call.message.transaction(), code);
        signed(writer, signer)
    }
}

/// The answer with the user's integrity on it.
pub(super) fn signed(mut writer: Writer<'_>, signer: &Signer) -> Outcome {
    if signer.sha256 {
        writer.integrity_sha256(&signer.key.sha256());
    } else {
        writer.integrity(&signer.key.sha1());
    }
    finished(writer)
}

pub(super) fn finished(writer: Writer<'_>) -> Outcome {
    writer.finish().map_or(Outcome::Silence(Reason::NoRoom), Outcome::Answer)
}
