//! What applications may ask about the server itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::hidden;
use crate::access::Principal;
use crate::app::App;
use crate::http::Via;

pub(super) async fn config(
    State(app): State<Arc<App>>,
    Extension(via): Extension<Via>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
) -> Json<Value> {
    let config = &app.config;
    let origin = via.origin(&headers, config);
    let mut shape = json!({
        "VERSION": config.compat.reported_version.to_application(),
        "DOMAIN_OR_PUBLIC_IP": origin.host(),
        "HTTPS_PORT": config.server.https_port,
        "OPENVIDU_PUBLICURL": origin.url(),
        "OPENVIDU_CDR": config.events.cdr,
        "OPENVIDU_STREAMS_VIDEO_MAX_RECV_BANDWIDTH": config.streams.video_max_recv_kbps,
        "OPENVIDU_STREAMS_VIDEO_MIN_RECV_BANDWIDTH": config.streams.video_min_recv_kbps,
        // Without one, what publishers may send is what viewers are sent.
        "OPENVIDU_STREAMS_VIDEO_MAX_SEND_BANDWIDTH":
            config.streams.video_max_send_kbps.unwrap_or(config.streams.video_max_recv_kbps),
        "OPENVIDU_STREAMS_VIDEO_MIN_SEND_BANDWIDTH": config.streams.video_min_send_kbps,
        "OPENVIDU_STREAMS_FORCED_VIDEO_CODEC": config.streams.forced_video_codec.as_str(),
        "OPENVIDU_STREAMS_ALLOW_TRANSCODING": config.streams.allow_transcoding,
        "OPENVIDU_WEBRTC_SIMULCAST": false,
        "OPENVIDU_SESSIONS_GARBAGE_INTERVAL": config.garbage.interval_s,
        "OPENVIDU_SESSIONS_GARBAGE_THRESHOLD": config.garbage.threshold_s,
        "OPENVIDU_RECORDING": false,
        "OPENVIDU_WEBHOOK": config.events.webhook,
    });
    if config.events.webhook {
        let kinds = config.events.kinds().unwrap_or_default();
        let (mut endpoint, mut headers) =
            (config.events.webhook_endpoint.clone(), config.events.header_texts());
        if !principal.may_see_credentials() {
            endpoint = hidden::url(&endpoint);
            headers = headers.iter().map(|header| hidden::header(header)).collect();
        }
        shape["OPENVIDU_WEBHOOK_ENDPOINT"] = json!(endpoint);
        shape["OPENVIDU_WEBHOOK_HEADERS"] = json!(headers);
        shape["OPENVIDU_WEBHOOK_EVENTS"] = kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().into();
    }
    Json(shape)
}

pub(super) async fn public_url(
    State(app): State<Arc<App>>,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
) -> String {
    via.origin(&headers, &app.config).url()
}

pub(super) async fn version(State(app): State<Arc<App>>) -> String {
    app.config.compat.reported_version.to_application().to_owned()
}

/// Whether call detail records are written.
pub(super) async fn cdr(State(app): State<Arc<App>>) -> String {
    app.config.events.cdr.to_string()
}

/// A feature that is off.
pub(super) async fn no() -> &'static str {
    "false"
}

/// There is no directory of recordings.
pub(super) async fn nowhere() -> &'static str {
    ""
}

/// Recording is off, and everything about it says so.
pub(super) async fn not_implemented() -> StatusCode {
    StatusCode::NOT_IMPLEMENTED
}
