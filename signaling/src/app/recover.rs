//! Viewers whose transports were lost with the relay that held their keys.
//!
//! Their browsers would notice after some seconds and ask again after some more. Those that can be told get an offer
//! at once. A publisher cannot be told anything: it comes back by itself, to the tracks that its viewers wait for.

use std::sync::Arc;

use millrace_control::RelayHello;
use tokio::time::Instant;

use super::App;
use crate::session::{Attempt, Session};

/// Somebody who no longer gets what is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lost {
    session: String,
    viewer: String,
    stream: String,
}

impl App {
    /// Waits for relays that have lost viewers, for as long as the application lives.
    pub(super) fn recover_viewers(self: &Arc<Self>) {
        let app = Arc::downgrade(self);
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            loop {
                shared.lost().notified().await;
                let Some(app) = app.upgrade() else { return };
                // The losses are known before the link is up again.
                if let Ok(relay) = app.link.ready(Instant::now() + app.config.timing.relay_wait).await {
                    app.offer_to_lost(&relay);
                }
            }
        });
    }

    /// Makes an offer to each viewer whose transport is over.
    fn offer_to_lost(&self, relay: &RelayHello) {
        let lost = self.lost_viewers();
        if !lost.is_empty() {
            tracing::info!(viewers = lost.len(), epoch = relay.epoch, "asking viewers to come back");
        }
        for Lost { session, viewer, stream } in lost {
            let offer = match self.offer(relay, &session, &viewer, &stream, Attempt::Forced) {
                Ok(offer) => offer,
                Err(error) => {
                    tracing::debug!(session, viewer, stream, error = error.message, "no offer");
                    continue;
                }
            };
            let mut state = self.shared.lock();
            let changes = state.sessions.get(&session).map(|model| model.ask_back(&viewer, &stream, offer));
            if let Some(Ok(changes)) = changes {
                self.deliver(&mut state, &session, changes, None);
            }
        }
    }

    /// The transports over which somebody watches and that the relay lost. One lock for all; an offer takes another.
    fn lost_viewers(&self) -> Vec<Lost> {
        let mut state = self.shared.lock();
        let asked = std::mem::take(&mut state.lost_viewers);
        let lost_of = |session: &Session| {
            let mut lost = Vec::new();
            for (connection, viewer) in session.participants() {
                let client = state.clients.get(&viewer.rpc_session);
                if !client.is_some_and(|client| client.dialect.takes_offers) {
                    continue;
                }
                let watched = viewer.subscriptions.iter().filter(|it| asked.contains(&it.media.id()));
                lost.extend(watched.map(|watched| Lost {
                    session: session.id.clone(),
                    viewer: connection.id.clone(),
                    stream: watched.stream.clone(),
                }));
            }
            lost
        };
        if asked.is_empty() { Vec::new() } else { state.sessions.values().flat_map(lost_of).collect() }
    }
}
