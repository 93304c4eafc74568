//! The tables of the RPC.

use serde_json::{Value, json};

use crate::support::{PUBLISH, SUBSCRIBE};

/// What a wrong parameter may be in place of what it should be.
#[derive(Clone, Copy)]
pub(crate) enum Wanted {
    /// A text that must be there.
    Text,
    /// A text that may be missing or null.
    TextOrNothing,
    /// The same, where missing leads elsewhere.
    TextIfThere,
    /// True or false, or nothing.
    Flag,
    /// A number, or nothing.
    Number,
}

impl Wanted {
    /// Values that are not that; `None` is without the parameter.
    pub(crate) fn wrong(self) -> Vec<Option<Value>> {
        let text = || Some(json!("text"));
        let numbers = [json!(0), json!(-1), json!(1.5e308), json!(u64::MAX)];
        let other = [json!([]), json!(["x"]), json!({}), json!({"x": {}})];
        let mut wrong: Vec<Option<Value>> = other.map(Some).into();
        match self {
            Self::Text => wrong.extend([None, Some(Value::Null)]),
            Self::TextOrNothing | Self::TextIfThere => {}
            Self::Flag | Self::Number => wrong.push(text()),
        }
        if !matches!(self, Self::Number) {
            wrong.extend(numbers.map(Some));
        }
        if !matches!(self, Self::Flag) {
            wrong.push(Some(json!(true)));
        }
        wrong
    }
}

pub(crate) const PARAMS: i64 = -32_602;

/// Every parameter a method reads, and the error when it is something else.
#[rustfmt::skip]
pub(crate) const TYPES: [(&str, &str, Wanted, i64); 36] = [
    ("joinRoom",                "session",           Wanted::Text,          403),
    ("joinRoom",                "token",             Wanted::Text,          404),
    ("joinRoom",                "metadata",          Wanted::TextOrNothing, 500),
    ("joinRoom",                "secret",            Wanted::TextOrNothing, PARAMS),
    ("joinRoom",                "recorder",          Wanted::Flag,          PARAMS),
    ("connect",                 "sessionId",         Wanted::Text,          40_007),
    ("publishVideo",            "sdpOffer",          Wanted::Text,          302),
    ("publishVideo",            "doLoopback",        Wanted::Flag,          PARAMS),
    ("publishVideo",            "hasAudio",          Wanted::Flag,          PARAMS),
    ("publishVideo",            "hasVideo",          Wanted::Flag,          PARAMS),
    ("publishVideo",            "audioActive",       Wanted::Flag,          PARAMS),
    ("publishVideo",            "videoActive",       Wanted::Flag,          PARAMS),
    ("publishVideo",            "typeOfVideo",       Wanted::TextOrNothing, PARAMS),
    ("publishVideo",            "videoDimensions",   Wanted::TextOrNothing, PARAMS),
    ("receiveVideoFrom",        "sender",            Wanted::Text,          PARAMS),
    ("receiveVideoFrom",        "sdpOffer",          Wanted::Text,          302),
    ("receiveVideoFrom",        "sdpAnswer",         Wanted::TextIfThere,   302),
    ("prepareReceiveVideoFrom", "sender",            Wanted::Text,          PARAMS),
    ("prepareReceiveVideoFrom", "reconnect",         Wanted::Flag,          PARAMS),
    ("unsubscribeFromVideo",    "sender",            Wanted::Text,          PARAMS),
    ("reconnectStream",         "stream",            Wanted::Text,          PARAMS),
    ("reconnectStream",         "sdpOffer",          Wanted::Text,          302),
    ("reconnectStream",         "sdpString",         Wanted::TextIfThere,   302),
    ("reconnectStream",         "forciblyReconnect", Wanted::Flag,          PARAMS),
    ("onIceCandidate",          "endpointName",      Wanted::TextOrNothing, PARAMS),
    ("onIceCandidate",          "candidate",         Wanted::TextOrNothing, PARAMS),
    ("sendMessage",             "message",           Wanted::Text,          600),
    ("streamPropertyChanged",   "property",          Wanted::Text,          PARAMS),
    ("streamPropertyChanged",   "newValue",          Wanted::Flag,          PARAMS),
    ("forceDisconnect",         "connectionId",      Wanted::Text,          PARAMS),
    ("forceUnpublish",          "streamId",          Wanted::Text,          PARAMS),
    ("videoData",               "width",             Wanted::Number,        PARAMS),
    ("videoData",               "height",            Wanted::Number,        PARAMS),
    ("videoData",               "videoActive",       Wanted::Flag,          PARAMS),
    ("videoData",               "audioActive",       Wanted::Flag,          PARAMS),
    // What filters there might be is an object; there are none.
    ("publishVideo",            "filter",            Wanted::TextIfThere,   996),
];

/// Methods that read nothing, or whose answer is the same whatever they are given.
pub(crate) const READS_NOTHING: [&str; 11] = [
    "ping",
    "leaveRoom",
    "unpublishVideo",
    "echo",
    "applyFilter",
    "removeFilter",
    "execFilterMethod",
    "addFilterEventListener",
    "removeFilterEventListener",
    "subscribeToSpeechToText",
    "unsubscribeFromSpeechToText",
];

/// Texts that are no use where a text is right.
#[rustfmt::skip]
pub(crate) const VALUES: [(&str, &str, &[&str], i64); 20] = [
    ("joinRoom", "session", &["", "ses_none", "../../etc/passwd", "a b", "%00", "\u{0}", "'; DROP TABLE", LONG], 202),
    ("joinRoom", "token", &["", "tok_", "garbage", "wss://h?sessionId=x&token=", "\u{0}", LONG], 401),
    ("joinRoom", "secret", &["wrong", "test-secre", "test-secret2", "\u{0}", LONG], 401),
    ("joinRoom", "metadata", &[LONG], 500),
    ("connect", "sessionId", &["", "garbage", "\u{0}", LONG], 40_007),
    ("publishVideo", "sdpOffer", &["", "\u{0}", "garbage", "v=0", "v=0\r\n\r\n", SUBSCRIBE, LONG], 302),
    ("publishVideo", "typeOfVideo", &["IPCAM", "camera", "\u{0}", LONG], PARAMS),
    ("receiveVideoFrom", "sender", &["", "str_CAM_X", "con_X", "str_CAM_con_con_", "\u{0}", LONG], 105),
    ("receiveVideoFrom", "sdpOffer", &["", "\u{0}", "garbage", "v=0\r\n", PUBLISH, LONG], 302),
    ("receiveVideoFrom", "sdpAnswer", &["", "garbage", SUBSCRIBE], 302),
    ("prepareReceiveVideoFrom", "sender", &["", "str_CAM_X", LONG], 105),
    ("unsubscribeFromVideo", "sender", &["", "con_X", "str_X", "\u{0}", LONG], 102),
    ("reconnectStream", "stream", &["", "str_CAM_X", "\u{0}", LONG], 105),
    ("reconnectStream", "sdpOffer", &["", "garbage", LONG], 302),
    ("onIceCandidate", "candidate", &["garbage", "candidate:", "candidate:1 1 udp 1 h x typ host", "\u{0}", LONG], 302),
    ("onIceCandidate", "endpointName", &["", "con_X", "\u{0}", LONG], 102),
    ("sendMessage", "message", &[
        "", "{", "[]", "7", "null", "\"x\"", "{\"to\":7}", "{\"to\":\"con_X\"}", "{\"to\":[7]}", "{\"to\":[[]]}",
        "{\"type\":[]}", "{\"data\":{}}", "{\"data\":1,\"data\":2}", "{\"data\":\"x\"}{}", DEEP,
    ], 600),
    ("streamPropertyChanged", "property", &["", "filter", "audioactive", "__proto__", LONG], PARAMS),
    ("forceDisconnect", "connectionId", &["", "con_X", "\u{0}", LONG], 102),
    ("forceUnpublish", "streamId", &["", "str_X", "\u{0}", LONG], 105),
];

/// Longer than anything but an SDP may be.
pub(crate) const LONG: &str = match std::str::from_utf8(&[b'x'; 20_000]) {
    Ok(text) => text,
    Err(_) => panic!("x is a character"),
};

/// Deeper than anything is.
pub(crate) const DEEP: &str =
    "{\"x\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}";

/// Numbers and odd values that are let through, because real clients say strange things of their pictures.
#[rustfmt::skip]
pub(crate) const HARMLESS: [(&str, &str, &[&str]); 8] = [
    ("ping", "interval", &["-1", "0", "1e308", "18446744073709551615", "1.5", "\"x\"", "null", "{}"]),
    ("videoData", "width", &["-1", "0", "1e308", "18446744073709551615", "null"]),
    ("videoData", "height", &["-1", "1e308", "null"]),
    ("publishVideo", "frameRate", &["-99999", "0", "1e308", "18446744073709551615", "\"x\"", "{}", "null"]),
    ("publishVideo", "videoDimensions", &["\"\"", "\"{\"", "\"[]\"", "\"{\\\"width\\\":-1,\\\"height\\\":1e308}\""]),
    ("publishVideo", "filter", &["{}", "null"]),
    ("onIceCandidate", "sdpMLineIndex", &["-1", "1e308", "\"x\"", "{}", "null"]),
    ("onIceCandidate", "sdpMid", &["7", "\"9999999999\"", "[]", "null"]),
];

/// Frames that are no requests, or none that there are.
#[rustfmt::skip]
pub(crate) const FRAMES: [(&str, &str, i64); 40] = [
    ("nothing",              "",                                                                      -32_700),
    ("blanks",               " \r\n\t",                                                               -32_700),
    ("words",                "joinRoom",                                                              -32_700),
    ("an open brace",        "{",                                                                     -32_700),
    ("an open text",         r#"{"jsonrpc":"2.0","method":"ping","id":1,"params":{"x":"#,             -32_700),
    ("two requests",         r#"{"jsonrpc":"2.0","method":"ping","id":1}{"jsonrpc":"2.0","method":"ping","id":2}"#, -32_700),
    ("a comma too many",     r#"{"jsonrpc":"2.0","method":"ping","id":1,}"#,                          -32_700),
    ("single quotes",        "{'jsonrpc':'2.0','method':'ping','id':1}",                              -32_700),
    ("no number",            r#"{"jsonrpc":"2.0","method":"ping","id":NaN}"#,                         -32_700),
    ("a number too large",   r#"{"jsonrpc":"2.0","method":"ping","id":1,"params":{"x":1e999}}"#,      -32_700),
    ("a leading zero",       r#"{"jsonrpc":"2.0","method":"ping","id":01}"#,                          -32_700),
    ("half a character",     r#"{"jsonrpc":"2.0","method":"\ud800","id":1}"#,                         -32_700),
    ("a bare control",       "{\"jsonrpc\":\"2.0\",\"method\":\"a\u{1}\",\"id\":1}",                  -32_700),
    ("a mark before it",     "\u{feff}{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1}",            -32_700),
    ("two ids",              r#"{"jsonrpc":"2.0","method":"ping","id":1,"id":2}"#,                    -32_700),
    ("two methods",          r#"{"jsonrpc":"2.0","method":"ping","method":"leaveRoom","id":1}"#,      -32_700),
    ("two parameters",       r#"{"jsonrpc":"2.0","method":"echo","id":1,"params":{"a":1,"a":2}}"#,    -32_700),
    ("two of them deeper",   r#"{"jsonrpc":"2.0","method":"echo","id":1,"params":{"a":[{"b":1,"b":1}]}}"#, -32_700),
    ("the same by escape",   r#"{"jsonrpc":"2.0","method":"echo","id":1,"params":{"a":1,"\u0061":2}}"#, -32_700),
    ("depth",                DEEP,                                                                    -32_700),
    ("null",                 "null",                                                                  -32_600),
    ("a number",             "7",                                                                     -32_600),
    ("a text",               "\"ping\"",                                                              -32_600),
    ("a batch",              r#"[{"jsonrpc":"2.0","method":"ping","id":1}]"#,                         -32_600),
    ("an empty object",      "{}",                                                                    -32_600),
    ("no id",                r#"{"jsonrpc":"2.0","method":"leaveRoom"}"#,                             -32_600),
    ("null for an id",       r#"{"jsonrpc":"2.0","method":"leaveRoom","id":null}"#,                   -32_600),
    ("an object for an id",  r#"{"jsonrpc":"2.0","method":"leaveRoom","id":{}}"#,                     -32_600),
    ("half an id",           r#"{"jsonrpc":"2.0","method":"leaveRoom","id":1.5}"#,                    -32_600),
    ("an id too large",      r#"{"jsonrpc":"2.0","method":"leaveRoom","id":18446744073709551616}"#,   -32_600),
    ("no version",           r#"{"method":"leaveRoom","id":1}"#,                                      -32_600),
    ("another version",      r#"{"jsonrpc":"1.0","method":"leaveRoom","id":1}"#,                      -32_600),
    ("a number for it",      r#"{"jsonrpc":2.0,"method":"leaveRoom","id":1}"#,                        -32_600),
    ("no method",            r#"{"jsonrpc":"2.0","id":1}"#,                                           -32_600),
    ("a list for a method",  r#"{"jsonrpc":"2.0","method":["leaveRoom"],"id":1}"#,                    -32_600),
    ("an answer",            r#"{"jsonrpc":"2.0","result":{},"id":1}"#,                               -32_600),
    ("a list of parameters", r#"{"jsonrpc":"2.0","method":"leaveRoom","params":[],"id":1}"#,          -32_600),
    ("a text of them",       r#"{"jsonrpc":"2.0","method":"leaveRoom","params":"x","id":1}"#,         -32_600),
    ("no such method",       r#"{"jsonrpc":"2.0","method":"closeRoom","id":1}"#,                      -32_601),
    ("another case",         r#"{"jsonrpc":"2.0","method":"LEAVEROOM","id":1}"#,                      -32_601),
];
