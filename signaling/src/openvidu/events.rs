//! Notices of the model as the notifications clients know.

use serde_json::{Map, Value, json};

use super::{first, reasons, shapes};
use crate::openvidu::Generation;
use crate::session::Notice;

/// The text frame that tells a client of that generation of `notice`.
pub fn notification(notice: &Notice, generation: Generation) -> String {
    let (method, params) = method_and_params(notice, generation);
    json!({"method": method, "params": params, "jsonrpc": "2.0"}).to_string()
}

fn method_and_params(notice: &Notice, generation: Generation) -> (&'static str, Value) {
    // The key of the connection that left, or whose stream ended.
    let gone = match generation {
        Generation::First => "name",
        Generation::Second => "connectionId",
    };
    match notice {
        Notice::Joined { connection, created_at_ms, metadata } => {
            ("participantJoined", json!({"id": connection, "createdAt": created_at_ms, "metadata": metadata}))
        }
        Notice::Left { connection, reason } => {
            ("participantLeft", json!({gone: connection, "reason": reasons::word(*reason)}))
        }
        Notice::Evicted { connection, reason } => {
            ("participantEvicted", json!({"connectionId": connection, "reason": reasons::word(*reason)}))
        }
        Notice::Published { connection, stream, created_at_ms, options } => {
            let stream = shapes::Stream { id: stream, created_at_ms: *created_at_ms, options, generation };
            ("participantPublished", json!({"id": connection, "streams": [stream]}))
        }
        Notice::Unpublished { connection, reason } => {
            ("participantUnpublished", json!({gone: connection, "reason": reasons::word(*reason)}))
        }
        Notice::Recalled { publisher, stream, sdp } => (
            "forciblyReconnectSubscriber",
            json!({"connectionId": publisher, "streamId": stream, "sdpOffer": sdp}),
        ),
        Notice::PropertyChanged { connection, stream, property, value, reason } => (
            "streamPropertyChanged",
            json!({
                "connectionId": connection, "streamId": stream, "property": property,
                // The JSON text of what the publisher sent: a real boolean would read as false.
                "newValue": value.to_string(),
                "reason": reason,
            }),
        ),
        Notice::MediaFailed { error } => ("mediaError", json!({"error": error})),
        Notice::Signal { from, kind, data } => {
            let kind = kind.as_deref().map(|kind| match generation {
                Generation::First => first::signal_for_first(kind),
                Generation::Second => kind,
            });
            let mut params = Map::new();
            for (key, value) in [("data", data.as_deref()), ("type", kind), ("from", from.as_deref())] {
                if let Some(value) = value {
                    params.insert(key.into(), json!(value));
                }
            }
            ("sendMessage", Value::Object(params))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Reason;

    fn changed(value: Value) -> Value {
        let notice = Notice::PropertyChanged {
            connection: "con_A".into(),
            stream: "str_A".into(),
            property: "p".into(),
            value,
            reason: "r".into(),
        };
        serde_json::from_str::<Value>(&notification(&notice, Generation::Second)).unwrap()["params"]["newValue"].clone()
    }

    #[test]
    fn a_new_value_is_the_json_text_of_what_was_sent() {
        assert_eq!(changed(json!(false)), json!("false"));
        assert_eq!(changed(json!({"label": "cam"})), json!("{\"label\":\"cam\"}"));
        assert_eq!(
            changed(json!("{\"width\":1,\"height\":2}")),
            json!("\"{\\\"width\\\":1,\\\"height\\\":2}\"")
        );
    }

    #[test]
    fn the_first_generation_knows_who_is_gone_by_another_key() {
        let (connection, reason) = ("con_A".to_owned(), Reason::Disconnect);
        let left = Notice::Left { connection: connection.clone(), reason };
        let text =
            |params| json!({"method": "participantLeft", "params": params, "jsonrpc": "2.0"}).to_string();
        assert_eq!(
            notification(&left, Generation::First),
            text(json!({"name": "con_A", "reason": "disconnect"}))
        );
        assert_eq!(
            notification(&left, Generation::Second),
            text(json!({"connectionId": "con_A", "reason": "disconnect"}))
        );
        let evicted = Notice::Evicted { connection, reason };
        assert_eq!(
            notification(&evicted, Generation::First),
            notification(&evicted, Generation::Second),
            "the same for all"
        );
    }

    #[test]
    fn the_first_generation_puts_the_prefix_of_a_signal_itself() {
        let notice = Notice::Signal { from: None, kind: Some("signal:chat".into()), data: None };
        let kind = |generation| {
            serde_json::from_str::<Value>(&notification(&notice, generation)).unwrap()["params"]["type"]
                .clone()
        };
        assert_eq!(kind(Generation::First), "chat");
        assert_eq!(kind(Generation::Second), "signal:chat");
    }

    #[test]
    fn a_signal_from_the_application_has_no_sender() {
        let notice = Notice::Signal { from: None, kind: Some("chat".into()), data: Some("hi".into()) };
        assert_eq!(
            notification(&notice, Generation::Second),
            r#"{"method":"sendMessage","params":{"data":"hi","type":"chat"},"jsonrpc":"2.0"}"#
        );
    }
}
