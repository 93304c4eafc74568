//! Which path is served by which part, and for which addresses.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Extension, Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use serde::Deserialize;

use crate::app::App;
use crate::http::limiter::Permit;
use crate::http::{Via, websocket};
use crate::net::{self, Net};
use crate::openvidu::Generation;
use crate::openvidu::{cdr, info, rest, rpc};
use crate::relay::LinkError;
use crate::{readiness, stats, web};

/// Everything that is served.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let readable =
        Router::new().route("/millrace/stats", get(stats::stats)).route("/openvidu/cdr", get(cdr::list));
    let protected = Router::new()
        .route("/openvidu/cdr/{file}", get(cdr::get))
        .route("/millrace/debug/panic/{shard}", post(inject_panic))
        .route("/millrace/debug/repoint", post(repoint));
    let protected = rest::readable(app, readable)
        .merge(rest::protected(app, protected))
        .layer(middleware::from_fn_with_state(Arc::clone(app), rest::limit_rate));
    let api = Router::new()
        .nest("/openvidu/api", rest::router(app))
        .merge(rest::beside(app))
        .merge(rest::own(app))
        .merge(protected);
    let dashboard = Router::new()
        .route("/millrace/openapi.json", get(rest::openapi))
        .route("/openvidu/info", get(info::info))
        .merge(web::api_page());
    let (api, dashboard) = if app.config.rest.support_deprecated_api {
        (api.merge(rest::deprecated(app)), dashboard.route("/info", get(info::info)))
    } else {
        (api.merge(rest::switched_off()), dashboard)
    };
    let served = Router::new()
        .route("/openvidu", get(open_socket))
        .route("/room", get(open_first_generation_socket))
        .route("/millrace/ready", get(readiness::ready))
        .route("/openvidu/accept-certificate", get(info::accept_certificate))
        .merge(web::call_page())
        .merge(rest::open(app))
        .merge(api.layer(middleware::from_fn_with_state(Arc::clone(app), only_api_users)))
        .merge(dashboard.layer(middleware::from_fn_with_state(Arc::clone(app), only_operators)));
    let served = if app.config.rest.support_deprecated_api {
        served.route("/accept-certificate", get(info::accept_certificate))
    } else {
        served
    };
    let body_len_max = app.config.limits.message_len_bytes_max;
    served.layer(DefaultBodyLimit::max(body_len_max)).with_state(Arc::clone(app))
}

async fn only_api_users(
    State(app): State<Arc<App>>,
    Extension(via): Extension<Via>,
    request: Request,
    next: Next,
) -> Response {
    only_from(&app.config.server.addresses.rest_allow, via, request, next).await
}

async fn only_operators(
    State(app): State<Arc<App>>,
    Extension(via): Extension<Via>,
    request: Request,
    next: Next,
) -> Response {
    only_from(&app.config.rest.dashboard_allow, via, request, next).await
}

/// Runs before authentication, so a blocked address cannot test secrets.
async fn only_from(allowed: &[Net], via: Via, request: Request, next: Next) -> Response {
    if net::lets(allowed, via.remote) {
        return next.run(request).await;
    }
    tracing::debug!(remote = %via.remote, path = request.uri().path(), "not from there");
    StatusCode::FORBIDDEN.into_response()
}

async fn open_socket(
    State(app): State<Arc<App>>,
    Extension(via): Extension<Via>,
    Extension(permit): Extension<Arc<Permit>>,
    request: Request,
) -> Response {
    take_socket(app, &via, permit, request, Generation::Second)
}

async fn open_first_generation_socket(
    State(app): State<Arc<App>>,
    Extension(via): Extension<Via>,
    Extension(permit): Extension<Arc<Permit>>,
    request: Request,
) -> Response {
    take_socket(app, &via, permit, request, Generation::First)
}

/// Takes the WebSocket of the RPC. No compression, bounded messages.
fn take_socket(
    app: Arc<App>,
    via: &Via,
    permit: Arc<Permit>,
    request: Request,
    generation: Generation,
) -> Response {
    let host = via.host_name(request.headers(), &app.config);
    let remote = via.remote;
    let message_len_max = app.config.limits.message_len_bytes_max;
    websocket::accept(request, message_len_max, move |socket| {
        // Whatever the connection has shown before: a WebSocket has to join.
        permit.demote();
        rpc::serve(app, socket, remote, host, generation, permit)
    })
}

/// Which viewer is pointed at another stream.
#[derive(Deserialize)]
struct Repoint {
    session: String,
    connection: String,
    from: String,
    to: String,
}

/// Points a viewer at another stream, where the operator allowed it: OpenVidu's clients have no message for it.
async fn repoint(State(app): State<Arc<App>>, Json(wish): Json<Repoint>) -> Response {
    if !app.config.server.allow_fault_injection {
        return StatusCode::FORBIDDEN.into_response();
    }
    let Repoint { session, connection, from, to } = wish;
    let pointed = match app.member(&session, &connection) {
        Ok(viewer) => app.repoint(&viewer, &from, &to, app.relay_deadline(), None).await,
        Err(refusal) => Err(refusal.into()),
    };
    match pointed {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => (StatusCode::CONFLICT, error.to_string()).into_response(),
    }
}

/// Makes a shard panic, where the operator allowed it.
async fn inject_panic(State(app): State<Arc<App>>, Path(shard): Path<u32>) -> Response {
    if !app.config.server.allow_fault_injection {
        return StatusCode::FORBIDDEN.into_response();
    }
    match app.link.inject_panic(shard, app.relay_deadline()).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error @ LinkError::Rejected(..)) => (StatusCode::CONFLICT, error.to_string()).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}
