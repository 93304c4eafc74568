//! What a process before this one left behind.

use std::sync::Arc;

use tokio::time::Instant;

use crate::delivery::{Budget, Dialect, Outbox};
use crate::session::Session;
use crate::state::{Client, State};

/// The state that the stored values describe, and the sessions whose value does not read: the others go on.
///
/// A participant whose dialect is not among `dialects` speaks the first of them.
pub(super) fn restore(values: Vec<(String, Vec<u8>)>, dialects: &[&'static Dialect]) -> (State, Vec<String>) {
    let dialect_of = |name: &str| {
        let found = dialects.iter().find(|dialect| dialect.name == name);
        *found.unwrap_or(&dialects[0])
    };
    let mut state = State::default();
    let mut unreadable = Vec::new();
    for (id, value) in values {
        match serde_json::from_slice::<Session>(&value) {
            Ok(session) => {
                for (connection, participant) in session.participants() {
                    let client = Client {
                        session: id.clone(),
                        connection: connection.id.clone(),
                        dialect: dialect_of(&participant.dialect),
                        outbox: Arc::new(Outbox::default()),
                        turn: Arc::default(),
                        budget: Budget::new(Instant::now()),
                    };
                    state.clients.insert(participant.rpc_session.clone(), client);
                }
                state.sessions.insert(id, session);
            }
            Err(error) => {
                tracing::error!(session = id, %error, "a stored session does not read, it is set aside");
                unreadable.push(id);
            }
        }
    }
    (state, unreadable)
}
