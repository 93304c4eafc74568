//! Requests to the certificate authority: few, each over a connection of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::HOST;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Request, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::ice_servers::split_host;
use crate::tls;

/// Longest answer that is read, in bytes.
const ANSWER_LEN_MAX: usize = 1 << 20;
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const HTTPS_PORT: u16 = 443;

/// Who is asked, by TLS and with whom this machine trusts.
pub(super) struct Authority {
    tls: TlsConnector,
}

impl Authority {
    /// # Errors
    /// When this machine trusts nobody, in words for an operator.
    pub(super) fn new() -> Result<Self, String> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(tls::trusted()?)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }
}

impl HttpClient for Authority {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let exchange = exchange(self.tls.clone(), request);
        Box::pin(async move {
            let answer = timeout(REQUEST_TIMEOUT, exchange).await;
            answer.unwrap_or_else(|_| Err("no answer in time".into())).map_err(Error::Other)
        })
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(
    tls: TlsConnector,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<BytesResponse, AnyError> {
    let authority = request.uri().authority().ok_or("a URL without a host")?.as_str().to_owned();
    let (host, port) = split_host(&authority);
    let port = port.map_or(Ok(HTTPS_PORT), str::parse)?;
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
    let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    request.headers_mut().insert(HOST, HeaderValue::from_str(&authority)?);

    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
    let stream = tls.connect(name, stream).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let mut moving = JoinSet::new();
    moving.spawn(async move {
        // What goes wrong is told to whoever waits for the answer.
        let _ = connection.await;
    });
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, ANSWER_LEN_MAX).collect().await?.to_bytes();
    Ok(BytesResponse { parts, body: Box::new(body) })
}
