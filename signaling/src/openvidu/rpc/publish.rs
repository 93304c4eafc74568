//! Publishing, and coming back with a stream that exists.

use serde_json::json;

use super::super::errors::RpcError;
use super::super::negotiation::Tracks;
use super::negotiate::{Facts, Side, offer};
use super::options::media_options;
use super::{Call, Caller, Identity, Outcome};
use crate::clock;
use crate::ids;
use crate::session::{Refusal, Stream};

impl Caller {
    pub(super) async fn publish_video(&self, caller: &Identity, call: &Call) -> Result<Outcome, RpcError> {
        let offer = offer(&call.params, "sdpOffer")?;
        let options = media_options(&call.params, offer, self.generation)?;
        let loopback = call.params.optional_bool("doLoopback")?.unwrap_or(false);
        let (facts, ()) = self.facts(caller, |session| session.check_publish(&caller.connection))?;
        let stream_id = ids::stream(&options.id_type(), &caller.connection);
        let (audio_track, video_track) = (ids::relay(), ids::relay());
        let tracks = Tracks::new(&options, audio_track, video_track);
        let applied = self
            .apply(caller, call, &facts, Side::Publisher, |context| {
                context.publish(offer, &stream_id, &tracks, loopback)
            })
            .await?;
        let created_at_ms = clock::now_ms();
        self.conclude(caller, &applied, |session| {
            let result =
                json!({"sdpAnswer": applied.agreed.local_sdp, "id": stream_id, "createdAt": created_at_ms});
            let media = applied.agreed.media.clone();
            let stream = Stream { id: stream_id, created_at_ms, options, audio_track, video_track, media };
            let changes = session.publish(&caller.connection, stream)?;
            Ok((changes, self.answer(&call.id, &result)))
        })
        .await
    }

    pub(super) fn unpublish_video(&self, caller: &Identity, call: &Call) -> Result<Outcome, RpcError> {
        self.change(caller, call, |session| session.unpublish(&caller.connection))
    }

    /// The stream keeps its id and its tracks, so that its viewers go on; only the transport is new.
    pub(super) async fn republish(
        &self,
        caller: &Identity,
        call: &Call,
        facts: &Facts,
        own: Stream,
        offer: &str,
    ) -> Result<Outcome, RpcError> {
        let tracks = Tracks::of(&own);
        // What the publisher watches over its own transport is itself.
        let loopback = !own.media.subscriptions.is_empty();
        let applied = self
            .apply(caller, call, facts, Side::Publisher, |context| {
                context.publish(offer, &own.id, &tracks, loopback)
            })
            .await?;
        self.conclude(caller, &applied, |session| {
            self.require_reader(caller)?;
            // Another stream in the meantime is not the one these tracks belong to.
            session.publisher(&own.id).ok_or(Refusal::NotStreaming)?;
            let (stream, changes) = session.republish(&caller.connection, applied.agreed.media.clone())?;
            let answer = &applied.agreed.local_sdp;
            let result = json!({"sdpAnswer": answer, "id": stream.id, "createdAt": stream.created_at_ms});
            Ok((changes, self.answer(&call.id, &result)))
        })
        .await
    }
}
