//! Watching, and coming back to what was watched.

use serde_json::json;

use super::super::errors::RpcError;
use super::super::first;
use super::super::negotiation::Tracks;
use super::negotiate::{Side, offer};
use super::{Call, Caller, Identity, Outcome};
use crate::clock;
use crate::session::Attempt;

impl Caller {
    pub(super) async fn receive_video_from(
        &self,
        caller: &Identity,
        call: &Call,
    ) -> Result<Outcome, RpcError> {
        self.require_reader(caller)?;
        let stream = first::stream_of(call.params.text("sender")?);
        // What is there decides, not the mode: who was told of one may be answering in the other.
        if call.params.value("sdpAnswer").is_some() {
            return self.accept(caller, call, stream, "sdpAnswer", Attempt::Own).await;
        }
        self.subscribe(caller, call, stream, offer(&call.params, "sdpOffer")?).await
    }

    /// Here `sender` is the publisher's connection, not its stream.
    pub(super) fn unsubscribe_from_video(&self, caller: &Identity, call: &Call) -> Result<Outcome, RpcError> {
        let publisher = first::connection_of(call.params.text("sender")?);
        self.change(caller, call, |session| session.unsubscribe(&caller.connection, publisher))
    }

    /// The client has made a new PeerConnection for its own stream, or for one it watches.
    pub(super) async fn reconnect_stream(&self, caller: &Identity, call: &Call) -> Result<Outcome, RpcError> {
        self.require_reader(caller)?;
        let stream = call.params.text("stream")?;
        let (facts, own) = self.facts(caller, |session| {
            Ok(session.participant(&caller.connection)?.1.stream.clone().filter(|own| own.id == stream))
        })?;
        let is_forced = call.params.optional_bool("forciblyReconnect")?.unwrap_or(false);
        let attempt = if is_forced { Attempt::Forced } else { Attempt::Own };
        match own {
            Some(own) => self.republish(caller, call, &facts, own, offer(&call.params, "sdpString")?).await,
            None if call.params.value("sdpString").is_some() => {
                self.accept(caller, call, stream, "sdpString", attempt).await
            }
            None => self.subscribe(caller, call, stream, offer(&call.params, "sdpOffer")?).await,
        }
    }

    async fn subscribe(
        &self,
        caller: &Identity,
        call: &Call,
        stream: &str,
        offer: &str,
    ) -> Result<Outcome, RpcError> {
        let (facts, tracks) = self
            .facts(caller, |session| session.check_subscribe(&caller.connection, stream).map(Tracks::of))?;
        let applied = self
            .apply(caller, call, &facts, Side::Viewer, |context| context.subscribe(offer, stream, &tracks))
            .await?;
        self.conclude(caller, &applied, |session| {
            self.require_reader(caller)?;
            let media = applied.agreed.media.clone();
            let changes = session.subscribe(&caller.connection, stream, media, clock::now_ms())?;
            Ok((changes, self.answer(&call.id, &json!({"sdpAnswer": applied.agreed.local_sdp}))))
        })
        .await
    }
}
