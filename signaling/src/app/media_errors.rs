//! Telling people that the relay would not take their media back.

use std::sync::Arc;

use super::App;

impl App {
    /// Waits for refusals of a relay that is told everything again, for as long as the application lives.
    pub(super) fn tell_media_errors(self: &Arc<Self>) {
        let app = Arc::downgrade(self);
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            loop {
                shared.refused().notified().await;
                let Some(app) = app.upgrade() else { return };
                app.tell_refused();
            }
        });
    }

    fn tell_refused(&self) {
        let mut state = self.shared.lock();
        let refused = std::mem::take(&mut state.refused);
        let changes: Vec<_> = state
            .sessions
            .values()
            .map(|session| (session.id.clone(), session.lose_media(&refused)))
            .filter(|(_, changes)| !changes.notifications.is_empty())
            .collect();
        for (session, changes) in changes {
            self.deliver(&mut state, &session, changes, None);
        }
    }
}
