//! The REST API at `/openvidu/api`.
//!
//! Statuses are the original's, quirks included: a known path with another method, or an unknown path, is 403; a
//! session that does not exist is 404 in most calls and 400 in those about one connection or stream.

mod body;
mod connections;
mod copy;
mod credentials;
mod fields;
mod forgery;
mod hidden;
mod invitations;
mod openapi;
mod request;
mod routes;
mod server;
mod sessions;
mod signal;
mod switched_off;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{OriginalUri, Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION,
    CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::access::{Denied, Principal};
use crate::app::App;
use crate::clock;
use crate::http::{self, Via};
use crate::store::Durability;
use forgery::refuse_forged;
pub use openapi::openapi;
use routes::{Access, OPENVIDU, OURS, ROUTES, Route};
pub use switched_off::switched_off;

/// Everything below `/openvidu/api`.
pub fn router(app: &Arc<App>) -> Router<Arc<App>> {
    let protected = mounted(Access::Secret, "/").fallback(forbidden);
    carried(app, mounted(Access::Everybody, "/").merge(readable(app, protected)))
}

/// The paths of older releases: the whole API at `/api`, and what it says of the server at `/config`.
pub fn deprecated(app: &Arc<App>) -> Router<Arc<App>> {
    let files = Router::new()
        .route("/recordings/{*file}", get(no_file))
        .route("/layouts/custom/{*file}", get(no_file))
        .route("/api/", any(forbidden));
    let config = mounted(Access::Everybody, CONFIG).merge(readable(app, mounted(Access::Secret, CONFIG)));
    carried(app, config.merge(protected(app, files))).nest("/api", router(app))
}

/// Files of recordings, of which there are none, and the one path that a nested router leaves to others.
pub fn beside(app: &Arc<App>) -> Router<Arc<App>> {
    let files = Router::new()
        .route("/openvidu/recordings/{*file}", get(no_file))
        .route("/openvidu/api/", any(forbidden));
    carried(app, protected(app, files))
}

/// Our own calls that need the secret.
pub fn own(app: &Arc<App>) -> Router<Arc<App>> {
    carried(app, readable(app, own_paths(Access::Secret)))
}

/// Our own calls for everybody: guests use them, so they are open to addresses that may not use the API.
pub fn open(app: &Arc<App>) -> Router<Arc<App>> {
    let limited = middleware::from_fn_with_state(Arc::clone(app), limit_entries);
    carried(app, own_paths(Access::Everybody).layer(limited))
}

fn own_paths(access: Access) -> Router<Arc<App>> {
    let wanted = ROUTES.iter().filter(|route| route.base == OURS && route.access == access);
    wanted.fold(Router::new(), |router, route| router.route(&route.whole_path(), known(route.handler())))
}

/// Where the calls about the server itself begin.
const CONFIG: &str = "/config";

/// Paths that the application's secret opens, and no other.
pub fn protected(app: &Arc<App>, paths: Router<Arc<App>>) -> Router<Arc<App>> {
    paths
        .layer(middleware::from_fn(refuse_forged))
        .layer(middleware::from_fn_with_state(Arc::clone(app), require_secret))
}

/// Paths that the application's secret opens, and that the monitor's opens for reading.
pub fn readable(app: &Arc<App>, paths: Router<Arc<App>>) -> Router<Arc<App>> {
    paths
        .layer(middleware::from_fn(refuse_forged))
        .layer(middleware::from_fn_with_state(Arc::clone(app), require_reader))
}

/// Paths whose answers carry what all of the API do.
fn carried(app: &Arc<App>, paths: Router<Arc<App>>) -> Router<Arc<App>> {
    paths
        .layer(middleware::from_fn_with_state(Arc::clone(app), limit_rate))
        .layer(middleware::from_fn(describe_failures))
        .layer(middleware::from_fn(allow_every_origin))
}

/// The routes that are open to these, below `start`.
fn mounted(access: Access, start: &str) -> Router<Arc<App>> {
    let mut paths: BTreeMap<&str, MethodRouter<Arc<App>>> = BTreeMap::new();
    let wanted =
        |route: &&Route| route.base == OPENVIDU && route.access == access && route.path.starts_with(start);
    for route in ROUTES.iter().filter(wanted) {
        let methods = paths.remove(route.path).unwrap_or_default();
        paths.insert(route.path, methods.merge(route.handler()));
    }
    paths.into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, known(methods)))
}

/// A known path: other methods are forbidden.
fn known(methods: MethodRouter<Arc<App>>) -> MethodRouter<Arc<App>> {
    methods.fallback(forbidden)
}

async fn no_file() -> Failure {
    body::not_found()
}

async fn forbidden() -> Failure {
    Failure::new(StatusCode::FORBIDDEN, "there is nothing here")
}

/// Waits until the store has been tried. A change that is late or has failed to be stored is made all the same: it works
/// until the next restart, and is written as soon as the disk permits.
///
/// # Errors
/// When the store's answer is lost: the change may neither be stored nor announced.
async fn until_settled(durable: oneshot::Receiver<Durability>) -> Result<(), Failure> {
    let lost = |_| Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the server is ending; ask again");
    durable.await.map(drop).map_err(lost)
}

/// Lets a request through that holds the application's secret.
async fn require_secret(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match principal(&app, &request) {
        Ok(principal) if principal.may_manage() => pass(principal, request, next).await,
        Ok(_) => only_reads(&request),
        Err(refused) => *refused,
    }
}

/// Lets a request through that holds the application's secret, or the monitor's if it only reads.
async fn require_reader(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match principal(&app, &request) {
        Ok(principal) if principal.may_manage() || (reads && principal.may_observe()) => {
            pass(principal, request, next).await
        }
        Ok(_) => only_reads(&request),
        Err(refused) => *refused,
    }
}

/// Who sent the request, or the answer that refuses it.
fn principal(app: &App, request: &Request) -> Result<Principal, Box<Response>> {
    let denied = match request.headers().get(AUTHORIZATION) {
        // Nothing was guessed.
        None => Denied::WrongSecret,
        Some(header) => {
            let secret = credentials::secret_of(header);
            match app.access.identify(secret.as_deref(), remote(request)) {
                Ok(principal) => return Ok(principal),
                Err(denied) => denied,
            }
        }
    };
    Err(Box::new(match denied {
        Denied::TooManyWrong(wait) => too_often("too many wrong secrets from this address", wait, request),
        Denied::WrongSecret => {
            let failure = Failure::new(StatusCode::UNAUTHORIZED, "wrong or missing secret");
            let mut response = failure.at(whole_path(request));
            let challenge = HeaderValue::from_static("Basic realm=\"Millrace\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            response
        }
    }))
}

/// Handlers read the principal from the request.
async fn pass(principal: Principal, mut request: Request, next: Next) -> Response {
    http::admit(&request);
    request.extensions_mut().insert(principal);
    next.run(request).await
}

/// The answer to the monitor where its secret is not enough.
fn only_reads(request: &Request) -> Response {
    const WHY: &str = "this needs the application's secret; the monitor's may only read, and not this";
    Failure::new(StatusCode::FORBIDDEN, WHY).at(whole_path(request))
}

/// Lets a request through unless its address sends too many.
pub async fn limit_rate(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match app.rest_calls.spend(remote(&request), Instant::now()) {
        Ok(()) => next.run(request).await,
        Err(wait) => too_often("too many requests from this address", wait, &request),
    }
}

/// Lets a request through unless its address tries to enter too often. Each success makes a token.
async fn limit_entries(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match app.access.entries.spend(remote(&request), Instant::now()) {
        Ok(()) => next.run(request).await,
        Err(wait) => too_often("too many attempts to enter from this address", wait, &request),
    }
}

/// Who sent it.
fn remote(request: &Request) -> IpAddr {
    let via = request.extensions().get::<Via>();
    via.map_or(Ipv4Addr::UNSPECIFIED.into(), |via| via.remote)
}

/// The answer to a client that must try again after some time.
fn too_often(what: &str, wait: Duration, request: &Request) -> Response {
    let mut response = Failure::new(StatusCode::TOO_MANY_REQUESTS, what).at(whole_path(request));
    // Whole seconds, and none too early.
    let wait_s = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response.headers_mut().insert(RETRY_AFTER, wait_s.into());
    response
}

/// Writes the bodies of failures, which say what was asked for.
async fn describe_failures(request: Request, next: Next) -> Response {
    let path = whole_path(&request).to_owned();
    let mut response = next.run(request).await;
    match response.extensions_mut().remove::<Failure>() {
        Some(failure) => failure.at(&path),
        None => response,
    }
}

/// The path as the client sees it, not as a nested router does.
fn whole_path(request: &Request) -> &str {
    let original = request.extensions().get::<OriginalUri>();
    original.map_or_else(|| request.uri(), |original| &original.0).path()
}

/// Pages of every site may call, if they know the secret.
async fn allow_every_origin(request: Request, next: Next) -> Response {
    let mut response = match *request.method() {
        Method::OPTIONS => StatusCode::OK.into_response(),
        _ => next.run(request).await,
    };
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, PATCH, DELETE"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    status: StatusCode,
    /// Absent where the original answers with nothing.
    message: Option<String>,
}

impl Failure {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: Some(message.into()) }
    }

    const fn empty(status: StatusCode) -> Self {
        Self { status, message: None }
    }

    fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// The answer to a request for `path`.
    fn at(self, path: &str) -> Response {
        let Some(message) = self.message else { return self.status.into_response() };
        let body = json!({
            "timestamp": clock::now_ms(),
            "status": self.status.as_u16(),
            "error": self.status.canonical_reason().unwrap_or_default(),
            "message": message,
            "path": path,
        });
        (self.status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
    }
}

/// Its body is written by [`describe_failures`], where the path is known.
impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The store's threads are gone. Nothing was stored, and no notice was sent.
    #[tokio::test]
    async fn a_change_of_which_nothing_is_heard_is_not_answered_as_done() {
        let (tell, durable) = oneshot::channel();
        tell.send(Durability::Late).unwrap();
        assert!(until_settled(durable).await.is_ok());
        let (tell, durable) = oneshot::channel();
        drop(tell);
        assert_eq!(until_settled(durable).await.unwrap_err().status, StatusCode::SERVICE_UNAVAILABLE);
    }
}
