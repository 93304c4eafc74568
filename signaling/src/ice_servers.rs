//! ICE servers as they are written down: by an application, by the operator, and for clients that know only one.

use serde_json::{Value, json};

use crate::session::IceServer;

/// Most ICE servers of one connection.
const SERVERS_MAX: usize = 16;

/// Reads `customIceServers`.
///
/// # Errors
/// When it is no list of servers, a URL is none, TURN lacks credentials or STUN has some.
pub fn parse(value: &Value) -> Result<Vec<IceServer>, String> {
    let entries = value.as_array().ok_or("customIceServers must be a list")?;
    if entries.len() > SERVERS_MAX {
        return Err(format!("customIceServers may have {SERVERS_MAX} entries at most"));
    }
    entries.iter().map(parse_one).collect()
}

fn parse_one(entry: &Value) -> Result<IceServer, String> {
    let text = |key: &str| match &entry[key] {
        Value::Null => Ok(None),
        Value::String(text) if !text.is_empty() => Ok(Some(text.clone())),
        _ => Err(format!("{key} of an ICE server must be a text")),
    };
    let server = IceServer {
        url: text("url")?.ok_or("an ICE server needs a url")?,
        username: text("username")?,
        credential: text("credential")?,
        static_auth_secret: text("staticAuthSecret")?,
    };
    let is_turn = check_url(&server.url)?;
    let pair = server.username.is_some() && server.credential.is_some();
    let any = server.username.is_some() || server.credential.is_some() || server.static_auth_secret.is_some();
    match (is_turn, pair, server.static_auth_secret.is_some()) {
        (false, ..) if any => Err("a STUN server has no credentials".into()),
        (false, ..) | (true, true, false) => Ok(server),
        (true, false, true) if !any || server.username.is_none() && server.credential.is_none() => Ok(server),
        _ => Err("a TURN server needs username and credential, or staticAuthSecret".into()),
    }
}

/// Reads one server of the configuration: `url=…,username=…,credential=…` or `url=…,staticAuthSecret=…`.
///
/// # Errors
/// As for [`parse`], or when it is not of that form.
pub fn parse_text(text: &str) -> Result<IceServer, String> {
    let mut entry = serde_json::Map::new();
    for part in text.split(',') {
        let (name, value) = part.split_once('=').ok_or("not of the form url=…,username=…,credential=…")?;
        if !matches!(name.trim(), "url" | "username" | "credential" | "staticAuthSecret") {
            return Err("only url, username, credential and staticAuthSecret may be given".into());
        }
        entry.insert(name.trim().into(), json!(value.trim()));
    }
    parse_one(&Value::Object(entry))
}

/// Whether `url` is a TURN server's, as opposed to a STUN server's (RFC 7064 §3.1, RFC 7065 §3.1).
fn check_url(url: &str) -> Result<bool, String> {
    let bad = || format!("'{}' is no ICE server url", url.chars().take(100).collect::<String>());
    let (scheme, rest) = url.split_once(':').ok_or_else(bad)?;
    let is_turn = match scheme {
        "stun" | "stuns" => false,
        "turn" | "turns" => true,
        _ => return Err(bad()),
    };
    let (address, query) =
        rest.split_once('?').map_or((rest, None), |(address, query)| (address, Some(query)));
    if !matches!((is_turn, query), (_, None) | (true, Some("transport=udp" | "transport=tcp"))) {
        return Err(bad());
    }
    let (host, port) = split_host(address);
    let named = (1..=253).contains(&host.len()) && host.bytes().all(is_host_byte);
    let ported = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    if named && ported { Ok(is_turn) } else { Err(bad()) }
}

/// Splits `host:port`, `[v6]:port` or a host alone. The brackets stay.
pub fn split_host(address: &str) -> (&str, Option<&str>) {
    if address.starts_with('[')
        && let Some((host, rest)) = address.split_once(']')
    {
        let host = &address[..host.len() + 1];
        return (host, rest.strip_prefix(':'));
    }
    address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port)))
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'[' | b']' | b':')
}

/// A TURN server for clients that read no list of servers, such as native applications.
#[derive(Debug, PartialEq, Eq)]
pub struct Turn<'a> {
    /// Its host, a literal of IPv6 in brackets.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// The user name.
    pub username: &'a str,
    /// The password.
    pub credential: &'a str,
}

/// The first TURN server without TLS among those a client is offered.
pub fn turn_of(offered: &[IceServer]) -> Option<Turn<'_>> {
    offered.iter().find_map(|server| {
        let address = server.url.strip_prefix("turn:")?.split('?').next()?;
        let (host, port) = split_host(address);
        // RFC 7065 §3.2.
        let port = port.map_or(Some(3_478), |port| port.parse().ok())?;
        let (username, credential) = (server.username.as_deref()?, server.credential.as_deref()?);
        Some(Turn { host, port, username, credential })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked() {
        for good in ["stun:host", "stun:10.0.0.1:3478", "stuns:[::1]:5349", "stun:a-b.c_d"] {
            assert_eq!(check_url(good), Ok(false), "{good}");
        }
        for good in ["turn:host", "turns:host:443?transport=tcp", "turn:[2001:db8::1]?transport=udp"] {
            assert_eq!(check_url(good), Ok(true), "{good}");
        }
        let bad = [
            "",
            "host",
            "http:host",
            "stun:",
            "stun:host:0",
            "stun:host:70000",
            "stun:h?transport=udp",
            "turn:h?transport=sctp",
            "turn:h:x",
            "turn:h h",
            "STUN:h",
        ];
        for bad in bad {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn turn_has_credentials_and_stun_has_none() {
        let ok = |entry: Value| parse(&json!([entry])).is_ok();
        assert!(ok(json!({"url": "stun:h"})));
        assert!(ok(json!({"url": "turn:h", "username": "u", "credential": "c"})));
        assert!(ok(json!({"url": "turn:h", "staticAuthSecret": "s", "username": null})));
        assert!(!ok(json!({"url": "stun:h", "username": "u"})));
        assert!(!ok(json!({"url": "turn:h"})));
        assert!(!ok(json!({"url": "turn:h", "username": "u"})));
        assert!(!ok(json!({"url": "turn:h", "username": "u", "staticAuthSecret": "s"})));
        assert!(!ok(json!({"url": 7})));
        assert!(!ok(json!("stun:h")));
        assert!(parse(&json!({})).is_err());
    }

    #[test]
    fn a_turn_server_is_told_to_those_who_read_no_list() {
        let server = |url: &str| IceServer {
            url: url.into(),
            username: Some("u".into()),
            credential: Some("c".into()),
            static_auth_secret: None,
        };
        let turn = |url: &str| {
            let servers = [IceServer { username: None, ..server("stun:first") }, server(url)];
            turn_of(&servers).map(|turn| (turn.host.to_owned(), turn.port))
        };
        assert_eq!(turn("turn:h"), Some(("h".into(), 3_478)));
        assert_eq!(turn("turn:192.0.2.1:99?transport=udp"), Some(("192.0.2.1".into(), 99)));
        assert_eq!(turn("turn:[2001:db8::1]:99"), Some(("[2001:db8::1]".into(), 99)));
        assert_eq!(turn("turns:h:443"), None);
        assert_eq!(turn_of(&[IceServer { credential: None, ..server("turn:h") }]), None);
    }

    #[test]
    fn a_server_of_the_configuration_is_checked() {
        assert!(parse_text("url=turn:h:3478,staticAuthSecret=s").is_ok());
        for bad in ["", "turn:h", "url=turn:h", "url=stun:h,username=u", "url=turn:h,user=u,credential=c"] {
            assert!(parse_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_host_is_split_from_its_port() {
        assert_eq!(split_host("h:1"), ("h", Some("1")));
        assert_eq!(split_host("h"), ("h", None));
        assert_eq!(split_host("[::1]:2"), ("[::1]", Some("2")));
        assert_eq!(split_host("[::1]"), ("[::1]", None));
        assert_eq!(split_host("["), ("[", None));
    }
}
