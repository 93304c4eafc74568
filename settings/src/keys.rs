//! The table of keys: the name of each in the file, on the command line and in the environment.

/// The names of one setting. The clap option with the same flag has its help text, default and type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Name in the file: `table.name`.
    pub path: &'static str,
    /// Name of the flag, without dashes. The environment variable follows from it.
    pub flag: &'static str,
    /// Whether the value is secret: it is never shown, and may come from a file of its own.
    pub secret: bool,
    /// Whether it may have several values.
    pub list: bool,
    /// OpenVidu 2's variable with the same meaning and the same values, if there is one.
    pub openvidu: Option<&'static str>,
}

impl Key {
    /// The environment variable: `MILLRACE_HTTPS_PORT` for `https-port`.
    pub fn variable(&self) -> String {
        format!("MILLRACE_{}", self.flag.replace('-', "_").to_uppercase())
    }

    const fn as_in_openvidu(self, name: &'static str) -> Self {
        Self { openvidu: Some(name), ..self }
    }

    /// The table and the name in it.
    pub fn parts(&self) -> (&'static str, &'static str) {
        self.path.split_once('.').expect("every path of the table has two parts, as a test shows")
    }
}

const fn one(path: &'static str, flag: &'static str) -> Key {
    Key { path, flag, secret: false, list: false, openvidu: None }
}

const fn list(path: &'static str, flag: &'static str) -> Key {
    Key { path, flag, secret: false, list: true, openvidu: None }
}

const fn secret_list(path: &'static str, flag: &'static str) -> Key {
    Key { path, flag, secret: true, list: true, openvidu: None }
}

const fn secret(path: &'static str, flag: &'static str) -> Key {
    Key { path, flag, secret: true, list: false, openvidu: None }
}

/// Every setting, in the order of `millrace config show`. A new option of a program needs its line here.
pub const KEYS: &[Key] = &[
    one("server.public-url", "public-url"),
    list("server.public-ip", "public-ip"),
    one("server.https-port", "https-port").as_in_openvidu("HTTPS_PORT"),
    one("server.http-port", "http-port"),
    one("server.http-socket", "http-socket"),
    secret("server.secret", "secret").as_in_openvidu("OPENVIDU_SECRET"),
    secret("server.secret-previous", "secret-previous"),
    secret("server.monitor-secret", "monitor-secret"),
    one("server.redirect-port", "redirect-port").as_in_openvidu("HTTP_PORT"),
    one("server.certificate-type", "certificate-type"),
    one("server.certificate-file", "certificate-file"),
    one("server.certificate-key-file", "certificate-key-file"),
    one("server.letsencrypt-email", "letsencrypt-email").as_in_openvidu("LETSENCRYPT_EMAIL"),
    one("server.acme-directory", "acme-directory"),
    list("server.rest-allow", "rest-allow").as_in_openvidu("ALLOWED_ACCESS_TO_RESTAPI"),
    list("server.trusted-proxies", "trusted-proxies"),
    list("server.dashboard-allow", "dashboard-allow").as_in_openvidu("ALLOWED_ACCESS_TO_DASHBOARD"),
    one("server.data-dir", "data-dir"),
    one("server.control-socket", "control-socket"),
    one("relay.media-port", "media-port"),
    one("relay.shards", "shards"),
    one("relay.ice-tcp", "ice-tcp"),
    one("relay.backend", "backend"),
    one("turn.enabled", "turn"),
    one("turn.port", "turn-port"),
    one("turn.tls-port", "turn-tls-port"),
    one("turn.udp-443", "turn-udp-443"),
    one("turn.realm", "turn-realm"),
    one("turn.credential-lifetime-s", "turn-credential-lifetime-s"),
    secret("turn.secret", "turn-secret"),
    secret("turn.secret-previous", "turn-secret-previous"),
    secret_list("turn.static-users", "turn-static-user"),
    list("turn.allow", "turn-allow"),
    list("turn.deny", "turn-deny"),
    one("turn.relay-ports", "turn-relay-ports"),
    one("turn.allocations-max", "turn-allocations-max"),
    one("turn.allocations-per-user-max", "turn-allocations-per-user-max"),
    one("turn.bandwidth-per-user-max-bps", "turn-bandwidth-per-user-max-bps"),
    one("streams.viewers-per-shard", "viewers-per-shard"),
    one("streams.media-server", "media-server"),
    one("streams.allow-transcoding", "allow-transcoding")
        .as_in_openvidu("OPENVIDU_STREAMS_ALLOW_TRANSCODING"),
    one("streams.forced-video-codec", "forced-video-codec")
        .as_in_openvidu("OPENVIDU_STREAMS_FORCED_VIDEO_CODEC"),
    one("streams.video-max-recv-kbps", "video-max-recv-kbps")
        .as_in_openvidu("OPENVIDU_STREAMS_VIDEO_MAX_RECV_BANDWIDTH"),
    one("streams.video-min-recv-kbps", "video-min-recv-kbps")
        .as_in_openvidu("OPENVIDU_STREAMS_VIDEO_MIN_RECV_BANDWIDTH"),
    one("streams.video-max-send-kbps", "video-max-send-kbps")
        .as_in_openvidu("OPENVIDU_STREAMS_VIDEO_MAX_SEND_BANDWIDTH"),
    one("streams.video-min-send-kbps", "video-min-send-kbps")
        .as_in_openvidu("OPENVIDU_STREAMS_VIDEO_MIN_SEND_BANDWIDTH"),
    one("garbage.interval-s", "garbage-interval-s").as_in_openvidu("OPENVIDU_SESSIONS_GARBAGE_INTERVAL"),
    one("garbage.threshold-s", "garbage-threshold-s").as_in_openvidu("OPENVIDU_SESSIONS_GARBAGE_THRESHOLD"),
    secret_list("ice.servers", "ice-server"),
    one("events.webhook", "webhook").as_in_openvidu("OPENVIDU_WEBHOOK"),
    one("events.webhook-endpoint", "webhook-endpoint").as_in_openvidu("OPENVIDU_WEBHOOK_ENDPOINT"),
    secret_list("events.webhook-headers", "webhook-header").as_in_openvidu("OPENVIDU_WEBHOOK_HEADERS"),
    list("events.webhook-events", "webhook-event").as_in_openvidu("OPENVIDU_WEBHOOK_EVENTS"),
    one("events.webhook-verify-tls", "webhook-verify-tls"),
    one("events.webhook-ca-file", "webhook-ca-file"),
    secret("events.webhook-secret", "webhook-secret"),
    one("events.webhook-waiting-max", "webhook-waiting-max"),
    one("events.webhook-waiting-len-bytes-max", "webhook-waiting-len-bytes-max"),
    one("events.cdr", "cdr").as_in_openvidu("OPENVIDU_CDR"),
    one("events.cdr-path", "cdr-path").as_in_openvidu("OPENVIDU_CDR_PATH"),
    one("events.cdr-file-len-bytes-max", "cdr-file-len-bytes-max"),
    one("events.cdr-old-files-max", "cdr-old-files-max"),
    one("limits.sessions-max", "sessions-max"),
    one("limits.connections-per-session-max", "connections-per-session-max"),
    one("limits.sockets-max", "sockets-max"),
    one("limits.sockets-per-address-max", "sockets-per-address-max"),
    one("limits.participants-max", "participants-max"),
    one("limits.pending-connections-max", "pending-connections-max"),
    one("limits.rpc-per-s-max", "rpc-per-s-max"),
    one("limits.rpc-burst-max", "rpc-burst-max"),
    one("limits.pings-missed-max", "pings-missed-max"),
    one("limits.signal-bytes-per-s-max", "signal-bytes-per-s-max"),
    one("limits.rest-per-s-max", "rest-per-s-max"),
    one("limits.rest-burst-max", "rest-burst-max"),
    one("limits.wrong-secrets-per-min-max", "wrong-secrets-per-min-max"),
    one("limits.invitations-per-min-max", "invitations-per-min-max"),
    one("limits.message-len-bytes-max", "message-len-bytes-max"),
    one("limits.data-len-bytes-max", "data-len-bytes-max"),
    one("compat.support-deprecated-api", "support-deprecated-api").as_in_openvidu("SUPPORT_DEPRECATED_API"),
    one("compat.first-generation-secret", "first-generation-secret"),
    one("compat.reported-version", "reported-version"),
    one("log.filter", "log"),
];

/// The key of a flag.
pub fn by_flag(flag: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.flag == flag)
}

/// The key of a name in the file, `table.name`.
pub fn by_path(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_keys_share_a_name() {
        for name in [|key: &Key| key.path.to_owned(), |key: &Key| key.flag.to_owned(), Key::variable] {
            let names: BTreeSet<_> = KEYS.iter().map(name).collect();
            assert_eq!(names.len(), KEYS.len());
        }
        assert!(KEYS.iter().all(|key| key.path.matches('.').count() == 1));
    }

    #[test]
    fn the_variable_follows_from_the_option() {
        assert_eq!(by_path("garbage.interval-s").unwrap().variable(), "MILLRACE_GARBAGE_INTERVAL_S");
        assert_eq!(by_flag("https-port").unwrap().parts(), ("server", "https-port"));
    }
}
