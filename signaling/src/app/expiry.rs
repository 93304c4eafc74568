//! Ends participants that lost their socket, sessions that no client joined, and sessions that only the recorder is in.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::App;
use crate::registry::{LockedSession, Place, Registry};
use crate::session::{Reason, Session};
use crate::supervise::Wanted;

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

    /// Notes whether the recorder is the only participant of a session.
    pub(super) fn note_attendance(&self, locked: &mut LockedSession<'_>) {
        if !locked.session.is_unattended() {
            locked.unattended_since = None;
        } else if locked.unattended_since.is_none() {
            locked.unattended_since = Some(Instant::now().into_std());
            self.registry.unattended.extend([Arc::from(locked.session.id.as_str())]);
        }
    }

    /// Ends sessions that have had no participant but the recorder for some time, as long as the application lives.
    pub(super) async fn end_unattended(app: Weak<Self>, registry: Arc<Registry>) -> Wanted {
        let mut waiting: BTreeMap<Arc<str>, Instant> = BTreeMap::new();
        loop {
            let next_due = waiting.values().min().copied();
            let due = async {
                match next_due {
                    Some(due) => sleep_until(due).await,
                    None => pending().await,
                }
            };
            let sessions = tokio::select! {
                sessions = registry.unattended.next() => sessions,
                () = due => BTreeSet::new(),
            };
            let Some(app) = app.upgrade() else { return Wanted };
            let time = app.config.timing.unattended;
            let now = Instant::now();
            waiting.extend(sessions.into_iter().map(|session| (session, now + time)));
            for (session, _) in waiting.extract_if(.., |_, due| *due <= now) {
                app.end_if_unattended(&session, time);
            }
        }
    }

    /// Ends a session whose only participant has been the recorder for that time.
    fn end_if_unattended(&self, session: &str, time: Duration) {
        let Some(cell) = self.registry.get(session) else { return };
        let Some(mut locked) = cell.lock() else { return };
        if locked.unattended_since.is_some_and(|since| since.elapsed() >= time) {
            tracing::info!(session, "only the recorder was left");
            let changes = locked.session.close(Reason::AutomaticStop);
            self.carry_out(&mut locked, changes, None);
        }
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
