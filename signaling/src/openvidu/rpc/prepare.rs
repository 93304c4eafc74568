//! Where we offer: prepareReceiveVideoFrom, and the answers to our offers.

use millrace_control::RelayHello;
use serde_json::json;

use super::super::errors::{self, RpcError};
use super::super::negotiation::Tracks;
use super::negotiate::{Facts, offer};
use super::room::no_media_node;
use super::{Call, Caller, Identity, Outcome};
use crate::app::App;
use crate::clock;
use crate::session::{Attempt, Offer, Refusal};

impl Caller {
    /// Whether it is to take the place of a transport the client has (`reconnect`) makes no difference: a new one
    /// always does.
    pub(super) async fn prepare_receive_video_from(
        &self,
        caller: &Identity,
        call: &Call,
    ) -> Result<Outcome, RpcError> {
        self.require_reader(caller)?;
        let stream = call.params.text("sender")?;
        call.params.optional_bool("reconnect")?;
        let relay = self.app.link.ready(call.deadline).await.map_err(|error| no_media_node(&error))?;
        let offer = self.app.offer(&relay, &caller.session, &caller.connection, stream, Attempt::Own)?;
        Ok(Outcome::Result(json!({"sdpOffer": offer})))
    }

    /// The answer to an offer of ours, in the parameter `name`.
    pub(super) async fn accept(
        &self,
        caller: &Identity,
        call: &Call,
        stream: &str,
        name: &str,
        attempt: Attempt,
    ) -> Result<Outcome, RpcError> {
        let answer = offer(&call.params, name)?;
        let (facts, tracks) = self
            .facts(caller, |session| session.check_subscribe(&caller.connection, stream).map(Tracks::of))?;
        let offered = self.take_offer(caller, stream, attempt)?;
        let relay = self.app.link.ready(call.deadline).await.map_err(|error| no_media_node(&error))?;
        if relay.epoch != offered.relay_epoch {
            return Err(RpcError::new(
                errors::MEDIA_ENDPOINT,
                "the relay has been restarted since the offer",
            ));
        }
        let home = self.app.shared.lock().place(&caller.session, &relay);
        let home = home.ok_or_else(|| no_media_node(&"there is no shard"))?;
        let context = facts.context(&self.app, &relay, offered.local.shard_or(home), home);
        let agreed = context.accept(answer, &tracks, &offered)?;
        let applied = self.tell(caller, call, home, agreed).await?;
        self.conclude(caller, &applied, |session| {
            self.require_reader(caller)?;
            let media = applied.agreed.media.clone();
            let changes = session.subscribe(&caller.connection, stream, media, clock::now_ms())?;
            Ok((changes, self.answer(&call.id, &json!({}))))
        })
        .await
    }

    fn take_offer(&self, caller: &Identity, stream: &str, attempt: Attempt) -> Result<Offer, RpcError> {
        let mut state = self.app.shared.lock();
        let session = state.sessions.get_mut(&caller.session).ok_or(Refusal::UserClosed)?;
        let offer = session.offers.take(&caller.connection, stream, attempt, clock::now_ms());
        offer.ok_or_else(|| RpcError::new(errors::SDP, "there is no offer that this would answer"))
    }
}

impl App {
    /// Offers a stream to a viewer: our end of a new transport, which the relay hears of with the answer.
    ///
    /// # Errors
    /// When either is gone, or there is no place for it.
    pub fn offer(
        &self,
        relay: &RelayHello,
        session_id: &str,
        viewer: &str,
        stream: &str,
        attempt: Attempt,
    ) -> Result<String, RpcError> {
        let mut state = self.shared.lock();
        let home = state.place(session_id, relay);
        let at_home_max = self.config.streams.viewers_per_shard;
        let shard = state.shard_for_viewer(session_id, relay, at_home_max);
        let session = state.sessions.get_mut(session_id).ok_or(Refusal::UserClosed)?;
        let (home, shard) = home.zip(shard).ok_or_else(|| no_media_node(&"there is no shard"))?;
        session.check_subscribe(viewer, stream)?;
        let (publisher, published) = session.publisher(stream).ok_or(Refusal::NotStreaming)?;
        let facts = Facts::of(session, viewer)?;
        let context = facts.context(self, relay, shard, home);
        let (local_sdp, local) = context.offer(published)?;
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
}
