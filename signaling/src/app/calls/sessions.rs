//! What an application does with sessions and connections.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::super::App;
use crate::clock;
use crate::ids;
use crate::registry::SessionCell;
use crate::session::{
    Changes, Connection, ConnectionProperties, Memo, Reason, Refusal, Session, SessionProperties,
};
use crate::store::Durability;

/// A connection that is to be made.
#[derive(Clone, Debug)]
pub struct NewConnection {
    /// Its id.
    pub id: String,
    /// Its token.
    pub token: String,
    /// The text that the application is given, with the token in it.
    pub token_url: String,
    /// What it may do.
    pub properties: ConnectionProperties,
}

impl App {
    /// Makes a session. With an empty custom id, the server chooses the id.
    ///
    /// # Errors
    /// When there is one of that id ([`Refusal::SessionExists`]), or there are too many.
    pub fn create_session(
        &self,
        properties: SessionProperties,
    ) -> Result<(Arc<SessionCell>, oneshot::Receiver<Durability>), Refusal> {
        let id = match properties.custom_session_id.as_str() {
            "" => ids::session(),
            custom => custom.to_owned(),
        };
        let session = Session::new(id, ids::relay(), properties, clock::now_ms());
        let cell = self.registry.cell(session);
        // Locked before it is known: the event that opens it comes before every other event of it.
        let mut locked = cell.lock_any();
        if let Err(refusal) = self.registry.publish(&cell, self.config.limits.sessions_max) {
            // It never existed, so it counts for nothing.
            locked.is_over = true;
            return Err(refusal);
        }
        let changes = locked.session.open();
        let durable = self.carry_out_and_tell(&mut locked, changes);
        drop(locked);
        Ok((cell, durable))
    }

    /// Adds a connection that waits for its token to be used. Returns a copy of it.
    ///
    /// # Errors
    /// When there is no such session ([`Refusal::SessionNotFound`]), it is full, too many connections wait, or there is one of
    /// that id ([`Refusal::ExistingUser`]).
    pub fn create_connection(
        &self,
        session: &str,
        new: NewConnection,
    ) -> Result<(Connection, oneshot::Receiver<Durability>), Refusal> {
        let limits = &self.config.limits;
        let connection = Connection {
            id: new.id,
            created_at_ms: clock::now_ms(),
            token: new.token,
            token_url: new.token_url,
            properties: new.properties,
            order: 0,
            participant: None,
            memo: Memo::default(),
        };
        let made = connection.clone();
        let pending = self.registry.pending();
        let durable = self.change_as_application(session, |session| {
            if pending >= limits.pending_connections_max {
                return Err(Refusal::Limit("connections that wait to be used"));
            }
            if session.connection(&made.id).is_some() {
                return Err(Refusal::ExistingUser);
            }
            session.add_connection(made, limits.connections_per_session_max)?;
            Ok(Changes::default())
        })?;
        Ok((connection, durable))
    }

    /// Ends a session and removes all its participants.
    ///
    /// # Errors
    /// When there is no such session.
    pub fn close_session(&self, id: &str, reason: Reason) -> Result<oneshot::Receiver<Durability>, Refusal> {
        self.change_as_application(id, |session| Ok(session.close(reason)))
    }

    /// Changes a session for an application.
    pub(super) fn change_as_application(
        &self,
        session: &str,
        change: impl FnOnce(&mut Session) -> Result<Changes, Refusal>,
    ) -> Result<oneshot::Receiver<Durability>, Refusal> {
        let cell = self.registry.get(session).ok_or(Refusal::SessionNotFound)?;
        let mut locked = cell.lock().ok_or(Refusal::SessionNotFound)?;
        let changes = change(&mut locked.session)?;
        Ok(self.carry_out_and_tell(&mut locked, changes))
    }
}
