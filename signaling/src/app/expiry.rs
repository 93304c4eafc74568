//! Ends participants that lost their socket, and sessions that no client joined.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::App;
use crate::registry::Place;
use crate::session::{Reason, Session};

impl App {
    /// Removes a participant that lost its socket, unless it comes back on another one within `grace`.
    pub fn await_return(self: &Arc<Self>, resume_key: String, reader: u64, grace: Duration) {
        // A participant that has left needs no timer.
        if self.registry.place_of(&resume_key).is_none() {
            return;
        }
        let app = Arc::downgrade(self);
        tokio::spawn(async move {
            sleep(grace).await;
            if let Some(app) = app.upgrade() {
                app.remove_now(&resume_key, reader, Reason::NetworkDisconnect);
            }
        });
    }

    /// Removes a participant, unless a newer socket than that of `reader` serves it. Returns whether it was removed.
    pub fn remove_now(&self, resume_key: &str, reader: u64, reason: Reason) -> bool {
        let Some(Place { cell, connection }) = self.registry.place_of(resume_key) else { return false };
        let Some(mut locked) = cell.lock() else { return false };
        // Check this under the lock, because a client comes back under the same lock.
        let is_same = |outbox: &crate::delivery::Outbox| outbox.reader() == reader;
        if !locked.clients.get(&connection).is_some_and(|client| is_same(&client.outbox)) {
            return false;
        }
        let Ok(changes) = locked.session.leave(&connection, reason) else { return false };
        tracing::info!(session = %cell.id(), connection, ?reason, "is gone");
        self.carry_out(&mut locked, changes, None);
        true
    }

    /// Removes sessions without participants that are older than the configured threshold.
    pub fn remove_unused(&self, now_ms: u64) {
        let threshold_ms = self.config.garbage.threshold_s.saturating_mul(1_000);
        let is_old = |session: &Session| {
            !session.active() && now_ms.saturating_sub(session.created_at_ms) > threshold_ms
        };
        for cell in self.registry.all() {
            // Check and remove under one lock, or a client could join in between.
            let Some(mut locked) = cell.lock() else { continue };
            if is_old(&locked.session) {
                tracing::info!(session = %cell.id(), "nobody ever joined");
                let changes = locked.session.close(Reason::SessionClosedByServer);
                self.carry_out(&mut locked, changes, None);
            }
        }
    }
}
