//! The names of events.

/// What an event is about. Applications choose by these names which events they receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A session was made.
    SessionCreated,
    /// A session ended.
    SessionDestroyed,
    /// A participant joined.
    ParticipantJoined,
    /// A participant left, or was evicted.
    ParticipantLeft,
    /// A publisher sends a stream to the server, or the server sends one to a viewer.
    WebrtcConnectionCreated,
    /// That stream ended.
    WebrtcConnectionDestroyed,
    /// A signal was sent.
    SignalSent,
    /// An event that never happens here: recordings, filters, and OpenVidu's larger editions. Imported settings name them.
    Never(&'static str),
}

/// Every event that happens.
const HAPPENING: [Kind; 7] = [
    Kind::SessionCreated,
    Kind::SessionDestroyed,
    Kind::ParticipantJoined,
    Kind::ParticipantLeft,
    Kind::WebrtcConnectionCreated,
    Kind::WebrtcConnectionDestroyed,
    Kind::SignalSent,
];

/// The others.
const NEVER: [&str; 10] = [
    "recordingStatusChanged",
    "filterEventDispatched",
    "mediaNodeStatusChanged",
    "autoscaling",
    "nodeCrashed",
    "nodeRecovered",
    "broadcastStarted",
    "broadcastStopped",
    "HANodeRegistered",
    "HANodeDeregistered",
];

impl Kind {
    /// The name of the protocol.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionCreated => "sessionCreated",
            Self::SessionDestroyed => "sessionDestroyed",
            Self::ParticipantJoined => "participantJoined",
            Self::ParticipantLeft => "participantLeft",
            Self::WebrtcConnectionCreated => "webrtcConnectionCreated",
            Self::WebrtcConnectionDestroyed => "webrtcConnectionDestroyed",
            Self::SignalSent => "signalSent",
            Self::Never(name) => name,
        }
    }

    /// The event of that name, exactly as written in the protocol.
    pub fn parse(name: &str) -> Option<Self> {
        let never = NEVER.into_iter().map(Self::Never);
        HAPPENING.into_iter().chain(never).find(|kind| kind.as_str() == name)
    }

    /// Every event that happens.
    pub const fn all() -> &'static [Self] {
        &HAPPENING
    }
}
