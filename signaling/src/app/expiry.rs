//! Participants and sessions that end without having said so.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::App;
use crate::session::{Reason, Refusal, Session};
use crate::state::{Client, State};
use crate::store::Durability;

impl App {
    /// The socket of a participant is gone: it has some time to come back on another one.
    pub fn await_return(self: &Arc<Self>, rpc_session: String, reader: u64, grace: Duration) {
        // Who has left is not waited for.
        if !self.shared.lock().clients.contains_key(&rpc_session) {
            return;
        }
        let app = Arc::downgrade(self);
        tokio::spawn(async move {
            sleep(grace).await;
            if let Some(app) = app.upgrade() {
                app.expire(&rpc_session, reader);
            }
        });
    }

    fn expire(&self, rpc_session: &str, reader: u64) {
        self.remove_now(rpc_session, reader, Reason::NetworkDisconnect);
    }

    /// Takes a participant out at once, unless another socket than that of `reader` is its own by now. Gives whether
    /// it did.
    pub fn remove_now(&self, rpc_session: &str, reader: u64, reason: Reason) -> bool {
        let mut state = self.shared.lock();
        // Under the lock, as `connect` attaches under it.
        let still = |client: &&Client| client.outbox.reader() == reader;
        let Some(client) = state.clients.get(rpc_session).filter(still).cloned() else { return false };
        let Some(session) = state.sessions.get_mut(&client.session) else { return false };
        let Ok(changes) = session.leave(&client.connection, reason) else { return false };
        tracing::info!(session = client.session, connection = client.connection, ?reason, "is gone");
        self.carry_out(&mut state, &client.session, changes, None);
        true
    }

    /// Ends a session for everybody.
    ///
    /// # Errors
    /// When there is no such session.
    pub fn close_session(&self, id: &str, reason: Reason) -> Result<oneshot::Receiver<Durability>, Refusal> {
        self.close_locked(&mut self.shared.lock(), id, reason)
    }

    fn close_locked(
        &self,
        state: &mut State,
        id: &str,
        reason: Reason,
    ) -> Result<oneshot::Receiver<Durability>, Refusal> {
        let session = state.sessions.get_mut(id).ok_or(Refusal::SessionNotFound)?;
        let changes = session.close(reason);
        Ok(self.carry_out_and_tell(state, id, changes))
    }

    /// Removes sessions that nobody ever joined and that are too old for that.
    pub fn remove_unused(&self, now_ms: u64) {
        let threshold_ms = self.config.garbage.threshold_s.saturating_mul(1_000);
        let is_old = |session: &Session| {
            !session.active() && now_ms.saturating_sub(session.created_at_ms) > threshold_ms
        };
        // One lock for the look and the deed: somebody may be about to join.
        let mut state = self.shared.lock();
        let unused = state.sessions.values().filter(|session| is_old(session));
        let unused: Vec<String> = unused.map(|session| session.id.clone()).collect();
        for id in unused {
            tracing::info!(session = id, "nobody ever joined");
            let _ = self.close_locked(&mut state, &id, Reason::SessionClosedByServer);
        }
    }
}
