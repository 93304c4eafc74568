//! What clients of the first generation (openvidu-browser 1.x, at `/room`) say and read in another way.
//!
//! They name a session by the whole URL they found it at, a stream by its connection too (1.0.2), and take
//! `audioActive` for "has audio" (1.7 and 1.9), of their own streams as of others'.

/// Before the type of a signal, where clients of the second generation put and expect it.
const SIGNAL_PREFIX: &str = "signal:";

/// Between the URL of a session and the secret that makes it.
const SECRET_QUERY: &str = "?secret=";

/// Behind the secret in the URL a recorder uses.
const RECORDER_QUERY: &str = "&recorder=";

/// The session that `wss://host:8443/ID?secret=…` names, and the secret in it: 1.0.2 leaves it there.
pub fn session_and_secret(url: &str) -> (&str, Option<&str>) {
    let (url, secret) = match url.split_once(SECRET_QUERY) {
        Some((url, rest)) => (url, Some(rest.split_once(RECORDER_QUERY).map_or(rest, |(secret, _)| secret))),
        None => (url, None),
    };
    let path = match url.split_once("://") {
        // A URL without a path names no session. There is no session with an empty name.
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => url,
    };
    (path.trim_end_matches('/').rsplit('/').next().unwrap_or_default(), secret)
}

/// The stream that 1.0.2 names as `<connection>_<stream>`, and others as it is.
pub fn stream_of(sender: &str) -> &str {
    if !sender.starts_with("con_") {
        return sender;
    }
    sender.find("_str_").map_or(sender, |end| &sender[end + 1..])
}

/// The connection of the same, of a stream or of a connection.
pub fn connection_of(sender: &str) -> &str {
    if !sender.starts_with("con_") {
        return sender;
    }
    sender.find("_str_").map_or(sender, |end| &sender[..end])
}

/// Whether an offer means to send media of that kind.
pub fn offers(offer: &str, kind: &str) -> bool {
    let mut sections = offer.split("\nm=").skip(1);
    sections.any(|section| {
        let named = section.split_whitespace().next() == Some(kind);
        let receives_at_most = section.lines().any(|line| matches!(line.trim(), "a=recvonly" | "a=inactive"));
        named && !receives_at_most
    })
}

/// The type of a signal as the first generation reads it: it puts the prefix itself.
pub fn signal_for_first(kind: &str) -> &str {
    kind.strip_prefix(SIGNAL_PREFIX).unwrap_or(kind)
}

/// The type of a signal of theirs as all others read it.
pub fn signal_from_first(kind: &str) -> String {
    if kind.is_empty() || kind.starts_with(SIGNAL_PREFIX) {
        kind.to_owned()
    } else {
        format!("{SIGNAL_PREFIX}{kind}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_in_its_url() {
        for (url, session, secret) in [
            ("wss://h:8443/room1", "room1", None),
            ("wss://h:8443/room1/", "room1", None),
            ("wss://h/prefix/room1?secret=MY_SECRET", "room1", Some("MY_SECRET")),
            ("wss://h/room1?secret=a&b&recorder=true", "room1", Some("a&b")),
            ("room1", "room1", None),
            ("wss://h:8443", "", None),
            ("", "", None),
        ] {
            assert_eq!(session_and_secret(url), (session, secret), "{url}");
        }
    }

    #[test]
    fn a_stream_may_come_with_its_connection() {
        let old = "con_ABC_str_CAM_Xyz1_con_ABC";
        assert_eq!((connection_of(old), stream_of(old)), ("con_ABC", "str_CAM_Xyz1_con_ABC"));
        let new = "str_CAM_Xyz1_con_ABC";
        assert_eq!(stream_of(new), new);
        assert_eq!((connection_of("con_ABC"), stream_of("con_ABC")), ("con_ABC", "con_ABC"));
    }

    #[test]
    fn an_offer_says_what_it_sends() {
        let offer =
            "v=0\r\nm=audio 9 X 111\r\na=sendonly\r\nm=video 9 X 96\r\na=recvonly\r\nm=application 9 X 1\r\n";
        assert!(offers(offer, "audio"));
        assert!(!offers(offer, "video"), "it only receives");
        assert!(offers("v=0\r\nm=video 9 X 96\r\na=sendrecv\r\n", "video"));
        assert!(!offers("v=0\r\n", "video"));
    }

    #[test]
    fn signals_cross_between_the_generations() {
        assert_eq!(signal_for_first("signal:chat"), "chat");
        assert_eq!(signal_for_first("chat"), "chat");
        assert_eq!(signal_from_first("chat"), "signal:chat");
        assert_eq!(signal_from_first("signal:chat"), "signal:chat");
        assert_eq!(signal_from_first(""), "");
    }
}
