//! The path of every negotiation.
//!
//! Under the lock: may the caller do it, and which ids take part. Without it: negotiate. Under the lock: claim, so that
//! the relay keeps what it is about to be told. Then tell the relay. Under the lock again: is it all still so; then it
//! is part of the model, is stored, and answer and notifications leave.

use std::time::Duration;

use millrace_control::{CodecKind, Command, PutTrack, Rejection, RelayHello, RemovePeer};
use serde_json::json;
use tokio::time::Instant;

use super::super::errors::{self, RpcError};
use super::super::negotiation::{Agreed, Context};
use super::room::no_media_node;
use super::{Call, Caller, Identity, Outcome, Params};
use crate::app::{Answer, App};
use crate::relay::LinkError;
use crate::session::{Changes, ConnectionProperties, ForcedVideoCodec, Media, MediaServer, Refusal, Session};

/// How long the answer to a failed republish waits until the stream is put back.
const UNDO_WAIT: Duration = Duration::from_secs(1);

/// What of the model a negotiation needs.
pub(super) struct Facts {
    room: u64,
    codec: ForcedVideoCodec,
    fall_back: bool,
    family: Option<CodecKind>,
    media_server: MediaServer,
    properties: ConnectionProperties,
}

impl Facts {
    /// The facts about a participant's PeerConnections.
    pub(super) fn of(session: &Session, connection: &str) -> Result<Self, Refusal> {
        let (connection, _) = session.participant(connection)?;
        Ok(Self {
            room: session.room,
            codec: session.properties.forced_video_codec,
            fall_back: session.properties.allow_transcoding,
            family: session.video_family(),
            media_server: session.properties.media_server,
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
            media_server: self.media_server,
            fall_back: self.fall_back,
            family: self.family,
            connection: &self.properties,
        }
    }
}

/// Which end of a stream a PeerConnection is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// On the session's own shard, so that no track has more than one source of packets.
    Publisher,
    /// Elsewhere when there are many.
    Viewer,
}

/// A negotiation the relay has carried out and the model does not know of yet.
pub(super) struct Applied {
    pub(super) agreed: Agreed,
    /// The session's shard.
    home: u32,
}

impl Caller {
    /// Looks at the model before a negotiation.
    pub(super) fn facts<T>(
        &self,
        caller: &Identity,
        look: impl FnOnce(&Session) -> Result<T, Refusal>,
    ) -> Result<(Facts, T), RpcError> {
        let state = self.app.shared.lock();
        let session = state.sessions.get(&caller.session).ok_or(Refusal::UserClosed)?;
        Ok((Facts::of(session, &caller.connection)?, look(session)?))
    }

    /// Negotiates, and makes the relay ready for it.
    pub(super) async fn apply(
        &self,
        caller: &Identity,
        call: &Call,
        facts: &Facts,
        side: Side,
        negotiate: impl FnOnce(&Context<'_>) -> Result<Agreed, RpcError>,
    ) -> Result<Applied, RpcError> {
        let link = &self.app.link;
        let relay = link.ready(call.deadline).await.map_err(|error| no_media_node(&error))?;
        let (home, shard) =
            self.place(caller, side, &relay).ok_or_else(|| no_media_node(&"there is no shard"))?;
        let agreed = negotiate(&facts.context(&self.app, &relay, shard, home))?;
        self.tell(caller, call, home, agreed).await
    }

    /// Makes the relay ready for what was negotiated. `home` is the session's shard.
    pub(super) async fn tell(
        &self,
        caller: &Identity,
        call: &Call,
        home: u32,
        agreed: Agreed,
    ) -> Result<Applied, RpcError> {
        let link = &self.app.link;
        let media = &agreed.media;
        let shard = media.shard_or(home);
        {
            let mut state = self.app.shared.lock();
            let session = state.sessions.get_mut(&caller.session).ok_or(Refusal::UserClosed)?;
            session.reserve(media.clone());
            state.peers.describe(media.id(), &agreed.local_sdp, sdp_of(&call.params));
            state.peers.expect(media.id());
        }
        if let Err(error) = link.apply(shard, &media.commands(home), call.deadline).await {
            tracing::warn!(session = caller.session, shard, %error, "the relay did not take it");
            self.undo(caller, home, media).await;
            return Err(match error {
                LinkError::Down | LinkError::Rejected(Rejection::Full, _) => no_media_node(&error),
                _ => RpcError::new(errors::MEDIA_ENDPOINT, error.to_string()),
            });
        }
        Ok(Applied { agreed, home })
    }

    /// The session's shard, and that of one more PeerConnection.
    fn place(&self, caller: &Identity, side: Side, relay: &RelayHello) -> Option<(u32, u32)> {
        let mut state = self.app.shared.lock();
        let home = state.place(&caller.session, relay)?;
        let at_home_max = self.app.config.streams.viewers_per_shard;
        let shard = match side {
            Side::Publisher => home,
            Side::Viewer => state.shard_for_viewer(&caller.session, relay, at_home_max)?,
        };
        Some((home, shard))
    }

    /// Makes what the relay carried out part of the model, or takes it back.
    pub(super) async fn conclude(
        &self,
        caller: &Identity,
        applied: &Applied,
        change: impl FnOnce(&mut Session) -> Result<(Changes, Option<Answer>), Refusal>,
    ) -> Result<Outcome, RpcError> {
        let Err(refusal) = self.enter(caller, change) else { return Ok(Outcome::Submitted) };
        self.undo(caller, applied.home, &applied.agreed.media).await;
        Err(refusal.into())
    }

    fn enter(
        &self,
        caller: &Identity,
        change: impl FnOnce(&mut Session) -> Result<(Changes, Option<Answer>), Refusal>,
    ) -> Result<(), Refusal> {
        let mut state = self.app.shared.lock();
        let session = state.sessions.get_mut(&caller.session).ok_or(Refusal::UserClosed)?;
        let (changes, answer) = change(session)?;
        self.app.carry_out(&mut state, &caller.session, changes, answer);
        Ok(())
    }

    /// Takes back what the relay carried out, in part or whole, of `media`. Tracks that a republish had moved to it go
    /// back to the transport of the model, if that is still of use.
    async fn undo(&self, caller: &Identity, home: u32, media: &Media) {
        let (peer, shard) = (media.id(), media.shard_or(home));
        let is_moved = |track: &PutTrack| media.tracks.iter().any(|moved| moved.track == track.track);
        let back = {
            let mut state = self.app.shared.lock();
            state.peers.forget(peer);
            if let Some(session) = state.sessions.get_mut(&caller.session) {
                session.release(peer);
            }
            let own = state.stream_of(caller).map(|stream| &stream.media);
            own.filter(|own| own.tracks.iter().any(is_moved) && !state.peers.is_over(own.id())).cloned()
        };
        let Some(back) = back else {
            self.app.link.forget(shard, vec![peer]);
            return;
        };
        let mut commands = vec![Command::RemovePeer(RemovePeer { peer })];
        commands.extend(back.commands(home));
        if let Err(error) = self.app.link.apply(shard, &commands, Instant::now() + UNDO_WAIT).await {
            tracing::debug!(shard, %error, "putting a stream back is left to the next reconciliation");
        }
        // The stream may have ended meanwhile, and what was said of it must not stay behind.
        let state = self.app.shared.lock();
        if state.stream_of(caller).is_none_or(|stream| stream.media.id() != back.id()) {
            self.app.link.forget(shard, vec![back.id()]);
        }
    }

    /// Whether this socket is its participant's own. Another one has a newer offer: an older must not win.
    pub(super) fn require_reader(&self, caller: &Identity) -> Result<(), Refusal> {
        if caller.outbox.reader() == caller.reader { Ok(()) } else { Err(Refusal::UserClosed) }
    }

    /// A change that needs no negotiation and is answered with nothing.
    pub(super) fn change(
        &self,
        caller: &Identity,
        call: &Call,
        change: impl FnOnce(&mut Session) -> Result<Changes, Refusal>,
    ) -> Result<Outcome, RpcError> {
        let mut state = self.app.shared.lock();
        let session = state.sessions.get_mut(&caller.session).ok_or(Refusal::UserClosed)?;
        let changes = change(session)?;
        self.app.carry_out(&mut state, &caller.session, changes, self.answer(&call.id, &json!({})));
        Ok(Outcome::Submitted)
    }
}

/// The client's session description, under whatever name the method has for it.
fn sdp_of(params: &Params) -> &str {
    let mut texts = ["sdpOffer", "sdpAnswer", "sdpString"].into_iter().map(|name| params.text(name));
    texts.find_map(Result::ok).unwrap_or_default()
}

pub(super) fn offer<'a>(params: &'a Params, name: &str) -> Result<&'a str, RpcError> {
    params.text(name).map_err(|_| RpcError::new(errors::SDP, format!("'{name}' is missing")))
}
