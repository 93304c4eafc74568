//! The path of every negotiation.
//!
//! 1. Under the session's lock, it checks that the caller may do this, and copies the facts from the model.
//! 2. Without the lock, it negotiates.
//! 3. Under the lock, it reserves the endpoint, so that a reconciliation does not remove it from the relay.
//! 4. Without the lock, it sends the endpoint to the relay.
//! 5. Under the lock, it checks again and changes the model. The change is stored, then answer and notices are sent.

use std::time::Duration;

use millrace_control::{CodecKind, Command, PutTrack, Rejection, RelayHello, RemovePeer};
use tokio::time::Instant;

use super::super::negotiation::{Agreed, Context};
use super::super::{Answer, App, CallError, Member};
use crate::relay::LinkError;
use crate::session::{Changes, ConnectionProperties, Endpoint, ForcedVideoCodec, Offerer, Refusal, Session};

/// How long the answer to a failed republish waits until the relay has the old endpoint again.
const UNDO_WAIT: Duration = Duration::from_secs(1);

/// The facts of the model that a negotiation needs.
pub(super) struct Facts {
    room: u64,
    codec: ForcedVideoCodec,
    fall_back: bool,
    family: Option<CodecKind>,
    offerer: Offerer,
    properties: ConnectionProperties,
}

impl Facts {
    /// The facts about a participant's transports.
    pub(super) fn of(session: &Session, connection: &str) -> Result<Self, Refusal> {
        let (connection, _) = session.participant(connection)?;
        Ok(Self {
            room: session.room,
            codec: session.properties.forced_video_codec,
            fall_back: session.properties.allow_transcoding,
            family: session.video_family(),
            offerer: session.properties.offerer,
            properties: connection.properties.clone(),
        })
    }

    pub(super) fn context<'a>(
        &'a self,
        app: &'a App,
        relay: &'a RelayHello,
        shard: u32,
        home: u32,
    ) -> Context<'a> {
        Context {
            config: &app.config,
            relay,
            shard,
            home,
            room: self.room,
            codec: self.codec,
            offerer: self.offerer,
            fall_back: self.fall_back,
            family: self.family,
            connection: &self.properties,
        }
    }
}

/// Which end of a stream a transport is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// On the session's own shard, so that no track has more than one source of packets.
    Publisher,
    /// May be on another shard when the session has many viewers.
    Viewer,
}

/// A negotiation that the relay has carried out and the model does not contain yet.
pub(super) struct Applied {
    pub(super) agreed: Agreed,
    /// The session's shard.
    home: u32,
}

impl App {
    /// Copies the facts from the model before a negotiation.
    pub(super) fn facts<T>(
        &self,
        who: &Member,
        look: impl FnOnce(&Session) -> Result<T, Refusal>,
    ) -> Result<(Facts, T), CallError> {
        let locked = who.lock()?;
        Ok((Facts::of(&locked.session, &who.connection)?, look(&locked.session)?))
    }

    /// Negotiates with the `remote` description, and makes the relay ready for it.
    pub(super) async fn apply(
        &self,
        who: &Member,
        remote: &str,
        facts: &Facts,
        side: Side,
        deadline: Instant,
        negotiate: impl FnOnce(&Context<'_>) -> Result<Agreed, CallError>,
    ) -> Result<Applied, CallError> {
        let relay = self.link.ready(deadline).await.map_err(|error| CallError::unreachable(&error))?;
        let (home, shard) = self.place(who, side, &relay)?.ok_or_else(CallError::no_shard)?;
        let agreed = negotiate(&facts.context(self, &relay, shard, home))?;
        self.tell(who, remote, home, agreed, deadline).await
    }

    /// Makes the relay ready for what was negotiated with the `remote` description. `home` is the session's shard.
    pub(super) async fn tell(
        &self,
        who: &Member,
        remote: &str,
        home: u32,
        agreed: Agreed,
        deadline: Instant,
    ) -> Result<Applied, CallError> {
        let endpoint = &agreed.endpoint;
        let shard = endpoint.shard_or(home);
        {
            let mut locked = who.lock()?;
            locked.session.reserve(&who.connection, endpoint.clone());
            locked.peers.describe(endpoint.id(), &agreed.local_sdp, remote);
            locked.peers.expect(endpoint.id());
        }
        if let Err(error) = self.link.apply(shard, &endpoint.commands(home), deadline).await {
            tracing::warn!(session = who.session(), shard, %error, "the relay did not take it");
            self.undo(who, home, endpoint).await;
            return Err(match error {
                LinkError::Down | LinkError::Rejected(Rejection::Full, _) => CallError::unreachable(&error),
                _ => CallError::MediaEndpoint(error.to_string()),
            });
        }
        Ok(Applied { agreed, home })
    }

    /// The session's shard, and the shard for one more transport. `None` when no shard takes it.
    fn place(&self, who: &Member, side: Side, relay: &RelayHello) -> Result<Option<(u32, u32)>, Refusal> {
        let mut locked = who.lock()?;
        let Some(home) = self.registry.place(&mut locked.session) else { return Ok(None) };
        let at_home_max = self.config.streams.viewers_per_shard;
        let shard = match side {
            Side::Publisher => Some(home),
            Side::Viewer => self.registry.shard_for_viewer(&locked.session, relay.bridges, at_home_max),
        };
        Ok(shard.map(|shard| (home, shard)))
    }

    /// Makes what the relay carried out part of the model, or takes it back.
    pub(super) async fn conclude(
        &self,
        who: &Member,
        applied: &Applied,
        change: impl FnOnce(&mut Session) -> Result<(Changes, Option<Answer>), Refusal>,
    ) -> Result<(), CallError> {
        let Err(refusal) = self.change(who, change) else { return Ok(()) };
        self.undo(who, applied.home, &applied.agreed.endpoint).await;
        Err(refusal.into())
    }

    /// Changes the model, and carries out what follows with the answer to the change.
    pub(super) fn change(
        &self,
        who: &Member,
        change: impl FnOnce(&mut Session) -> Result<(Changes, Option<Answer>), Refusal>,
    ) -> Result<(), Refusal> {
        let mut locked = who.lock()?;
        let (changes, answer) = change(&mut locked.session)?;
        self.carry_out(&mut locked, changes, answer);
        Ok(())
    }

    /// Removes an endpoint that the relay has in part or whole. If a republish moved tracks to it, they go back to
    /// the endpoint of the model, unless that one is closed.
    async fn undo(&self, who: &Member, home: u32, endpoint: &Endpoint) {
        let (peer, shard) = (endpoint.id(), endpoint.shard_or(home));
        let is_moved = |track: &PutTrack| endpoint.inputs.iter().any(|moved| moved.track == track.track);
        let back = {
            let mut locked = who.cell.lock_any();
            locked.peers.forget(peer);
            locked.session.release(peer);
            let own = own_endpoint(&locked.session, who);
            own.filter(|own| own.inputs.iter().any(is_moved) && !locked.peers.is_over(own.id())).cloned()
        };
        let Some(back) = back else {
            self.link.forget(shard, vec![peer]);
            return;
        };
        let mut commands = vec![Command::RemovePeer(RemovePeer { peer })];
        commands.extend(back.commands(home));
        if let Err(error) = self.link.apply(shard, &commands, Instant::now() + UNDO_WAIT).await {
            tracing::debug!(shard, %error, "putting a stream back is left to the next reconciliation");
        }
        // If the stream ended or moved meanwhile, the relay must not keep the endpoint that these commands made.
        let locked = who.cell.lock_any();
        if own_endpoint(&locked.session, who).is_none_or(|own| own.id() != back.id()) {
            self.link.forget(shard, vec![back.id()]);
        }
    }
}

/// The endpoint that a member publishes with.
fn own_endpoint<'s>(session: &'s Session, who: &Member) -> Option<&'s Endpoint> {
    let (_, participant) = session.participant(&who.connection).ok()?;
    session.graph().get(participant.stream.as_ref()?.endpoint)
}
