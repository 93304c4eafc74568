//! Plain HTTP on every address: answers a certificate authority, and redirects every other request to HTTPS.
//!
//! Where the relay's edge has the port, the edge redirects by the same [`Redirect`] and passes on only what is for a
//! certificate authority.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_TYPE, HOST, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use crate::acme::Answers;
use crate::config::Config;
use crate::ice_servers::split_host;
use crate::origin::is_authority;

const HTTPS_PORT: u16 = 443;

/// Where a certificate authority looks for its answer (RFC 8555 §8.3).
pub const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";

/// How a request is redirected to HTTPS.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// `host` or `host:port` of the public URL. Without it the name in the request counts.
    pub authority: Option<String>,
    /// Port of HTTPS, for the name in the request.
    pub https_port: u16,
}

struct Plain {
    answers: Arc<Answers>,
    redirect: Redirect,
}

/// What is served there.
pub(crate) fn router(config: &Config, answers: Arc<Answers>) -> Router {
    let url = config.server.certificate.public_url.as_ref().filter(|url| url.tls);
    let authority = url.map(|url| url.authority.clone());
    let redirect = Redirect { authority, https_port: config.server.https_port };
    Router::new()
        .route(&format!("{CHALLENGE_PATH}{{token}}"), get(answer))
        .fallback(to_https)
        .with_state(Arc::new(Plain { answers, redirect }))
}

async fn answer(State(plain): State<Arc<Plain>>, Path(token): Path<String>) -> Response {
    match plain.answers.get(&token) {
        Some(text) => ([(CONTENT_TYPE, "application/octet-stream")], text).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn to_https(State(plain): State<Arc<Plain>>, headers: HeaderMap, request: Request) -> Response {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let location = plain.redirect.location(host, path);
    let Some(location) = location.and_then(|location| HeaderValue::from_str(&location).ok()) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let status = Redirect::status(request.method().as_str());
    let status = StatusCode::from_u16(status).expect("301 and 308 are statuses");
    (status, [(LOCATION, location)]).into_response()
}

impl Redirect {
    /// The same path by HTTPS. `None` is a request without a usable name.
    pub fn location(&self, host: Option<&str>, path: &str) -> Option<String> {
        let authority = match &self.authority {
            Some(authority) => authority.clone(),
            None => {
                let (host, _) = split_host(host.filter(|host| is_authority(host))?);
                if self.https_port == HTTPS_PORT {
                    host.to_owned()
                } else {
                    format!("{host}:{}", self.https_port)
                }
            }
        };
        Some(format!("https://{authority}{path}"))
    }

    /// A client repeats method and body after 308. It may change the method to GET after 301 (RFC 9110 §15.4.2).
    pub fn status(method: &str) -> u16 {
        if matches!(method, "GET" | "HEAD") { 301 } else { 308 }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use clap::Parser as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn redirected(options: &[&str], method: &str, host: &str, path: &str) -> (u16, String) {
        let config = Config::try_parse_from(["x"].iter().chain(options)).unwrap();
        let request =
            Request::builder().method(method).uri(path).header(HOST, host).body(Body::empty()).unwrap();
        let answer = router(&config, Arc::default()).oneshot(request).await.unwrap();
        let location = answer.headers().get(LOCATION).map(|to| to.to_str().unwrap().to_owned());
        (answer.status().as_u16(), location.unwrap_or_default())
    }

    #[tokio::test]
    async fn every_request_is_redirected_to_https() {
        let to = |status: u16, location: &str| (status, location.to_owned());
        let path = "/a/b?c=d&e";
        assert_eq!(redirected(&[], "GET", "h:80", path).await, to(301, "https://h:4443/a/b?c=d&e"));
        assert_eq!(
            redirected(&["--https-port", "443"], "GET", "[::1]", "/").await,
            to(301, "https://[::1]/")
        );
        assert_eq!(redirected(&[], "POST", "h", path).await, to(308, "https://h:4443/a/b?c=d&e"));
        let public = ["--public-url", "https://meet.example.org:8443"];
        assert_eq!(
            redirected(&public, "GET", "10.0.0.7", "/").await,
            to(301, "https://meet.example.org:8443/")
        );
        let behind = ["--public-url", "http://meet.example.org"];
        assert_eq!(redirected(&behind, "GET", "10.0.0.7", "/").await.1, "https://10.0.0.7:4443/");
        assert_eq!(redirected(&[], "GET", "a b", "/").await.0, 400);
        // Plain HTTP does not serve the paths of HTTPS.
        assert_eq!(redirected(&[], "GET", "h", "/openvidu/api/sessions").await.0, 301);
        assert_eq!(redirected(&[], "GET", "h", "/.well-known/acme-challenge/none").await, to(404, ""));
    }
}
