//! Sends changed caps of publishers to the relay.

use std::sync::{Arc, Weak};

use millrace_control::Command;

use super::App;
use crate::registry::{LockedSession, Registry};
use crate::session::Caps;
use crate::supervise::Wanted;

impl App {
    /// The limits of connections that have none of their own.
    fn caps(&self) -> Caps {
        let streams = &self.config.streams;
        Caps {
            receive_max_kbps: streams.video_max_recv_kbps,
            send_max_kbps: streams.video_max_send_kbps.unwrap_or_default(),
        }
    }

    /// Adapts the caps of publishers after their viewers have changed.
    pub(super) fn adapt_caps(&self, locked: &mut LockedSession<'_>) {
        let changed = locked.session.adapt_caps(self.caps());
        if !changed.is_empty() {
            let id = Arc::clone(locked.cell().id());
            self.registry.capped.extend(changed.into_iter().map(|connection| (Arc::clone(&id), connection)));
        }
    }

    /// Tells the relay of changed caps, one after the other, for as long as the application lives.
    pub(super) async fn keep_caps(app: Weak<Self>, registry: Arc<Registry>) -> Wanted {
        loop {
            let capped = registry.capped.next().await;
            let Some(app) = app.upgrade() else { return Wanted };
            for (session, connection) in capped {
                app.tell_cap(&session, &connection).await;
            }
        }
    }

    async fn tell_cap(&self, session: &str, connection: &str) {
        let current = || {
            let cell = self.registry.get(session)?;
            let locked = cell.lock()?;
            let home = locked.session.shard()?;
            let stream = locked.session.participant(connection).ok()?.1.stream.as_ref()?;
            let endpoint = locked.session.graph().get(stream.endpoint)?;
            let is_over = locked.peers.is_over(endpoint.id());
            (!is_over).then(|| (endpoint.shard_or(home), endpoint.peer.clone()))
        };
        let Some((shard, peer)) = current() else { return };
        let id = peer.peer;
        if let Err(error) = self.link.apply(shard, &[Command::PutPeer(peer)], self.relay_deadline()).await {
            tracing::debug!(shard, %error, "a publisher keeps the cap it has");
        }
        // If the stream ended or moved meanwhile, the relay must not keep the peer that this command made again.
        if current().is_none_or(|(_, peer)| peer.peer != id) {
            self.link.forget(shard, vec![id]);
        }
    }
}
