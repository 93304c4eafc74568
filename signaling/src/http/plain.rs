//! Plain HTTP on every address: it answers a certificate authority, and leads everybody else to HTTPS.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use super::via;
use crate::acme::Answers;
use crate::config::Config;
use crate::ice_servers::split_host;

const HTTPS_PORT: u16 = 443;

/// What this listener knows.
struct Plain {
    answers: Arc<Answers>,
    /// `host` or `host:port` of HTTPS, where it is known by one name only.
    authority: Option<String>,
    https_port: u16,
}

/// What is served there.
pub(crate) fn router(config: &Config, answers: Arc<Answers>) -> Router {
    let url = config.server.certificate.public_url.as_ref().filter(|url| url.tls);
    let authority = url.map(|url| url.authority.clone());
    let plain = Plain { answers, authority, https_port: config.server.https_port };
    Router::new()
        .route("/.well-known/acme-challenge/{token}", get(answer))
        .fallback(to_https)
        .with_state(Arc::new(plain))
}

async fn answer(State(plain): State<Arc<Plain>>, Path(token): Path<String>) -> Response {
    match plain.answers.get(&token) {
        Some(text) => ([(CONTENT_TYPE, "application/octet-stream")], text).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The same address by HTTPS. A request that is more than a look at something is to come again as it is.
async fn to_https(State(plain): State<Arc<Plain>>, headers: HeaderMap, request: Request) -> Response {
    let Some(authority) = plain.authority(&headers) else { return StatusCode::BAD_REQUEST.into_response() };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let Ok(location) = HeaderValue::from_str(&format!("https://{authority}{path}")) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let is_look = matches!(*request.method(), Method::GET | Method::HEAD);
    let status = if is_look { StatusCode::MOVED_PERMANENTLY } else { StatusCode::PERMANENT_REDIRECT };
    (status, [(LOCATION, location)]).into_response()
}

impl Plain {
    /// What the operator says, else the name that was asked for with our port.
    fn authority(&self, headers: &HeaderMap) -> Option<String> {
        if self.authority.is_some() {
            return self.authority.clone();
        }
        let (host, _) = split_host(via::named(headers)?);
        Some(if self.https_port == HTTPS_PORT {
            host.to_owned()
        } else {
            format!("{host}:{}", self.https_port)
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::header::HOST;
    use clap::Parser as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn led(options: &[&str], method: &str, host: &str, path: &str) -> (u16, String) {
        let config = Config::try_parse_from(["x"].iter().chain(options)).unwrap();
        let request =
            Request::builder().method(method).uri(path).header(HOST, host).body(Body::empty()).unwrap();
        let answer = router(&config, Arc::default()).oneshot(request).await.unwrap();
        let location = answer.headers().get(LOCATION).map(|to| to.to_str().unwrap().to_owned());
        (answer.status().as_u16(), location.unwrap_or_default())
    }

    #[tokio::test]
    async fn everybody_is_led_to_https() {
        let to = |status: u16, location: &str| (status, location.to_owned());
        let path = "/a/b?c=d&e";
        assert_eq!(led(&[], "GET", "h:80", path).await, to(301, "https://h:4443/a/b?c=d&e"));
        assert_eq!(led(&["--https-port", "443"], "GET", "[::1]", "/").await, to(301, "https://[::1]/"));
        assert_eq!(led(&[], "POST", "h", path).await, to(308, "https://h:4443/a/b?c=d&e"));
        let public = ["--public-url", "https://meet.example.org:8443"];
        assert_eq!(led(&public, "GET", "10.0.0.7", "/").await, to(301, "https://meet.example.org:8443/"));
        let behind = ["--public-url", "http://meet.example.org"];
        assert_eq!(led(&behind, "GET", "10.0.0.7", "/").await.1, "https://10.0.0.7:4443/");
        assert_eq!(led(&[], "GET", "a b", "/").await.0, 400);
        // Nothing of what HTTPS serves is here.
        assert_eq!(led(&[], "GET", "h", "/openvidu/api/sessions").await.0, 301);
        assert_eq!(led(&[], "GET", "h", "/.well-known/acme-challenge/none").await, to(404, ""));
    }
}
