//! The JSON objects of REST and RPC. Keys come in a fixed order: node clients compare texts to find changes.
//!
//! A shape borrows from the model and is written straight into the text of an answer, because lists are long and are
//! written under the lock of their session.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::to_raw_value;
use serde_json::{Map, Value};

use super::peer_stats;
use crate::openvidu::Generation;
use crate::registry::Peers;
use crate::session::{self, MediaOptions, Participant, Subscription};

/// The tree of a shape, for answers that are changed before they leave.
pub fn tree(shape: &impl Serialize) -> Value {
    serde_json::to_value(shape).unwrap_or_default()
}

/// Writes the elements of an iterator as an array.
struct Array<I>(I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for Array<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

/// The session object; pending connections are in it only on request, and what is known of PeerConnections if it is
/// given.
#[derive(Clone, Copy)]
pub struct Session<'a> {
    /// The session.
    pub session: &'a session::Session,
    /// Whether connections are shown that no client has used yet.
    pub pending: bool,
    /// What is known of its PeerConnections.
    pub peers: Option<&'a Peers>,
}

impl Serialize for Session<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        SessionHead(self.session).add_to(&mut object)?;
        object.serialize_entry("connections", &Connections(*self))?;
        object.end()
    }
}

/// The session object without its connections.
pub struct SessionHead<'a>(pub &'a session::Session);

impl SessionHead<'_> {
    fn add_to<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        let Self(session) = self;
        let properties = &session.properties;
        object.serialize_entry("id", &session.id)?;
        object.serialize_entry("object", "session")?;
        object.serialize_entry("sessionId", &session.id)?;
        object.serialize_entry("createdAt", &session.created_at_ms)?;
        object.serialize_entry("recording", &false)?;
        object.serialize_entry("broadcasting", &false)?;
        object.serialize_entry("mediaMode", &properties.media_mode)?;
        object.serialize_entry("recordingMode", &properties.recording_mode)?;
        object.serialize_entry("defaultRecordingProperties", &properties.default_recording_properties)?;
        object.serialize_entry("customSessionId", &properties.custom_session_id)?;
        object.serialize_entry("forcedVideoCodec", properties.forced_video_codec.as_str())?;
        object.serialize_entry("allowTranscoding", &properties.allow_transcoding)
    }
}

impl Serialize for SessionHead<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        self.add_to(&mut object)?;
        object.end()
    }
}

/// The connections of a session as a list with its length.
pub struct Connections<'a>(pub Session<'a>);

impl Serialize for Connections<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Session { session, pending, peers } = self.0;
        let is_shown = |connection: &&session::Connection| {
            !connection.is_hidden() && (pending || connection.participant.is_some())
        };
        let shown: Vec<Connection<'_>> = session
            .connections()
            .filter(is_shown)
            .map(|connection| Connection { session: &session.id, connection, peers })
            .collect();
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("numberOfElements", &shown.len())?;
        object.serialize_entry("content", &shown)?;
        object.end()
    }
}

/// The connection object, pending or active.
pub struct Connection<'a> {
    /// Id of its session.
    pub session: &'a str,
    /// The connection.
    pub connection: &'a session::Connection,
    /// What is known of its PeerConnections, if it is to be shown.
    pub peers: Option<&'a Peers>,
}

impl Serialize for Connection<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { connection, peers, .. } = *self;
        let properties = &connection.properties;
        let active = connection.participant.as_ref();
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("id", &connection.id)?;
        object.serialize_entry("object", "connection")?;
        object.serialize_entry("status", if active.is_some() { "active" } else { "pending" })?;
        object.serialize_entry("connectionId", &connection.id)?;
        object.serialize_entry("sessionId", self.session)?;
        object.serialize_entry("createdAt", &connection.created_at_ms)?;
        object.serialize_entry("type", "WEBRTC")?;
        object.serialize_entry("record", &properties.record)?;
        object.serialize_entry("role", properties.role.as_str())?;
        object.serialize_entry("kurentoOptions", &properties.bandwidth)?;
        object.serialize_entry("customIceServers", &properties.custom_ice_servers)?;
        for of_a_camera in ["rtspUri", "adaptativeBitrate", "onlyPlayWithSubscribers", "networkCache"] {
            object.serialize_entry(of_a_camera, &())?;
        }
        object.serialize_entry("serverData", &properties.data)?;
        object.serialize_entry("token", &connection.token_url)?;
        object.serialize_entry("activeAt", &active.map(|active| active.active_at_ms))?;
        object.serialize_entry("location", &active.map(|_| "unknown"))?;
        object.serialize_entry("ip", &active.map(|active| &active.ip))?;
        object.serialize_entry("platform", &active.map(|active| &active.platform))?;
        object.serialize_entry("clientData", &active.map(|active| &active.client_data))?;
        let publishers = active.map(|active| active.stream.iter().map(|stream| Publisher { stream, peers }));
        object.serialize_entry("publishers", &publishers.map(Array))?;
        let subscriber = |watched| Subscriber { connection: &connection.id, watched, peers };
        let subscribers = active.map(|active| active.subscriptions.iter().map(subscriber));
        object.serialize_entry("subscribers", &subscribers.map(Array))?;
        object.end()
    }
}

struct Publisher<'a> {
    stream: &'a session::Stream,
    peers: Option<&'a Peers>,
}

impl Serialize for Publisher<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { stream, peers } = *self;
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("createdAt", &stream.created_at_ms)?;
        object.serialize_entry("streamId", &stream.id)?;
        object.serialize_entry("mediaOptions", &Options(&stream.options, Generation::Second))?;
        add_stats(&mut object, &stream.id, stream.endpoint, peers)?;
        object.end()
    }
}

struct Subscriber<'a> {
    connection: &'a str,
    watched: &'a Subscription,
    peers: Option<&'a Peers>,
}

impl Serialize for Subscriber<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { connection, watched, peers } = *self;
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("createdAt", &watched.created_at_ms)?;
        object.serialize_entry("streamId", &watched.stream)?;
        if peers.is_some() {
            let name = format!("{connection}_{}", watched.stream);
            add_stats(&mut object, &name, watched.endpoint, peers)?;
        }
        object.end()
    }
}

fn add_stats<M: SerializeMap>(
    object: &mut M,
    name: &str,
    endpoint: u64,
    peers: Option<&Peers>,
) -> Result<(), M::Error> {
    let mut stats = Map::new();
    if let Some(peers) = peers {
        peer_stats::add(&mut stats, name, endpoint, peers);
    }
    stats.iter().try_for_each(|(key, value)| object.serialize_entry(key, value))
}

/// What a stream carries, for a client of that generation. What does not apply is absent.
struct Options<'a>(&'a MediaOptions, Generation);

impl Options<'_> {
    fn add_to<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        let Self(options, generation) = *self;
        object.serialize_entry("hasAudio", &options.has_audio)?;
        object.serialize_entry("hasVideo", &options.has_video)?;
        // A client of the first generation must ask for a kind that is muted now all the same.
        let (audio_active, video_active) = match generation {
            Generation::First => (Some(options.has_audio), Some(options.has_video)),
            Generation::Second => (options.audio_active, options.video_active),
        };
        add(object, "audioActive", audio_active)?;
        add(object, "videoActive", video_active)?;
        add(object, "typeOfVideo", options.type_of_video.as_ref())?;
        add(object, "frameRate", options.frame_rate)?;
        add(object, "videoDimensions", options.video_dimensions.as_ref())?;
        object.serialize_entry("filter", &options.filter)
    }
}

fn add<M: SerializeMap>(object: &mut M, key: &str, value: Option<impl Serialize>) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| object.serialize_entry(key, &value))
}

impl Serialize for Options<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        self.add_to(&mut object)?;
        object.end()
    }
}

/// The stream object of joinRoom and participantPublished, for a client of that generation.
pub struct Stream<'a> {
    /// Its id.
    pub id: &'a str,
    /// When it was made, in ms since 1970.
    pub created_at_ms: u64,
    /// What it carries.
    pub options: &'a MediaOptions,
    /// What kind of client reads it.
    pub generation: Generation,
}

impl Serialize for Stream<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("id", self.id)?;
        object.serialize_entry("createdAt", &self.created_at_ms)?;
        Options(self.options, self.generation).add_to(&mut object)?;
        object.end()
    }
}

/// Those who are in a session already, for joinRoom's `value` and a client of that generation: neither the newcomer itself
/// nor one that is not shown.
pub struct Others<'a> {
    /// The session.
    pub session: &'a session::Session,
    /// Connection id of the newcomer.
    pub newcomer: &'a str,
    /// What kind of client reads it.
    pub generation: Generation,
}

impl Serialize for Others<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_shown = |connection: &session::Connection| {
            connection.id != self.newcomer && self.session.is_shown(&connection.id)
        };
        let others = self.session.participants().filter(|(connection, _)| is_shown(connection));
        serializer.collect_seq(others.map(|(connection, participant)| Other {
            connection,
            participant,
            generation: self.generation,
        }))
    }
}

#[derive(Clone, Copy)]
struct Other<'a> {
    connection: &'a session::Connection,
    participant: &'a Participant,
    generation: Generation,
}

impl Serialize for Other<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let write = || to_raw_value(&Written(*self)).unwrap_or_default();
        match self.connection.memo.text(self.generation.dialect().name, write) {
            Some(text) => text.serialize(serializer),
            None => Written(*self).serialize(serializer),
        }
    }
}

/// The same, written anew.
struct Written<'a>(Other<'a>);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Other { connection, participant, generation } = self.0;
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("id", &connection.id)?;
        object.serialize_entry("createdAt", &participant.active_at_ms)?;
        object.serialize_entry("metadata", &connection.metadata())?;
        // An empty list makes clients throw; who does not publish has no list.
        if let Some(stream) = &participant.stream {
            let session::Stream { id, created_at_ms, options, .. } = stream;
            let stream = Stream { id, created_at_ms: *created_at_ms, options, generation };
            object.serialize_entry("streams", &[stream])?;
        }
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::session::Role;
    use crate::session::testing::{empty, invite, join, publish, watch};

    fn keys(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn a_connection_has_the_same_keys_pending_and_active() {
        let mut session = empty();
        invite(&mut session, "con_A", Role::Publisher);
        let shape = |session: &session::Session, id| {
            tree(&Connection { session: "ses_A", connection: session.connection(id).unwrap(), peers: None })
        };
        let pending = shape(&session, "con_A");
        assert_eq!(pending["status"], "pending");
        assert_eq!(pending["activeAt"], Value::Null);
        assert_eq!(pending["customIceServers"], json!([]));
        join(&mut session, "con_B", Role::Publisher);
        let active = shape(&session, "con_B");
        assert_eq!(keys(&pending), keys(&active));
        assert_eq!((active["status"].as_str(), active["publishers"].clone()), (Some("active"), json!([])));
    }

    #[test]
    fn pending_connections_are_shown_on_request_only() {
        let mut session = empty();
        invite(&mut session, "con_A", Role::Publisher);
        join(&mut session, "con_B", Role::Publisher);
        let shown = |pending| {
            let shape = tree(&Session { session: &session, pending, peers: None });
            shape["connections"]["numberOfElements"].clone()
        };
        assert_eq!((shown(false), shown(true)), (json!(1), json!(2)));
    }

    #[test]
    fn who_does_not_publish_has_no_streams_at_all() {
        let mut session = empty();
        join(&mut session, "con_A", Role::Publisher);
        let shape = |session: &session::Session| {
            tree(&Others { session, newcomer: "con_B", generation: Generation::Second })[0].clone()
        };
        assert_eq!(keys(&shape(&session)), ["id", "createdAt", "metadata"]);
        let _ = publish(&mut session, "con_A", 1).unwrap();
        assert_eq!(shape(&session)["streams"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_newcomer_of_either_generation_is_shown_what_is_true_now() {
        let mut session = empty();
        join(&mut session, "con_A", Role::Publisher);
        let _ = publish(&mut session, "con_A", 1).unwrap();
        let video_active = |session: &session::Session, generation| {
            tree(&Others { session, newcomer: "con_B", generation })[0]["streams"][0]["videoActive"].clone()
        };
        for shown in [true, false] {
            let muted = session.change_property("con_A", "videoActive".into(), json!(shown), "test".into());
            assert!(muted.is_ok());
            for _ in 0..2 {
                assert_eq!(video_active(&session, Generation::Second), json!(shown));
                assert_eq!(video_active(&session, Generation::First), json!(true), "to be asked for");
            }
        }
    }

    #[test]
    fn publishers_and_subscribers_are_listed() {
        let mut session = empty();
        join(&mut session, "con_A", Role::Publisher);
        join(&mut session, "con_B", Role::Publisher);
        let _ = publish(&mut session, "con_A", 1).unwrap();
        let _ = watch(&mut session, "con_B", "con_A", 2);
        let shown = tree(&Connections(Session { session: &session, pending: true, peers: None }));
        assert_eq!(shown["content"][0]["publishers"][0]["mediaOptions"]["hasVideo"], true);
        assert_eq!(shown["content"][1]["subscribers"][0]["streamId"], "str_CAM_Xxxx_con_A");
    }

    #[test]
    fn a_muted_stream_is_there_for_the_first_generation_to_be_asked_for() {
        let options = MediaOptions { has_audio: true, audio_active: Some(false), ..MediaOptions::default() };
        let active = |generation| {
            let stream = tree(&Stream { id: "s", created_at_ms: 1, options: &options, generation });
            (stream["audioActive"].clone(), stream["videoActive"].clone())
        };
        assert_eq!(active(Generation::First), (json!(true), json!(false)));
        assert_eq!(active(Generation::Second), (json!(false), Value::Null));
    }
}
