//! What the monitor does not see of an answer: tokens, passwords and session descriptions.

use serde_json::{Value, json};

/// Stands in place of what is not shown.
pub(super) const HIDDEN: &str = "(hidden)";

/// Keys whose texts are credentials, or contain some: a session description holds the ICE password.
const KEYS: [&str; 5] = ["token", "credential", "staticAuthSecret", "localSdp", "remoteSdp"];

/// Hides the credentials in an answer, at any depth. What is null stays null.
pub(super) fn hide(answer: &mut Value) {
    match answer {
        Value::Object(object) => {
            for (key, value) in object {
                match KEYS.contains(&key.as_str()) {
                    true if !value.is_null() => *value = json!(HIDDEN),
                    true => {}
                    false => hide(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(hide),
        _ => {}
    }
}

/// A header `Name: value` without its value.
pub(super) fn header(text: &str) -> String {
    let name = text.split_once(':').map_or(text, |(name, _)| name);
    format!("{name}: {HIDDEN}")
}

/// A URL without its path and query, which may hold a key.
pub(super) fn url(text: &str) -> String {
    let authority_at = text.find("://").map_or(0, |at| at + 3);
    match text[authority_at..].find(['/', '?']) {
        Some(len) => format!("{}/{HIDDEN}", &text[..authority_at + len]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_hidden_at_any_depth_and_nothing_else_is() {
        let mut answer = json!({"content": [{"id": "con_A", "token": "wss://h?token=tok_A", "customIceServers":
            [{"url": "turn:h", "username": "u", "credential": "c"}, {"url": "turn:i", "staticAuthSecret": "s"}],
            "publishers": [{"localSdp": "a=ice-pwd:p", "remoteSdp": null, "streamId": "str_A"}]}]});
        hide(&mut answer);
        let expected = json!({"content": [{"id": "con_A", "token": HIDDEN, "customIceServers":
            [{"url": "turn:h", "username": "u", "credential": HIDDEN}, {"url": "turn:i", "staticAuthSecret": HIDDEN}],
            "publishers": [{"localSdp": HIDDEN, "remoteSdp": null, "streamId": "str_A"}]}]});
        assert_eq!(answer, expected);
    }

    #[test]
    fn of_a_webhook_the_place_is_shown_and_the_keys_are_not() {
        assert_eq!(header("Authorization: Bearer x:y"), "Authorization: (hidden)");
        assert_eq!(url("https://h:1/hook/key?x=y"), "https://h:1/(hidden)");
        assert_eq!(url("https://h:1?x=y"), "https://h:1/(hidden)");
        assert_eq!(url("https://h:1"), "https://h:1");
        assert_eq!(url(""), "");
    }
}
