//! Streams come, change and go.

use serde_json::Value;

use super::caps::own_send_max_kbps;
use super::{Audience, Changes, Endpoint, Fact, Flow, Notice, Part, Reason, Refusal, Session, Stream};

impl Session {
    /// Whether `id` may publish now.
    ///
    /// # Errors
    /// When it has left, its role does not allow it or it publishes already.
    pub fn check_publish(&self, id: &str) -> Result<(), Refusal> {
        let (connection, participant) = self.participant(id)?;
        if !connection.properties.publishes() {
            return Err(Refusal::Unauthorized("a subscriber may not publish"));
        }
        if connection.is_hidden() {
            return Err(Refusal::Unauthorized("who records does not publish"));
        }
        if participant.stream.is_some() {
            return Err(Refusal::AlreadyPublishing);
        }
        Ok(())
    }

    /// Adds a stream that comes in over `endpoint`. The relay has taken the stream before. The other participants get
    /// a notice.
    ///
    /// # Errors
    /// As [`Self::check_publish`].
    pub fn publish(&mut self, id: &str, stream: Stream, endpoint: Endpoint) -> Result<Changes, Refusal> {
        self.check_publish(id)?;
        debug_assert_eq!(stream.endpoint, endpoint.id(), "a stream names the endpoint that it comes in over");
        let mut changes = Changes::default();
        changes.tell(self.others_of(id), Notice::published(id, &stream));
        changes.record(Fact::Flowing(Flow::published(id, &stream)));
        self.roster.set_stream(id, Some(stream));
        self.touch(Part::Stream(id.to_owned()));
        self.agree_publisher(id, endpoint);
        Ok(changes)
    }

    /// Moves a stream to another PeerConnection of its publisher. The stream keeps its id and its tracks, so no
    /// notice is sent.
    ///
    /// # Errors
    /// When `id` does not publish.
    pub fn republish(&mut self, id: &str, endpoint: Endpoint) -> Result<(Stream, Changes), Refusal> {
        let stream = self.participant_mut(id)?.stream.as_mut().ok_or(Refusal::NotStreaming)?;
        let old = std::mem::replace(&mut stream.endpoint, endpoint.id());
        let stream = stream.clone();
        self.touch(Part::Stream(id.to_owned()));
        let mut changes = Changes::default();
        self.remove_endpoint(old, &mut changes);
        self.agree_publisher(id, endpoint);
        Ok((stream, changes))
    }

    fn agree_publisher(&mut self, id: &str, endpoint: Endpoint) {
        let limit = self.roster.get(id).and_then(own_send_max_kbps);
        self.watching.set_itself(id, endpoint.receives_video().then_some(limit));
        self.agree(id, endpoint);
    }

    /// The publisher ends its stream.
    ///
    /// # Errors
    /// When `id` does not publish.
    pub fn unpublish(&mut self, id: &str) -> Result<Changes, Refusal> {
        self.end_stream(id, self.others_of(id), Reason::Unpublish)
    }

    /// Ends a stream for the moderator `by`. Every participant gets the notice, the owner too.
    ///
    /// # Errors
    /// When `by` is no moderator or there is no such stream.
    pub fn force_unpublish_by(&mut self, by: &str, stream: &str) -> Result<Changes, Refusal> {
        self.require_moderator(by)?;
        self.force_unpublish(stream, Reason::ForceUnpublishByUser)
    }

    /// Ends a stream. Every participant gets the notice, the owner too.
    ///
    /// # Errors
    /// When there is no such stream.
    pub fn force_unpublish(&mut self, stream: &str, reason: Reason) -> Result<Changes, Refusal> {
        let (connection, _) = self.publisher(stream).ok_or(Refusal::NotStreaming)?;
        let owner = connection.id.clone();
        self.end_stream(&owner, self.all_of(&owner), reason)
    }

    /// Changes a property of the caller's own stream. It needs no stream id, because a connection publishes one
    /// stream at most.
    ///
    /// # Errors
    /// When `id` does not publish.
    pub fn change_property(
        &mut self,
        id: &str,
        property: String,
        value: Value,
        reason: String,
    ) -> Result<Changes, Refusal> {
        let stream = self.participant_mut(id)?.stream.as_mut().ok_or(Refusal::NotStreaming)?;
        match (property.as_str(), &value) {
            ("audioActive", Value::Bool(on)) => stream.options.audio_active = Some(*on),
            ("videoActive", Value::Bool(on)) => stream.options.video_active = Some(*on),
            ("videoDimensions", Value::String(text)) => stream.options.video_dimensions = Some(text.clone()),
            _ => {}
        }
        let stream = stream.id.clone();
        let mut changes = Changes::default();
        self.touch(Part::Stream(id.to_owned()));
        let notice = Notice::PropertyChanged { connection: id.to_owned(), stream, property, value, reason };
        changes.tell(self.others_of(id), notice);
        Ok(changes)
    }

    fn end_stream(&mut self, owner: &str, told: Audience, reason: Reason) -> Result<Changes, Refusal> {
        let mut changes = Changes::default();
        self.drop_stream(owner, reason, &mut changes).ok_or(Refusal::NotStreaming)?;
        changes.tell(told, Notice::Unpublished { connection: owner.to_owned(), reason });
        Ok(changes)
    }

    /// Ends the stream of `owner` and every subscription to it. `None` when `owner` publishes nothing.
    pub(super) fn drop_stream(&mut self, owner: &str, reason: Reason, changes: &mut Changes) -> Option<()> {
        let stream = self.participant(owner).ok()?.1.stream.clone()?;
        changes.record(Fact::Ended { flow: Flow::published(owner, &stream), reason });
        self.remove_endpoint(stream.endpoint, changes);
        self.drop_viewers(owner, &stream, reason, changes);
        self.watching.forget(owner);
        self.roster.set_stream(owner, None);
        self.touch(Part::Stream(owner.to_owned()));
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Role;
    use super::super::testing::*;
    use super::*;

    fn call() -> Session {
        let mut session = empty();
        join(&mut session, "con_A", Role::Publisher);
        join(&mut session, "con_B", Role::Subscriber);
        join(&mut session, "con_M", Role::Moderator);
        session
    }

    #[test]
    fn roles_decide_who_publishes_and_one_stream_is_all() {
        let mut session = call();
        assert!(matches!(publish(&mut session, "con_B", 2), Err(Refusal::Unauthorized(_))));
        assert_eq!(publish(&mut session, "con_X", 2), Err(Refusal::UserClosed));
        session.reserve("con_A", endpoint(1));
        let changes = publish(&mut session, "con_A", 1).unwrap();
        assert_eq!(changes.notifications[0].to, Audience::Others("con_A".into()));
        assert_eq!(session.graph().endpoints().count(), 1, "the claim became the stream");
        assert_eq!(publish(&mut session, "con_A", 3), Err(Refusal::AlreadyPublishing));
    }

    #[test]
    fn a_returning_publisher_keeps_its_stream_and_its_viewers() {
        let mut session = call();
        let _ = publish(&mut session, "con_A", 1).unwrap();
        let _ = watch(&mut session, "con_B", "con_A", 2);
        let (stream, changes) = session.republish("con_A", endpoint(5)).unwrap();
        assert_eq!((stream.id.as_str(), stream.video_track), ("str_CAM_Xxxx_con_A", 11));
        assert_eq!(changes, Changes { removed_peers: vec![endpoint(1).placed()], ..Changes::default() });
        assert_eq!(session.graph().endpoints().map(Endpoint::id).collect::<Vec<_>>(), [2, 5]);
    }

    #[test]
    fn an_ended_stream_takes_its_viewers_transports_along() {
        let mut session = call();
        let _ = publish(&mut session, "con_A", 1).unwrap();
        let _ = watch(&mut session, "con_B", "con_A", 2);
        let changes = session.unpublish("con_A").unwrap();
        assert_eq!(removed(&changes), [1, 2]);
        assert_eq!(changes.notifications[0].to, Audience::Others("con_A".into()));
        assert_eq!(session.unpublish("con_A"), Err(Refusal::NotStreaming));
    }

    #[test]
    fn a_moderator_ends_a_stream_and_its_owner_hears_of_it() {
        let mut session = call();
        let _ = publish(&mut session, "con_A", 1).unwrap();
        let id = "str_CAM_Xxxx_con_A";
        assert!(matches!(session.force_unpublish_by("con_B", id), Err(Refusal::Unauthorized(_))));
        assert_eq!(session.force_unpublish_by("con_M", "str_none"), Err(Refusal::NotStreaming));
        let changes = session.force_unpublish_by("con_M", id).unwrap();
        assert_eq!(changes.notifications[0].to, Audience::Everybody);
    }

    #[test]
    fn a_changed_property_is_what_a_newcomer_sees() {
        let mut session = call();
        let change = |session: &mut Session, property: &str, value| {
            session.change_property("con_A", property.into(), value, "publishVideo".into())
        };
        assert_eq!(change(&mut session, "videoActive", json!(false)), Err(Refusal::NotStreaming));
        let _ = publish(&mut session, "con_A", 1).unwrap();
        let _ = change(&mut session, "videoActive", json!(false)).unwrap();
        let _ = change(&mut session, "videoDimensions", json!("{}")).unwrap();
        let changes = change(&mut session, "videoTrack", json!({"label": "x"})).unwrap();
        assert_eq!(changes.notifications[0].to, Audience::Others("con_A".into()));
        let options = &session.publisher("str_CAM_Xxxx_con_A").unwrap().1.options;
        assert_eq!((options.video_active, options.video_dimensions.as_deref()), (Some(false), Some("{}")));
    }
}
