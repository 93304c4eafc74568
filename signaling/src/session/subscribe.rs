//! Viewers of a stream.

use super::{Changes, Media, Refusal, Session, Stream, Subscription};

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
        let publisher = self.publisher(stream).map(|(connection, _)| connection.id.clone());
        let publisher = publisher.ok_or(Refusal::NotStreaming)?;
        self.release(media.id());
        let mut changes = Changes::default();
        let watched = &mut self.participant_mut(id)?.subscriptions;
        drop_watched(watched, &publisher, &mut changes);
        watched.push(Subscription { created_at_ms: now_ms, stream: stream.to_owned(), publisher, media });
        Ok(changes)
    }

    /// The viewer `id` does not, or no longer, watch what `publisher` sends.
    ///
    /// # Errors
    /// When the caller has left.
    pub fn unsubscribe(&mut self, id: &str, publisher: &str) -> Result<Changes, Refusal> {
        let mut changes = Changes::default();
        drop_watched(&mut self.participant_mut(id)?.subscriptions, publisher, &mut changes);
        Ok(changes)
    }

    /// Everybody's subscriptions to what `publisher` sends end.
    pub(super) fn drop_viewers(&mut self, publisher: &str, changes: &mut Changes) {
        for connection in &mut self.connections {
            let Some(viewer) = &mut connection.participant else { continue };
            drop_watched(&mut viewer.subscriptions, publisher, changes);
        }
    }
}

fn drop_watched(watched: &mut Vec<Subscription>, publisher: &str, changes: &mut Changes) {
    watched.retain(|subscription| {
        let stays = subscription.publisher != publisher;
        if !stays {
            changes.removed_peers.push(subscription.media.placed());
        }
        stays
    });
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
        assert_eq!(watch(&mut session, "con_B", "con_A", 2), Changes::default());
        assert_eq!(removed(&watch(&mut session, "con_B", "con_A", 3)), [2]);
        assert_eq!(removed(&session.unsubscribe("con_B", "con_A").unwrap()), [3]);
        assert_eq!(session.unsubscribe("con_B", "con_A"), Ok(Changes::default()));
        assert_eq!(session.unsubscribe("con_X", "con_A"), Err(Refusal::UserClosed));
    }
}
