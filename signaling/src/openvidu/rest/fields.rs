//! What the JSON of the API looks like, as data: bodies are checked against it, and the OpenAPI file is made of it.

use serde_json::{Map, Value};

use super::invitations::LIFETIME_S_MAX;

/// An object of the API, under the name it has in the OpenAPI file.
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) fields: &'static [Field],
}

/// One key of an object.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) presence: Presence,
    pub(super) kind: Kind,
    pub(super) about: &'static str,
}

/// When a key is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Always, and never null.
    Always,
    /// Always, perhaps null.
    Nullable,
    /// Not always; null is as good as absent.
    Optional,
}

/// What a value is.
pub(super) enum Kind {
    Text,
    /// A text of which the whole matches this regular expression. Handlers check it.
    Pattern(&'static str),
    Choice(&'static [&'static str]),
    Bool,
    /// A whole number from 0 to this.
    Whole(u64),
    /// -1 or a whole number.
    Rate,
    /// Any object.
    Anything,
    Object(&'static Shape),
    /// A list of at most so many.
    List(&'static Self, usize),
}

/// The largest whole number JavaScript has no doubt about.
const TIME_MAX: u64 = (1 << 53) - 1;

/// Most entries of a list nothing else bounds but the body's length.
const ENTRIES_MAX: usize = 65_536;

const fn always(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, presence: Presence::Always, kind, about }
}

const fn nullable(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, presence: Presence::Nullable, kind, about }
}

const fn optional(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, presence: Presence::Optional, kind, about }
}

const fn time(name: &'static str, about: &'static str) -> Field {
    always(name, Kind::Whole(TIME_MAX), about)
}

const fn kbps(name: &'static str, about: &'static str) -> Field {
    optional(name, Kind::Whole(u32::MAX as u64), about)
}

/// Values of `mediaMode`.
pub(super) const MEDIA_MODES: [&str; 2] = ["ROUTED", "RELAYED"];
/// Values of `recordingMode`.
pub(super) const RECORDING_MODES: [&str; 2] = ["MANUAL", "ALWAYS"];
const CODECS: [&str; 6] = ["MEDIA_SERVER_PREFERRED", "NONE", "VP8", "VP9", "H264", "AV1"];
const ROLES: [&str; 3] = ["SUBSCRIBER", "PUBLISHER", "MODERATOR"];
/// Most filters one connection may be allowed.
pub(super) const FILTERS_MAX: usize = 64;

/// Body of POST /sessions.
pub(super) static SESSION_PROPERTIES: Shape = Shape {
    name: "SessionProperties",
    fields: &[
        optional(
            "mediaMode",
            Kind::Choice(&MEDIA_MODES),
            "Kept for the answers; media always goes through the server",
        ),
        optional("recordingMode", Kind::Choice(&RECORDING_MODES), "Kept for the answers"),
        optional(
            "customSessionId",
            Kind::Pattern("[a-zA-Z0-9_-]*"),
            "Id of the session; empty lets the server choose",
        ),
        optional(
            "forcedVideoCodec",
            Kind::Choice(&CODECS),
            "The video codec everybody uses; AV1 is an extension of ours",
        ),
        optional(
            "allowTranscoding",
            Kind::Bool,
            "Whether who lacks the forced codec may take part all the same",
        ),
        optional(
            "mediaServer",
            Kind::Choice(&["kurento", "mediasoup"]),
            "Whose way of negotiating its clients use; an extension of ours",
        ),
        optional("defaultRecordingProperties", Kind::Object(&RECORDING_DEFAULTS), "Kept for the answers"),
    ],
};

static RECORDING_DEFAULTS: Shape = Shape {
    name: "DefaultRecordingProperties",
    fields: &[
        optional("name", Kind::Text, ""),
        optional("hasAudio", Kind::Bool, ""),
        optional("hasVideo", Kind::Bool, ""),
        optional("outputMode", Kind::Text, ""),
        optional("recordingLayout", Kind::Text, ""),
        optional("resolution", Kind::Text, "Width and height, as 1280x720"),
        optional("frameRate", Kind::Whole(u32::MAX as u64), ""),
        optional("shmSize", Kind::Whole(TIME_MAX), "Bytes"),
    ],
};

static KURENTO_OPTIONS: Shape = Shape {
    name: "KurentoOptions",
    fields: &[
        kbps("videoMaxRecvBandwidth", "Most video the client may send, in kbit/s; 0 is unlimited"),
        kbps("videoMinRecvBandwidth", "Accepted and without effect"),
        kbps(
            "videoMaxSendBandwidth",
            "Most video the client is sent of one stream, in kbit/s; 0 is unlimited",
        ),
        kbps("videoMinSendBandwidth", "Accepted and without effect"),
        optional(
            "allowedFilters",
            Kind::List(&Kind::Text, FILTERS_MAX),
            "Kept for the answers; there are no filters",
        ),
    ],
};

static ICE_SERVER: Shape = Shape {
    name: "IceServer",
    fields: &[
        always("url", Kind::Text, "stun:, stuns:, turn: or turns: with host and port"),
        optional("username", Kind::Text, "For TURN"),
        optional("credential", Kind::Text, "For TURN"),
        optional(
            "staticAuthSecret",
            Kind::Text,
            "For TURN, in place of the two: makes credentials for a day",
        ),
    ],
};

const CUSTOM_ICE_SERVERS: Kind = Kind::List(&Kind::Object(&ICE_SERVER), 16);

/// Body of POST /sessions/{session}/connection.
pub(super) static CONNECTION_PROPERTIES: Shape = Shape {
    name: "ConnectionProperties",
    fields: &[
        optional(
            "type",
            Kind::Choice(&["WEBRTC", "IPCAM"]),
            "IPCAM is answered with 501: there are no IP cameras yet",
        ),
        optional("data", Kind::Text, "What every participant is told of this one, at most 10000 bytes"),
        optional("record", Kind::Bool, "Kept for the answers"),
        optional("role", Kind::Choice(&ROLES), "What the participant may do; PUBLISHER by default"),
        optional(
            "kurentoOptions",
            Kind::Object(&KURENTO_OPTIONS),
            "Limits of this connection in place of the server's",
        ),
        optional(
            "customIceServers",
            CUSTOM_ICE_SERVERS,
            "ICE servers of this connection in place of the server's",
        ),
        optional("rtspUri", Kind::Text, "IPCAM only"),
        optional("adaptativeBitrate", Kind::Bool, "IPCAM only"),
        optional("onlyPlayWithSubscribers", Kind::Bool, "IPCAM only"),
        optional("networkCache", Kind::Whole(u32::MAX as u64), "IPCAM only, in ms"),
    ],
};

/// Body of POST /tokens.
pub(super) static TOKEN_PROPERTIES: Shape = Shape {
    name: "TokenProperties",
    fields: &[
        always("session", Kind::Text, "Id of the session"),
        optional("role", Kind::Choice(&ROLES), "PUBLISHER by default"),
        optional("data", Kind::Text, "At most 10000 bytes"),
        optional("kurentoOptions", Kind::Object(&KURENTO_OPTIONS), "Limits of this connection"),
    ],
};

/// Body of POST /signal.
pub(super) static SIGNAL: Shape = Shape {
    name: "Signal",
    fields: &[
        always("session", Kind::Text, "Id of the session"),
        optional("to", Kind::List(&Kind::Text, ENTRIES_MAX), "Ids of connections; none is everybody"),
        optional(
            "type",
            Kind::Text,
            "Reaches the clients as it is; session.on('signal:chat') hears signal:chat",
        ),
        optional("data", Kind::Text, ""),
    ],
};

/// A session.
pub(super) static SESSION: Shape = Shape {
    name: "Session",
    fields: &[
        always("id", Kind::Text, ""),
        always("object", Kind::Choice(&["session"]), ""),
        always("sessionId", Kind::Text, "The same as id"),
        time("createdAt", "ms since 1970"),
        always("recording", Kind::Bool, ""),
        always("broadcasting", Kind::Bool, ""),
        always("mediaMode", Kind::Choice(&MEDIA_MODES), ""),
        always("recordingMode", Kind::Choice(&RECORDING_MODES), ""),
        always("defaultRecordingProperties", Kind::Object(&RECORDING_DEFAULTS), ""),
        always("customSessionId", Kind::Text, "Empty when the server chose the id"),
        always("forcedVideoCodec", Kind::Choice(&CODECS), ""),
        always("allowTranscoding", Kind::Bool, ""),
        always("connections", Kind::Object(&CONNECTIONS), ""),
    ],
};

/// Sessions.
pub(super) static SESSIONS: Shape = Shape {
    name: "Sessions",
    fields: &[
        time("numberOfElements", ""),
        always("content", Kind::List(&Kind::Object(&SESSION), ENTRIES_MAX), ""),
    ],
};

/// Connections.
pub(super) static CONNECTIONS: Shape = Shape {
    name: "Connections",
    fields: &[
        time("numberOfElements", ""),
        always("content", Kind::List(&Kind::Object(&CONNECTION), ENTRIES_MAX), ""),
    ],
};

/// A connection.
pub(super) static CONNECTION: Shape = Shape {
    name: "Connection",
    fields: &[
        always("id", Kind::Text, ""),
        always("object", Kind::Choice(&["connection"]), ""),
        always(
            "status",
            Kind::Choice(&["pending", "active"]),
            "Active once somebody has joined with its token",
        ),
        always("connectionId", Kind::Text, "The same as id"),
        always("sessionId", Kind::Text, ""),
        time("createdAt", "ms since 1970"),
        always("type", Kind::Choice(&["WEBRTC"]), ""),
        always("record", Kind::Bool, ""),
        always("role", Kind::Choice(&ROLES), ""),
        nullable("kurentoOptions", Kind::Object(&KURENTO_OPTIONS), ""),
        always("customIceServers", CUSTOM_ICE_SERVERS, ""),
        nullable("rtspUri", Kind::Text, "IP cameras only"),
        nullable("adaptativeBitrate", Kind::Bool, "IP cameras only"),
        nullable("onlyPlayWithSubscribers", Kind::Bool, "IP cameras only"),
        nullable("networkCache", Kind::Whole(u32::MAX as u64), "IP cameras only"),
        always("serverData", Kind::Text, "What the application said of it"),
        always("token", Kind::Text, "What the client joins with, once"),
        nullable(
            "activeAt",
            Kind::Whole(TIME_MAX),
            "When it was joined, in ms since 1970; null while pending",
        ),
        nullable("location", Kind::Text, "Always unknown; null while pending"),
        nullable("ip", Kind::Text, "Address of the client; null while pending"),
        nullable("platform", Kind::Text, "What the client says it runs on; null while pending"),
        nullable("clientData", Kind::Text, "What the client said of itself; null while pending"),
        nullable(
            "publishers",
            Kind::List(&Kind::Object(&PUBLISHER), 1),
            "What it publishes; null while pending",
        ),
        nullable(
            "subscribers",
            Kind::List(&Kind::Object(&SUBSCRIBER), ENTRIES_MAX),
            "What it watches; null while pending",
        ),
    ],
};

const ONLY_WITH_STATS: &str = "Only with webRtcStats=true";

static EVENT: Shape = Shape {
    name: "PeerEvent",
    fields: &[
        time("timestamp", "ms since 1970"),
        always("type", Kind::Choice(&["ice", "dtls", "live", "closed"]), "How far the PeerConnection got"),
    ],
};

static PUBLISHER: Shape = Shape {
    name: "Publisher",
    fields: &[
        time("createdAt", "ms since 1970"),
        always("streamId", Kind::Text, ""),
        always("mediaOptions", Kind::Object(&MEDIA_OPTIONS), ""),
        optional("webrtcEndpointName", Kind::Text, ONLY_WITH_STATS),
        optional("localSdp", Kind::Text, ONLY_WITH_STATS),
        optional("remoteSdp", Kind::Text, ONLY_WITH_STATS),
        optional("clientIceCandidates", Kind::List(&Kind::Text, ENTRIES_MAX), ONLY_WITH_STATS),
        optional("serverIceCandidates", Kind::List(&Kind::Text, ENTRIES_MAX), ONLY_WITH_STATS),
        optional("localCandidate", Kind::Text, ONLY_WITH_STATS),
        optional("remoteCandidate", Kind::Text, ONLY_WITH_STATS),
        optional("events", Kind::List(&Kind::Object(&EVENT), ENTRIES_MAX), ONLY_WITH_STATS),
    ],
};

static SUBSCRIBER: Shape = Shape {
    name: "Subscriber",
    fields: &[
        time("createdAt", "ms since 1970"),
        always("streamId", Kind::Text, ""),
        optional("webrtcEndpointName", Kind::Text, ONLY_WITH_STATS),
        optional("localSdp", Kind::Text, ONLY_WITH_STATS),
        optional("remoteSdp", Kind::Text, ONLY_WITH_STATS),
        optional("clientIceCandidates", Kind::List(&Kind::Text, ENTRIES_MAX), ONLY_WITH_STATS),
        optional("serverIceCandidates", Kind::List(&Kind::Text, ENTRIES_MAX), ONLY_WITH_STATS),
        optional("localCandidate", Kind::Text, ONLY_WITH_STATS),
        optional("remoteCandidate", Kind::Text, ONLY_WITH_STATS),
        optional("events", Kind::List(&Kind::Object(&EVENT), ENTRIES_MAX), ONLY_WITH_STATS),
    ],
};

static MEDIA_OPTIONS: Shape = Shape {
    name: "MediaOptions",
    fields: &[
        always("hasAudio", Kind::Bool, ""),
        always("hasVideo", Kind::Bool, ""),
        optional("audioActive", Kind::Bool, "Absent without audio"),
        optional("videoActive", Kind::Bool, "Absent without video"),
        optional("typeOfVideo", Kind::Text, "CAMERA, SCREEN or CUSTOM; absent without video"),
        optional("frameRate", Kind::Rate, "Frames a second, -1 when not specified"),
        optional("videoDimensions", Kind::Text, "Width and height as a JSON text"),
        always("filter", Kind::Anything, "Always empty"),
    ],
};

/// Answer to POST /tokens.
pub(super) static TOKEN: Shape = Shape {
    name: "Token",
    fields: &[
        always("id", Kind::Text, "The same as token"),
        always("token", Kind::Text, "What the client joins with, once"),
        time("createdAt", "ms since 1970"),
        always("connectionId", Kind::Text, ""),
        always("session", Kind::Text, ""),
        always("data", Kind::Text, ""),
        always("role", Kind::Choice(&ROLES), ""),
        nullable("kurentoOptions", Kind::Object(&KURENTO_OPTIONS), ""),
    ],
};

/// Body of POST /millrace/api/invitations.
pub(super) static INVITATION_PROPERTIES: Shape = Shape {
    name: "InvitationProperties",
    fields: &[
        always("session", Kind::Pattern("[a-zA-Z0-9_-]+"), "Id of the session"),
        optional("role", Kind::Choice(&ROLES), "What guests may do; PUBLISHER by default"),
        optional(
            "expiresInS",
            Kind::Whole(LIFETIME_S_MAX as u64),
            "Seconds until it expires, at least 1; a day by default, 30 days at most",
        ),
        optional(
            "createsSession",
            Kind::Bool,
            "Whether it makes the session when there is none; false by default",
        ),
        optional(
            "name",
            Kind::Text,
            "What the others are told of who enters (serverData), at most 256 bytes",
        ),
    ],
};

/// Answer to POST /millrace/api/invitations.
pub(super) static INVITATION: Shape = Shape {
    name: "Invitation",
    fields: &[
        always("invitation", Kind::Text, "The signed text, good for any number of guests until it expires"),
        always("link", Kind::Text, "The call page's address with the invitation in its fragment"),
        always("session", Kind::Text, ""),
        always("role", Kind::Choice(&ROLES), ""),
        time("expiresAt", "ms since 1970"),
        always("createsSession", Kind::Bool, ""),
        nullable("name", Kind::Text, ""),
    ],
};

/// Body of POST /millrace/api/invitations/enter.
pub(super) static INVITED: Shape =
    Shape { name: "Invited", fields: &[always("invitation", Kind::Text, "The signed text")] };

/// Answer to POST /millrace/api/invitations/enter.
pub(super) static ENTRY: Shape = Shape {
    name: "Entry",
    fields: &[
        always("token", Kind::Text, "What the client joins with, once"),
        always("connectionId", Kind::Text, ""),
        always("session", Kind::Text, ""),
        always("role", Kind::Choice(&ROLES), ""),
        nullable("name", Kind::Text, "What the others are told of this guest"),
    ],
};

/// Answer to GET /config.
pub(super) static CONFIGURATION: Shape = Shape {
    name: "Configuration",
    fields: &[
        always("VERSION", Kind::Text, "The release of OpenVidu whose clients are served"),
        always("DOMAIN_OR_PUBLIC_IP", Kind::Text, ""),
        always("HTTPS_PORT", Kind::Whole(65_535), ""),
        always("OPENVIDU_PUBLICURL", Kind::Text, ""),
        always("OPENVIDU_CDR", Kind::Bool, ""),
        always(
            "OPENVIDU_STREAMS_VIDEO_MAX_RECV_BANDWIDTH",
            Kind::Whole(u32::MAX as u64),
            "kbit/s; 0 is unlimited",
        ),
        always("OPENVIDU_STREAMS_VIDEO_MIN_RECV_BANDWIDTH", Kind::Whole(u32::MAX as u64), "kbit/s"),
        always(
            "OPENVIDU_STREAMS_VIDEO_MAX_SEND_BANDWIDTH",
            Kind::Whole(u32::MAX as u64),
            "kbit/s; 0 is unlimited",
        ),
        always("OPENVIDU_STREAMS_VIDEO_MIN_SEND_BANDWIDTH", Kind::Whole(u32::MAX as u64), "kbit/s"),
        always("OPENVIDU_STREAMS_FORCED_VIDEO_CODEC", Kind::Choice(&CODECS), ""),
        always("OPENVIDU_STREAMS_ALLOW_TRANSCODING", Kind::Bool, ""),
        always("OPENVIDU_WEBRTC_SIMULCAST", Kind::Bool, ""),
        always("OPENVIDU_SESSIONS_GARBAGE_INTERVAL", Kind::Whole(u64::MAX), "Seconds; 0 is never"),
        always("OPENVIDU_SESSIONS_GARBAGE_THRESHOLD", Kind::Whole(u64::MAX), "Seconds"),
        always("OPENVIDU_RECORDING", Kind::Bool, ""),
        always("OPENVIDU_WEBHOOK", Kind::Bool, ""),
    ],
};

/// The body of most refusals.
pub(super) static FAILURE: Shape = Shape {
    name: "Failure",
    fields: &[
        time("timestamp", "ms since 1970"),
        always("status", Kind::Whole(599), ""),
        always("error", Kind::Text, "The status in words"),
        always("message", Kind::Text, "What is wrong"),
        always("path", Kind::Text, "What was asked for"),
    ],
};

impl Shape {
    /// Checks an object: keys that must be there are, and what is there is of its kind. Other keys are let through.
    /// Gives what is wrong otherwise.
    pub(super) fn check(&self, object: &Map<String, Value>) -> Result<(), String> {
        self.fields.iter().try_for_each(|field| match object.get(field.name) {
            None | Some(Value::Null) if field.presence == Presence::Always => {
                Err(format!("{} is missing", field.name))
            }
            None | Some(Value::Null) => Ok(()),
            Some(value) => field.kind.check(field.name, value),
        })
    }
}

impl Kind {
    fn check(&self, name: &str, value: &Value) -> Result<(), String> {
        let must_be = |what: &str| Err(format!("{name} must be {what}"));
        match (self, value) {
            (Self::Text | Self::Pattern(_), Value::String(_))
            | (Self::Bool, Value::Bool(_))
            | (Self::Anything, Value::Object(_)) => Ok(()),
            (Self::Text | Self::Pattern(_), _) => must_be("a text"),
            (Self::Bool, _) => must_be("true or false"),
            (Self::Anything, _) => must_be("an object"),
            (Self::Choice(choices), Value::String(text)) if choices.contains(&text.as_str()) => Ok(()),
            (Self::Choice(choices), _) => must_be(&format!("one of {}", choices.join(", "))),
            (Self::Whole(max), value) if value.as_u64().is_some_and(|number| number <= *max) => Ok(()),
            (Self::Whole(max), _) => must_be(&format!("a whole number of at most {max}")),
            (Self::Rate, value) if value.as_i64().is_some_and(|number| number >= -1) => Ok(()),
            (Self::Rate, _) => must_be("-1 or a whole number"),
            (Self::Object(shape), Value::Object(object)) => {
                shape.check(object).map_err(|wrong| format!("{name}: {wrong}"))
            }
            (Self::Object(_), _) => must_be("an object"),
            (Self::List(kind, max), Value::Array(list)) if list.len() <= *max => {
                list.iter().try_for_each(|value| kind.check(&format!("an entry of {name}"), value))
            }
            (Self::List(_, max), _) => must_be(&format!("a list of at most {max}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::session::{ForcedVideoCodec, Role, default_recording_properties};

    fn check(shape: &Shape, value: &Value) -> Result<(), String> {
        shape.check(value.as_object().unwrap())
    }

    #[test]
    fn what_is_wrong_is_said_by_its_name() {
        let connection = |value| check(&CONNECTION_PROPERTIES, &value);
        assert_eq!(connection(json!({"data": null, "unknown": 7})), Ok(()));
        assert_eq!(connection(json!({"data": 7})), Err("data must be a text".into()));
        assert_eq!(
            connection(json!({"role": "x"})),
            Err("role must be one of SUBSCRIBER, PUBLISHER, MODERATOR".into())
        );
        assert_eq!(
            connection(json!({"kurentoOptions": {"videoMaxRecvBandwidth": 1.5}})),
            Err("kurentoOptions: videoMaxRecvBandwidth must be a whole number of at most 4294967295".into())
        );
        assert!(connection(json!({"customIceServers": [{}]})).is_err());
        assert_eq!(check(&TOKEN_PROPERTIES, &json!({})), Err("session is missing".into()));
    }

    #[test]
    fn the_model_knows_every_value_there_is_to_choose() {
        assert!(ROLES.into_iter().all(|role| Role::parse(role).is_some()));
        // AV1 comes with the agreement on codecs.
        let known = CODECS.into_iter().filter(|&codec| ForcedVideoCodec::parse(codec).is_some());
        assert!(known.count() >= CODECS.len() - 1);
    }

    #[test]
    fn the_defaults_of_recording_are_of_their_kind() {
        let defaults = default_recording_properties();
        assert_eq!(check(&RECORDING_DEFAULTS, &defaults), Ok(()));
        let names: Vec<&str> = RECORDING_DEFAULTS.fields.iter().map(|field| field.name).collect();
        assert!(defaults.as_object().unwrap().keys().eq(names));
    }
}
