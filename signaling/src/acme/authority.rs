//! Requests to the certificate authority.

use std::pin::Pin;
use std::time::Duration;

use axum::http::Request;
use axum::http::uri::Scheme;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use millrace_http_client::{Client, Limits, Trust};

/// There are some ten requests in two months, so no connection is kept.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(30), answer_len_max: 1 << 20, kept_max: 0 };

/// Sends requests over HTTPS to an authority whose certificate this machine trusts.
pub(super) struct Authority {
    client: Client,
}

impl Authority {
    /// # Errors
    /// When this machine has no certificates to check with, in words for an operator.
    pub(super) fn new() -> Result<Self, String> {
        let client = Client::new(&Trust::System, LIMITS).map_err(|error| error.to_string())?;
        Ok(Self { client })
    }
}

impl HttpClient for Authority {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let exchange = exchange(self.client.clone(), request);
        Box::pin(async move { exchange.await.map_err(Error::Other) })
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(client: Client, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, AnyError> {
    // The authority itself names the URLs of later requests (RFC 8555, section 7.1).
    if request.uri().scheme() != Some(&Scheme::HTTPS) {
        return Err(format!("{} is not an HTTPS URL", request.uri()).into());
    }
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let (parts, body) = client.send(Request::from_parts(parts, Full::new(body))).await?.into_parts();
    Ok(BytesResponse { parts, body: Box::new(body) })
}
