//! Publishing, and coming back with a stream that exists.

use tokio::time::Instant;

use super::super::negotiation::Tracks;
use super::super::{Answer, App, CallError, Member};
use super::negotiate::Side;
use crate::clock;
use crate::ids;
use crate::session::{MediaOptions, Refusal, Stream};

/// What a member wants to publish.
#[derive(Clone, Debug)]
pub struct PublishRequest<'a> {
    /// Its offer.
    pub offer: &'a str,
    /// What it states about the stream.
    pub options: MediaOptions,
    /// Whether it is sent its own stream over the same transport.
    pub loopback: bool,
    /// The answer is of no use after this time.
    pub deadline: Instant,
}

/// A stream that is published now.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its id.
    pub stream: String,
    /// When it was made, in ms since 1970.
    pub created_at_ms: u64,
    /// Our answer.
    pub answer: String,
}

impl App {
    /// A member publishes. `answer` is made of the stream, and leaves with the change.
    ///
    /// # Errors
    /// When the member may not publish, the offer cannot be used, or the relay does not take it.
    pub async fn publish(
        &self,
        who: &Member,
        request: PublishRequest<'_>,
        answer: impl FnOnce(&Published) -> Option<Answer>,
    ) -> Result<(), CallError> {
        let PublishRequest { offer, options, loopback, deadline } = request;
        let (facts, ()) = self.facts(who, |session| session.check_publish(&who.connection))?;
        let id = ids::stream(&options.id_type(), &who.connection);
        let (audio, video) = (ids::relay(), ids::relay());
        let tracks = Tracks::new(&options, audio, video);
        let applied = self
            .apply(who, offer, &facts, Side::Publisher, deadline, |context| {
                context.publish(offer, &id, &tracks, loopback)
            })
            .await?;
        let published = Published {
            stream: id,
            created_at_ms: clock::now_ms(),
            answer: applied.agreed.local_sdp.clone(),
        };
        self.conclude(who, &applied, |session| {
            let endpoint = applied.agreed.endpoint.clone();
            let id = published.stream.clone();
            let stream = Stream::new(id, published.created_at_ms, options, [audio, video], endpoint.id());
            let changes = session.publish(&who.connection, stream, endpoint)?;
            Ok((changes, answer(&published)))
        })
        .await
    }

    /// A member comes back with the stream that it publishes, over a new transport. The stream keeps its id and its tracks, so
    /// that its viewers go on.
    ///
    /// # Errors
    /// When the member does not publish that stream, the offer cannot be used, or the relay does not take it.
    pub async fn republish(
        &self,
        who: &Member,
        stream: &str,
        offer: &str,
        deadline: Instant,
        answer: impl FnOnce(&Published) -> Option<Answer>,
    ) -> Result<(), CallError> {
        who.require_current()?;
        let (facts, (tracks, loopback)) = self.facts(who, |session| {
            let (_, participant) = session.participant(&who.connection)?;
            let own =
                participant.stream.as_ref().filter(|own| own.id == stream).ok_or(Refusal::NotStreaming)?;
            // A publisher's endpoint has outputs only if it receives its own stream.
            let endpoint = session.graph().get(own.endpoint);
            let loopback = endpoint.is_some_and(|endpoint| !endpoint.outputs.is_empty());
            Ok((Tracks::of(session, own), loopback))
        })?;
        let applied = self
            .apply(who, offer, &facts, Side::Publisher, deadline, |context| {
                context.publish(offer, stream, &tracks, loopback)
            })
            .await?;
        self.conclude(who, &applied, |session| {
            who.require_current()?;
            // The tracks belong to this stream. A new stream of the member has other tracks.
            session.publisher(stream).ok_or(Refusal::NotStreaming)?;
            let (stream, changes) = session.republish(&who.connection, applied.agreed.endpoint.clone())?;
            let local_sdp = applied.agreed.local_sdp.clone();
            let published =
                Published { stream: stream.id, created_at_ms: stream.created_at_ms, answer: local_sdp };
            Ok((changes, answer(&published)))
        })
        .await
    }

    /// A member ends its stream.
    ///
    /// # Errors
    /// When it does not publish.
    pub fn unpublish(&self, who: &Member, answer: Option<Answer>) -> Result<(), Refusal> {
        self.change(who, |session| Ok((session.unpublish(&who.connection)?, answer)))
    }
}
