//! Sessions.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;

use super::super::shapes;
use super::Failure;
use super::body::{Body, not_found};
use super::fields::{MEDIA_MODES, RECORDING_MODES, SESSION_PROPERTIES};
use super::request::{Named, Raw, Shown};
use crate::app::App;
use crate::clock;
use crate::config::Streams;
use crate::ids;
use crate::session::{
    ForcedVideoCodec, MediaServer, Reason, Session, SessionProperties, default_recording_properties,
};

pub(super) async fn create(State(app): State<Arc<App>>, Raw(body): Raw) -> Result<Json<Value>, Failure> {
    let body = Body::parse(&body)?;
    let properties = properties(&body, &app.config.streams)?;
    make(&app, properties).await.map(Json)
}

/// Makes a session. Gives the session object.
///
/// # Errors
/// 409 when there is one of that id, 503 when there are too many.
pub(super) async fn make(app: &App, properties: SessionProperties) -> Result<Value, Failure> {
    let (shape, durable) = {
        let mut state = app.shared.lock();
        let id = match properties.custom_session_id.as_str() {
            "" => ids::session(),
            custom => custom.to_owned(),
        };
        if state.sessions.contains_key(&id) {
            return Err(Failure::empty(StatusCode::CONFLICT));
        }
        if state.sessions.len() >= app.config.limits.sessions_max {
            return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "too many sessions"));
        }
        let session = Session::new(id.clone(), ids::relay(), properties, clock::now_ms());
        let shape = shapes::session(&session, false, None);
        let changes = session.open();
        state.sessions.insert(id.clone(), session);
        (shape, app.carry_out_and_tell(&mut state, &id, changes))
    };
    let _ = durable.await;
    Ok(shape)
}

pub(super) async fn get(
    State(app): State<Arc<App>>,
    Named(id): Named<String>,
    shown: Shown,
) -> Result<Json<Value>, Failure> {
    let state = app.shared.lock();
    let session = state.sessions.get(&id).ok_or_else(not_found)?;
    Ok(shown.answer(shapes::session(session, shown.pending(false), shown.peers(&state))))
}

pub(super) async fn list(State(app): State<Arc<App>>, shown: Shown) -> Json<Value> {
    let state = app.shared.lock();
    let (pending, peers) = (shown.pending(false), shown.peers(&state));
    shown.answer(shapes::list(
        state.sessions.values().map(|session| shapes::session(session, pending, peers)).collect(),
    ))
}

pub(super) async fn close(
    State(app): State<Arc<App>>,
    Named(id): Named<String>,
) -> Result<StatusCode, Failure> {
    let durable = app.close_session(&id, Reason::SessionClosedByServer).map_err(|_| not_found())?;
    let _ = durable.await;
    Ok(StatusCode::NO_CONTENT)
}

/// What the application asks for, with the defaults of the original.
fn properties(body: &Body, server: &Streams) -> Result<SessionProperties, Failure> {
    body.check(&SESSION_PROPERTIES)?;
    let default = SessionProperties::default();
    let one_of = |name: &str, allowed: [&'static str; 2], default: String| {
        let found = body.choice(name, |text| allowed.into_iter().find(|&value| value == text))?;
        Ok::<_, Failure>(found.map_or(default, str::to_owned))
    };
    let custom_session_id = body.text("customSessionId")?.unwrap_or_default();
    if !custom_session_id.is_empty() && !ids::is_custom_session(custom_session_id) {
        return Err(Failure::bad("customSessionId must match [a-zA-Z0-9_-]+"));
    }
    Ok(SessionProperties {
        media_mode: one_of("mediaMode", MEDIA_MODES, default.media_mode)?,
        recording_mode: one_of("recordingMode", RECORDING_MODES, default.recording_mode)?,
        custom_session_id: custom_session_id.to_owned(),
        default_recording_properties: recording_properties(body),
        forced_video_codec: body
            .choice("forcedVideoCodec", ForcedVideoCodec::parse)?
            .unwrap_or(server.forced_video_codec),
        allow_transcoding: body.bool("allowTranscoding")?.unwrap_or(server.allow_transcoding),
        // Ours: OpenVidu has one for all sessions.
        media_server: body.choice("mediaServer", MediaServer::parse)?.unwrap_or(server.media_server),
    })
}

/// The defaults, with what the application gives in their place; the order of the keys stays.
fn recording_properties(body: &Body) -> Value {
    let mut properties = default_recording_properties();
    let Some(given) = body.value("defaultRecordingProperties") else { return properties };
    for (name, default) in properties.as_object_mut().into_iter().flatten() {
        let Some(value) = given.get(name).filter(|value| !value.is_null()) else { continue };
        *default = value.clone();
    }
    properties
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::config::Config;

    fn read(text: &str) -> Result<SessionProperties, Failure> {
        let arguments = ["millrace-signaling", "--forced-video-codec", "VP9", "--allow-transcoding"];
        let server = Config::try_parse_from(arguments).unwrap().streams;
        properties(&Body::parse(text.as_bytes()).unwrap(), &server)
    }

    #[test]
    fn what_is_not_given_has_the_servers_default() {
        let properties = read("{}").unwrap();
        assert_eq!(properties.forced_video_codec, ForcedVideoCodec::Vp9);
        assert_eq!(properties.default_recording_properties, default_recording_properties());
        let properties =
            read(r#"{"defaultRecordingProperties":{"frameRate":30},"mediaMode":"RELAYED"}"#).unwrap();
        assert_eq!(properties.default_recording_properties["frameRate"], 30);
        assert_eq!(properties.media_mode, "RELAYED");
        assert!(
            properties.allow_transcoding && !read(r#"{"allowTranscoding":false}"#).unwrap().allow_transcoding
        );
        assert_eq!(read(r#"{"forcedVideoCodec":"AV1"}"#).unwrap().forced_video_codec, ForcedVideoCodec::Av1);
    }

    #[test]
    fn wrong_types_and_unknown_values_are_refused() {
        for bad in [
            r#"{"mediaMode":"X"}"#,
            r#"{"mediaMode":1}"#,
            r#"{"recordingMode":"manual"}"#,
            r#"{"customSessionId":"a b"}"#,
            r#"{"customSessionId":7}"#,
            r#"{"forcedVideoCodec":"AV2"}"#,
            r#"{"allowTranscoding":"yes"}"#,
            r#"{"mediaServer":"janus"}"#,
            r#"{"defaultRecordingProperties":[]}"#,
            r#"{"defaultRecordingProperties":{"hasAudio":"yes"}}"#,
        ] {
            assert_eq!(read(bad).unwrap_err().status, StatusCode::BAD_REQUEST, "{bad}");
        }
    }
}
