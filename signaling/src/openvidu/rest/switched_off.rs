//! Paths of older releases while `compat.support-deprecated-api` is off. They answer with words that a page may read, since
//! an application would otherwise only see that a request failed.

use std::sync::{Arc, Once};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::any;

use super::{Failure, allow_every_origin, describe_failures};
use crate::app::App;

const PATHS: [&str; 8] = [
    "/api",
    "/api/{*rest}",
    "/config",
    "/config/{*rest}",
    "/info",
    "/accept-certificate",
    "/recordings/{*file}",
    "/layouts/custom/{*file}",
];

const WORDS: &str = "this path of older releases is switched off: use /openvidu/api, or set compat.support-deprecated-api \
     (SUPPORT_DEPRECATED_API=true)";

/// The paths that [`super::deprecated`] serves otherwise.
pub fn switched_off() -> Router<Arc<App>> {
    let router = PATHS.iter().fold(Router::new(), |router, path| router.route(path, any(explain)));
    router.layer(middleware::from_fn(describe_failures)).layer(middleware::from_fn(allow_every_origin))
}

async fn explain(request: Request) -> Failure {
    static SAID: Once = Once::new();
    SAID.call_once(|| tracing::warn!(path = request.uri().path(), "a client asks in vain: {WORDS}"));
    Failure::new(StatusCode::NOT_FOUND, WORDS)
}
