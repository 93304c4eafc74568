//! Viewers of a stream.

use super::{
    Changes, Connection, Fact, Flow, Media, Notice, Participant, Reason, Refusal, Session, Stream,
    Subscription,
};

impl Session {
    /// The stream `id` asks to watch.
    ///
    /// # Errors
    /// When the caller has left, or nobody publishes that stream.
    pub fn check_subscribe(&self, id: &str, stream: &str) -> Result<&Stream, Refusal> {
        self.participant(id)?;
        self.publisher(stream).map(|(_, stream)| stream).ok_or(Refusal::NotStreaming)
    }

    /// The relay takes the subscription. An older one of the same viewer to the same stream is replaced.
    ///
    /// # Errors
    /// As [`Self::check_subscribe`].
    pub fn subscribe(
        &mut self,
        id: &str,
        stream: &str,
        media: Media,
        now_ms: u64,
    ) -> Result<Changes, Refusal> {
        self.participant(id)?;
        let (publisher, published) = self.publisher(stream).ok_or(Refusal::NotStreaming)?;
        let (publisher, options) = (publisher.id.clone(), published.options.clone());
        self.release(media.id());
        let mut changes = Changes::default();
        let watched = &mut self.participant_mut(id)?.subscriptions;
        let is_new = !drop_watched(watched, &publisher, &mut changes);
        let new = Subscription { created_at_ms: now_ms, stream: stream.to_owned(), publisher, media };
        if is_new {
            changes.record(Fact::Flowing(Flow::watched(id, &new, options)));
        }
        watched.push(new);
        Ok(changes)
    }

    /// The viewer `id` does not, or no longer, watch what `publisher` sends.
    ///
    /// # Errors
    /// When the caller has left, or `publisher` never was in this session.
    pub fn unsubscribe(&mut self, id: &str, publisher: &str) -> Result<Changes, Refusal> {
        let mut changes = Changes::default();
        let (_, viewer) = self.participant(id)?;
        if !self.knows(publisher) {
            return Err(Refusal::UserNotFound);
        }
        if let Some(watched) = viewer.subscriptions.iter().find(|watched| watched.publisher == publisher) {
            let flow = self.flow_of(id, watched);
            changes.record(Fact::Ended { flow, reason: Reason::Unsubscribe });
        }
        drop_watched(&mut self.participant_mut(id)?.subscriptions, publisher, &mut changes);
        self.offers.forget(id, publisher);
        Ok(changes)
    }

    /// The viewer `id` is asked to watch `stream` over a new transport, with this offer.
    ///
    /// # Errors
    /// When it has left, does not watch the stream, or the stream is gone.
    pub fn ask_back(&self, id: &str, stream: &str, sdp: String) -> Result<Changes, Refusal> {
        let (_, viewer) = self.participant(id)?;
        let watched = viewer.subscriptions.iter().find(|watched| watched.stream == stream);
        let publisher = watched.ok_or(Refusal::NotStreaming)?.publisher.clone();
        let mut changes = Changes::default();
        let notice = Notice::Recalled { publisher, stream: stream.to_owned(), sdp };
        changes.tell(vec![viewer.rpc_session.clone()], notice);
        Ok(changes)
    }

    /// Everybody's subscriptions to what `publisher` sends end.
    pub(super) fn drop_viewers(&mut self, publisher: &str, reason: Reason, changes: &mut Changes) {
        let published =
            self.participant(publisher).ok().and_then(|(_, participant)| participant.stream.as_ref());
        let options = published.map(|stream| stream.options.clone()).unwrap_or_default();
        for (viewer, participant) in self.participants() {
            let watching = participant.subscriptions.iter().find(|watched| watched.publisher == publisher);
            if let Some(watched) = watching {
                let flow = Flow::watched(&viewer.id, watched, options.clone());
                changes.record(Fact::Ended { flow, reason });
            }
        }
        self.offers.forget_stream_of(publisher);
        for connection in &mut self.connections {
            let Some(viewer) = &mut connection.participant else { continue };
            drop_watched(&mut viewer.subscriptions, publisher, changes);
        }
    }

    /// What somebody watches ends for the records.
    pub(super) fn record_end_of_watching(
        &self,
        connection: &Connection,
        viewer: &Participant,
        reason: Reason,
        changes: &mut Changes,
    ) {
        for watched in &viewer.subscriptions {
            changes.record(Fact::Ended { flow: self.flow_of(&connection.id, watched), reason });
        }
    }

    /// A subscription as records describe it. Its stream is there for as long as it is.
    fn flow_of(&self, id: &str, watched: &Subscription) -> Flow {
        let options = self.publisher(&watched.stream).map(|(_, stream)| stream.options.clone());
        Flow::watched(id, watched, options.unwrap_or_default())
    }
}

/// Gives whether there was something to drop.
fn drop_watched(watched: &mut Vec<Subscription>, publisher: &str, changes: &mut Changes) -> bool {
    let before = watched.len();
    watched.retain(|subscription| {
        let stays = subscription.publisher != publisher;
        if !stays {
            changes.removed_peers.push(subscription.media.placed());
        }
        stays
    });
    watched.len() != before
}

#[cfg(test)]
mod tests {
    use super::super::Role;
    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_second_subscription_to_the_same_stream_replaces_the_first() {
        let mut session = empty();
        join(&mut session, "con_A", Role::Publisher);
        join(&mut session, "con_B", Role::Subscriber);
        assert_eq!(session.check_subscribe("con_B", "str_CAM_Xxxx_con_A").err(), Some(Refusal::NotStreaming));
        let _ = session.publish("con_A", stream("con_A", 1)).unwrap();
        let first = watch(&mut session, "con_B", "con_A", 2);
        assert!(first.notifications.is_empty() && first.removed_peers.is_empty());
        assert!(
            matches!(first.facts.as_slice(), [Fact::Flowing(flow)] if flow.from.as_deref() == Some("con_A"))
        );
        let second = watch(&mut session, "con_B", "con_A", 3);
        assert_eq!(removed(&second), [2]);
        let recall = |id| session.ask_back(id, "str_CAM_Xxxx_con_A", "v=0".into());
        assert_eq!(recall("con_B").unwrap().notifications[0].to, ["rpc_con_B"], "and nobody else");
        assert_eq!(recall("con_A"), Err(Refusal::NotStreaming), "it does not watch itself");
        assert!(second.facts.is_empty(), "coming back is nothing new");
        assert_eq!(removed(&session.unsubscribe("con_B", "con_A").unwrap()), [3]);
        assert_eq!(session.unsubscribe("con_B", "con_A"), Ok(Changes::default()));
        assert_eq!(session.unsubscribe("con_X", "con_A"), Err(Refusal::UserClosed));
    }
}
