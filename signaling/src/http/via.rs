//! How a request came, and under which name the client knows us.

use std::net::{IpAddr, Ipv4Addr};

use axum::http::HeaderMap;
use axum::http::header::HOST;

use crate::app::App;
use crate::openvidu::ice_servers::split_host;

/// Longest host with port that is taken from a request, in bytes.
const HOST_LEN_MAX: usize = 261;

/// The connection a request came over.
#[derive(Clone, Copy, Debug)]
pub struct Via {
    /// Whether it is TLS.
    pub tls: bool,
    /// Who is at the other end.
    pub remote: IpAddr,
    /// The port it came to.
    pub port: u16,
}

impl Via {
    /// `host:port` for URLs: what the client itself used, else the public address.
    pub fn authority(&self, headers: &HeaderMap, app: &App) -> String {
        let named = headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| is_authority(host));
        match named {
            Some(host) => host.to_owned(),
            None => match app.config.public_ip.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)) {
                IpAddr::V4(ip) => format!("{ip}:{}", self.port),
                IpAddr::V6(ip) => format!("[{ip}]:{}", self.port),
            },
        }
    }

    /// The same without the port.
    pub fn host_name(&self, headers: &HeaderMap, app: &App) -> String {
        split_host(&self.authority(headers, app)).0.to_owned()
    }

    /// The scheme of a WebSocket that comes the same way.
    pub const fn socket_scheme(&self) -> &'static str {
        if self.tls { "wss" } else { "ws" }
    }
}

/// Whether it may stand in a URL as it is.
fn is_authority(text: &str) -> bool {
    let (host, port) = split_host(text);
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let literal = |host: &str| {
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
    };
    text.len() <= HOST_LEN_MAX
        && !host.is_empty()
        && (host.bytes().all(plain) || literal(host))
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_host_gets_into_a_url() {
        for good in ["localhost:4480", "10.0.0.1", "[::1]:4443", "media.example.org"] {
            assert!(is_authority(good), "{good}");
        }
        for bad in ["", ":80", "a b", "a/b", "h?x", "h:x", "[x]:1", "u@h", "h:1:2"] {
            assert!(!is_authority(bad), "{bad}");
        }
    }
}
