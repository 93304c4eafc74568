//! The JSON objects of REST and RPC. Keys come in a fixed order: node clients compare texts to find changes.

use serde_json::{Map, Value, json};

use super::peer_stats;

use super::first;
use crate::openvidu::Generation;
use crate::registry::Peers;
use crate::session::{Connection, MediaOptions, Participant, Session, Stream, Subscription};

/// A list with its length.
pub fn list(content: Vec<Value>) -> Value {
    json!({"numberOfElements": content.len(), "content": content})
}

/// The session object; pending connections are in it only on request, and what is known of PeerConnections if it is
/// given.
pub fn session(session: &Session, pending: bool, peers: Option<&Peers>) -> Value {
    let properties = &session.properties;
    json!({
        "id": session.id,
        "object": "session",
        "sessionId": session.id,
        "createdAt": session.created_at_ms,
        "recording": false,
        "broadcasting": false,
        "mediaMode": properties.media_mode,
        "recordingMode": properties.recording_mode,
        "defaultRecordingProperties": properties.default_recording_properties,
        "customSessionId": properties.custom_session_id,
        "forcedVideoCodec": properties.forced_video_codec.as_str(),
        "allowTranscoding": properties.allow_transcoding,
        "connections": connections(session, pending, peers),
    })
}

/// The connections of a session as a list.
pub fn connections(session: &Session, pending: bool, peers: Option<&Peers>) -> Value {
    let is_shown =
        |connection: &&Connection| !connection.is_hidden() && (pending || connection.participant.is_some());
    let shown = session.connections().filter(is_shown);
    list(shown.map(|connection| self::connection(&session.id, connection, peers)).collect())
}

/// The connection object, pending or active.
pub fn connection(session: &str, connection: &Connection, peers: Option<&Peers>) -> Value {
    let properties = &connection.properties;
    let active = connection.participant.as_ref();
    json!({
        "id": connection.id,
        "object": "connection",
        "status": if active.is_some() { "active" } else { "pending" },
        "connectionId": connection.id,
        "sessionId": session,
        "createdAt": connection.created_at_ms,
        "type": "WEBRTC",
        "record": properties.record,
        "role": properties.role.as_str(),
        "kurentoOptions": properties.kurento_options,
        "customIceServers": properties.custom_ice_servers,
        "rtspUri": null,
        "adaptativeBitrate": null,
        "onlyPlayWithSubscribers": null,
        "networkCache": null,
        "serverData": properties.data,
        "token": connection.token_url,
        "activeAt": active.map(|active| active.active_at_ms),
        "location": active.map(|_| "unknown"),
        "ip": active.map(|active| &active.ip),
        "platform": active.map(|active| &active.platform),
        "clientData": active.map(|active| &active.client_data),
        "publishers": active.map(|active| publishers(active, peers)),
        "subscribers": active.map(|active| subscribers(connection, active, peers)),
    })
}

fn publishers(participant: &Participant, peers: Option<&Peers>) -> Vec<Value> {
    let publisher = |stream: &Stream| {
        let mut object = Map::new();
        object.insert("createdAt".into(), json!(stream.created_at_ms));
        object.insert("streamId".into(), json!(stream.id));
        object.insert("mediaOptions".into(), Value::Object(media_options(&stream.options)));
        if let Some(peers) = peers {
            peer_stats::add(&mut object, &stream.id, stream.endpoint, peers);
        }
        Value::Object(object)
    };
    participant.stream.iter().map(publisher).collect()
}

fn subscribers(connection: &Connection, participant: &Participant, peers: Option<&Peers>) -> Vec<Value> {
    let subscriber = |watched: &Subscription| {
        let mut object = Map::new();
        object.insert("createdAt".into(), json!(watched.created_at_ms));
        object.insert("streamId".into(), json!(watched.stream));
        if let Some(peers) = peers {
            let endpoint = format!("{}_{}", connection.id, watched.stream);
            peer_stats::add(&mut object, &endpoint, watched.endpoint, peers);
        }
        Value::Object(object)
    };
    participant.subscriptions.iter().map(subscriber).collect()
}

/// The stream object of joinRoom and participantPublished, for a client of that generation.
pub fn stream(id: &str, created_at_ms: u64, options: &MediaOptions, generation: Generation) -> Value {
    let mut object = Map::new();
    object.insert("id".into(), json!(id));
    object.insert("createdAt".into(), json!(created_at_ms));
    object.append(&mut media_options(options));
    if generation == Generation::First {
        first::rewrite_stream(&mut object);
    }
    Value::Object(object)
}

/// What a stream carries. What does not apply is absent.
fn media_options(options: &MediaOptions) -> Map<String, Value> {
    let mut object = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            object.insert(key.into(), value);
        }
    };
    put("hasAudio", Some(json!(options.has_audio)));
    put("hasVideo", Some(json!(options.has_video)));
    put("audioActive", options.audio_active.map(Value::from));
    put("videoActive", options.video_active.map(Value::from));
    put("typeOfVideo", options.type_of_video.clone().map(Value::from));
    put("frameRate", options.frame_rate.map(Value::from));
    put("videoDimensions", options.video_dimensions.clone().map(Value::from));
    put("filter", Some(Value::Object(options.filter.clone())));
    object
}

/// One entry of joinRoom's `value`, for a client of that generation: somebody who is there already.
pub fn participant(connection: &Connection, participant: &Participant, generation: Generation) -> Value {
    let mut object = Map::new();
    object.insert("id".into(), json!(connection.id));
    object.insert("createdAt".into(), json!(participant.active_at_ms));
    object.insert("metadata".into(), json!(connection.metadata()));
    // An empty list makes clients throw; who does not publish has no list.
    if let Some(published) = &participant.stream {
        let stream = stream(&published.id, published.created_at_ms, &published.options, generation);
        object.insert("streams".into(), json!([stream]));
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
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
        let pending = connection("ses_A", session.connection("con_A").unwrap(), None);
        assert_eq!(pending["status"], "pending");
        assert_eq!(pending["activeAt"], Value::Null);
        assert_eq!(pending["customIceServers"], json!([]));
        join(&mut session, "con_B", Role::Publisher);
        let active = connection("ses_A", session.connection("con_B").unwrap(), None);
        assert_eq!(keys(&pending), keys(&active));
        assert_eq!((active["status"].as_str(), active["publishers"].clone()), (Some("active"), json!([])));
    }

    #[test]
    fn pending_connections_are_shown_on_request_only() {
        let mut session = empty();
        invite(&mut session, "con_A", Role::Publisher);
        join(&mut session, "con_B", Role::Publisher);
        assert_eq!(super::session(&session, false, None)["connections"]["numberOfElements"], 1);
        assert_eq!(super::session(&session, true, None)["connections"]["numberOfElements"], 2);
    }

    #[test]
    fn who_does_not_publish_has_no_streams_at_all() {
        let mut session = empty();
        join(&mut session, "con_A", Role::Publisher);
        let shape = |session: &Session| {
            let (connection, active) = session.participant("con_A").unwrap();
            participant(connection, active, Generation::Second)
        };
        assert_eq!(keys(&shape(&session)), ["id", "createdAt", "metadata"]);
        let _ = publish(&mut session, "con_A", 1).unwrap();
        assert_eq!(shape(&session)["streams"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn publishers_and_subscribers_are_listed() {
        let mut session = empty();
        join(&mut session, "con_A", Role::Publisher);
        join(&mut session, "con_B", Role::Publisher);
        let _ = publish(&mut session, "con_A", 1).unwrap();
        let _ = watch(&mut session, "con_B", "con_A", 2);
        let shown = connections(&session, true, None);
        assert_eq!(shown["content"][0]["publishers"][0]["mediaOptions"]["hasVideo"], true);
        assert_eq!(shown["content"][1]["subscribers"][0]["streamId"], "str_CAM_Xxxx_con_A");
    }
}
