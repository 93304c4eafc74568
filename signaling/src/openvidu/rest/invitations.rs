//! Invitations at `/millrace/api/invitations`: the application makes a signed link, and a guest exchanges it for a token.
//! A guest's page therefore never holds the secret.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::body::Body;
use super::fields::{INVITATION_PROPERTIES, INVITED};
use super::request::Raw;
use super::{Failure, connections, sessions};
use crate::access::{Invitation, InvitationError};
use crate::app::App;
use crate::clock;
use crate::http::Via;
use crate::ids;
use crate::session::{ConnectionProperties, Role, SessionProperties};

/// How long an invitation counts when the application does not say, in seconds: a day.
const LIFETIME_S: u32 = 86_400;

/// Longest it may count, in seconds: 30 days. Nothing takes one invitation back, so none should last for ever.
pub(super) const LIFETIME_S_MAX: u32 = 30 * 86_400;

/// Longest name of a guest, in bytes.
const NAME_LEN_MAX: usize = 256;

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Json<Value>, Failure> {
    let invitation = invitation(&Body::parse(&body)?)?;
    let text = app.access.invitations.sign(&invitation);
    // The fragment stays in the browser: no server's log and no other site sees it.
    let link = format!("{}/#invite={text}", via.origin(&headers, &app.config).url());
    Ok(Json(json!({
        "invitation": text,
        "link": link,
        "session": invitation.session,
        "role": invitation.role.as_str(),
        "expiresAt": invitation.expires_at_s * 1_000,
        "createsSession": invitation.creates,
        "name": invitation.name,
    })))
}

/// What the application asks for.
fn invitation(body: &Body) -> Result<Invitation, Failure> {
    body.check(&INVITATION_PROPERTIES)?;
    let session = body.text("session")?.unwrap_or_default();
    if !ids::is_custom_session(session) {
        return Err(Failure::bad("session must match [a-zA-Z0-9_-]+"));
    }
    let lifetime_s = body.u32("expiresInS")?.unwrap_or(LIFETIME_S);
    if !(1..=LIFETIME_S_MAX).contains(&lifetime_s) {
        return Err(Failure::bad(format!("expiresInS must be from 1 to {LIFETIME_S_MAX}")));
    }
    let name = body.text("name")?.filter(|name| !name.is_empty());
    if name.is_some_and(|name| name.len() > NAME_LEN_MAX) {
        return Err(Failure::bad(format!("name may have {NAME_LEN_MAX} bytes at most")));
    }
    Ok(Invitation {
        session: session.to_owned(),
        role: body.choice("role", Role::parse)?.unwrap_or_default(),
        expires_at_s: clock::now_ms() / 1_000 + u64::from(lifetime_s),
        creates: body.bool("createsSession")?.unwrap_or(false),
        name: name.map(str::to_owned),
        nonce: ids::ice(16),
    })
}

/// Exchanges an invitation for a token. Needs no secret.
pub(super) async fn enter(
    State(app): State<Arc<App>>,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Json<Value>, Failure> {
    let body = Body::parse(&body)?;
    body.check(&INVITED)?;
    let text = body.text("invitation")?.unwrap_or_default();
    let now_s = clock::now_ms() / 1_000;
    let invitation = app.access.invitations.verify(text, now_s).map_err(|error| match error {
        InvitationError::Forged => {
            Failure::new(StatusCode::FORBIDDEN, "this server did not sign that invitation")
        }
        InvitationError::Expired => Failure::new(StatusCode::GONE, "the invitation has expired"),
    })?;
    if invitation.creates {
        open(&app, &invitation.session).await?;
    }
    let properties = ConnectionProperties {
        role: invitation.role,
        data: invitation.name.clone().unwrap_or_default(),
        record: true,
        ..ConnectionProperties::default()
    };
    let connection = connections::add(&app, &via, &headers, &invitation.session, properties).await?;
    Ok(Json(json!({
        "token": connection.token_url,
        "connectionId": connection.id,
        "session": invitation.session,
        "role": invitation.role.as_str(),
        "name": invitation.name,
    })))
}

/// Makes the session unless it is there.
async fn open(app: &App, id: &str) -> Result<(), Failure> {
    let streams = &app.config.streams;
    let properties = SessionProperties {
        custom_session_id: id.to_owned(),
        forced_video_codec: streams.forced_video_codec,
        allow_transcoding: streams.allow_transcoding,
        offerer: streams.media_server,
        ..SessionProperties::default()
    };
    match sessions::make(app, properties).await {
        Err(failure) if failure.status != StatusCode::CONFLICT => Err(failure),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Invitation, Failure> {
        invitation(&Body::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn what_is_not_said_is_the_least() {
        let least = read(r#"{"session":"room-1","name":""}"#).unwrap();
        assert_eq!((least.role, least.creates, least.name.clone()), (Role::Publisher, false, None));
        let day_s = clock::now_ms() / 1_000 + u64::from(LIFETIME_S);
        assert!(least.expires_at_s.abs_diff(day_s) < 60, "{least:?}");
        assert_ne!(least.nonce, read(r#"{"session":"room-1"}"#).unwrap().nonce);
    }

    #[test]
    fn wrong_types_and_unknown_values_are_refused() {
        let long = format!(r#"{{"session":"a","name":"{}"}}"#, "x".repeat(NAME_LEN_MAX + 1));
        for bad in [
            "{}",
            r#"{"session":""}"#,
            r#"{"session":"a b"}"#,
            r#"{"session":7}"#,
            r#"{"session":"a","role":"HOST"}"#,
            r#"{"session":"a","expiresInS":0}"#,
            r#"{"session":"a","expiresInS":2592001}"#,
            r#"{"session":"a","createsSession":"yes"}"#,
            &long,
        ] {
            assert_eq!(read(bad).unwrap_err().status, StatusCode::BAD_REQUEST, "{bad}");
        }
    }
}
