//! HTTP/1.1 requests to other servers: webhooks, certificate authorities, and the server that the load test drives.
//!
//! A request has a deadline and an answer a longest length. Redirects are not followed, and proxies are not used.

mod error;
mod trust;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

pub use error::SendError;
pub use trust::{Trust, TrustError};

/// How long a connection is kept for the next request. Servers close theirs after 5 s to some minutes.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// What one request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest time from the look-up of the name to the last byte of the answer.
    pub timeout: Duration,
    /// Longest body of an answer, in bytes.
    pub answer_len_max: usize,
    /// Most connections to one server that are kept for later requests. With 0 each request has its own.
    pub kept_max: usize,
}

/// Sends requests. Copies share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    connections: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    limits: Limits,
}

impl Client {
    /// # Errors
    /// When the certificates of `trust` cannot be had.
    pub fn new(trust: &Trust, limits: Limits) -> Result<Self, TrustError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        // Requests are small, and each answer is awaited.
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(trust.tls_config()?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let connections = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(limits.kept_max)
            .build(connector);
        Ok(Self { connections, limits })
    }

    /// Sends a request to its URI, which names scheme and host, and reads the whole answer. Any status is an answer.
    ///
    /// # Errors
    /// When there is no whole answer in time.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, SendError> {
        self.in_time(async {
            let (parts, body) = self.connections.request(request).await?.into_parts();
            let body = self.limited(body).collect().await.map_err(SendError::body)?.to_bytes();
            Ok(Response::from_parts(parts, body))
        })
        .await
    }

    /// Sends a request and gives the status of the answer. The body is only read to use the connection again; one that is
    /// too long, or breaks off, costs the connection and nothing else.
    ///
    /// # Errors
    /// When there is no status, or the body does not end in time.
    pub async fn status(&self, request: Request<Full<Bytes>>) -> Result<StatusCode, SendError> {
        self.in_time(async {
            let answer = self.connections.request(request).await?;
            let status = answer.status();
            let _ = self.limited(answer.into_body()).collect().await;
            Ok(status)
        })
        .await
    }

    async fn in_time<T>(&self, exchange: impl Future<Output = Result<T, SendError>>) -> Result<T, SendError> {
        timeout(self.limits.timeout, exchange).await.unwrap_or(Err(SendError::Timeout))
    }

    fn limited(&self, body: Incoming) -> Limited<Incoming> {
        Limited::new(body, self.limits.answer_len_max)
    }
}
