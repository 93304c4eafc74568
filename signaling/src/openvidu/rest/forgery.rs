//! Requests that a page of another site makes a browser send.
//!
//! A browser that once asked its user for the secret sends it with every later request to this server (RFC 7617,
//! section 2.2), also when a form or a script of another site makes the request. Such a request changes nothing here.
//!
//! A page can send a POST of three media types without asking this server first; a form cannot send anything else.
//! `application/json` is none of them (Fetch Standard, "CORS-safelisted request-header"): for that, and for DELETE, the
//! browser asks first, and does not send the secret it remembers with `Access-Control-Allow-Origin: *`.

use axum::body::HttpBody as _;
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::{Failure, whole_path};

/// Says how the site of the page and this server are related (Fetch Metadata Request Headers, section 2.4).
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Passes a request on unless a page of another site may have made a browser send it. Runs behind authentication.
pub(super) async fn refuse_forged(request: Request, next: Next) -> Response {
    match fault(&request) {
        Some(failure) => failure.at(whole_path(&request)),
        None => next.run(request).await,
    }
}

fn fault(request: &Request) -> Option<Failure> {
    if is_json(request) {
        return None;
    }
    if has_body(request) {
        let words = "a body must come with the header Content-Type: application/json";
        return Some(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, words));
    }
    let is_forged = request.method() == Method::POST
        && is_cross_site(request)
        && request.headers().contains_key(AUTHORIZATION);
    is_forged.then(|| Failure::new(StatusCode::FORBIDDEN, "a page of another site sent this request"))
}

/// Whether the media type is `application/json`; parameters such as a charset may follow.
fn is_json(request: &Request) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Whether there are bytes behind the header, or may be.
fn has_body(request: &Request) -> bool {
    request.body().size_hint().exact() != Some(0)
}

fn is_cross_site(request: &Request) -> bool {
    request.headers().get(SEC_FETCH_SITE).is_some_and(|site| site == "cross-site")
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    /// The status a request is refused with. `kind` and `site` are headers, where they are not empty.
    fn refused(method: &str, kind: &str, site: &str, body: &'static str) -> Option<u16> {
        let mut request =
            Request::builder().method(method).uri("/sessions").header(AUTHORIZATION, "Basic eDp5");
        for (name, value) in [(CONTENT_TYPE.as_str(), kind), (SEC_FETCH_SITE, site)] {
            if !value.is_empty() {
                request = request.header(name, value);
            }
        }
        fault(&request.body(Body::from(body)).unwrap()).map(|failure| failure.status.as_u16())
    }

    #[test]
    fn a_body_is_json_by_its_header() {
        for kind in ["application/json", "Application/JSON; charset=UTF-8"] {
            assert_eq!(refused("POST", kind, "", "{}"), None, "{kind}");
        }
        for kind in ["", "text/plain", "application/x-www-form-urlencoded", "application/json-seq"] {
            assert_eq!(refused("POST", kind, "", "{}"), Some(415), "{kind}");
            assert_eq!(refused("DELETE", kind, "", "{}"), Some(415), "{kind}");
            assert_eq!(refused("POST", kind, "", ""), None, "{kind} of nothing");
        }
    }

    #[test]
    fn another_site_cannot_send_what_a_browser_does_not_ask_for_first() {
        for site in ["", "none", "same-origin", "same-site"] {
            assert_eq!(refused("POST", "", site, ""), None, "{site}");
        }
        assert_eq!(refused("POST", "", "cross-site", ""), Some(403));
        assert_eq!(refused("POST", "text/plain", "cross-site", ""), Some(403));
        // Such a page has asked, and has the secret itself.
        assert_eq!(refused("POST", "application/json", "cross-site", "{}"), None);
        assert_eq!(refused("DELETE", "", "cross-site", ""), None);
        // A link leads here from anywhere, and nothing is changed.
        assert_eq!(refused("GET", "", "cross-site", ""), None);
    }
}
