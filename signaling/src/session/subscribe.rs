//! Viewers of a stream.

use millrace_control::MediaKind;

use super::caps::own_send_max_kbps;
use super::{
    Audience, Changes, Endpoint, Fact, Flow, Notice, Part, Reason, Refusal, Session, Stream, Subscription,
};

impl Session {
    /// The stream `id` asks to watch.
    ///
    /// # Errors
    /// When the caller has left, or no participant publishes that stream.
    pub fn check_subscribe(&self, id: &str, stream: &str) -> Result<&Stream, Refusal> {
        self.participant(id)?;
        self.publisher(stream).map(|(_, stream)| stream).ok_or(Refusal::NotStreaming)
    }

    /// Adds a subscription that goes out over `endpoint`. The relay has taken it before. It replaces an older
    /// subscription of the same viewer to the same publisher.
    ///
    /// # Errors
    /// As [`Self::check_subscribe`].
    pub fn subscribe(
        &mut self,
        id: &str,
        stream: &str,
        endpoint: Endpoint,
        now_ms: u64,
    ) -> Result<Changes, Refusal> {
        self.participant(id)?;
        let (publisher, published) = self.publisher(stream).ok_or(Refusal::NotStreaming)?;
        let (publisher, options) = (publisher.id.clone(), published.options.clone());
        let mut changes = Changes::default();
        let is_new = self.unwatch(id, &publisher, &mut changes).is_none();
        let new = Subscription::new(now_ms, stream.to_owned(), publisher, endpoint.id());
        if is_new {
            changes.record(Fact::Flowing(Flow::watched(id, &new, options)));
        }
        self.watch(id, new, endpoint.receives_video());
        self.agree(id, endpoint);
        Ok(changes)
    }

    /// Ends the subscription of the viewer `id` to the stream of `publisher`. A missing subscription is no error.
    ///
    /// # Errors
    /// When the caller has left, or the session does not know `publisher` (see [`Session::knows`]).
    pub fn unsubscribe(&mut self, id: &str, publisher: &str) -> Result<Changes, Refusal> {
        self.participant(id)?;
        if !self.knows(publisher) {
            return Err(Refusal::UserNotFound);
        }
        let mut changes = Changes::default();
        if let Some(watched) = self.unwatch(id, publisher, &mut changes) {
            let flow = self.flow_of(id, &watched);
            changes.record(Fact::Ended { flow, reason: Reason::Unsubscribe });
        }
        self.offers.forget(id, publisher);
        Ok(changes)
    }

    /// Points the viewer `id` at the stream `to` in place of the stream `from`, over the same endpoint. Returns the
    /// changed endpoint. The caller must send its outputs to the relay.
    ///
    /// # Errors
    /// When the viewer has left or does not watch `from`, or no participant publishes `to`. Also when the viewer
    /// already watches the publisher of `to` by another stream, or has not agreed to the format that `to` is sent in.
    pub fn repoint(
        &mut self,
        id: &str,
        from: &str,
        to: &str,
        now_ms: u64,
    ) -> Result<(Endpoint, Changes), Refusal> {
        let (_, viewer) = self.participant(id)?;
        let watched = viewer.subscriptions.iter().find(|watched| watched.stream == from);
        let watched = watched.ok_or(Refusal::NotStreaming)?.clone();
        let (publisher, next) = self.publisher(to).ok_or(Refusal::NotStreaming)?;
        let (publisher, next) = (publisher.id.clone(), next.clone());
        let is_other =
            viewer.subscriptions.iter().any(|other| other.publisher == publisher && other.stream != from);
        let endpoint = self.graph.get(watched.endpoint).ok_or(Refusal::NotStreaming)?;
        if is_other || !self.takes(endpoint, &next) {
            return Err(Refusal::Incompatible);
        }
        let previous = self.stream_tracks(&watched, endpoint);
        let (video, id_of_endpoint) = (endpoint.receives_video(), watched.endpoint);
        let mut changes = Changes::default();
        changes.record(Fact::Ended { flow: self.flow_of(id, &watched), reason: Reason::Unsubscribe });
        self.forget_watched(id, &watched.publisher);
        let new = Subscription::new(now_ms, to.to_owned(), publisher, id_of_endpoint);
        changes.record(Fact::Flowing(Flow::watched(id, &new, next.options.clone())));
        self.watch(id, new, video);
        self.touch(Part::Endpoint(id_of_endpoint));
        let endpoint = self.graph.repoint(id_of_endpoint, previous, next.tracks());
        Ok((endpoint.cloned().ok_or(Refusal::NotStreaming)?, changes))
    }

    /// The tracks that the outputs of a viewer's endpoint show now: those of its stream, or of one that has ended.
    fn stream_tracks(&self, watched: &Subscription, endpoint: &Endpoint) -> [u64; 2] {
        if let Some((_, stream)) = self.publisher(&watched.stream) {
            return stream.tracks();
        }
        let shown = |kind| endpoint.outputs.iter().find(|output| output.kind() == kind);
        [MediaKind::Audio, MediaKind::Video].map(|kind| shown(kind).map_or(0, |output| output.track))
    }

    /// Whether the outputs of an endpoint have a payload type for what a stream is sent in.
    fn takes(&self, endpoint: &Endpoint, stream: &Stream) -> bool {
        endpoint.outputs.iter().all(|output| {
            let sent = self.formats(stream, output.kind()).first().copied();
            sent.is_none_or(|sent| output.codecs.iter().any(|codec| codec.format == sent))
        })
    }

    /// Makes a notice that asks the viewer `id` to watch `stream` over a new transport. `sdp` is the offer.
    ///
    /// # Errors
    /// When the viewer has left or does not watch the stream.
    pub fn ask_back(&self, id: &str, stream: &str, sdp: String) -> Result<Changes, Refusal> {
        let (_, viewer) = self.participant(id)?;
        let watched = viewer.subscriptions.iter().find(|watched| watched.stream == stream);
        let publisher = watched.ok_or(Refusal::NotStreaming)?.publisher.clone();
        let mut changes = Changes::default();
        let notice = Notice::Recalled { publisher, stream: stream.to_owned(), sdp };
        changes.tell(Audience::one(id), notice);
        Ok(changes)
    }

    /// Ends every subscription to `stream`, which `publisher` sends.
    pub(super) fn drop_viewers(
        &mut self,
        publisher: &str,
        stream: &Stream,
        reason: Reason,
        changes: &mut Changes,
    ) {
        self.offers.forget_stream_of(publisher);
        for viewer in self.watching.viewers(publisher) {
            if let Some(watched) = self.unwatch(&viewer, publisher, changes) {
                let flow = Flow::watched(&viewer, &watched, stream.options.clone());
                changes.record(Fact::Ended { flow, reason });
            }
        }
    }

    /// Ends every subscription of `viewer`.
    pub(super) fn drop_watched(&mut self, viewer: &str, reason: Reason, changes: &mut Changes) {
        let watched: Vec<Subscription> = self
            .participant(viewer)
            .map_or_else(|_| Vec::new(), |(_, participant)| participant.subscriptions.clone());
        for watched in watched {
            changes.record(Fact::Ended { flow: self.flow_of(viewer, &watched), reason });
            self.unwatch(viewer, &watched.publisher, changes);
        }
    }

    fn watch(&mut self, viewer: &str, new: Subscription, video: bool) {
        let limit = self.roster.get(viewer).and_then(own_send_max_kbps);
        self.watching.add(&new.publisher, viewer, video.then_some(limit));
        self.touch(Part::Subscription(viewer.to_owned(), new.publisher.clone()));
        if let Some(participant) = self.roster.participant_mut(viewer) {
            participant.subscriptions.push(new);
        }
    }

    /// Ends what `viewer` watches of `publisher`, and its endpoint. Gives what it was.
    fn unwatch(&mut self, viewer: &str, publisher: &str, changes: &mut Changes) -> Option<Subscription> {
        let gone = self.forget_watched(viewer, publisher)?;
        self.remove_endpoint(gone.endpoint, changes);
        Some(gone)
    }

    fn forget_watched(&mut self, viewer: &str, publisher: &str) -> Option<Subscription> {
        let participant = self.roster.participant_mut(viewer)?;
        let position = participant.subscriptions.iter().position(|watched| watched.publisher == publisher)?;
        let gone = participant.subscriptions.remove(position);
        self.watching.remove(publisher, viewer);
        self.touch(Part::Subscription(viewer.to_owned(), publisher.to_owned()));
        Some(gone)
    }

    /// A subscription as records describe it. Its stream is there for as long as it is.
    pub(super) fn flow_of(&self, id: &str, watched: &Subscription) -> Flow {
        let options = self.publisher(&watched.stream).map(|(_, stream)| stream.options.clone());
        Flow::watched(id, watched, options.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use millrace_control::{Codec, PutSubscription, PutTrack};

    use super::super::Role;
    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_second_subscription_to_the_same_stream_replaces_the_first() {
        let mut session = empty();
        join(&mut session, "con_A", Role::Publisher);
        join(&mut session, "con_B", Role::Subscriber);
        assert_eq!(session.check_subscribe("con_B", "str_CAM_Xxxx_con_A").err(), Some(Refusal::NotStreaming));
        let _ = publish(&mut session, "con_A", 1).unwrap();
        let first = watch(&mut session, "con_B", "con_A", 2);
        assert!(first.notifications.is_empty() && first.removed_peers.is_empty());
        assert!(
            matches!(first.facts.as_slice(), [Fact::Flowing(flow)] if flow.from.as_deref() == Some("con_A"))
        );
        let second = watch(&mut session, "con_B", "con_A", 3);
        assert_eq!(removed(&second), [2]);
        let recall = |id| session.ask_back(id, "str_CAM_Xxxx_con_A", "v=0".into());
        assert_eq!(recall("con_B").unwrap().notifications[0].to, Audience::one("con_B"), "and nobody else");
        assert_eq!(recall("con_A"), Err(Refusal::NotStreaming), "it does not watch itself");
        assert!(second.facts.is_empty(), "coming back is nothing new");
        assert_eq!(removed(&session.unsubscribe("con_B", "con_A").unwrap()), [3]);
        assert_eq!(session.unsubscribe("con_B", "con_A"), Ok(Changes::default()));
        assert_eq!(session.unsubscribe("con_X", "con_A"), Err(Refusal::UserClosed));
    }

    #[test]
    fn a_viewer_is_pointed_at_another_stream_and_keeps_its_endpoint() {
        let mut session = empty();
        for id in ["con_A", "con_B", "con_C"] {
            join(&mut session, id, Role::Publisher);
        }
        for (id, peer) in [("con_A", 1), ("con_B", 2)] {
            let _ = publish(&mut session, id, peer).unwrap();
        }
        let outputs = vec![PutSubscription { track: 11, kind: 1, ..PutSubscription::default() }];
        let viewer = Endpoint { outputs, ..endpoint(3) };
        let _ = session.subscribe("con_C", "str_CAM_Xxxx_con_A", viewer, 1).unwrap();
        let (a, b) = ("str_CAM_Xxxx_con_A", "str_CAM_Xxxx_con_B");
        let (endpoint, changes) = session.repoint("con_C", a, b, 9).unwrap();
        assert_eq!((endpoint.id(), endpoint.outputs[0].track), (3, 21));
        assert!(changes.removed_peers.is_empty() && changes.notifications.is_empty());
        assert!(matches!(changes.facts.as_slice(), [Fact::Ended { .. }, Fact::Flowing(_)]));
        assert_eq!(
            session.repoint("con_C", a, b, 9),
            Err(Refusal::NotStreaming),
            "it watches another one now"
        );
        let _ = session.unpublish("con_A").unwrap();
        assert_eq!(session.graph().endpoints().count(), 2, "the end of the old stream is nothing to it");
        assert_eq!(removed(&session.unpublish("con_B").unwrap()), [2, 3]);
    }

    #[test]
    fn a_viewer_is_not_pointed_at_what_it_cannot_decode() {
        let mut session = empty();
        for id in ["con_A", "con_B", "con_C"] {
            join(&mut session, id, Role::Publisher);
        }
        let codec = |format| Codec { format, ..Codec::default() };
        for (id, peer, format) in [("con_A", 1, 5), ("con_B", 2, 6)] {
            let stream = stream(id, peer);
            let track = PutTrack {
                track: stream.video_track,
                kind: 1,
                codecs: vec![codec(format)],
                ..PutTrack::default()
            };
            let endpoint = Endpoint { inputs: vec![track], ..endpoint(peer) };
            let _ = session.publish(id, stream, endpoint).unwrap();
        }
        let outputs = vec![PutSubscription {
            track: 11,
            kind: 1,
            codecs: vec![codec(5)],
            ..PutSubscription::default()
        }];
        let _ =
            session.subscribe("con_C", "str_CAM_Xxxx_con_A", Endpoint { outputs, ..endpoint(3) }, 1).unwrap();
        let refusal = session.repoint("con_C", "str_CAM_Xxxx_con_A", "str_CAM_Xxxx_con_B", 9);
        assert_eq!(refusal, Err(Refusal::Incompatible));
    }
}
