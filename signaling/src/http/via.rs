//! How a request came, and by which name the client knows this server.

use std::net::{IpAddr, Ipv4Addr};

use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};

use crate::config::Config;
use crate::ice_servers::split_host;
use crate::origin::{Origin, is_authority};

/// The connection a request came over.
#[derive(Clone, Copy, Debug)]
pub struct Via {
    /// Whether the client uses TLS.
    pub tls: bool,
    /// Address of the client, which a trusted proxy may have said.
    pub remote: IpAddr,
    /// The port that it came to.
    pub port: u16,
}

impl Via {
    /// Where clients reach this server, for URLs in answers: the public URL if it is set, otherwise the name in the request.
    /// An application on this machine that asks by loopback gets the public address, since its users are elsewhere.
    pub fn origin(&self, headers: &HeaderMap, config: &Config) -> Origin {
        if let Some(url) = &config.server.certificate.public_url {
            return url.clone();
        }
        let public = config.server.public_ip.iter().copied().find(|ip| !ip.is_loopback());
        let named =
            named(headers).filter(|host| public.is_none() || !is_loopback(host) || is_page_of(headers, host));
        match (named, public) {
            (Some(host), _) => Origin { tls: self.tls, authority: host.to_owned() },
            (None, Some(ip)) => Origin::of_ip(true, ip, config.server.https_port),
            (None, None) => Origin::of_ip(self.tls, Ipv4Addr::LOCALHOST.into(), self.port),
        }
    }

    /// The name by which the client itself reaches this server, without a port.
    pub fn host_name(&self, headers: &HeaderMap, config: &Config) -> String {
        named(headers).map_or_else(
            || self.origin(headers, config).host().to_owned(),
            |host| split_host(host).0.to_owned(),
        )
    }
}

fn named(headers: &HeaderMap) -> Option<&str> {
    headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| is_authority(host))
}

/// Whether a page of this server asks: the browser got the page by this name, so it reaches the server by it.
fn is_page_of(headers: &HeaderMap, host: &str) -> bool {
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    origin.and_then(|origin| origin.split_once("://")).is_some_and(|(_, of)| of == host)
}

fn is_loopback(authority: &str) -> bool {
    let (host, _) = split_host(authority);
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || literal.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use clap::Parser as _;

    use super::*;

    const PLAIN: Via = Via { tls: false, remote: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 4480 };

    fn origin(host: &'static str, page: Option<&'static str>, options: &[&str]) -> String {
        let config = Config::try_parse_from(std::iter::once("x").chain(options.iter().copied())).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static(host));
        if let Some(page) = page {
            headers.insert(ORIGIN, HeaderValue::from_static(page));
        }
        PLAIN.origin(&headers, &config).socket_url()
    }

    #[test]
    fn an_application_on_this_machine_gets_urls_its_users_can_use() {
        let ip = ["--public-ip", "192.0.2.1,192.0.2.2"];
        for host in ["localhost:4480", "127.0.0.1:4480", "[::1]:4480"] {
            assert_eq!(origin(host, None, &ip), "wss://192.0.2.1:4443", "{host}");
            assert_eq!(origin(host, None, &[]), format!("ws://{host}"));
            assert_eq!(origin(host, None, &["--public-ip", "127.0.0.1"]), format!("ws://{host}"));
        }
        assert_eq!(origin("10.0.0.7:4480", None, &ip), "ws://10.0.0.7:4480");
        assert_eq!(origin("", None, &ip), "wss://192.0.2.1:4443");
        assert_eq!(origin("", None, &["--public-ip", "2001:db8::1"]), "wss://[2001:db8::1]:4443");
        assert_eq!(origin("", None, &[]), "ws://127.0.0.1:4480");
        // The page that is served here goes on by the name it came from.
        let page = |of| origin("localhost:4480", Some(of), &ip);
        assert_eq!(page("http://localhost:4480"), "ws://localhost:4480");
        assert_eq!(page("http://localhost:9000"), "wss://192.0.2.1:4443");
    }

    #[test]
    fn what_the_operator_says_goes_before_all() {
        let url = ["--public-ip", "192.0.2.1", "--public-url", "https://media.example.org/"];
        for host in ["localhost:4480", "10.0.0.7:4480"] {
            assert_eq!(origin(host, Some("http://localhost:4480"), &url), "wss://media.example.org");
        }
        for bad in ["", "media.example.org", "ftp://h", "https://", "https://h/path", "https://a b"] {
            assert!(Origin::parse(bad).is_err(), "{bad}");
        }
    }
}
