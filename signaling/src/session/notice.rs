//! The notices to clients and the other effects of a change.

use serde_json::Value;

use super::{Fact, MediaOptions, PlacedPeer, Stream};

/// Why a participant, a stream or a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Left of its own will.
    Disconnect,
    /// A moderator ended the connection.
    ForceDisconnectByUser,
    /// The application ended the connection.
    ForceDisconnectByServer,
    /// The application ended the session.
    SessionClosedByServer,
    /// Its socket was lost and did not come back in time.
    NetworkDisconnect,
    /// Stopped publishing of its own will.
    Unpublish,
    /// A moderator ended the stream.
    ForceUnpublishByUser,
    /// The application ended the stream.
    ForceUnpublishByServer,
    /// Stopped watching of its own will.
    Unsubscribe,
    /// The last participant left the session.
    LastParticipantLeft,
    /// The application stopped the recording.
    RecordingStoppedByServer,
    /// The application stopped the broadcast.
    BroadcastStoppedByServer,
    /// It was time for it to end.
    AutomaticStop,
    /// The relay is gone.
    MediaServerDisconnect,
    /// The relay came back and no longer knows of it.
    MediaServerReconnect,
    /// The machine is gone.
    NodeCrashed,
    /// This server shuts down.
    ServerStopped,
}

/// A notice to clients. The dialect of a client encodes it for the wire.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A participant joined.
    Joined {
        /// Who.
        connection: String,
        /// When the connection was activated, in ms since 1970.
        created_at_ms: u64,
        /// Client's and server's data.
        metadata: String,
    },
    /// A participant left, and its stream ended.
    Left {
        /// Who.
        connection: String,
        /// Why.
        reason: Reason,
    },
    /// A participant was removed, or its session was closed. The receiver may be that participant.
    Evicted {
        /// Who.
        connection: String,
        /// Why.
        reason: Reason,
    },
    /// A stream is there.
    Published {
        /// Whose.
        connection: String,
        /// Its id.
        stream: String,
        /// When it was made, in ms since 1970.
        created_at_ms: u64,
        /// What it carries.
        options: MediaOptions,
    },
    /// A stream is gone.
    Unpublished {
        /// Whose.
        connection: String,
        /// Why.
        reason: Reason,
    },
    /// The receiver's transport for a stream is lost. The receiver must answer this offer over a new transport.
    Recalled {
        /// Whose stream.
        publisher: String,
        /// Its id.
        stream: String,
        /// The offer.
        sdp: String,
    },
    /// A stream changed.
    PropertyChanged {
        /// Whose.
        connection: String,
        /// Its id.
        stream: String,
        /// What changed.
        property: String,
        /// To what, as the publisher sent it.
        value: Value,
        /// Why.
        reason: String,
    },
    /// The receiver's media do not flow any more.
    MediaFailed {
        /// The error text, for logs.
        error: String,
    },
    /// A message among participants.
    Signal {
        /// Connection id of the sender. `None` when the signal came by REST.
        from: Option<String>,
        /// Its type as given.
        kind: Option<String>,
        /// Its text as given.
        data: Option<String>,
    },
}

impl Notice {
    /// The notice of a stream that `connection` publishes.
    pub fn published(connection: &str, stream: &Stream) -> Self {
        Self::Published {
            connection: connection.to_owned(),
            stream: stream.id.clone(),
            created_at_ms: stream.created_at_ms,
            options: stream.options.clone(),
        }
    }
}

/// Which participants of a session are sent a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every participant. One that leaves by the same change is among them.
    Everybody,
    /// Every participant but the one of this connection.
    Others(String),
    /// The participants of these connections.
    Only(Vec<String>),
}

impl Audience {
    /// The participant of one connection.
    pub fn one(connection: impl Into<String>) -> Self {
        Self::Only(vec![connection.into()])
    }

    /// Whether it is an empty list of connections. The result `false` does not say that there is a receiver.
    pub const fn is_empty(&self) -> bool {
        matches!(self, Self::Only(connections) if connections.is_empty())
    }
}

/// A notice and who gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// The receivers.
    pub to: Audience,
    /// The notice.
    pub notice: Notice,
}

/// Everything that follows from one change of the model.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct Changes {
    /// The notices with their receivers, in the order of sending.
    pub notifications: Vec<Notification>,
    /// Peers the relay must forget.
    pub removed_peers: Vec<PlacedPeer>,
    /// Connections whose participants are gone.
    pub departed: Vec<String>,
    /// Whether the session itself is over.
    pub closed: bool,
    /// What happened, for the records.
    pub facts: Vec<Fact>,
}

impl Changes {
    pub(super) fn tell(&mut self, to: Audience, notice: Notice) {
        if !to.is_empty() {
            self.notifications.push(Notification { to, notice });
        }
    }

    pub(super) fn record(&mut self, fact: Fact) {
        self.facts.push(fact);
    }
}
