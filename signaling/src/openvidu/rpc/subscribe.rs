//! Watching, and coming back to what was published or watched.

use serde_json::json;

use super::super::errors::RpcError;
use super::super::first;
use super::{Call, Caller, Outcome, sdp_param};
use crate::app::Member;
use crate::session::Attempt;

impl Caller {
    pub(super) async fn receive_video_from(&self, who: &Member, call: &Call) -> Result<Outcome, RpcError> {
        who.require_current()?;
        let stream = first::stream_of(call.params.text("sender")?);
        // What is there decides, not the mode: a client that knows one may be answering in the other.
        if call.params.value("sdpAnswer").is_some() {
            return self.accept(who, call, stream, "sdpAnswer", Attempt::Own).await;
        }
        self.watch(who, call, stream).await
    }

    /// Offers a stream. `reconnect` makes no difference: a new transport always takes the place of an old one.
    pub(super) async fn prepare_receive_video_from(
        &self,
        who: &Member,
        call: &Call,
    ) -> Result<Outcome, RpcError> {
        who.require_current()?;
        let stream = call.params.text("sender")?;
        call.params.optional_bool("reconnect")?;
        let offer = self.app.offer(who, stream, call.deadline).await?;
        Ok(Outcome::Result(json!({"sdpOffer": offer})))
    }

    /// Here `sender` is the publisher's connection, not its stream.
    pub(super) fn unsubscribe_from_video(&self, who: &Member, call: &Call) -> Result<Outcome, RpcError> {
        let publisher = first::connection_of(call.params.text("sender")?);
        self.app.unwatch(who, publisher, self.nothing(&call.id))?;
        Ok(Outcome::Submitted)
    }

    /// The client has made a new PeerConnection for its own stream, or for one it watches.
    pub(super) async fn reconnect_stream(&self, who: &Member, call: &Call) -> Result<Outcome, RpcError> {
        who.require_current()?;
        let stream = call.params.text("stream")?;
        let is_own = {
            let locked = who.lock()?;
            let (_, participant) = locked.session.participant(&who.connection)?;
            participant.stream.as_ref().is_some_and(|own| own.id == stream)
        };
        let is_forced = call.params.optional_bool("forciblyReconnect")?.unwrap_or(false);
        let attempt = if is_forced { Attempt::Forced } else { Attempt::Own };
        if is_own {
            return self.republish(who, call, stream).await;
        }
        if call.params.value("sdpString").is_some() {
            return self.accept(who, call, stream, "sdpString", attempt).await;
        }
        self.watch(who, call, stream).await
    }

    async fn watch(&self, who: &Member, call: &Call, stream: &str) -> Result<Outcome, RpcError> {
        let offer = sdp_param(&call.params, "sdpOffer")?;
        self.app
            .watch(who, stream, offer, call.deadline, |answer| {
                self.answer(&call.id, &json!({"sdpAnswer": answer}))
            })
            .await?;
        Ok(Outcome::Submitted)
    }

    async fn accept(
        &self,
        who: &Member,
        call: &Call,
        stream: &str,
        name: &str,
        attempt: Attempt,
    ) -> Result<Outcome, RpcError> {
        let remote = sdp_param(&call.params, name)?;
        self.app.accept(who, stream, remote, attempt, call.deadline, self.nothing(&call.id)).await?;
        Ok(Outcome::Submitted)
    }

    async fn republish(&self, who: &Member, call: &Call, stream: &str) -> Result<Outcome, RpcError> {
        let offer = sdp_param(&call.params, "sdpString")?;
        self.app
            .republish(who, stream, offer, call.deadline, |published| {
                let (answer, id) = (&published.answer, &published.stream);
                let result = json!({"sdpAnswer": answer, "id": id, "createdAt": published.created_at_ms});
                self.answer(&call.id, &result)
            })
            .await?;
        Ok(Outcome::Submitted)
    }
}
