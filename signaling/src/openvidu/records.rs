//! Events as applications read them: facts with OpenVidu's names and fields.

use serde_json::{Map, Value, json};

use super::reasons;
use crate::cdr::{Event, Kind, Moment};
use crate::session::{Fact, Flow, Person, Reason, Signal};

/// Start of the type of every signal between clients. Events leave it out.
const SIGNAL_PREFIX: &str = "signal:";

/// The session's id with its time of creation: unique even when an id is used again.
fn unique_session(moment: &Moment) -> String {
    format!("{}_{}", moment.session, moment.created_at_ms)
}

/// The event of a fact.
pub fn event(moment: &Moment, fact: &Fact) -> Event {
    let now_ms = moment.now_ms;
    // The timestamp of a beginning is the `startTime` of its end.
    let (kind, at_ms) = match fact {
        Fact::Opened => (Kind::SessionCreated, moment.created_at_ms),
        Fact::Closed { .. } => (Kind::SessionDestroyed, now_ms),
        Fact::Joined(person) => (Kind::ParticipantJoined, person.joined_at_ms),
        Fact::Left { .. } => (Kind::ParticipantLeft, now_ms),
        Fact::Flowing(flow) => (Kind::WebrtcConnectionCreated, flow.created_at_ms),
        Fact::Ended { .. } => (Kind::WebrtcConnectionDestroyed, now_ms),
        Fact::Signalled { .. } => (Kind::SignalSent, now_ms),
    };
    let mut event = Fields(Map::new());
    event.put("sessionId", json!(moment.session));
    event.put("uniqueSessionId", json!(unique_session(moment)));
    event.put("timestamp", json!(at_ms));
    match fact {
        Fact::Opened => {}
        Fact::Closed { reason } => event.end(moment.created_at_ms, now_ms, *reason),
        Fact::Joined(person) => event.person(person),
        Fact::Left { person, reason } => {
            event.person(person);
            event.end(person.joined_at_ms, now_ms, *reason);
        }
        Fact::Flowing(flow) => event.flow(flow),
        Fact::Ended { flow, reason } => {
            event.flow(flow);
            event.end(flow.created_at_ms, now_ms, *reason);
        }
        Fact::Signalled { from, signal } => event.signal(from.as_deref(), signal),
    }
    Event::new(kind, event.0)
}

/// The fields of an event, in the order of the protocol.
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, name: &str, value: Value) {
        self.0.insert(name.into(), value);
    }

    fn person(&mut self, person: &Person) {
        self.put("participantId", json!(person.connection));
        self.put("connectionId", json!(person.connection));
        self.put("location", json!("unknown"));
        self.put("ip", json!(person.ip));
        self.put("platform", json!(person.platform));
        self.put("clientData", json!(person.client_data));
        self.put("serverData", json!(person.server_data));
    }

    fn flow(&mut self, flow: &Flow) {
        self.put("streamId", json!(flow.stream));
        self.put("participantId", json!(flow.connection));
        self.put("connectionId", json!(flow.connection));
        self.put("connection", json!(if flow.from.is_some() { "INBOUND" } else { "OUTBOUND" }));
        if let Some(from) = &flow.from {
            self.put("receivingFrom", json!(from));
        }
        if flow.options.has_video {
            self.put("videoSource", json!(flow.options.type_of_video));
            self.put("videoFramerate", json!(flow.options.frame_rate));
            self.put("videoDimensions", json!(flow.options.video_dimensions));
        }
        self.put("audioEnabled", json!(flow.options.has_audio));
        self.put("videoEnabled", json!(flow.options.has_video));
    }

    fn signal(&mut self, from: Option<&str>, signal: &Signal) {
        let kind = signal.kind.as_deref();
        // A signal of the application keeps its type as given.
        let kind = match from {
            Some(_) => kind.map(|kind| kind.strip_prefix(SIGNAL_PREFIX).unwrap_or(kind)),
            None => kind,
        };
        self.put("from", json!(from));
        self.put("to", json!(signal.to));
        self.put("type", json!(kind));
        self.put("data", json!(signal.data));
    }

    fn end(&mut self, start_ms: u64, now_ms: u64, reason: Reason) {
        self.put("startTime", json!(start_ms));
        self.put("duration", json!(now_ms.saturating_sub(start_ms) / 1_000));
        self.put("reason", json!(reasons::word(reason)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::MediaOptions;

    fn moment() -> Moment {
        Moment { session: "ses_A".into(), created_at_ms: 1_000, now_ms: 9_500 }
    }

    fn fields(fact: &Fact) -> Value {
        let event = event(&moment(), fact);
        let mut body: Value = serde_json::from_slice(&event.body()).unwrap();
        let name = body.as_object_mut().unwrap().shift_remove("event").unwrap();
        let line: Value = serde_json::from_slice(&event.line()).unwrap();
        assert_eq!(line, json!({ name.as_str().unwrap(): body }), "the file says the same");
        assert_eq!(event.line().iter().filter(|&&byte| byte == b'\n').count(), 1);
        body
    }

    fn person() -> Person {
        Person {
            connection: "con_A".into(),
            joined_at_ms: 2_000,
            ip: "192.0.2.1".into(),
            platform: "Chrome".into(),
            client_data: "c\nd".into(),
            server_data: "s".into(),
        }
    }

    fn flow(from: Option<&str>) -> Flow {
        let options = MediaOptions {
            has_audio: true,
            has_video: true,
            type_of_video: Some("CAMERA".into()),
            frame_rate: Some(30),
            video_dimensions: Some("{\"width\":640,\"height\":480}".into()),
            ..MediaOptions::default()
        };
        Flow {
            connection: "con_A".into(),
            stream: "str_CAM_Xxxx_con_A".into(),
            from: from.map(Into::into),
            created_at_ms: 3_000,
            options,
        }
    }

    #[test]
    fn sessions_have_three_fields_and_six_at_their_end() {
        let common = json!({"sessionId": "ses_A", "uniqueSessionId": "ses_A_1000", "timestamp": 1_000});
        assert_eq!(fields(&Fact::Opened), common);
        let over = fields(&Fact::Closed { reason: Reason::LastParticipantLeft });
        let expected = json!({"sessionId": "ses_A", "uniqueSessionId": "ses_A_1000", "timestamp": 9_500,
            "startTime": 1_000, "duration": 8, "reason": "lastParticipantLeft"});
        assert_eq!(over, expected);
    }

    #[test]
    fn participants_have_ten_fields_and_three_more_at_their_end() {
        let expected = json!({"sessionId": "ses_A", "uniqueSessionId": "ses_A_1000", "timestamp": 2_000,
            "participantId": "con_A", "connectionId": "con_A", "location": "unknown", "ip": "192.0.2.1",
            "platform": "Chrome", "clientData": "c\nd", "serverData": "s"});
        let joined = fields(&Fact::Joined(person()));
        assert_eq!(joined, expected);
        assert_eq!(joined.as_object().unwrap().len(), 10);
        let left = fields(&Fact::Left { person: person(), reason: Reason::NetworkDisconnect });
        assert_eq!(left.as_object().unwrap().len(), 13);
        assert_eq!((left["timestamp"].clone(), left["startTime"].clone()), (json!(9_500), json!(2_000)));
        assert_eq!(
            (left["duration"].clone(), left["reason"].clone()),
            (json!(7), json!("networkDisconnect"))
        );
    }

    #[test]
    fn a_publisher_has_twelve_fields_a_viewer_one_more_and_sound_alone_three_fewer() {
        let sent = fields(&Fact::Flowing(flow(None)));
        let expected = json!({"sessionId": "ses_A", "uniqueSessionId": "ses_A_1000", "timestamp": 3_000,
            "streamId": "str_CAM_Xxxx_con_A", "participantId": "con_A", "connectionId": "con_A",
            "connection": "OUTBOUND", "videoSource": "CAMERA", "videoFramerate": 30,
            "videoDimensions": "{\"width\":640,\"height\":480}", "audioEnabled": true, "videoEnabled": true});
        assert_eq!(sent, expected);
        assert_eq!(sent.as_object().unwrap().len(), 12);
        let watched = fields(&Fact::Flowing(flow(Some("con_B"))));
        assert_eq!(watched.as_object().unwrap().len(), 13);
        assert_eq!((&watched["connection"], &watched["receivingFrom"]), (&json!("INBOUND"), &json!("con_B")));
        let sound = MediaOptions { has_audio: true, ..MediaOptions::default() };
        assert_eq!(
            fields(&Fact::Flowing(Flow { options: sound, ..flow(None) })).as_object().unwrap().len(),
            9
        );
        let ended = fields(&Fact::Ended { flow: flow(None), reason: Reason::Unpublish });
        assert_eq!(ended.as_object().unwrap().len(), 15);
        assert_eq!((&ended["startTime"], &ended["duration"]), (&json!(3_000), &json!(6)));
    }

    #[test]
    fn a_signal_has_seven_fields_whatever_is_absent() {
        let signal = |from: Option<&str>, kind: Option<&str>| {
            let signal = Signal {
                to: ["con_B".to_owned()].into(),
                kind: kind.map(Into::into),
                data: Some("hi".into()),
            };
            let body = fields(&Fact::Signalled { from: from.map(Into::into), signal });
            assert_eq!(body.as_object().unwrap().len(), 7, "{body}");
            assert_eq!((&body["to"], &body["data"]), (&json!(["con_B"]), &json!("hi")));
            (body["from"].clone(), body["type"].clone())
        };
        assert_eq!(signal(Some("con_A"), Some("signal:chat")), (json!("con_A"), json!("chat")));
        assert_eq!(signal(Some("con_A"), Some("chat")), (json!("con_A"), json!("chat")));
        assert_eq!(signal(Some("con_A"), None), (json!("con_A"), Value::Null));
        assert_eq!(signal(None, Some("signal:chat")), (Value::Null, json!("signal:chat")), "as given");
    }
}
