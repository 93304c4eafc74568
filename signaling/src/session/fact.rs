//! The facts for the webhook and the records. They say more than the notices to clients.

use super::{Connection, MediaOptions, Participant, RECORDER, Reason, Signal, Stream, Subscription};

/// An event in a session. The caller that carries out the change adds the session and the time.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// The session was made.
    Opened,
    /// The session is over.
    Closed {
        /// Why.
        reason: Reason,
    },
    /// A participant joined.
    Joined(Person),
    /// A participant left.
    Left {
        /// Who.
        person: Person,
        /// Why.
        reason: Reason,
    },
    /// A stream began to flow between a participant and the relay. A publisher that comes back on another
    /// PeerConnection makes no new fact.
    Flowing(Flow),
    /// A flow ended.
    Ended {
        /// The flow.
        flow: Flow,
        /// Why.
        reason: Reason,
    },
    /// A message was sent.
    Signalled {
        /// Connection id of the sender. `None` when the signal came by REST.
        from: Option<String>,
        /// The signal, with the receivers that the sender named.
        signal: Signal,
    },
}

/// A participant as records describe it.
#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    /// Its connection.
    pub connection: String,
    /// When it joined, in ms since 1970.
    pub joined_at_ms: u64,
    /// Address it came from.
    pub ip: String,
    /// What it says it runs on.
    pub platform: String,
    /// The client's half of its data.
    pub client_data: String,
    /// The server's half.
    pub server_data: String,
}

/// One stream on its way from its publisher to us, or from us to a viewer.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// Whose connection it is.
    pub connection: String,
    /// The stream.
    pub stream: String,
    /// Connection of the stream's publisher, if this is the flow to a viewer. `None` for the publisher's own flow.
    pub from: Option<String>,
    /// Since when, in ms since 1970.
    pub created_at_ms: u64,
    /// What the stream carries.
    pub options: MediaOptions,
}

impl Fact {
    /// Whether the fact is about the recorder. Such facts do not go to the webhook or the records.
    pub fn is_hidden(&self) -> bool {
        let connection = match self {
            Self::Joined(person) | Self::Left { person, .. } => &person.connection,
            Self::Flowing(flow) | Self::Ended { flow, .. } => &flow.connection,
            Self::Opened | Self::Closed { .. } | Self::Signalled { .. } => return false,
        };
        connection == RECORDER
    }

    /// One word for logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Closed { .. } => "closed",
            Self::Joined(_) => "joined",
            Self::Left { .. } => "left",
            Self::Flowing(_) => "flowing",
            Self::Ended { .. } => "ended",
            Self::Signalled { .. } => "signalled",
        }
    }
}

impl Person {
    pub(super) fn of(connection: &Connection, participant: &Participant) -> Self {
        Self {
            connection: connection.id.clone(),
            joined_at_ms: participant.active_at_ms,
            ip: participant.ip.clone(),
            platform: participant.platform.clone(),
            client_data: participant.client_data.clone(),
            server_data: connection.properties.data.clone(),
        }
    }
}

impl Flow {
    pub(super) fn published(connection: &str, stream: &Stream) -> Self {
        Self {
            connection: connection.to_owned(),
            stream: stream.id.clone(),
            from: None,
            created_at_ms: stream.created_at_ms,
            options: stream.options.clone(),
        }
    }

    pub(super) fn watched(connection: &str, watched: &Subscription, options: MediaOptions) -> Self {
        Self {
            connection: connection.to_owned(),
            stream: watched.stream.clone(),
            from: Some(watched.publisher.clone()),
            created_at_ms: watched.created_at_ms,
            options,
        }
    }
}
