//! An event: the text of one thing that happened.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::Kind;
use crate::session::Fact;

/// The session of an event, and the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The session.
    pub session: String,
    /// When the session was made, in ms since 1970.
    pub created_at_ms: u64,
    /// The time now, in ms since 1970.
    pub now_ms: u64,
}

/// How a fact becomes an event, with the names and fields of one protocol.
pub(crate) type Encode = fn(&Moment, &Fact) -> Event;

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What it is about.
    pub(super) kind: Kind,
    fields: Map<String, Value>,
}

impl Event {
    /// An event with these fields.
    pub const fn new(kind: Kind, fields: Map<String, Value>) -> Self {
        Self { kind, fields }
    }

    /// The body of a webhook's request.
    pub fn body(&self) -> Bytes {
        let mut whole = self.fields.clone();
        whole.insert("event".into(), json!(self.kind.as_str()));
        Value::Object(whole).to_string().into()
    }

    /// One line of the file, with its end.
    pub fn line(&self) -> Vec<u8> {
        let mut line = json!({ self.kind.as_str(): self.fields }).to_string().into_bytes();
        line.push(b'\n');
        line
    }
}
