//! Sessions.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::super::shapes;
use super::body::{Body, not_found};
use super::fields::{MEDIA_MODES, RECORDING_MODES, SESSION_PROPERTIES};
use super::request::{Named, Raw, Shown};
use super::{Failure, copy, until_settled};
use crate::app::App;
use crate::config::{Streams, media_server_named};
use crate::http::long_list::{JsonText, LongList};
use crate::ids;
use crate::registry::Copier;
use crate::session::{ForcedVideoCodec, Reason, Refusal, SessionProperties, default_recording_properties};

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
    let (cell, durable) = app.create_session(properties).map_err(|refusal| match refusal {
        Refusal::SessionExists => Failure::empty(StatusCode::CONFLICT),
        _ => Failure::new(StatusCode::SERVICE_UNAVAILABLE, "too many sessions"),
    })?;
    let shape = {
        let locked = cell.lock_any();
        shapes::tree(&shapes::Session { session: &locked.session, pending: false, peers: None })
    };
    until_settled(durable).await?;
    Ok(shape)
}

pub(super) async fn get(
    State(app): State<Arc<App>>,
    Named(id): Named<String>,
    shown: Shown,
) -> Result<JsonText, Failure> {
    let cell = app.registry.get(&id).ok_or_else(not_found)?;
    copy::session(&mut Copier::default(), &cell, shown).await.ok_or_else(not_found)
}

/// Copies session by session: no session waits for the list, and no session waits for another.
pub(super) async fn list(State(app): State<Arc<App>>, shown: Shown) -> JsonText {
    let (mut copier, mut sessions) = (Copier::default(), LongList::default());
    for cell in app.registry.all() {
        if let Some(session) = copy::session(&mut copier, &cell, shown).await {
            sessions.push_text(&session);
        }
    }
    let head = json!({"numberOfElements": sessions.len()});
    sessions.inside(&head, "content")
}

pub(super) async fn close(
    State(app): State<Arc<App>>,
    Named(id): Named<String>,
) -> Result<StatusCode, Failure> {
    let durable = app.close_session(&id, Reason::SessionClosedByServer).map_err(|_| not_found())?;
    until_settled(durable).await?;
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
        offerer: body.choice("mediaServer", media_server_named)?.unwrap_or(server.media_server),
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
