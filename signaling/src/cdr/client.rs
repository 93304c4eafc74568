//! One request after the other over a connection that is kept.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Endpoint;
use crate::tls;

/// Longest answer that is read to keep its connection, in bytes.
const ANSWER_LEN_MAX: usize = 64 * 1024;

/// Sends to one endpoint.
pub(super) struct Client {
    endpoint: Endpoint,
    headers: HeaderMap,
    tls: Option<TlsConnector>,
    timeout: Duration,
}

/// A connection that may serve once more.
pub(super) struct Line {
    sender: SendRequest<Full<Bytes>>,
    /// Moves the bytes, for as long as this is held.
    _moving: JoinSet<()>,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    #[error("cannot connect: {0}")]
    Connect(#[from] io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("no answer in time")]
    Timeout,
}

impl Client {
    /// # Errors
    /// When certificates are to be checked and the machine has none to check with, in words for an operator.
    pub(super) fn new(
        endpoint: Endpoint,
        mut headers: HeaderMap,
        verify: bool,
        timeout: Duration,
    ) -> Result<Self, String> {
        let tls = if endpoint.tls { Some(connector(verify)?) } else { None };
        let host = HeaderValue::from_str(&endpoint.authority).map_err(|error| error.to_string())?;
        // What the operator says goes first.
        headers.entry(HOST).or_insert(host);
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        let agent = HeaderValue::from_static(concat!("millrace/", env!("CARGO_PKG_VERSION")));
        headers.entry(USER_AGENT).or_insert(agent);
        Ok(Self { endpoint, headers, tls, timeout })
    }

    /// Sends one request over the connection in `line`, or over a new one, and leaves it there if it can be used again.
    pub(super) async fn post(&self, line: &mut Option<Line>, body: Bytes) -> Result<StatusCode, PostError> {
        let old = line.take();
        let exchange = async {
            let mut used = match still(old).await {
                Some(used) => used,
                None => self.connect().await?,
            };
            let mut request =
                Request::post(&self.endpoint.path).body(Full::new(body)).expect("a path that was parsed");
            request.headers_mut().clone_from(&self.headers);
            let answer = used.sender.send_request(request).await?;
            let status = answer.status();
            // What it says besides does not matter. Who has very much to say is hung up on.
            let whole = Limited::new(answer.into_body(), ANSWER_LEN_MAX).collect().await;
            Ok((status, whole.is_ok().then_some(used)))
        };
        let (status, used) = timeout(self.timeout, exchange).await.unwrap_or(Err(PostError::Timeout))?;
        *line = used;
        Ok(status)
    }

    async fn connect(&self) -> Result<Line, PostError> {
        let stream = TcpStream::connect((self.endpoint.host.as_str(), self.endpoint.port)).await?;
        // Small requests, each of which is awaited.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return Line::over(stream).await };
        let name = ServerName::try_from(self.endpoint.host.clone()).expect("checked when it was parsed");
        Line::over(tls.connect(name, stream).await?).await
    }
}

impl Line {
    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Self, PostError> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let mut moving = JoinSet::new();
        moving.spawn(async move {
            // What goes wrong is told to whoever waits for the answer.
            let _ = connection.await;
        });
        Ok(Self { sender, _moving: moving })
    }
}

/// The connection of the last request, unless the other end has closed it since.
async fn still(old: Option<Line>) -> Option<Line> {
    let mut old = old?;
    old.sender.ready().await.is_ok().then_some(old)
}

fn connector(verify: bool) -> Result<TlsConnector, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = if verify {
        builder.with_root_certificates(tls::trusted()?).with_no_client_auth()
    } else {
        let anybody = Arc::new(Anybody(provider));
        builder.dangerous().with_custom_certificate_verifier(anybody).with_no_client_auth()
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Takes every certificate, as the original does: receivers are mostly machines of the same people with certificates
/// they made themselves. That the other end has the key of its certificate is still shown.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
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
