//! The names of events.

/// What an event is about. Applications choose by these names which ones they are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A session was made.
    SessionCreated,
    /// It is over.
    SessionDestroyed,
    /// Somebody joined.
    ParticipantJoined,
    /// Somebody is gone.
    ParticipantLeft,
    /// A stream has a way to us, or to a viewer.
    WebrtcConnectionCreated,
    /// It has no more.
    WebrtcConnectionDestroyed,
    /// A message was sent.
    SignalSent,
    /// One that never happens here: of recordings, of filters, and those of the original's larger editions. Their names
    /// are in lists that people bring along.
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
