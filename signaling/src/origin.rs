//! Under which URL clients reach this server.

use std::net::IpAddr;

use crate::ice_servers::split_host;

/// Longest host with port that is taken from a request, in bytes: 253 of a name (RFC 1035 §2.3.4), a colon, five digits,
/// and two brackets.
const HOST_LEN_MAX: usize = 261;

/// Where clients reach this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whether by TLS.
    pub tls: bool,
    /// `host` or `host:port`.
    pub authority: String,
}

impl Origin {
    /// Reads `https://host[:port]` or `http://host[:port]`.
    ///
    /// # Errors
    /// When it is something else, in words for an operator.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if !matches!(scheme, "http" | "https") || !is_authority(authority) {
            return Err("not of the form https://host:port".into());
        }
        Ok(Self { tls: scheme == "https", authority: authority.to_owned() })
    }

    /// A URL with an address in place of a name.
    pub fn of_ip(tls: bool, ip: IpAddr, port: u16) -> Self {
        Self { tls, authority: std::net::SocketAddr::new(ip, port).to_string() }
    }

    /// The name without the port.
    pub fn host(&self) -> &str {
        split_host(&self.authority).0
    }

    /// As a URL of HTTP.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority)
    }

    /// As a URL of a WebSocket.
    pub fn socket_url(&self) -> String {
        format!("{}://{}", if self.tls { "wss" } else { "ws" }, self.authority)
    }
}

/// Whether it may stand in a URL as it is.
pub fn is_authority(text: &str) -> bool {
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
