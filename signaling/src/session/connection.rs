//! A connection: a token that waits, or the participant who used it.

use serde::{Deserialize, Serialize};

use super::{ConnectionProperties, Memo, Stream, Subscription};

/// One person's place in a session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Connection {
    /// Its id, decided with the token.
    pub id: String,
    /// When the token was made, in ms since 1970.
    pub created_at_ms: u64,
    /// The token's own part, `tok_…`.
    pub token: String,
    /// The whole text given to the application, with server and session in it.
    pub token_url: String,
    /// What it may do.
    pub properties: ConnectionProperties,
    /// Its place among the connections of its session, the oldest lowest. The roster sets it.
    #[serde(default)]
    pub order: u64,
    /// The participant that joined with it. `None` while the connection is pending.
    pub participant: Option<Participant>,
    /// How newcomers are shown it. The roster forgets it with every change.
    #[serde(skip)]
    pub memo: Memo,
}

/// A client that joined.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Participant {
    /// When, in ms since 1970.
    pub active_at_ms: u64,
    /// Private key by which its client takes up its place again from another socket.
    #[serde(alias = "rpc_session")]
    pub resume_key: String,
    /// The client's half of the connection's data.
    pub client_data: String,
    /// What the client says it runs on.
    pub platform: String,
    /// Address it came from.
    pub ip: String,
    /// Name of the dialect its client reads; empty for a client that an older release stored.
    #[serde(default, alias = "generation")]
    pub dialect: String,
    /// Id for logs.
    pub final_user_id: String,
    /// What it publishes. A record of its own in the store.
    #[serde(default, skip_serializing)]
    pub stream: Option<Stream>,
    /// What it watches, in order of subscription. Each is a record of its own in the store.
    #[serde(default, skip_serializing)]
    pub subscriptions: Vec<Subscription>,
}

/// Separator between the client's and the server's data, when both exist.
const DATA_SEPARATOR: &str = "%/%";

/// Connection id of the recorder of a session.
pub const RECORDER: &str = "RECORDER";

impl Connection {
    /// Whether it is the recorder's connection. Other participants do not see the recorder, because it is no part of
    /// the call.
    pub fn is_hidden(&self) -> bool {
        self.id == RECORDER
    }

    /// The data other participants see.
    pub fn metadata(&self) -> String {
        let client = self.participant.as_ref().map_or("", |participant| participant.client_data.as_str());
        let server = self.properties.data.as_str();
        match (client.is_empty(), server.is_empty()) {
            (false, false) => format!("{client}{DATA_SEPARATOR}{server}"),
            (false, true) => client.to_owned(),
            (true, _) => server.to_owned(),
        }
    }
}
