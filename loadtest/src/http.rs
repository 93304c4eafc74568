//! Where the server is, and a stream to it, plain or by TLS, for a WebSocket.

use std::sync::Arc;

use millrace_http_client::Trust;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::failure::Failure;

/// A byte stream, whatever lies below.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Scheme, host and port of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether the stream is wrapped in TLS.
    pub tls: bool,
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Endpoint {
    /// Reads `http`, `https`, `ws` and `wss` URLs; path and query are ignored.
    ///
    /// # Errors
    /// [`Failure::Usage`] names what is wrong with the text.
    pub fn parse(url: &str) -> Result<Self, Failure> {
        let bad = |why: &str| Failure::Usage(format!("`{url}`: {why}"));
        let (scheme, rest) = url.split_once("://").ok_or_else(|| bad("no scheme"))?;
        let tls = match scheme {
            "https" | "wss" => true,
            "http" | "ws" => false,
            _ => return Err(bad("the scheme must be http, https, ws or wss")),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, after) = v6.split_once(']').ok_or_else(|| bad("unclosed bracket"))?;
                (host, after.strip_prefix(':'))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        if host.is_empty() {
            return Err(bad("no host"));
        }
        let port = match port {
            Some(text) => text.parse().map_err(|_| bad("bad port"))?,
            None if tls => 443,
            None => 80,
        };
        Ok(Self { tls, host: host.to_owned(), port })
    }

    /// The start of every HTTP URL of the server: scheme, host and port.
    #[must_use]
    pub fn base(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// `host:port` as a `Host` header wants it.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Opens a stream. Any certificate is accepted: test servers make their own.
    ///
    /// # Errors
    /// [`Failure::Io`] when TCP or TLS fails.
    pub async fn connect(&self) -> Result<Box<dyn Stream>, Failure> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        tcp.set_nodelay(true)?;
        if !self.tls {
            return Ok(Box::new(tcp));
        }
        let name = ServerName::try_from(self.host.clone())
            .map_err(|_| Failure::Usage(format!("`{}` is no server name", self.host)))?;
        let config = Trust::Any.tls_config().map_err(|error| Failure::Usage(error.to_string()))?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
        Ok(Box::new(stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_of_all_schemes() {
        let parse = |url| Endpoint::parse(url).unwrap();
        assert_eq!(parse("https://a.example"), Endpoint { tls: true, host: "a.example".into(), port: 443 });
        assert_eq!(parse("ws://h:81?x=1"), Endpoint { tls: false, host: "h".into(), port: 81 });
        assert_eq!(parse("wss://[::1]:4443/p"), Endpoint { tls: true, host: "::1".into(), port: 4443 });
        assert_eq!(parse("wss://[::1]:4443/p").authority(), "[::1]:4443");
        assert_eq!(parse("wss://[::1]:4443/p").base(), "https://[::1]:4443");
        assert_eq!(parse("http://h/p").base(), "http://h:80");
        for bad in ["a.example", "ftp://a", "https://", "https://a:b", "https://[::1"] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }
}
