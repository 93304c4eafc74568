//! Streams and subscriptions: what needs SDP and the relay.
//!
//! Each follows the same path. Under the lock: may the caller do it, and which ids take part. Without it: negotiate.
//! Under the lock: claim, so that the relay keeps what it is about to be told. Then tell the relay. Under the lock
//! again: is it all still so; then it is part of the model, is stored, and answer and notifications leave.

use std::time::Duration;

use millrace_control::{Command, PutTrack, Rejection, RelayHello, RemovePeer};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::super::errors::{self, RpcError};
use super::super::ids;
use super::super::json;
use super::super::negotiation::{Agreed, Context, Tracks};
use super::room::no_media_node;
use super::{Caller, Identity, Outcome, Params};
use crate::app::Answer;
use crate::clock;
use crate::relay::LinkError;
use crate::sdp;
use crate::session::{
    Changes, ConnectionProperties, ForcedVideoCodec, Media, MediaOptions, Refusal, Session, Stream,
};

/// Longest text among the options of a stream, in bytes.
const OPTION_LEN_MAX: usize = 1_024;

/// How long the answer to a failed republish waits until the stream is put back.
const UNDO_WAIT: Duration = Duration::from_secs(1);

/// What of the model a negotiation needs.
struct Facts {
    room: u64,
    codec: ForcedVideoCodec,
    properties: ConnectionProperties,
}

/// Which end of a stream a PeerConnection is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// On the session's own shard, so that no track has more than one source of packets.
    Publisher,
    /// Elsewhere when there are many.
    Viewer,
}

/// A negotiation the relay has carried out and the model does not know of yet.
struct Applied {
    agreed: Agreed,
    /// The session's shard.
    home: u32,
}

impl Caller {
    pub(super) async fn publish_video(
        &self,
        caller: &Identity,
        id: &Value,
        params: &Params,
        deadline: Instant,
    ) -> Result<Outcome, RpcError> {
        let offer = offer(params, "sdpOffer")?;
        let options = media_options(params)?;
        let loopback = params.optional_bool("doLoopback")?.unwrap_or(false);
        let (facts, ()) = self.facts(caller, |session| session.check_publish(&caller.connection))?;
        let stream_id = ids::stream(&options.id_type(), &caller.connection);
        let (audio_track, video_track) = (ids::relay(), ids::relay());
        let tracks = tracks(&options, audio_track, video_track);
        let applied = self
            .apply(caller, deadline, &facts, Side::Publisher, |context| {
                context.publish(offer, &stream_id, tracks, loopback)
            })
            .await?;
        let created_at_ms = clock::now_ms();
        self.conclude(caller, &applied, |session| {
            let result =
                json!({"sdpAnswer": applied.agreed.answer, "id": stream_id, "createdAt": created_at_ms});
            let media = applied.agreed.media.clone();
            let stream = Stream { id: stream_id, created_at_ms, options, audio_track, video_track, media };
            let changes = session.publish(&caller.connection, stream)?;
            Ok((changes, self.answer(id, &result)))
        })
        .await
    }

    pub(super) fn unpublish_video(&self, caller: &Identity, id: &Value) -> Result<Outcome, RpcError> {
        self.change(caller, id, |session| session.unpublish(&caller.connection))
    }

    pub(super) async fn receive_video_from(
        &self,
        caller: &Identity,
        id: &Value,
        params: &Params,
        deadline: Instant,
    ) -> Result<Outcome, RpcError> {
        self.require_reader(caller)?;
        let stream = params.text("sender")?;
        self.subscribe(caller, id, stream, offer(params, "sdpOffer")?, deadline).await
    }

    /// Here `sender` is the publisher's connection, not its stream.
    pub(super) fn unsubscribe_from_video(
        &self,
        caller: &Identity,
        id: &Value,
        params: &Params,
    ) -> Result<Outcome, RpcError> {
        let publisher = params.text("sender")?;
        self.change(caller, id, |session| session.unsubscribe(&caller.connection, publisher))
    }

    /// The client has made a new PeerConnection for its own stream, or for one it watches.
    pub(super) async fn reconnect_stream(
        &self,
        caller: &Identity,
        id: &Value,
        params: &Params,
        deadline: Instant,
    ) -> Result<Outcome, RpcError> {
        self.require_reader(caller)?;
        let stream = params.text("stream")?;
        let (facts, own) = self.facts(caller, |session| {
            Ok(session.participant(&caller.connection)?.1.stream.clone().filter(|own| own.id == stream))
        })?;
        match own {
            Some(own) => self.republish(caller, id, &facts, own, offer(params, "sdpString")?, deadline).await,
            None => self.subscribe(caller, id, stream, offer(params, "sdpOffer")?, deadline).await,
        }
    }

    /// The stream keeps its id and its tracks, so that its viewers go on; only the transport is new.
    async fn republish(
        &self,
        caller: &Identity,
        id: &Value,
        facts: &Facts,
        own: Stream,
        offer: &str,
        deadline: Instant,
    ) -> Result<Outcome, RpcError> {
        let tracks = tracks(&own.options, own.audio_track, own.video_track);
        // What the publisher watches over its own transport is itself.
        let loopback = !own.media.subscriptions.is_empty();
        let applied = self
            .apply(caller, deadline, facts, Side::Publisher, |context| {
                context.publish(offer, &own.id, tracks, loopback)
            })
            .await?;
        self.conclude(caller, &applied, |session| {
            self.require_reader(caller)?;
            // Another stream in the meantime is not the one these tracks belong to.
            session.publisher(&own.id).ok_or(Refusal::NotStreaming)?;
            let (stream, changes) = session.republish(&caller.connection, applied.agreed.media.clone())?;
            let answer = &applied.agreed.answer;
            let result = json!({"sdpAnswer": answer, "id": stream.id, "createdAt": stream.created_at_ms});
            Ok((changes, self.answer(id, &result)))
        })
        .await
    }

    async fn subscribe(
        &self,
        caller: &Identity,
        id: &Value,
        stream: &str,
        offer: &str,
        deadline: Instant,
    ) -> Result<Outcome, RpcError> {
        let (facts, tracks) = self.facts(caller, |session| {
            let watched = session.check_subscribe(&caller.connection, stream)?;
            Ok(tracks(&watched.options, watched.audio_track, watched.video_track))
        })?;
        let applied = self
            .apply(caller, deadline, &facts, Side::Viewer, |context| context.subscribe(offer, stream, tracks))
            .await?;
        self.conclude(caller, &applied, |session| {
            self.require_reader(caller)?;
            let media = applied.agreed.media.clone();
            let changes = session.subscribe(&caller.connection, stream, media, clock::now_ms())?;
            Ok((changes, self.answer(id, &json!({"sdpAnswer": applied.agreed.answer}))))
        })
        .await
    }

    /// Looks at the model before a negotiation.
    fn facts<T>(
        &self,
        caller: &Identity,
        look: impl FnOnce(&Session) -> Result<T, Refusal>,
    ) -> Result<(Facts, T), RpcError> {
        let state = self.app.shared.lock();
        let session = state.sessions.get(&caller.session).ok_or(Refusal::UserClosed)?;
        let (connection, _) = session.participant(&caller.connection)?;
        let facts = Facts {
            room: session.room,
            codec: session.properties.forced_video_codec,
            properties: connection.properties.clone(),
        };
        Ok((facts, look(session)?))
    }

    /// Negotiates, and makes the relay ready for it.
    async fn apply(
        &self,
        caller: &Identity,
        deadline: Instant,
        facts: &Facts,
        side: Side,
        negotiate: impl FnOnce(&Context<'_>) -> Result<Agreed, RpcError>,
    ) -> Result<Applied, RpcError> {
        let link = &self.app.link;
        let relay = link.ready(deadline).await.map_err(|error| no_media_node(&error))?;
        let (home, shard) =
            self.place(caller, side, &relay).ok_or_else(|| no_media_node(&"there is no shard"))?;
        let agreed = negotiate(&Context {
            config: &self.app.config,
            relay: &relay,
            shard,
            home,
            room: facts.room,
            codec: facts.codec,
            connection: &facts.properties,
        })?;
        let media = &agreed.media;
        {
            let mut state = self.app.shared.lock();
            let session = state.sessions.get_mut(&caller.session).ok_or(Refusal::UserClosed)?;
            session.reserve(media.clone());
            state.expect_peer(media.id());
        }
        if let Err(error) = link.apply(shard, &media.commands(home), deadline).await {
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
        let at_home_max = self.app.config.viewers_per_shard;
        let shard = match side {
            Side::Publisher => home,
            Side::Viewer => state.shard_for_viewer(&caller.session, relay, at_home_max)?,
        };
        Some((home, shard))
    }

    /// Makes what the relay carried out part of the model, or takes it back.
    async fn conclude(
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
            state.peers.remove(&peer);
            if let Some(session) = state.sessions.get_mut(&caller.session) {
                session.release(peer);
            }
            let own = state.stream_of(caller).map(|stream| &stream.media);
            own.filter(|own| own.tracks.iter().any(is_moved) && !state.is_over(own.id())).cloned()
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
    fn require_reader(&self, caller: &Identity) -> Result<(), Refusal> {
        if caller.outbox.reader() == caller.reader { Ok(()) } else { Err(Refusal::UserClosed) }
    }

    /// A change that needs no negotiation and is answered with nothing.
    pub(super) fn change(
        &self,
        caller: &Identity,
        id: &Value,
        change: impl FnOnce(&mut Session) -> Result<Changes, Refusal>,
    ) -> Result<Outcome, RpcError> {
        let mut state = self.app.shared.lock();
        let session = state.sessions.get_mut(&caller.session).ok_or(Refusal::UserClosed)?;
        let changes = change(session)?;
        self.app.carry_out(&mut state, &caller.session, changes, self.answer(id, &json!({})));
        Ok(Outcome::Submitted)
    }
}

/// Nothing is done with a candidate: the relay is ICE-lite and learns paths from the checks it receives.
pub(super) fn on_ice_candidate(params: &Params) -> Result<Value, RpcError> {
    let candidate = params.optional_text("candidate")?.unwrap_or_default();
    sdp::add_candidate(candidate).map_err(|error| RpcError::new(error.code(), error.to_string()))?;
    Ok(json!({}))
}

fn offer<'a>(params: &'a Params, name: &str) -> Result<&'a str, RpcError> {
    params.text(name).map_err(|_| RpcError::new(errors::SDP, format!("'{name}' is missing")))
}

/// Whether `text` is the JSON of a width and a height. Clients parse it unguarded: with anything else everybody who
/// joins later would wait for ever.
pub(super) fn is_dimensions(text: &str) -> bool {
    let Ok(value) = json::parse(text.as_bytes()) else { return false };
    text.len() <= OPTION_LEN_MAX && value["width"].is_number() && value["height"].is_number()
}

fn tracks(options: &MediaOptions, audio: u64, video: u64) -> Tracks {
    Tracks { audio: options.has_audio.then_some(audio), video: options.has_video.then_some(video) }
}

/// What the publisher says of its stream; what does not apply to it is left out.
fn media_options(params: &Params) -> Result<MediaOptions, RpcError> {
    let has_audio = params.optional_bool("hasAudio")?.unwrap_or(false);
    let has_video = params.optional_bool("hasVideo")?.unwrap_or(false);
    if !has_audio && !has_video {
        return Err(RpcError::new(errors::SDP, "a stream has audio or video"));
    }
    let text = |name: &str| {
        let text = params.optional_text(name)?;
        if text.is_some_and(|text| text.len() > OPTION_LEN_MAX) {
            Err(RpcError::param(name))
        } else {
            Ok(text)
        }
    };
    let active = |name: &str, has: bool| -> Result<Option<bool>, RpcError> {
        let value = params.optional_bool(name)?.unwrap_or(true);
        Ok(has.then_some(value))
    };
    let type_of_video = text("typeOfVideo")?.filter(|_| has_video);
    if type_of_video.is_some_and(|kind| !matches!(kind, "CAMERA" | "SCREEN" | "CUSTOM" | "IPCAM")) {
        return Err(RpcError::param("typeOfVideo"));
    }
    Ok(MediaOptions {
        has_audio,
        has_video,
        audio_active: active("audioActive", has_audio)?,
        video_active: active("videoActive", has_video)?,
        type_of_video: type_of_video.map(str::to_owned),
        frame_rate: params.value("frameRate").and_then(Value::as_i64).filter(|_| has_video),
        video_dimensions: params
            .optional_text("videoDimensions")?
            .filter(|text| has_video && is_dimensions(text))
            .map(str::to_owned),
        filter: Map::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openvidu::rpc::Request;

    fn options(more: &str) -> MediaOptions {
        let text = format!(r#"{{"jsonrpc":"2.0","method":"m","id":1,"params":{{{more}}}}}"#);
        media_options(&Request::parse(&text).unwrap().params).unwrap()
    }

    #[test]
    fn dimensions_are_two_numbers_in_json() {
        for good in [r#"{"width":1280,"height":720}"#, r#"{"height":0.5,"width":-1,"x":null}"#] {
            assert!(is_dimensions(good), "{good}");
        }
        let long = format!(r#"{{"width":1,"height":1,"x":"{}"}}"#, "x".repeat(OPTION_LEN_MAX));
        let twice = r#"{"width":1,"width":2,"height":1}"#;
        for bad in ["", "{", "null", "[1,2]", r#"{"width":1}"#, r#"{"width":"1","height":"2"}"#, twice, &long]
        {
            assert!(!is_dimensions(bad), "{bad}");
        }
    }

    #[test]
    fn what_clients_could_not_parse_is_left_out() {
        let video = r#""hasAudio":true,"hasVideo":true,"typeOfVideo":"CAMERA""#;
        assert_eq!(options(&format!(r#"{video},"videoDimensions":"{{""#)).video_dimensions, None);
        let given = options(&format!(r#"{video},"videoDimensions":"{{\"width\":1,\"height\":2}}""#));
        assert_eq!(given.video_dimensions.as_deref(), Some(r#"{"width":1,"height":2}"#));
        let audio = r#""hasAudio":true,"videoDimensions":"{\"width\":1,\"height\":2}""#;
        assert_eq!(options(audio).video_dimensions, None);
    }
}
