//! What signaling asks, checked and carried out. A refused command has changed nothing.

mod peers;
mod subscriptions;
mod tracks;

use millrace_control as contract;
use millrace_control::{Command, Rejection};

use super::Shard;
use crate::ids::{PeerId, SubscriptionId, TrackId};
use crate::limits::CODECS_MAX;
use crate::records::{CodecKind, CodecRecord, CodecTable, MediaKind};
use crate::time::Timestamp;

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub reason: Rejection,
    /// For people.
    pub message: String,
}

impl Refusal {
    fn invalid(message: impl Into<String>) -> Self {
        Self { reason: Rejection::Invalid, message: message.into() }
    }

    fn unknown(message: impl Into<String>) -> Self {
        Self { reason: Rejection::Unknown, message: message.into() }
    }

    fn full(table: &str) -> Self {
        Self { reason: Rejection::Full, message: format!("this shard has no room for more {table}") }
    }
}

impl Shard<'_> {
    /// Carries one command out.
    ///
    /// # Errors
    /// When it is refused.
    pub fn handle_command(&mut self, now: Timestamp, command: &Command) -> Result<(), Refusal> {
        let outcome = match command {
            Command::PutPeer(put) => self.put_peer(put),
            Command::RemovePeer(remove) => self.remove_peer(PeerId(remove.peer)),
            Command::PutTrack(put) => self.put_track(put),
            Command::RemoveTrack(remove) => self.remove_track(TrackId(remove.track)),
            Command::PutSubscription(put) => self.put_subscription(now, put),
            Command::RemoveSubscription(remove) => {
                self.remove_subscription(SubscriptionId(remove.subscription))
            }
            Command::RequestKeyframe(request) => self.request_keyframe(now, TrackId(request.track)),
            Command::InjectPanic(_) => self.inject_panic(),
            Command::Hello(_) | Command::Snapshot(_) | Command::Counters(_) => {
                Err(Refusal::invalid("this command is not for a shard"))
            }
        };
        match &outcome {
            Ok(()) => self.records.counters.commands_done += 1,
            Err(_) => self.records.counters.commands_rejected += 1,
        }
        outcome
    }

    fn request_keyframe(&mut self, now: Timestamp, id: TrackId) -> Result<(), Refusal> {
        let track =
            *self.routes.by_track.get(&id).ok_or_else(|| Refusal::unknown(format!("no track {}", id.0)))?;
        self.want_keyframe(now, track);
        Ok(())
    }

    /// Panics when that was asked for; after the answer has left, so that who asked knows.
    pub fn panic_if_injected(&self) {
        assert!(!self.panic_injected, "injected: the recovery of this shard is being tested");
    }

    fn inject_panic(&mut self) -> Result<(), Refusal> {
        if self.config.allow_fault_injection {
            self.panic_injected = true;
            return Ok(());
        }
        let message = "fault injection is off; start the relay with --allow-fault-injection".to_owned();
        Err(Refusal { reason: Rejection::Refused, message })
    }
}

/// The payload types of a command as a record.
fn codec_table(codecs: &[contract::Codec]) -> Result<CodecTable, Refusal> {
    if codecs.is_empty() || codecs.len() > CODECS_MAX {
        return Err(Refusal::invalid(format!("{} codecs; 1 to {CODECS_MAX} can be", codecs.len())));
    }
    let records = codecs.iter().map(codec_record).collect::<Result<Vec<_>, _>>()?;
    Ok(CodecTable::new(records))
}

fn codec_record(codec: &contract::Codec) -> Result<CodecRecord, Refusal> {
    let payload_type = |number: u32| {
        u8::try_from(number)
            .ok()
            .filter(|number| *number < 128)
            .ok_or_else(|| Refusal::invalid(format!("payload type {number} is not below 128")))
    };
    if codec.format == 0 || codec.clock_rate_hz == 0 {
        return Err(Refusal::invalid("a codec needs a format number and a clock rate"));
    }
    let kind = match codec.kind() {
        contract::CodecKind::Opaque => CodecKind::Opaque,
        contract::CodecKind::Vp8 => CodecKind::Vp8,
        contract::CodecKind::Vp9 => CodecKind::Vp9,
        contract::CodecKind::H264 => CodecKind::H264,
        contract::CodecKind::Av1 => CodecKind::Av1,
    };
    let rtx = codec.rtx_payload_type.map(payload_type).transpose()?;
    Ok(CodecRecord::new(codec.format, kind, codec.clock_rate_hz, payload_type(codec.payload_type)?, rtx))
}

const fn media_kind(kind: contract::MediaKind) -> MediaKind {
    match kind {
        contract::MediaKind::Audio => MediaKind::Audio,
        contract::MediaKind::Video => MediaKind::Video,
    }
}
