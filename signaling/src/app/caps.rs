//! Telling the relay when what a publisher may send has changed.

use std::sync::Arc;

use millrace_control::Command;

use super::App;
use crate::session::{Caps, Changes, Fact};
use crate::state::State;

impl App {
    /// What counts for connections without limits of their own.
    fn caps(&self) -> Caps {
        let streams = &self.config.streams;
        Caps {
            receive_max_kbps: streams.video_max_recv_kbps,
            send_max_kbps: streams.video_max_send_kbps.unwrap_or_default(),
        }
    }

    /// Brings the caps of a session in line after a change of who watches what.
    pub(super) fn adapt_caps(&self, state: &mut State, id: &str, changes: &Changes) {
        let is_about_media = |fact: &Fact| matches!(fact, Fact::Flowing(_) | Fact::Ended { .. });
        if changes.removed_peers.is_empty() && !changes.facts.iter().any(is_about_media) {
            return;
        }
        let Some(session) = state.sessions.get_mut(id) else { return };
        let changed = session.adapt_caps(self.caps());
        if !changed.is_empty() {
            state.capped.extend(changed.into_iter().map(|connection| (id.to_owned(), connection)));
            self.shared.capped().notify_one();
        }
    }

    /// Tells the relay of changed caps, one after the other, for as long as the application lives.
    pub(super) fn keep_caps(self: &Arc<Self>) {
        let app = Arc::downgrade(self);
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            loop {
                shared.capped().notified().await;
                let Some(app) = app.upgrade() else { return };
                loop {
                    let Some((session, connection)) = app.shared.lock().capped.pop_first() else { break };
                    app.tell_cap(&session, &connection).await;
                }
            }
        });
    }

    async fn tell_cap(&self, session: &str, connection: &str) {
        let current = || {
            let state = self.shared.lock();
            let session = state.sessions.get(session)?;
            let media = &session.participant(connection).ok()?.1.stream.as_ref()?.media;
            let shard = media.shard_or(session.shard?);
            (!state.peers.is_over(media.id())).then(|| (shard, media.peer.clone()))
        };
        let Some((shard, peer)) = current() else { return };
        let id = peer.peer;
        if let Err(error) = self.link.apply(shard, &[Command::PutPeer(peer)], self.relay_deadline()).await {
            tracing::debug!(shard, %error, "a publisher keeps the cap it has");
        }
        // It may have ended meanwhile, and what was said of it must not stay behind.
        if current().is_none_or(|(_, peer)| peer.peer != id) {
            self.link.forget(shard, vec![id]);
        }
    }
}
