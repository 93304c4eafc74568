//! Signals, changed properties, and forced ends by participants and applications.

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::{Answer, App, Member};
use crate::session::{Changes, Reason, Refusal, Signal};
use crate::store::Durability;

/// Why a member may not send a signal or change a property now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// The model refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The member has used up its budget of bytes to other participants.
    #[error("too many messages, or too large ones")]
    TooMuch,
}

impl App {
    /// A member sends a signal. It takes `len_bytes` from the member's budget.
    ///
    /// # Errors
    /// When a receiver is not in the session, or the member's budget is used up.
    pub fn signal(
        &self,
        who: &Member,
        signal: Signal,
        len_bytes: usize,
        answer: Option<Answer>,
    ) -> Result<(), SignalError> {
        let mut locked = who.lock()?;
        self.spend(&mut locked, who, len_bytes)?;
        let changes = locked.session.signal(Some(&who.connection), signal)?;
        self.carry_out(&mut locked, changes, answer);
        Ok(())
    }

    /// A property of the member's own stream changed. The notice takes `len_bytes` from the member's budget.
    ///
    /// # Errors
    /// When the member does not publish, or its budget is used up.
    pub fn change_property(
        &self,
        who: &Member,
        (property, value, reason): (String, Value, String),
        len_bytes: usize,
        answer: Option<Answer>,
    ) -> Result<(), SignalError> {
        let mut locked = who.lock()?;
        self.spend(&mut locked, who, len_bytes)?;
        let changes = locked.session.change_property(&who.connection, property, value, reason)?;
        self.carry_out(&mut locked, changes, answer);
        Ok(())
    }

    /// A moderator removes another participant.
    ///
    /// # Errors
    /// When it is no moderator, or there is no such participant.
    pub fn force_disconnect(
        &self,
        who: &Member,
        victim: &str,
        answer: Option<Answer>,
    ) -> Result<(), Refusal> {
        self.change(who, |session| Ok((session.force_disconnect(&who.connection, victim)?, answer)))
    }

    /// A moderator ends a stream of another participant.
    ///
    /// # Errors
    /// When it is no moderator, or there is no such stream.
    pub fn force_unpublish(&self, who: &Member, stream: &str, answer: Option<Answer>) -> Result<(), Refusal> {
        self.change(who, |session| Ok((session.force_unpublish_by(&who.connection, stream)?, answer)))
    }

    /// An application sends a signal, without a sender.
    ///
    /// # Errors
    /// When there is no such session ([`Refusal::SessionNotFound`]), it has no participant, or a receiver is not in
    /// it.
    pub fn signal_as_application(&self, session: &str, signal: Signal) -> Result<(), Refusal> {
        self.change_as_application(session, |session| {
            if !session.active() {
                return Err(Refusal::SignalTo);
            }
            session.signal(None, signal)
        })
        .map(drop)
    }

    /// An application removes a participant, or a connection whose token was not used.
    ///
    /// # Errors
    /// When there is no such session ([`Refusal::SessionNotFound`]), or no such connection.
    pub fn evict(&self, session: &str, connection: &str) -> Result<oneshot::Receiver<Durability>, Refusal> {
        self.change_as_application(session, |session| match session.remove_pending(connection) {
            true => Ok(Changes::default()),
            false => session.evict(connection, Reason::ForceDisconnectByServer),
        })
    }

    /// An application ends a stream.
    ///
    /// # Errors
    /// When there is no such session ([`Refusal::SessionNotFound`]), or no such stream.
    pub fn end_stream(&self, session: &str, stream: &str) -> Result<oneshot::Receiver<Durability>, Refusal> {
        self.change_as_application(session, |session| {
            session.force_unpublish(stream, Reason::ForceUnpublishByServer)
        })
    }

    fn spend(
        &self,
        locked: &mut crate::registry::LockedSession<'_>,
        who: &Member,
        len_bytes: usize,
    ) -> Result<(), SignalError> {
        let per_s_max = self.config.limits.signal_bytes_per_s_max;
        let client = locked.clients.get_mut(&who.connection).ok_or(Refusal::UserClosed)?;
        match client.budget.spend(Instant::now(), per_s_max, len_bytes) {
            true => Ok(()),
            false => Err(SignalError::TooMuch),
        }
    }
}
