//! What participants tell each other and do to each other: signals, properties, forced ends.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::errors::{self, RpcError};
use super::super::{first, json};
use super::options::is_dimensions;
use super::{Call, Caller, Outcome, Params};
use crate::app::{Member, SignalError};
use crate::openvidu::Generation;
use crate::session::Signal;

/// Longest name of a property and of a reason, in bytes.
const NAME_LEN_MAX: usize = 128;

impl Caller {
    pub(super) fn send_message(&self, who: &Member, call: &Call) -> Result<Outcome, RpcError> {
        let refused = |why| RpcError::new(errors::SIGNAL_FORMAT, why);
        let message = call.params.text("message").unwrap_or_default();
        let signal = json::parse(message.as_bytes()).ok();
        let mut signal = signal
            .as_ref()
            .and_then(signal_of)
            .ok_or_else(|| refused("the message is no JSON text with to, type and data"))?;
        if self.generation == Generation::First {
            signal.kind = signal.kind.map(|kind| first::signal_from_first(&kind));
        }
        match self.app.signal(who, signal, message.len(), self.nothing(&call.id)) {
            Ok(()) => Ok(Outcome::Submitted),
            Err(SignalError::TooMuch) => Err(refused("too many signals, or too large ones")),
            Err(SignalError::Refused(refusal)) => Err(refusal.into()),
        }
    }

    /// The property of the caller's own stream changes, whatever stream the client names.
    pub(super) fn stream_property_changed(&self, who: &Member, call: &Call) -> Result<Outcome, RpcError> {
        let property = short(&call.params, "property")?;
        let reason = short(&call.params, "reason").unwrap_or_default();
        let value = call.params.value("newValue").cloned().ok_or_else(|| RpcError::param("newValue"))?;
        let fits = property_fits(&property, &value).ok_or_else(|| RpcError::param("property"))?;
        if !fits {
            return Err(RpcError::param("newValue"));
        }
        // As it leaves, a text within a text: escaping may make it a few times as long.
        let len_bytes = Value::from(value.to_string()).to_string().len();
        let change = (property, value, reason);
        match self.app.change_property(who, change, len_bytes, self.nothing(&call.id)) {
            Ok(()) => Ok(Outcome::Submitted),
            Err(SignalError::TooMuch) => {
                Err(RpcError::new(errors::PARAMS, "too many changes, or too large ones"))
            }
            Err(SignalError::Refused(refusal)) => Err(refusal.into()),
        }
    }

    pub(super) fn force_disconnect(&self, who: &Member, call: &Call) -> Result<Outcome, RpcError> {
        let victim = call.params.text("connectionId")?;
        self.app.force_disconnect(who, victim, self.nothing(&call.id))?;
        Ok(Outcome::Submitted)
    }

    pub(super) fn force_unpublish(&self, who: &Member, call: &Call) -> Result<Outcome, RpcError> {
        let stream = call.params.text("streamId")?;
        self.app.force_unpublish(who, stream, self.nothing(&call.id))?;
        Ok(Outcome::Submitted)
    }
}

/// Whether `value` is one of that property; `None` when clients know no such property.
fn property_fits(property: &str, value: &Value) -> Option<bool> {
    match property {
        "audioActive" | "videoActive" => Some(value.is_boolean()),
        // What a browser says of its track; clients read it as they like.
        "audioTrack" | "videoTrack" => Some(true),
        "videoDimensions" => Some(value.as_str().is_some_and(is_dimensions)),
        _ => None,
    }
}

fn short(params: &Params, name: &str) -> Result<String, RpcError> {
    let text = params.text(name)?;
    if text.len() > NAME_LEN_MAX { Err(RpcError::param(name)) } else { Ok(text.to_owned()) }
}

/// Reads `{"to":[…],"type":"…","data":"…"}`, each of which may be missing.
pub(crate) fn signal_of(value: &Value) -> Option<Signal> {
    let object = value.as_object()?;
    let text = |name: &str| match object.get(name) {
        None | Some(Value::Null) => Some(None),
        Some(Value::String(text)) => Some(Some(text.clone())),
        Some(_) => None,
    };
    let to = match object.get("to") {
        None | Some(Value::Null) => BTreeSet::new(),
        Some(Value::Array(to)) => {
            to.iter().map(|id| id.as_str().map(str::to_owned)).collect::<Option<_>>()?
        }
        Some(_) => return None,
    };
    Some(Signal { to, kind: text("type")?, data: text("data")? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_clients_can_read_gets_to_them() {
        let fits = |property: &str, value| property_fits(property, &value);
        assert_eq!(fits("audioActive", json!(false)), Some(true));
        assert_eq!(fits("videoActive", json!("false")), Some(false));
        assert_eq!(fits("videoTrack", json!({"label": "x"})), Some(true));
        assert_eq!(fits("videoDimensions", json!("{\"width\":1,\"height\":2}")), Some(true));
        for bad in [json!("{"), json!({"width": 1, "height": 2}), json!(true)] {
            assert_eq!(fits("videoDimensions", bad), Some(false));
        }
        assert_eq!(fits("filter", json!({})), None);
    }

    #[test]
    fn a_signal_has_texts_and_a_list_or_none_of_them() {
        let full = signal_of(&json!({"to": ["con_A"], "type": "signal:chat", "data": "hi"})).unwrap();
        assert_eq!(full.to, BTreeSet::from(["con_A".to_owned()]));
        assert_eq!(signal_of(&json!({"to": [], "data": null})), Some(Signal::default()));
        for bad in
            [json!([]), json!({"to": "con_A"}), json!({"to": [1]}), json!({"type": 1}), json!({"data": {}})]
        {
            assert_eq!(signal_of(&bad), None, "{bad}");
        }
    }
}
