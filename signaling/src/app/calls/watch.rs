//! Watching: with the viewer's offer, or with ours.

use std::sync::Arc;

use millrace_control::RelayHello;
use tokio::time::Instant;

use super::super::negotiation::Tracks;
use super::super::{Answer, App, CallError, Member};
use super::negotiate::{Facts, Side};
use crate::clock;
use crate::registry::SessionCell;
use crate::relay::LinkError;
use crate::session::{Attempt, Changes, Offer, Refusal};

impl App {
    /// A member watches a stream, with an offer of its own. `answer` is made of our answer, and leaves with the change.
    ///
    /// # Errors
    /// When no participant publishes that stream, the offer cannot be used, or the relay does not take the endpoint.
    pub async fn watch(
        &self,
        who: &Member,
        stream: &str,
        offer: &str,
        deadline: Instant,
        answer: impl FnOnce(&str) -> Option<Answer>,
    ) -> Result<(), CallError> {
        who.require_current()?;
        let (facts, tracks) = self.facts(who, |session| {
            let stream = session.check_subscribe(&who.connection, stream)?;
            Ok(Tracks::of(session, stream))
        })?;
        let applied = self
            .apply(who, offer, &facts, Side::Viewer, deadline, |context| {
                context.subscribe(offer, stream, &tracks)
            })
            .await?;
        self.conclude(who, &applied, |session| {
            who.require_current()?;
            let endpoint = applied.agreed.endpoint.clone();
            let changes = session.subscribe(&who.connection, stream, endpoint, clock::now_ms())?;
            Ok((changes, answer(&applied.agreed.local_sdp)))
        })
        .await
    }

    /// Offers a stream to a member that asks for it. Returns the offer.
    ///
    /// # Errors
    /// When no participant publishes that stream, or no shard takes one more viewer.
    pub async fn offer(&self, who: &Member, stream: &str, deadline: Instant) -> Result<String, CallError> {
        who.require_current()?;
        let relay = self.link.ready(deadline).await.map_err(|error| CallError::unreachable(&error))?;
        self.make_offer(&relay, &who.cell, &who.connection, stream, Attempt::Own)
    }

    /// Makes the server's end of a new transport for a viewer. The relay gets it after the viewer's answer.
    pub(in super::super) fn make_offer(
        &self,
        relay: &RelayHello,
        cell: &Arc<SessionCell>,
        viewer: &str,
        stream: &str,
        attempt: Attempt,
    ) -> Result<String, CallError> {
        let mut locked = cell.lock().ok_or(Refusal::UserClosed)?;
        let home = self.registry.place(&mut locked.session).ok_or_else(CallError::no_shard)?;
        let at_home_max = self.config.streams.viewers_per_shard;
        let shard = self.registry.shard_for_viewer(&locked.session, relay.bridges, at_home_max);
        let shard = shard.ok_or_else(CallError::no_shard)?;
        let session = &mut locked.session;
        session.check_subscribe(viewer, stream)?;
        let (publisher, published) = session.publisher(stream).ok_or(Refusal::NotStreaming)?;
        let facts = Facts::of(session, viewer)?;
        let (local_sdp, local) = facts.context(self, relay, shard, home).offer(session, published)?;
        let offer = Offer {
            viewer: viewer.to_owned(),
            stream: stream.to_owned(),
            publisher: publisher.id.clone(),
            attempt,
            made_at_ms: clock::now_ms(),
            local,
            local_sdp: local_sdp.clone(),
            relay_epoch: relay.epoch,
        };
        session.offers.put(offer);
        Ok(local_sdp)
    }

    /// A member answers an offer of the server.
    ///
    /// # Errors
    /// When there is no such offer, its stream or its relay is gone, the answer cannot be used, or the relay does not take it.
    pub async fn accept(
        &self,
        who: &Member,
        stream: &str,
        remote: &str,
        attempt: Attempt,
        deadline: Instant,
        answer: Option<Answer>,
    ) -> Result<(), CallError> {
        who.require_current()?;
        let (facts, tracks) = self.facts(who, |session| {
            let stream = session.check_subscribe(&who.connection, stream)?;
            Ok(Tracks::of(session, stream))
        })?;
        let offered = {
            let mut locked = who.lock()?;
            let offers = &mut locked.session.offers;
            offers.take(&who.connection, stream, attempt, clock::now_ms()).ok_or(CallError::NoOffer)?
        };
        let relay = self.link.ready(deadline).await.map_err(|error| CallError::unreachable(&error))?;
        if relay.epoch != offered.relay_epoch {
            return Err(CallError::MediaEndpoint("the relay has been restarted since the offer".into()));
        }
        let home = self.registry.place(&mut who.lock()?.session).ok_or_else(CallError::no_shard)?;
        let context = facts.context(self, &relay, offered.local.shard_or(home), home);
        let agreed = context.accept(remote, &tracks, &offered)?;
        let applied = self.tell(who, remote, home, agreed, deadline).await?;
        self.conclude(who, &applied, |session| {
            who.require_current()?;
            let endpoint = applied.agreed.endpoint.clone();
            let changes = session.subscribe(&who.connection, stream, endpoint, clock::now_ms())?;
            Ok((changes, answer))
        })
        .await
    }

    /// A member watches the stream `to` in place of the stream `from`, over the transport that it has. No session description
    /// changes: sequence numbers and timestamps go on.
    ///
    /// # Errors
    /// When the member does not watch `from`, no participant publishes `to`, the member has no format of `to`, or the
    /// relay does not take the change.
    pub async fn repoint(
        &self,
        who: &Member,
        from: &str,
        to: &str,
        deadline: Instant,
        answer: Option<Answer>,
    ) -> Result<(), CallError> {
        let (shard, commands) = {
            let mut locked = who.lock()?;
            let home = self.registry.place(&mut locked.session).ok_or_else(CallError::no_shard)?;
            let (endpoint, changes) = locked.session.repoint(&who.connection, from, to, clock::now_ms())?;
            self.carry_out(&mut locked, changes, None);
            (endpoint.shard_or(home), endpoint.output_commands(home).collect::<Vec<_>>())
        };
        // The model contains the change already. If the relay does not get it now, the next reconciliation sends it.
        self.link.apply(shard, &commands, deadline).await.map_err(|error| match error {
            LinkError::Rejected(..) => CallError::MediaEndpoint(error.to_string()),
            _ => CallError::unreachable(&error),
        })?;
        // The answer leaves now, so that a failure is the only answer.
        self.change(who, |_| Ok((Changes::default(), answer)))?;
        Ok(())
    }

    /// A member no longer watches what the connection `publisher` sends.
    ///
    /// # Errors
    /// When the session does not know that connection.
    pub fn unwatch(&self, who: &Member, publisher: &str, answer: Option<Answer>) -> Result<(), Refusal> {
        self.change(who, |session| Ok((session.unsubscribe(&who.connection, publisher)?, answer)))
    }
}
