//! A participant as the use-cases know it.

use std::sync::Arc;

use crate::access::Principal;
use crate::delivery::Outbox;
use crate::registry::{Client, LockedSession, NegotiationLock, SessionCell};
use crate::session::Refusal;

/// A participant in its session, with the socket that it uses, if any.
#[derive(Clone)]
pub struct Member {
    /// Its session.
    pub cell: Arc<SessionCell>,
    /// Its connection.
    pub connection: String,
    /// Private key by which its client takes up its place again.
    pub resume_key: String,
    /// What it is sent.
    pub outbox: Arc<Outbox>,
    /// Held while it negotiates.
    pub negotiation: Arc<NegotiationLock>,
    /// Number of its socket at the outbox. Another reader there is a newer socket. 0 for a client without a socket.
    pub reader: u64,
}

impl Member {
    /// The participant of a connection, on the socket that is the outbox's reader of that number.
    pub(super) fn of(cell: &Arc<SessionCell>, connection: &str, client: &Client, reader: u64) -> Self {
        Self {
            cell: Arc::clone(cell),
            connection: connection.to_owned(),
            resume_key: client.resume_key.clone(),
            outbox: Arc::clone(&client.outbox),
            negotiation: Arc::clone(&client.negotiation),
            reader,
        }
    }

    /// Its session's id.
    pub fn session(&self) -> &str {
        self.cell.id()
    }

    /// It as a principal.
    pub fn principal(&self) -> Principal {
        Principal::Client { session: self.session().to_owned(), connection: self.connection.clone() }
    }

    /// Locks its session.
    ///
    /// # Errors
    /// When the session is over or the participant has left.
    pub fn lock(&self) -> Result<LockedSession<'_>, Refusal> {
        let locked = self.cell.lock().ok_or(Refusal::UserClosed)?;
        match locked.clients.get(&self.connection) {
            Some(client) if client.resume_key == self.resume_key => Ok(locked),
            _ => Err(Refusal::UserClosed),
        }
    }

    /// Checks that this is the participant's newest socket. An offer of an older socket must not replace a newer
    /// offer.
    ///
    /// # Errors
    /// When a newer socket reads the outbox.
    pub fn require_current(&self) -> Result<(), Refusal> {
        if self.outbox.reader() == self.reader { Ok(()) } else { Err(Refusal::UserClosed) }
    }
}
