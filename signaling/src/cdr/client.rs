//! Sends events to an application's server.

use std::time::Duration;

use aws_lc_rs::hmac;
use axum::http::header::{CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::Full;
use millrace_http_client::{Client as Http, Limits, SendError, Trust};

use super::{Endpoint, Letter};
use crate::clock;

/// Longest answer that is read to use its connection again, in bytes.
const ANSWER_LEN_MAX: usize = 64 * 1024;

/// Names the event. It is the same in every attempt, so a receiver that has seen it can drop it.
const EVENT_ID: HeaderName = HeaderName::from_static("x-millrace-event-id");
/// Proves that the event comes from a server that knows the secret, and when it was sent.
const SIGNATURE: HeaderName = HeaderName::from_static("x-millrace-signature");

/// Sends to one endpoint.
pub(super) struct Client {
    http: Http,
    endpoint: Endpoint,
    headers: HeaderMap,
    key: Option<hmac::Key>,
}

impl Client {
    /// At most `kept_max` connections are kept between requests.
    ///
    /// # Errors
    /// When there are no certificates to check the receiver's with, in words for an operator.
    pub(super) fn new(
        endpoint: Endpoint,
        mut headers: HeaderMap,
        trust: &Trust,
        secret: Option<&str>,
        timeout: Duration,
        kept_max: usize,
    ) -> Result<Self, String> {
        // Without TLS there is nothing to trust, and a machine without certificates can send too.
        let trust = if endpoint.is_tls() { trust } else { &Trust::Any };
        let limits = Limits { timeout, answer_len_max: ANSWER_LEN_MAX, kept_max };
        let http = Http::new(trust, limits).map_err(|error| error.to_string())?;
        // The operator's own headers go first.
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        let agent = HeaderValue::from_static(concat!("millrace/", env!("CARGO_PKG_VERSION")));
        headers.entry(USER_AGENT).or_insert(agent);
        let key = secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
        Ok(Self { http, endpoint, headers, key })
    }

    /// Makes one attempt. Redirects are not followed.
    pub(super) async fn post(&self, letter: &Letter) -> Result<StatusCode, SendError> {
        let body = Full::new(letter.body.clone());
        let mut request = Request::post(self.endpoint.uri()).body(body).expect("a URI that was parsed");
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        headers.insert(EVENT_ID, letter.id.clone());
        if let Some(key) = &self.key {
            let signature = signature(key, clock::now_ms() / 1_000, &letter.body);
            headers.insert(SIGNATURE, signature.parse().expect("digits and letters"));
        }
        self.http.status(request).await
    }
}

/// `t=` the time in seconds since 1970, `v1=` the HMAC-SHA256 of that time, a full stop and the body, in hexadecimal.
/// The time is signed too, so that a receiver can refuse a copy that is sent later.
fn signature(key: &hmac::Key, at_s: u64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(format!("{at_s}.").as_bytes());
    context.update(body);
    let digits: String = context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={at_s},v1={digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_other_libraries_compute() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"whsec-0123456789");
        // printf '1700000000.{"event":"sessionCreated"}' | openssl dgst -sha256 -hmac whsec-0123456789
        let expected = "cda8a59c8edca3ec422adbc695109e45fd464eac3e5c83e4a81d1fc9beef8260";
        let signed = signature(&key, 1_700_000_000, br#"{"event":"sessionCreated"}"#);
        assert_eq!(signed, format!("t=1700000000,v1={expected}"));
    }
}
