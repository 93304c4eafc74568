//! The call page and the page about the REST API, built into the program. No request of it leaves the machine it came from.

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::IntoResponse;
use axum::routing::get;

const PAGE: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/index.html"));
const SCRIPT: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/app.js"));
const STYLE: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/app.css"));

const API_PAGE: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/api/index.html"));
const API_SCRIPT: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/api/api.js"));
const API_STYLE: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/api/api.css"));

/// Own files only; WebSockets to wherever the token says, which is where the page came from.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob:; \
                      media-src 'self' blob: mediastream:; worker-src 'self' blob:; \
                      style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// The call page and what it loads.
pub fn call_page<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(|| async { file("text/html; charset=utf-8", PAGE) }))
        .route("/app.js", get(|| async { file("text/javascript; charset=utf-8", SCRIPT) }))
        .route("/app.css", get(|| async { file("text/css; charset=utf-8", STYLE) }))
}

/// The page about the REST API and what it loads.
pub fn api_page<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/millrace/api", get(|| async { file("text/html; charset=utf-8", API_PAGE) }))
        .route("/millrace/api.js", get(|| async { file("text/javascript; charset=utf-8", API_SCRIPT) }))
        .route("/millrace/api.css", get(|| async { file("text/css; charset=utf-8", API_STYLE) }))
}

fn file(kind: &'static str, bytes: &'static [u8]) -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // The address may hold the secret behind its #; no other site is told of it.
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, bytes)
}
