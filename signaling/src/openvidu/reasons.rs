//! Why a participant, a stream or a session ended, in OpenVidu's words.

use crate::session::Reason;

/// The word of the protocol for a reason.
pub(super) const fn word(reason: Reason) -> &'static str {
    match reason {
        Reason::Disconnect => "disconnect",
        Reason::ForceDisconnectByUser => "forceDisconnectByUser",
        Reason::ForceDisconnectByServer => "forceDisconnectByServer",
        Reason::SessionClosedByServer => "sessionClosedByServer",
        Reason::NetworkDisconnect => "networkDisconnect",
        Reason::Unpublish => "unpublish",
        Reason::ForceUnpublishByUser => "forceUnpublishByUser",
        Reason::ForceUnpublishByServer => "forceUnpublishByServer",
        Reason::Unsubscribe => "unsubscribe",
        Reason::LastParticipantLeft => "lastParticipantLeft",
        Reason::RecordingStoppedByServer => "recordingStoppedByServer",
        Reason::BroadcastStoppedByServer => "broadcastStoppedByServer",
        Reason::AutomaticStop => "automaticStop",
        Reason::MediaServerDisconnect => "mediaServerDisconnect",
        Reason::MediaServerReconnect => "mediaServerReconnect",
        Reason::NodeCrashed => "nodeCrashed",
        Reason::ServerStopped => "openviduServerStopped",
    }
}
