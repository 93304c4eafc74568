//! Translates the variables of an OpenVidu 2 `.env` to settings.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use crate::keys::{self, KEYS, Key};
use crate::suggest::nearest;

/// A variable that became a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// OpenVidu's name.
    pub name: String,
    /// Our key.
    pub key: &'static Key,
    /// The value, in our form.
    pub text: String,
}

/// A variable that did not become a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// OpenVidu's name.
    pub name: String,
    /// Why, and what to do instead.
    pub why: String,
    /// Whether the server must not start without it, because it would not be the one that the operator asked for.
    pub refused: bool,
}

/// The translation of a set of variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    /// Settings, in the order of the table of keys.
    pub taken: Vec<Taken>,
    /// All others that have a value, in alphabetical order.
    pub left: Vec<Left>,
}

/// What to do with a variable that is not simply another name of a key.
#[derive(Clone, Copy)]
enum Rule {
    /// Has no meaning here.
    Note(&'static str),
    /// Asks for something that does not exist here. `false` changes nothing.
    OnlyOff(&'static str),
    /// Translated by code.
    Known,
}

const NGINX: &str = "Millrace uses no nginx";
const RECORDING: &str = "there is no recording";
const TURN: &str = "the relay has a TURN server of its own, at its own addresses";
const APART: &str = "used with COTURN_IP, because a coturn on another machine stays in use";

/// Rules by name. A trailing `*` matches any rest.
const RULES: &[(&str, Rule)] = &[
    ("DOMAIN_OR_PUBLIC_IP", Rule::Known),
    ("PROXY_PUBLIC_IP", Rule::Known),
    ("CERTIFICATE_TYPE", Rule::Known),
    ("REDIRECT_WWW", Rule::Note(NGINX)),
    ("WORKER_CONNECTIONS", Rule::Note(NGINX)),
    ("HTTPS_PROTOCOLS", Rule::Note("always TLS 1.2 and 1.3")),
    ("HTTPS_CIPHERS", Rule::Note("always the secure ones of TLS 1.2 and 1.3")),
    ("HTTPS_HSTS", Rule::Note(NGINX)),
    ("OPENVIDU_RECORDING", Rule::OnlyOff(RECORDING)),
    ("OPENVIDU_RECORDING_*", Rule::Note(RECORDING)),
    ("OPENVIDU_WEBRTC_SIMULCAST", Rule::Note("there is no simulcast for viewers")),
    ("OPENVIDU_WEBRTC_ICE_SERVERS", Rule::Known),
    ("COTURN_IP", Rule::Known),
    ("COTURN_PORT", Rule::Known),
    ("COTURN_SHARED_SECRET_KEY", Rule::Known),
    ("COTURN_MIN_PORT", Rule::Known),
    ("COTURN_MAX_PORT", Rule::Known),
    ("COTURN_*", Rule::Note(TURN)),
    ("MEDIA_NODES_PUBLIC_IPS", Rule::Note("there are no media nodes; set the address as server.public-ip")),
    ("KMS_*", Rule::Note("there is no Kurento")),
    ("OV_CE_DEBUG_LEVEL", Rule::Note("set log.filter instead")),
    ("JAVA_OPTIONS", Rule::Note("there is no Java")),
    ("CALL_*", Rule::Note("of the application OpenVidu Call")),
    ("OPENVIDU_PRO_*", Rule::Note("belongs to another edition")),
];

fn rule(name: &str) -> Option<Rule> {
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    };
    RULES.iter().find(|(pattern, _)| matches(pattern)).map(|(_, rule)| *rule)
}

fn alias(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.openvidu == Some(name))
}

/// The variables of an environment that belong to OpenVidu. Names without its prefix count only if a variable is set that
/// every deployment has, because other software may use them too.
pub fn among(environment: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let deployed =
        ["DOMAIN_OR_PUBLIC_IP", "OPENVIDU_SECRET"].iter().any(|name| environment.contains_key(*name));
    let ours = |name: &str| {
        name.starts_with("OPENVIDU_") || deployed && (alias(name).is_some() || rule(name).is_some())
    };
    environment
        .iter()
        .filter(|(name, _)| ours(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Translates `variables`. An empty value counts as none. Certificates are below `dir`.
pub fn translate(variables: &BTreeMap<String, String>, dir: &Path) -> Translation {
    let mut all = Translation::default();
    for (name, value) in variables {
        let value = value.trim();
        if value.is_empty() {
            continue;
        }
        if let Some(key) = alias(name) {
            all.take(name, key.path, value);
            continue;
        }
        match rule(name) {
            Some(Rule::Note(why)) => all.leave(name, why, false),
            Some(Rule::OnlyOff(why)) => {
                let off = value.eq_ignore_ascii_case("false");
                all.leave(name, if off { "off, as here" } else { why }, !off);
            }
            Some(Rule::Known) => all.convert(name, value, variables, dir),
            None => all.leave(name, &unknown(name), false),
        }
    }
    let place = |taken: &Taken| KEYS.iter().position(|key| key == taken.key);
    all.taken.sort_by_key(place);
    all
}

fn unknown(name: &str) -> String {
    let names = RULES
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !name.ends_with('*'))
        .chain(KEYS.iter().filter_map(|key| key.openvidu));
    nearest(name, names).map_or_else(
        || "not a key of OpenVidu 2".into(),
        |known| format!("not a key of OpenVidu 2; did you mean {known}?"),
    )
}

/// OpenVidu's default for the first relayed port.
const COTURN_MIN_PORT: u16 = 57_001;

fn given<'a>(all: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    all.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
}

/// Whether the variables name a coturn on another machine, which stays in use.
fn coturn_is_apart(all: &BTreeMap<String, String>) -> bool {
    let ip = given(all, "COTURN_IP").filter(|ip| ip.parse::<IpAddr>().is_ok());
    let is_ours =
        |ip| ["DOMAIN_OR_PUBLIC_IP", "PROXY_PUBLIC_IP"].iter().any(|name| given(all, name) == Some(ip));
    given(all, "COTURN_SHARED_SECRET_KEY").is_some() && ip.is_some_and(|ip| !is_ours(ip))
}

impl Translation {
    fn take(&mut self, name: &str, path: &str, text: &str) {
        let key = keys::by_path(path).expect("written above, as a test shows");
        self.taken.push(Taken { name: name.to_owned(), key, text: text.to_owned() });
    }

    fn leave(&mut self, name: &str, why: &str, refused: bool) {
        self.left.push(Left { name: name.to_owned(), why: why.to_owned(), refused });
    }

    fn convert(&mut self, name: &str, value: &str, all: &BTreeMap<String, String>, dir: &Path) {
        let given = |name: &str| given(all, name);
        match (name, value) {
            ("DOMAIN_OR_PUBLIC_IP", host) => self.reach(name, host, all.get("HTTPS_PORT")),
            ("PROXY_PUBLIC_IP", ip) => self.take(name, "server.public-ip", ip),
            ("OPENVIDU_WEBRTC_ICE_SERVERS", servers) => {
                // A list in JSON, or the same without quotes.
                for server in servers.split("url=").skip(1) {
                    let server = server.trim_end_matches(|end: char| ",\"'] ".contains(end));
                    self.take(name, "ice.servers", &format!("url={server}"));
                }
            }
            ("COTURN_IP", ip) => match given("COTURN_SHARED_SECRET_KEY") {
                Some(secret) if coturn_is_apart(all) => {
                    let port = given("COTURN_PORT").unwrap_or("3478");
                    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
                    let server = format!("url=turn:{host}:{port},staticAuthSecret={secret}");
                    self.take(name, "ice.servers", &server);
                }
                _ => self.leave(name, TURN, false),
            },
            ("COTURN_PORT" | "COTURN_SHARED_SECRET_KEY" | "COTURN_MIN_PORT" | "COTURN_MAX_PORT", _)
                if coturn_is_apart(all) =>
            {
                self.leave(name, APART, false);
            }
            ("COTURN_PORT", port) => self.take(name, "turn.port", port),
            ("COTURN_SHARED_SECRET_KEY", secret) => self.take(name, "turn.secret", secret),
            ("COTURN_MIN_PORT", min) => {
                let range = format!("{min}-{}", given("COTURN_MAX_PORT").unwrap_or("65535"));
                self.take(name, "turn.relay-ports", &range);
            }
            ("COTURN_MAX_PORT", _) if given("COTURN_MIN_PORT").is_some() => {
                self.leave(name, "used with COTURN_MIN_PORT", false);
            }
            ("COTURN_MAX_PORT", max) => {
                self.take(name, "turn.relay-ports", &format!("{COTURN_MIN_PORT}-{max}"));
            }
            ("CERTIFICATE_TYPE", "selfsigned") => {
                self.leave(name, "self-signed, which is the default", false)
            }
            ("CERTIFICATE_TYPE", "owncert") => {
                for (path, file) in [
                    ("server.certificate-file", "owncert/certificate.cert"),
                    ("server.certificate-key-file", "owncert/certificate.key"),
                ] {
                    self.take(name, path, &dir.join(file).to_string_lossy());
                }
            }
            ("CERTIFICATE_TYPE", "letsencrypt") => self.take(name, "server.certificate-type", value),
            (_, other) => {
                self.leave(name, &format!("{other} is not selfsigned, owncert or letsencrypt"), true);
            }
        }
    }

    /// The public URL and the HTTPS port. OpenVidu's default port is 443.
    fn reach(&mut self, name: &str, host: &str, port: Option<&String>) {
        let port = port.map(|port| port.trim()).filter(|port| !port.is_empty());
        if port.is_none() {
            self.take(name, "server.https-port", "443");
        }
        let ip = host.parse::<IpAddr>().ok();
        if ip.is_some() {
            self.take(name, "server.public-ip", host);
        }
        let host = if ip.is_some_and(|ip| ip.is_ipv6()) { format!("[{host}]") } else { host.to_owned() };
        let url = match port {
            None | Some("443") => format!("https://{host}"),
            Some(port) => format!("https://{host}:{port}"),
        };
        self.take(name, "server.public-url", &url);
    }
}

/// The variables of an `.env` file: one `NAME=value` on each line, quotes around the value are removed; `#` begins a
/// comment line. See docs/decisions/env-files.md for why no library reads it.
///
/// # Errors
/// A message with the number of the first line that has another form.
pub fn parse_env(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut variables = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        match line.split_once('=') {
            Some((name, value)) if is_name(name.trim()) => {
                variables.insert(name.trim().to_owned(), unquoted(value.trim()).to_owned());
            }
            _ => return Err(format!("line {}: not of the form NAME=value", at + 1)),
        }
    }
    Ok(variables)
}

fn unquoted(value: &str) -> &str {
    let within = |quote: char| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote));
    within('"').or_else(|| within('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(text: &str) -> (Vec<String>, Vec<String>) {
        let translation = translate(&parse_env(text).unwrap(), Path::new("/opt/openvidu"));
        let taken = translation.taken.iter().map(|taken| format!("{}={}", taken.key.path, taken.text));
        let left = translation
            .left
            .iter()
            .map(|left| format!("{}{}", left.name, if left.refused { "!" } else { "" }));
        (taken.collect(), left.collect())
    }

    #[test]
    fn every_rule_leads_to_a_key_that_is_there() {
        let text = "DOMAIN_OR_PUBLIC_IP=192.0.2.1\nPROXY_PUBLIC_IP=192.0.2.2\nCERTIFICATE_TYPE=owncert\n";
        let (taken, left) = translated(text);
        assert_eq!(
            taken,
            [
                "server.public-url=https://192.0.2.1",
                "server.public-ip=192.0.2.1",
                "server.public-ip=192.0.2.2",
                "server.https-port=443",
                "server.certificate-file=/opt/openvidu/owncert/certificate.cert",
                "server.certificate-key-file=/opt/openvidu/owncert/certificate.key",
            ]
        );
        assert_eq!(left, Vec::<String>::new());
        for name in KEYS.iter().filter_map(|key| key.openvidu) {
            assert_eq!(translated(&format!("{name}=1")).0.len(), 1, "{name}");
        }
    }

    #[test]
    fn the_address_follows_domain_and_port() {
        let url = |text: &str| translated(text).0[0].clone();
        assert_eq!(
            url("DOMAIN_OR_PUBLIC_IP=meet.example.org\nHTTPS_PORT="),
            "server.public-url=https://meet.example.org"
        );
        assert_eq!(
            url("DOMAIN_OR_PUBLIC_IP=meet.example.org\nHTTPS_PORT=4443"),
            "server.public-url=https://meet.example.org:4443"
        );
        assert_eq!(url("DOMAIN_OR_PUBLIC_IP=2001:db8::1"), "server.public-url=https://[2001:db8::1]");
    }

    #[test]
    fn servers_of_ice_are_taken_in_every_spelling() {
        for text in [
            r#"OPENVIDU_WEBRTC_ICE_SERVERS=["url=turns:h:443,username=u,credential=c", "url=stun:s"]"#,
            "OPENVIDU_WEBRTC_ICE_SERVERS=[url=turns:h:443,username=u,credential=c,url=stun:s]",
        ] {
            let servers = ["ice.servers=url=turns:h:443,username=u,credential=c", "ice.servers=url=stun:s"];
            assert_eq!(translated(text).0, servers, "{text}");
        }
        let (taken, left) = translated("COTURN_IP=192.0.2.1\nCOTURN_SHARED_SECRET_KEY=k\nCOTURN_MIN_PORT=1");
        assert_eq!(taken, ["ice.servers=url=turn:192.0.2.1:3478,staticAuthSecret=k"]);
        assert_eq!(left, ["COTURN_MIN_PORT", "COTURN_SHARED_SECRET_KEY"]);
        assert_eq!(translated("COTURN_IP=auto-ipv4").1, ["COTURN_IP"]);
        // The one that came along is replaced.
        for ip in ["auto-ipv4", "192.0.2.9"] {
            let (taken, left) = translated(&format!(
                "PROXY_PUBLIC_IP=192.0.2.9\nCOTURN_IP={ip}\nCOTURN_SHARED_SECRET_KEY=long enough\nCOTURN_PORT=3479\n\
                 COTURN_MIN_PORT=50000\nCOTURN_MAX_PORT=50100"
            ));
            assert_eq!(
                taken[1..],
                ["turn.port=3479", "turn.secret=long enough", "turn.relay-ports=50000-50100"]
            );
            assert_eq!(left, ["COTURN_IP", "COTURN_MAX_PORT"]);
        }
        assert_eq!(translated("COTURN_MAX_PORT=60000").0, ["turn.relay-ports=57001-60000"]);
    }

    #[test]
    fn what_would_be_another_server_is_refused() {
        for (text, left) in [
            ("CERTIFICATE_TYPE=else", "CERTIFICATE_TYPE!"),
            ("CERTIFICATE_TYPE=selfsigned", "CERTIFICATE_TYPE"),
            ("OPENVIDU_RECORDING=true", "OPENVIDU_RECORDING!"),
            ("OPENVIDU_RECORDING=false", "OPENVIDU_RECORDING"),
            ("OPENVIDU_RECORDING_PATH=/opt", "OPENVIDU_RECORDING_PATH"),
            ("KMS_DOCKER_ENV_GST_DEBUG=3", "KMS_DOCKER_ENV_GST_DEBUG"),
            ("OPENVIDU_SECRT=x", "OPENVIDU_SECRT"),
        ] {
            assert_eq!(translated(text), (vec![], vec![left.to_owned()]), "{text}");
        }
        assert!(unknown("OPENVIDU_SECRT").contains("OPENVIDU_SECRET"));
        assert_eq!(translated("ALLOWED_ACCESS_TO_RESTAPI=\nCERTIFICATE_TYPE="), (vec![], vec![]));
    }

    #[test]
    fn a_certificate_is_fetched_as_before() {
        let env = "DOMAIN_OR_PUBLIC_IP=meet.example.org\nCERTIFICATE_TYPE=letsencrypt\nLETSENCRYPT_EMAIL=a@example.org\nHTTP_PORT=80";
        let (taken, left) = translated(env);
        assert_eq!(
            taken,
            [
                "server.public-url=https://meet.example.org",
                "server.https-port=443",
                "server.redirect-port=80",
                "server.certificate-type=letsencrypt",
                "server.letsencrypt-email=a@example.org",
            ]
        );
        assert_eq!(left, Vec::<String>::new());
        // A file that has been left in place says nothing where it is not asked for.
        let (taken, left) = translated("CERTIFICATE_TYPE=selfsigned\nLETSENCRYPT_EMAIL=a@example.org");
        assert_eq!((taken.len(), left.len()), (1, 1));
    }

    #[test]
    fn names_that_others_use_too_count_only_beside_openvidus_own() {
        let mut environment = BTreeMap::from([("HTTPS_PORT".to_owned(), "1".to_owned())]);
        assert_eq!(among(&environment).len(), 0);
        environment.insert("OPENVIDU_SECRET".into(), "x".into());
        environment.insert("PATH".into(), "/bin".into());
        assert_eq!(among(&environment).len(), 2);
    }

    #[test]
    fn an_env_file_is_read_as_it_is() {
        let variables = parse_env("# x\n\nA=b=c\n B = \"d e\" \nC=\n").unwrap();
        let read: Vec<_> = variables.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        assert_eq!(read, ["A:b=c", "B:d e", "C:"]);
        // Written by people, read by Docker: spaces, `$` and `#` belong to the value.
        let free =
            parse_env("NETS=198.51.100.1, 198.51.100.0/24\nSECRET=pa$word#1\nLIST=[\"a: b\", \"c\"]\n")
                .unwrap();
        assert_eq!(free["NETS"], "198.51.100.1, 198.51.100.0/24");
        assert_eq!((&*free["SECRET"], &*free["LIST"]), ("pa$word#1", "[\"a: b\", \"c\"]"));
        assert_eq!(parse_env("A=b\nwhat").unwrap_err(), "line 2: not of the form NAME=value");
    }
}
