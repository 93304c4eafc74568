//! What signaling asks, checked and carried out. A refused command has changed nothing.

mod fence;
mod peers;
mod subscriptions;
mod tracks;

use std::time::Duration;

use millrace_control as contract;
use millrace_control::{Command, Rejection};

pub(super) use fence::Fences;

use super::Shard;
use crate::ids::{PeerId, SubscriptionId, TrackId};
use crate::limits::CODECS_MAX;
use crate::records::{CodecKind, CodecRecord, CodecTable, MediaKind};
use crate::time::Timestamp;

/// Longest stall that a test may ask for, in ms.
const STALL_MS_MAX: u32 = 60_000;

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub reason: Rejection,
    /// For people.
    pub message: String,
    /// With [`Rejection::Stale`] the fence that is known, else 0.
    pub fence: u64,
}

impl Refusal {
    fn new(reason: Rejection, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), fence: 0 }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(Rejection::Invalid, message)
    }

    fn unknown(message: impl Into<String>) -> Self {
        Self::new(Rejection::Unknown, message)
    }

    fn full(table: &str) -> Self {
        Self::new(Rejection::Full, format!("this shard has no room for more {table}"))
    }

    fn stale(fence: u64) -> Self {
        let message = format!("another signaling process owns this room, under fence {fence}");
        Self { fence, ..Self::new(Rejection::Stale, message) }
    }

    fn unsupported(what: &str) -> Self {
        Self::new(Rejection::Unsupported, format!("this release has no {what}; do not ask for them"))
    }

    /// The same as an answer.
    pub fn into_reply(self) -> contract::Reply {
        let Self { reason, message, fence } = self;
        contract::Reply::Rejected(contract::Rejected { reason: reason as i32, message, fence })
    }
}

impl Shard<'_> {
    /// Carries one command out, without a fence.
    ///
    /// # Errors
    /// When it is refused.
    pub fn handle_command(&mut self, now: Timestamp, command: &Command) -> Result<(), Refusal> {
        self.handle_fenced_command(now, 0, command)
    }

    /// Carries one command out, under the fence of its frame.
    ///
    /// # Errors
    /// When it is refused.
    pub fn handle_fenced_command(
        &mut self,
        now: Timestamp,
        fence: u64,
        command: &Command,
    ) -> Result<(), Refusal> {
        let rooms = self.rooms_of(command);
        let outcome = self.check_fence(fence, &rooms).and_then(|()| self.carry_out(now, command));
        match &outcome {
            Ok(()) => {
                self.raise_fence(fence, &rooms);
                self.records.counters.commands_done += 1;
            }
            Err(_) => self.records.counters.commands_rejected += 1,
        }
        outcome
    }

    fn carry_out(&mut self, now: Timestamp, command: &Command) -> Result<(), Refusal> {
        match command {
            Command::PutPeer(put) => self.put_peer(put),
            Command::RemovePeer(remove) => self.remove_peer(PeerId(remove.peer)),
            Command::RemovePeers(remove) => self.remove_peers(remove),
            Command::PutTrack(put) => self.put_track(put),
            Command::RemoveTrack(remove) => self.remove_track(TrackId(remove.track)),
            Command::PutSubscription(put) => self.put_subscription(now, put),
            Command::RemoveSubscription(remove) => {
                self.remove_subscription(SubscriptionId(remove.subscription))
            }
            Command::RequestKeyframe(request) => self.request_keyframe(now, TrackId(request.track)),
            Command::InjectPanic(_) => self.inject_panic(),
            Command::InjectStall(stall) => self.inject_stall(stall.for_ms),
            Command::PutSink(_) | Command::RemoveSink(_) => Err(Refusal::unsupported("sinks")),
            Command::PutSource(_) | Command::RemoveSource(_) => Err(Refusal::unsupported("sources")),
            Command::Hello(_) | Command::Snapshot(_) | Command::Counters(_) | Command::SetDrain(_) => {
                Err(Refusal::invalid("this command is not for a shard"))
            }
        }
    }

    fn request_keyframe(&mut self, now: Timestamp, id: TrackId) -> Result<(), Refusal> {
        let track =
            *self.routes.by_track.get(&id).ok_or_else(|| Refusal::unknown(format!("no track {}", id.0)))?;
        self.want_keyframe(now, track);
        Ok(())
    }

    /// Panics when that was asked for; after the answer has left, so that the test knows.
    pub fn panic_if_injected(&self) {
        assert!(!self.panic_injected, "injected: the recovery of this shard is being tested");
    }

    /// Whether a fault was injected and did not happen yet.
    pub const fn fault_is_due(&self) -> bool {
        self.panic_injected || self.stall_injected.is_some()
    }

    fn inject_panic(&mut self) -> Result<(), Refusal> {
        self.check_fault_injection()?;
        self.panic_injected = true;
        Ok(())
    }

    /// How long the thread is to stand still, when that was asked for.
    pub const fn take_stall(&mut self) -> Option<Duration> {
        self.stall_injected.take()
    }

    fn inject_stall(&mut self, for_ms: u32) -> Result<(), Refusal> {
        self.check_fault_injection()?;
        if for_ms > STALL_MS_MAX {
            return Err(Refusal::invalid(format!(
                "a stall of {for_ms} ms; {STALL_MS_MAX} ms is the longest"
            )));
        }
        self.stall_injected = Some(Duration::from_millis(for_ms.into()));
        Ok(())
    }

    fn check_fault_injection(&self) -> Result<(), Refusal> {
        if self.config.allow_fault_injection {
            return Ok(());
        }
        let message = "fault injection is off; start the relay with --allow-fault-injection";
        Err(Refusal::new(Rejection::Refused, message))
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
