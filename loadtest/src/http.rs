//! Where the server is, a stream to it (plain or TLS with any certificate), and one HTTP/1.1 request.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::failure::Failure;

/// Most bytes of an answer we keep; a session object is a few kilobytes.
const RESPONSE_LEN_MAX: usize = 4 << 20;
/// Longest wait for an answer.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

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
        let stream = TlsConnector::from(tls_config()?).connect(name, tcp).await?;
        Ok(Box::new(stream))
    }
}

/// A finished HTTP answer.
#[derive(Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Body, decoded from chunks if it was chunked.
    pub body: String,
}

/// One request on a connection of its own, with Basic authorization and a JSON body.
///
/// # Errors
/// [`Failure::Io`] or [`Failure::Rest`] when no answer could be read; a refusal is an answer.
pub async fn request(
    endpoint: &Endpoint,
    method: &str,
    path: &str,
    basic: &str,
    body: &str,
) -> Result<Response, Failure> {
    let mut stream = endpoint.connect().await?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Basic {basic}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\nAccept: application/json\r\n\r\n",
        endpoint.authority(),
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.flush().await?;
    let failed = |why: &str| Failure::rest(&format!("{method} {path}"), why);
    let raw = timeout(RESPONSE_TIMEOUT, read_response(&mut stream))
        .await
        .map_err(|_| failed("no answer in 10 s"))??;
    parse_response(&raw).ok_or_else(|| failed("the answer is not complete HTTP/1.1"))
}

/// Reads until the answer is complete, whether or not the server hangs up then.
async fn read_response(stream: &mut Box<dyn Stream>) -> Result<Vec<u8>, Failure> {
    let mut raw = Vec::new();
    while raw.len() < RESPONSE_LEN_MAX && parse_response(&raw).is_none() {
        match stream.read_buf(&mut raw).await {
            Ok(0) => break,
            Ok(_) => {}
            // A TLS server may hang up without close_notify; what it said before counts.
            Err(_) if !raw.is_empty() => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(raw)
}

fn parse_response(raw: &[u8]) -> Option<Response> {
    let split = raw.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&raw[..split]).ok()?;
    let status = head.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let header = |name: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(':'));
        fields
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_ascii_lowercase())
    };
    let body = &raw[split + 4..];
    let body = match (header("transfer-encoding"), header("content-length")) {
        (Some(encoding), _) if encoding.contains("chunked") => dechunk(body)?,
        (_, Some(len)) => body.get(..len.parse().ok()?)?.to_vec(),
        // 204 and the like have no body and say nothing of one.
        _ => Vec::new(),
    };
    Some(Response { status, body: String::from_utf8(body).ok()? })
}

fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        let start = end + 2;
        body.extend_from_slice(rest.get(start..start + size)?);
        rest = rest.get(start + size + 2..)?;
    }
}

fn tls_config() -> Result<Arc<ClientConfig>, Failure> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::Usage(format!("TLS: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Accepts every server certificate, but still checks that the server holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
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
        for bad in ["a.example", "ftp://a", "https://", "https://a:b", "https://[::1"] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_answer_is_complete_by_its_length() {
        let answer =
            |body| parse_response(format!("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{body}").as_bytes());
        assert!(answer("ab").is_none());
        assert_eq!(answer("abc").unwrap().body, "abc");
    }

    #[test]
    fn plain_and_chunked_bodies() {
        let plain = parse_response(b"HTTP/1.1 409 Conflict\r\nA: b\r\n\r\n").unwrap();
        assert_eq!((plain.status, plain.body.as_str()), (409, ""));
        let raw =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        assert_eq!(parse_response(raw).unwrap().body, "abcde");
        assert!(parse_response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc").is_none());
    }
}
