//! A session as the store keeps it: one small record for each part.
//!
//! This release must read the records of the release before. Otherwise an update ends their sessions. Each new field
//! is therefore an `Option` or has `#[serde(default)]`.

use serde::{Deserialize, Serialize};

use super::{Connection, Endpoint, Part, Session, SessionProperties, Stream, Subscription};

/// The record of a session, without what is in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredSession {
    /// Its id.
    pub id: String,
    /// The relay's id of it.
    pub room: u64,
    /// The shard it lives on.
    pub shard: Option<u32>,
    /// When it was made, in ms since 1970.
    pub created_at_ms: u64,
    /// What the application asked for.
    pub properties: SessionProperties,
}

/// The record of an endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredEndpoint {
    /// Connection that it belongs to.
    pub owner: String,
    /// The endpoint.
    pub endpoint: Endpoint,
}

/// A whole session as releases up to 0.1 kept it, with its streams and endpoints inside of its connections.
#[derive(Deserialize)]
struct WholeSession {
    #[serde(flatten)]
    session: StoredSession,
    connections: Vec<Connection>,
}

impl Session {
    /// A session from its record. Its parts follow by [`Self::restore_connection`] and the others, in that order.
    pub fn restore(stored: StoredSession) -> Self {
        let mut session = Self::new(stored.id, stored.room, stored.properties, stored.created_at_ms);
        session.shard = stored.shard;
        session
    }

    /// Reads a session that a release up to 0.1 stored as one value.
    ///
    /// # Errors
    /// When it does not read.
    pub fn restore_whole(value: &[u8]) -> Result<Self, serde_json::Error> {
        let WholeSession { session, connections } = serde_json::from_slice(value)?;
        let mut restored = Self::restore(session);
        for mut connection in connections {
            let id = connection.id.clone();
            let participant = connection.participant.as_mut();
            let (stream, subscriptions) = participant.map_or((None, Vec::new()), |participant| {
                (participant.stream.take(), std::mem::take(&mut participant.subscriptions))
            });
            restored.roster.push(connection);
            if let Some(mut stream) = stream {
                let endpoint = stream.stored_endpoint.take().unwrap_or_default();
                stream.endpoint = endpoint.id();
                restored.restore_endpoint(StoredEndpoint { owner: id.clone(), endpoint: *endpoint });
                restored.restore_stream(&id, stream);
            }
            for mut subscription in subscriptions {
                let endpoint = subscription.stored_endpoint.take().unwrap_or_default();
                subscription.endpoint = endpoint.id();
                restored.restore_endpoint(StoredEndpoint { owner: id.clone(), endpoint: *endpoint });
                restored.restore_subscription(&id, subscription);
            }
        }
        restored.touched.extend(restored.parts());
        Ok(restored)
    }

    /// Puts a stored connection back.
    pub fn restore_connection(&mut self, connection: Connection) {
        self.roster.put_back(connection);
    }

    /// Puts a stored endpoint back.
    pub fn restore_endpoint(&mut self, stored: StoredEndpoint) {
        self.graph.agree(&stored.owner, stored.endpoint);
    }

    /// Puts a stored stream back. Its endpoint is there already.
    pub fn restore_stream(&mut self, owner: &str, stream: Stream) {
        let limit = self.roster.get(owner).and_then(super::caps::own_send_max_kbps);
        let itself = self.graph.get(stream.endpoint).is_some_and(Endpoint::receives_video);
        self.watching.set_itself(owner, itself.then_some(limit));
        self.roster.set_stream(owner, Some(stream));
    }

    /// Puts a stored subscription back. Its endpoint is there already.
    pub fn restore_subscription(&mut self, viewer: &str, subscription: Subscription) {
        let limit = self.roster.get(viewer).and_then(super::caps::own_send_max_kbps);
        let video = self.graph.get(subscription.endpoint).is_some_and(Endpoint::receives_video);
        self.watching.add(&subscription.publisher, viewer, video.then_some(limit));
        if let Some(participant) = self.roster.participant_mut(viewer) {
            let earlier = |other: &Subscription| other.created_at_ms <= subscription.created_at_ms;
            let place = participant.subscriptions.partition_point(earlier);
            participant.subscriptions.insert(place, subscription);
        }
    }

    /// The value of a part for the store; `None` when the part is gone.
    pub fn stored(&self, part: &Part) -> Option<Vec<u8>> {
        fn text(value: &impl Serialize) -> Vec<u8> {
            serde_json::to_vec(value).expect("the model is made of plain values with text keys")
        }
        match part {
            Part::Session => Some(text(&StoredSession {
                id: self.id.clone(),
                room: self.room,
                shard: self.shard,
                created_at_ms: self.created_at_ms,
                properties: self.properties.clone(),
            })),
            Part::Connection(id) => self.roster.get(id).map(text),
            Part::Stream(owner) => self.participant(owner).ok()?.1.stream.as_ref().map(text),
            Part::Subscription(viewer, publisher) => {
                let (_, viewer) = self.participant(viewer).ok()?;
                viewer.subscriptions.iter().find(|watched| watched.publisher == *publisher).map(text)
            }
            Part::Endpoint(id) => {
                let (owner, endpoint) = self.graph.agreed_by_id(*id)?;
                Some(text(&StoredEndpoint { owner: owner.to_owned(), endpoint: endpoint.clone() }))
            }
        }
    }

    /// Every part that has a value now.
    pub fn parts(&self) -> Vec<Part> {
        let mut parts = vec![Part::Session];
        for connection in self.roster.iter() {
            let id = &connection.id;
            parts.push(Part::Connection(id.clone()));
            let Some(participant) = &connection.participant else { continue };
            parts.extend(participant.stream.iter().map(|_| Part::Stream(id.clone())));
            let watched = participant.subscriptions.iter().map(|watched| watched.publisher.clone());
            parts.extend(watched.map(|publisher| Part::Subscription(id.clone(), publisher)));
        }
        parts.extend(self.graph.agreed().map(|(_, endpoint)| Part::Endpoint(endpoint.id())));
        parts
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Role;
    use super::super::testing::*;
    use super::*;

    fn read<T: for<'d> Deserialize<'d>>(value: &[u8]) -> T {
        serde_json::from_slice(value).unwrap()
    }

    /// What a process makes of the records that another has left.
    ///
    /// The store gives them in the order of their names, which is not that of their age.
    fn again(records: &BTreeMap<Part, Vec<u8>>) -> Session {
        let mut session = Session::restore(read(&records[&Part::Session]));
        for (part, value) in records {
            match part {
                Part::Connection(_) => session.restore_connection(read(value)),
                Part::Endpoint(_) => session.restore_endpoint(read(value)),
                _ => {}
            }
        }
        for (part, value) in records {
            match part {
                Part::Stream(owner) => session.restore_stream(owner, read(value)),
                Part::Subscription(viewer, _) => session.restore_subscription(viewer, read(value)),
                _ => {}
            }
        }
        session
    }

    fn records(session: &mut Session) -> BTreeMap<Part, Vec<u8>> {
        let touched = session.take_touched();
        touched.into_iter().filter_map(|part| Some((part.clone(), session.stored(&part)?))).collect()
    }

    #[test]
    fn a_session_survives_the_store_without_what_was_under_way() {
        let mut session = empty();
        let _ = session.open();
        join(&mut session, "con_Z", Role::Subscriber);
        join(&mut session, "con_A", Role::Publisher);
        join(&mut session, "con_B", Role::Subscriber);
        let _ = publish(&mut session, "con_A", 7).unwrap();
        let _ = watch(&mut session, "con_B", "con_A", 8);
        session.reserve("con_B", endpoint(9));

        let mut restored = again(&records(&mut session));
        assert_eq!(restored.graph().endpoints().map(Endpoint::id).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(session.graph().endpoints().count(), 3);
        assert_eq!(restored.participant("con_A").unwrap().1.resume_key, "key_con_A");
        let order: Vec<&str> = restored.connections().map(|connection| connection.id.as_str()).collect();
        assert_eq!(order, ["con_Z", "con_A", "con_B"], "the oldest first");
        assert_eq!(removed(&restored.unpublish("con_A").unwrap()), [7, 8], "the viewer is known");
    }

    #[test]
    fn a_change_touches_what_it_changes_and_nothing_else() {
        let mut session = empty();
        let _ = session.open();
        for id in ["con_A", "con_B", "con_C"] {
            join(&mut session, id, Role::Publisher);
        }
        let _ = publish(&mut session, "con_A", 7).unwrap();
        let _ = watch(&mut session, "con_C", "con_A", 9);
        session.take_touched();
        let touched = |session: &mut Session| session.take_touched().into_iter().collect::<Vec<_>>();
        let _ = watch(&mut session, "con_B", "con_A", 8);
        let subscription = |viewer: &str| Part::Subscription(viewer.into(), "con_A".into());
        assert_eq!(touched(&mut session), [subscription("con_B"), Part::Endpoint(8)]);
        let mute = ("videoActive".to_owned(), serde_json::Value::Bool(false), String::new());
        let _ = session.change_property("con_A", mute.0, mute.1, mute.2).unwrap();
        assert_eq!(touched(&mut session), [Part::Stream("con_A".into())]);
        let _ = session.leave("con_B", crate::session::Reason::Disconnect).unwrap();
        let gone = [Part::Connection("con_B".into()), subscription("con_B"), Part::Endpoint(8)];
        assert_eq!(touched(&mut session), gone);
        assert!(gone.iter().all(|part| session.stored(part).is_none()), "and no value is left of it");
    }

    #[test]
    fn what_an_earlier_release_stored_still_reads() {
        let text = include_str!("../../tests/fixtures/store/session-0.1.0.json");
        let mut session = Session::restore_whole(text.as_bytes()).unwrap();
        assert_eq!(session.graph().endpoints().map(Endpoint::id).collect::<Vec<_>>(), [7, 8]);
        let (_, publisher) = session.participant("con_A").unwrap();
        assert_eq!((publisher.dialect.as_str(), publisher.resume_key.as_str()), ("", "rpc_con_A"));
        assert_eq!(publisher.stream.as_ref().unwrap().options.frame_rate, Some(30));
        let waiting = &session.connection("con_C").unwrap().properties;
        assert_eq!(waiting.bandwidth.as_ref().unwrap().video_max_recv_bandwidth, Some(500));
        assert_eq!(waiting.custom_ice_servers[0].username.as_deref(), Some("u"));
        let restored = again(&records(&mut session));
        assert_eq!(restored.graph().endpoints().count(), 2, "and is stored anew in parts");
        assert_eq!(restored.participant("con_B").unwrap().1.subscriptions.len(), 1);
    }
}
