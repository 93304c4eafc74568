//! The URLs of the relay's TURN server and the short-lived credentials that clients get.

use std::net::IpAddr;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::App;
use crate::config::Turn;
use crate::ids;
use crate::session::IceServer;

/// Length of the random part of a TURN user name, in characters, as in OpenVidu. It follows the expiry time.
const USER_LEN: usize = 8;

/// The port of HTTPS. Some networks block all other ports.
const PORT_443: u16 = 443;

/// Name of the secret's file in the data directory, where the relay makes it.
const SECRET_FILE: &str = "turn.secret";

impl App {
    /// The relay's TURN servers for one client. Empty if TURN is off, no relay was seen yet, or there is no secret
    /// yet.
    pub fn turn_servers(&self, now_ms: u64) -> Vec<IceServer> {
        // Check this first: `turn_secret` may read a file, and the caller holds a lock.
        if !self.config.turn.enabled {
            return Vec::new();
        }
        let (Some(relay), Some(secret)) = (self.link.last_relay(), self.turn_secret()) else {
            return Vec::new();
        };
        let addresses: Vec<IpAddr> = relay.addresses.iter().filter_map(|ip| ip.parse().ok()).collect();
        let config = &self.config.server;
        // Browsers silently refuse a certificate of an unknown authority.
        let domain = config.certificate.vouched_host();
        let https_port = config.http_socket.as_ref().map(|_| config.https_port);
        let server = TurnServer {
            options: &self.config.turn,
            lifetime_s: self.config.ice.turn_credential_lifetime_s,
            secret,
            addresses: &addresses,
            domain,
            https_port,
        };
        turn_servers(server, now_ms, &ids::ice(USER_LEN))
    }

    /// The configured secret, else the one in the relay's file. `None` while there is neither.
    fn turn_secret(&self) -> Option<&str> {
        if let Some(secret) = self.config.turn.secret.as_ref().or_else(|| self.turn_secret.get()) {
            return Some(secret);
        }
        let secret = std::fs::read_to_string(self.config.server.data_dir.join(SECRET_FILE)).ok()?;
        let secret = secret.trim();
        (!secret.is_empty()).then(|| self.turn_secret.get_or_init(|| secret.to_owned()).as_str())
    }
}

/// The configuration and the addresses of the relay's TURN server.
#[derive(Clone, Copy, Debug)]
pub(super) struct TurnServer<'a> {
    /// What is set.
    pub options: &'a Turn,
    /// Lifetime of the credentials, in seconds.
    pub lifetime_s: u64,
    /// The secret that both processes know.
    pub secret: &'a str,
    /// Addresses that the relay announces, best first.
    pub addresses: &'a [IpAddr],
    /// The name of its certificate, if it has one.
    pub domain: Option<&'a str>,
    /// The port of HTTPS, if the relay serves it. The relay takes TURN there too.
    pub https_port: Option<u16>,
}

/// The servers for one `user`. The credentials expire a configured lifetime after `now_ms` (ms since 1970). Empty
/// when TURN is off. UDP comes first because it costs a client least. TCP is for networks that block UDP.
pub(super) fn turn_servers(server: TurnServer<'_>, now_ms: u64, user: &str) -> Vec<IceServer> {
    let options = server.options;
    if !options.enabled {
        return Vec::new();
    }
    let (username, credential) = credentials(server.secret, now_ms / 1_000 + server.lifetime_s, user);
    let hosts: Vec<String> = told(server.addresses).map(host).collect();
    let mut urls = Vec::new();
    for (ports, transport) in [
        ([Some(options.port), options.udp_443.then_some(PORT_443)], "udp"),
        // Port 443 also takes TURN over TCP without TLS. It is for clients that reach no other port and do not trust
        // the certificate.
        ([Some(options.port), server.https_port.filter(|port| *port == PORT_443)], "tcp"),
    ] {
        for port in ports.into_iter().flatten() {
            urls.extend(hosts.iter().map(|host| format!("turn:{host}:{port}?transport={transport}")));
        }
    }
    if let Some(domain) = server.domain {
        let tls_ports = [Some(options.tls_port).filter(|port| *port != 0), server.https_port];
        let tls_ports = tls_ports.into_iter().flatten();
        urls.extend(tls_ports.map(|port| format!("turns:{domain}:{port}?transport=tcp")));
    }
    urls.into_iter()
        .map(|url| IceServer {
            url,
            username: Some(username.clone()),
            credential: Some(credential.clone()),
            static_auth_secret: None,
        })
        .collect()
}

/// User name and password that are valid until `expires_at_s` (s since 1970). Both sides compute the password from
/// the name and the secret (draft-uberti-behave-turn-rest-00 §2.2).
pub(super) fn credentials(secret: &str, expires_at_s: u64, user: &str) -> (String, String) {
    let username = format!("{expires_at_s}:{user}");
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let credential = STANDARD.encode(hmac::sign(&key, username.as_bytes()));
    (username, credential)
}

/// The addresses for clients: the best one, and the best one of the other IP family if it is a global address. There
/// are no more, because each address costs a browser two allocations per PeerConnection. Loopback is used only if
/// there is no other address. Link-local addresses are never used, because they mean another host on each link.
fn told(addresses: &[IpAddr]) -> impl Iterator<Item = IpAddr> + '_ {
    let is_linked = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let reaches_out = move |ip: IpAddr| !ip.is_loopback() && !is_linked(ip) && !ip.is_unspecified();
    let any = addresses.iter().any(|&ip| reaches_out(ip));
    let fits = move |ip: &IpAddr| if any { reaches_out(*ip) } else { ip.is_loopback() };
    let fitting = addresses.iter().copied().filter(fits);
    let best = fitting.clone().next();
    let other = fitting
        .into_iter()
        .find(|ip| best.is_some_and(|best| best.is_ipv4() != ip.is_ipv4()) && is_global(*ip));
    best.into_iter().chain(other)
}

/// Whether the address is neither private nor loopback.
fn is_global(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => !v4.is_private() && !v4.is_loopback(),
        IpAddr::V6(v6) => !v6.is_unique_local() && !v6.is_loopback(),
    }
}

fn host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::config::Config;

    fn urls(words: &[&str], addresses: &[&str], domain: Option<&str>) -> Vec<String> {
        let config = Config::try_parse_from(std::iter::once("x").chain(words.iter().copied())).unwrap();
        let addresses: Vec<IpAddr> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        let https_port = config.server.http_socket.as_ref().map(|_| config.server.https_port);
        let server = TurnServer {
            options: &config.turn,
            lifetime_s: 86_400,
            secret: "s",
            addresses: &addresses,
            domain,
            https_port,
        };
        turn_servers(server, 0, "u").into_iter().map(|server| server.url).collect()
    }

    #[test]
    fn the_password_is_what_others_make_of_the_name() {
        // By OpenSSL: printf '1767086400:aB3dE6gH' | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(
            credentials("north", 1_767_086_400, "aB3dE6gH"),
            ("1767086400:aB3dE6gH".to_owned(), "jWVBJik/eFNUx9ySTeKeEwRIAOY=".to_owned())
        );
        let config = Config::try_parse_from(["x", "--turn-credential-lifetime-s", "86400"]).unwrap();
        let addresses = ["192.0.2.1".parse().unwrap()];
        let server = TurnServer {
            options: &config.turn,
            lifetime_s: config.ice.turn_credential_lifetime_s,
            secret: "north",
            addresses: &addresses,
            domain: None,
            https_port: None,
        };
        for server in turn_servers(server, 1_767_000_000_999, "aB3dE6gH") {
            assert_eq!(server.username.as_deref(), Some("1767086400:aB3dE6gH"));
            assert_eq!(server.credential.as_deref(), Some("jWVBJik/eFNUx9ySTeKeEwRIAOY="));
            assert_eq!(server.static_auth_secret, None);
        }
    }

    #[test]
    fn every_way_that_is_served_is_told() {
        assert_eq!(
            urls(&[], &["192.0.2.1", "2001:db8::1"], None),
            [
                "turn:192.0.2.1:3478?transport=udp",
                "turn:[2001:db8::1]:3478?transport=udp",
                "turn:192.0.2.1:3478?transport=tcp",
                "turn:[2001:db8::1]:3478?transport=tcp",
            ]
        );
        let more = ["--turn-port", "1000", "--turn-udp-443", "--turn-tls-port", "443"];
        assert_eq!(
            urls(&more, &["192.0.2.1"], Some("meet.example.org")),
            [
                "turn:192.0.2.1:1000?transport=udp",
                "turn:192.0.2.1:443?transport=udp",
                "turn:192.0.2.1:1000?transport=tcp",
                "turns:meet.example.org:443?transport=tcp",
            ]
        );
        assert_eq!(urls(&more, &["192.0.2.1"], None).len(), 3, "a certificate has a name");
        assert_eq!(urls(&["--turn-tls-port", "0"], &["192.0.2.1"], Some("d")).len(), 2);
        assert!(urls(&["--turn", "false"], &["192.0.2.1"], Some("d")).is_empty());
    }

    #[test]
    fn the_port_of_https_is_told_where_it_is_shared() {
        let shared = |port: &str, domain| {
            urls(
                &["--http-socket", "s", "--turn-tls-port", "0", "--https-port", port],
                &["192.0.2.1"],
                domain,
            )
        };
        let (udp, tcp) = ("turn:192.0.2.1:3478?transport=udp", "turn:192.0.2.1:3478?transport=tcp");
        assert_eq!(shared("4443", Some("d")), [udp, tcp, "turns:d:4443?transport=tcp"]);
        assert_eq!(
            shared("443", Some("d")),
            [udp, tcp, "turn:192.0.2.1:443?transport=tcp", "turns:d:443?transport=tcp"]
        );
        assert_eq!(shared("4443", None), [udp, tcp]);
    }

    #[test]
    fn addresses_are_told_that_others_can_use() {
        let hosts = |addresses: &[&str]| urls(&[], addresses, None).len() / 2;
        assert_eq!(hosts(&["127.0.0.1", "192.0.2.1", "fe80::1", "169.254.0.1", "::1"]), 1);
        assert_eq!(hosts(&["127.0.0.1", "::1", "fe80::1"]), 1, "this machine alone");
        assert_eq!(hosts(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]), 1, "the best");
        assert_eq!(hosts(&["192.0.2.1", "192.0.2.2", "2001:db8::1"]), 2, "and the other family's");
        assert_eq!(hosts(&["192.0.2.1", "fd00::1"]), 1, "unless that is private");
        assert_eq!(hosts(&["10.0.0.1", "10.1.0.1"]), 1);
        assert_eq!(hosts(&[]), 0);
    }
}
