//! Streams come, change and go.

use serde_json::Value;

use super::{Changes, Fact, Flow, Media, Notice, Reason, Refusal, Session, Stream};

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

    /// The relay takes the stream: now it exists, and the others are told.
    ///
    /// # Errors
    /// As [`Self::check_publish`].
    pub fn publish(&mut self, id: &str, stream: Stream) -> Result<Changes, Refusal> {
        self.check_publish(id)?;
        self.release(stream.media.id());
        let mut changes = Changes::default();
        let notice = Notice::Published {
            connection: id.to_owned(),
            stream: stream.id.clone(),
            created_at_ms: stream.created_at_ms,
            options: stream.options.clone(),
        };
        changes.tell(self.others(id), notice);
        changes.record(Fact::Flowing(Flow::published(id, &stream)));
        self.participant_mut(id)?.stream = Some(stream);
        Ok(changes)
    }

    /// The publisher is back on another PeerConnection. The stream stays what it is, and nobody is told.
    ///
    /// # Errors
    /// When `id` does not publish.
    pub fn republish(&mut self, id: &str, media: Media) -> Result<(Stream, Changes), Refusal> {
        self.release(media.id());
        let stream = self.participant_mut(id)?.stream.as_mut().ok_or(Refusal::NotStreaming)?;
        let old = std::mem::replace(&mut stream.media, media);
        let changes = Changes { removed_peers: vec![old.placed()], ..Changes::default() };
        Ok((stream.clone(), changes))
    }

    /// The publisher ends its stream.
    ///
    /// # Errors
    /// When `id` does not publish.
    pub fn unpublish(&mut self, id: &str) -> Result<Changes, Refusal> {
        self.end_stream(id, self.others(id), Reason::Unpublish)
    }

    /// A moderator ends somebody's stream. The owner is told too.
    ///
    /// # Errors
    /// When `by` is no moderator or there is no such stream.
    pub fn force_unpublish_by(&mut self, by: &str, stream: &str) -> Result<Changes, Refusal> {
        self.require_moderator(by)?;
        self.force_unpublish(stream, Reason::ForceUnpublishByUser)
    }

    /// Somebody's stream is ended for them. The owner is told too.
    ///
    /// # Errors
    /// When there is no such stream.
    pub fn force_unpublish(&mut self, stream: &str, reason: Reason) -> Result<Changes, Refusal> {
        let owner = self.publisher(stream).map(|(connection, _)| connection.id.clone());
        self.end_stream(&owner.ok_or(Refusal::NotStreaming)?, self.everybody(), reason)
    }

    /// A property of the caller's own stream changed; whatever stream the client names does not matter.
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
        let others = self.others(id);
        let stream = self.participant_mut(id)?.stream.as_mut().ok_or(Refusal::NotStreaming)?;
        match (property.as_str(), &value) {
            ("audioActive", Value::Bool(on)) => stream.options.audio_active = Some(*on),
            ("videoActive", Value::Bool(on)) => stream.options.video_active = Some(*on),
            ("videoDimensions", Value::String(text)) => stream.options.video_dimensions = Some(text.clone()),
            _ => {}
        }
        let stream = stream.id.clone();
        let mut changes = Changes::default();
        changes.tell(
            others,
            Notice::PropertyChanged { connection: id.to_owned(), stream, property, value, reason },
        );
        Ok(changes)
    }

    fn end_stream(&mut self, owner: &str, told: Vec<String>, reason: Reason) -> Result<Changes, Refusal> {
        let (_, participant) = self.participant(owner)?;
        let stream = participant.stream.as_ref().ok_or(Refusal::NotStreaming)?;
        let mut changes = Changes { removed_peers: vec![stream.media.placed()], ..Changes::default() };
        changes.record(Fact::Ended { flow: Flow::published(owner, stream), reason });
        self.drop_viewers(owner, reason, &mut changes);
        self.participant_mut(owner)?.stream = None;
        changes.tell(told, Notice::Unpublished { connection: owner.to_owned(), reason });
        Ok(changes)
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
        assert!(matches!(session.publish("con_B", stream("con_B", 2)), Err(Refusal::Unauthorized(_))));
        assert_eq!(session.publish("con_X", stream("con_X", 2)), Err(Refusal::UserClosed));
        session.reserve(media(1));
        let changes = session.publish("con_A", stream("con_A", 1)).unwrap();
        assert_eq!(changes.notifications[0].to, ["rpc_con_B", "rpc_con_M"]);
        assert_eq!(session.media().count(), 1, "the claim became the stream");
        assert_eq!(session.publish("con_A", stream("con_A", 3)), Err(Refusal::AlreadyPublishing));
    }

    #[test]
    fn a_returning_publisher_keeps_its_stream_and_its_viewers() {
        let mut session = call();
        let _ = session.publish("con_A", stream("con_A", 1)).unwrap();
        let _ = watch(&mut session, "con_B", "con_A", 2);
        let (stream, changes) = session.republish("con_A", media(5)).unwrap();
        assert_eq!((stream.id.as_str(), stream.video_track), ("str_CAM_Xxxx_con_A", 11));
        assert_eq!(changes, Changes { removed_peers: vec![media(1).placed()], ..Changes::default() });
        assert_eq!(session.media().map(Media::id).collect::<Vec<_>>(), [5, 2]);
    }

    #[test]
    fn an_ended_stream_takes_its_viewers_transports_along() {
        let mut session = call();
        let _ = session.publish("con_A", stream("con_A", 1)).unwrap();
        let _ = watch(&mut session, "con_B", "con_A", 2);
        let changes = session.unpublish("con_A").unwrap();
        assert_eq!(removed(&changes), [1, 2]);
        assert_eq!(changes.notifications[0].to, ["rpc_con_B", "rpc_con_M"]);
        assert_eq!(session.unpublish("con_A"), Err(Refusal::NotStreaming));
    }

    #[test]
    fn a_moderator_ends_a_stream_and_its_owner_hears_of_it() {
        let mut session = call();
        let _ = session.publish("con_A", stream("con_A", 1)).unwrap();
        let id = "str_CAM_Xxxx_con_A";
        assert!(matches!(session.force_unpublish_by("con_B", id), Err(Refusal::Unauthorized(_))));
        assert_eq!(session.force_unpublish_by("con_M", "str_none"), Err(Refusal::NotStreaming));
        let changes = session.force_unpublish_by("con_M", id).unwrap();
        assert_eq!(changes.notifications[0].to.len(), 3);
    }

    #[test]
    fn a_changed_property_is_what_a_newcomer_sees() {
        let mut session = call();
        let change = |session: &mut Session, property: &str, value| {
            session.change_property("con_A", property.into(), value, "publishVideo".into())
        };
        assert_eq!(change(&mut session, "videoActive", json!(false)), Err(Refusal::NotStreaming));
        let _ = session.publish("con_A", stream("con_A", 1)).unwrap();
        let _ = change(&mut session, "videoActive", json!(false)).unwrap();
        let _ = change(&mut session, "videoDimensions", json!("{}")).unwrap();
        let changes = change(&mut session, "videoTrack", json!({"label": "x"})).unwrap();
        assert_eq!(changes.notifications[0].to, ["rpc_con_B", "rpc_con_M"]);
        let options = &session.publisher("str_CAM_Xxxx_con_A").unwrap().1.options;
        assert_eq!((options.video_active, options.video_dimensions.as_deref()), (Some(false), Some("{}")));
    }
}
