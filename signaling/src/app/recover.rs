//! Participants whose media the relay has lost, or would not take back.
//!
//! A browser notices the loss only after some seconds. A viewer whose client takes offers therefore gets an offer at
//! once. A publisher's client takes no offers. It comes back by itself, to the same tracks.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use millrace_control::RelayHello;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::App;
use crate::registry::{Registry, SessionCell};
use crate::session::{Attempt, Reason};
use crate::supervise::Wanted;

impl App {
    /// Makes offers to viewers whose peers are lost, for as long as the application lives.
    pub(super) async fn recover_viewers(app: Weak<Self>, registry: Arc<Registry>) -> Wanted {
        loop {
            let lost = registry.lost.next().await;
            let Some(app) = app.upgrade() else { return Wanted };
            // The losses are known before the link is up again.
            let deadline = Instant::now() + app.config.timing.relay_wait;
            let Ok(relay) = app.link.ready(deadline).await else {
                registry.lost.extend(lost);
                // A link that has ended answers at once.
                sleep_until(deadline).await;
                continue;
            };
            tracing::info!(viewers = lost.len(), epoch = relay.epoch, "asking viewers to come back");
            for peer in lost {
                app.offer_to_viewer_of(&relay, peer);
                // Each offer is work. Requests of other sessions come in between.
                yield_now().await;
            }
        }
    }

    /// Makes an offer to the viewer that had this peer.
    fn offer_to_viewer_of(&self, relay: &RelayHello, peer: u64) -> Option<()> {
        let cell = self.registry.of_endpoint(peer)?;
        let (viewer, stream) = lost_viewer(&cell, peer)?;
        let offer = match self.make_offer(relay, &cell, &viewer, &stream, Attempt::Forced) {
            Ok(offer) => offer,
            Err(error) => {
                tracing::debug!(session = %cell.id(), viewer, stream, %error, "no offer");
                return None;
            }
        };
        let mut locked = cell.lock()?;
        let changes = locked.session.ask_back(&viewer, &stream, offer).ok()?;
        self.carry_out(&mut locked, changes, None);
        Some(())
    }

    /// Tells participants whose peers the relay would not take back, for as long as the application lives.
    pub(super) async fn tell_media_errors(app: Weak<Self>, registry: Arc<Registry>) -> Wanted {
        loop {
            let refused = registry.refused.next().await;
            let Some(app) = app.upgrade() else { return Wanted };
            let mut by_session: BTreeMap<Arc<str>, BTreeMap<u64, String>> = BTreeMap::new();
            for (peer, why) in refused {
                let Some(cell) = registry.of_endpoint(peer) else { continue };
                by_session.entry(Arc::clone(cell.id())).or_default().insert(peer, why);
            }
            for (session, refused) in by_session {
                let Some(cell) = registry.get(&session) else { continue };
                let Some(mut locked) = cell.lock() else { continue };
                let changes = locked.session.lose_media(&refused);
                app.carry_out(&mut locked, changes, None);
            }
        }
    }

    /// Removes participants whose client shows by its media alone that it is there, after all its peers have ended.
    pub(super) async fn follow_media(app: Weak<Self>, registry: Arc<Registry>) -> Wanted {
        loop {
            let ended = registry.ended.next().await;
            let Some(app) = app.upgrade() else { return Wanted };
            for (session, connection) in ended {
                let Some(cell) = registry.get(&session) else { continue };
                let Some(mut locked) = cell.lock() else { continue };
                // It may have begun again meanwhile.
                if !locked.media_are_over(&connection) {
                    continue;
                }
                if let Ok(changes) = locked.session.leave(&connection, Reason::NetworkDisconnect) {
                    tracing::info!(%session, connection, "its media are over");
                    app.carry_out(&mut locked, changes, None);
                }
            }
        }
    }
}

/// The viewer whose endpoint has this peer, if its client answers offers, and the stream that it watches there.
fn lost_viewer(cell: &Arc<SessionCell>, peer: u64) -> Option<(String, String)> {
    let locked = cell.lock()?;
    let (viewer, _) = locked.session.graph().owned(peer)?;
    locked.clients.get(viewer).filter(|client| client.dialect.takes_offers)?;
    let (_, participant) = locked.session.participant(viewer).ok()?;
    let watched = participant.subscriptions.iter().find(|watched| watched.endpoint == peer)?;
    Some((viewer.to_owned(), watched.stream.clone()))
}
