//! Connections, their tokens and their streams.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::super::shapes;
use super::body::{Body, not_found};
use super::fields::{CONNECTION_PROPERTIES, FILTERS_MAX, TOKEN_PROPERTIES};
use super::request::{Named, Raw, Shown};
use super::{Failure, copy, until_settled};
use crate::app::{App, NewConnection};
use crate::config::Limits;
use crate::http::Via;
use crate::http::long_list::JsonText;
use crate::ice_servers;
use crate::ids;
use crate::registry::Copier;
use crate::session::{BandwidthLimits, Connection, ConnectionProperties, Refusal, Role};

/// What the address of an IP camera may begin with.
const CAMERA_SCHEMES: [&str; 5] = ["file", "rtsp", "rtsps", "http", "https"];

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Extension(via): Extension<Via>,
    Named(session): Named<String>,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Json<Value>, Failure> {
    let body = Body::parse(&body)?;
    app.registry.get(&session).ok_or_else(not_found)?;
    let properties = properties(&body, &app.config.limits)?;
    let connection = add(&app, &via, &headers, &session, properties).await?;
    Ok(Json(shapes::tree(&shapes::Connection { session: &session, connection: &connection, peers: None })))
}

/// The call of older applications.
pub(super) async fn create_token(
    State(app): State<Arc<App>>,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Json<Value>, Failure> {
    let body = Body::parse(&body)?;
    body.check(&TOKEN_PROPERTIES)?;
    let session = body.text("session")?.ok_or_else(|| Failure::bad("session is missing"))?.to_owned();
    let properties = properties(&body, &app.config.limits)?;
    let connection = add(&app, &via, &headers, &session, properties).await?;
    let properties = &connection.properties;
    Ok(Json(json!({
        "id": connection.token_url,
        "token": connection.token_url,
        "createdAt": connection.created_at_ms,
        "connectionId": connection.id,
        "session": session,
        "data": properties.data,
        "role": properties.role.as_str(),
        "kurentoOptions": properties.bandwidth,
    })))
}

/// Makes a connection, with a token that names the server as the caller knows it.
///
/// # Errors
/// 404 when there is no such session, 503 when it has too many connections.
pub(super) async fn add(
    app: &App,
    via: &Via,
    headers: &HeaderMap,
    session: &str,
    properties: ConnectionProperties,
) -> Result<Connection, Failure> {
    let token = ids::token();
    let server = via.origin(headers, &app.config).socket_url();
    let new = NewConnection {
        id: ids::connection(),
        token_url: format!("{server}?sessionId={session}&token={token}"),
        token,
        properties,
    };
    let (connection, durable) = app.create_connection(session, new).map_err(|refusal| match refusal {
        Refusal::SessionNotFound => not_found(),
        full => Failure::new(StatusCode::SERVICE_UNAVAILABLE, full.to_string()),
    })?;
    until_settled(durable).await?;
    Ok(connection)
}

pub(super) async fn get(
    State(app): State<Arc<App>>,
    Named((session, connection)): Named<(String, String)>,
    shown: Shown,
) -> Result<Json<Value>, Failure> {
    let cell = app.registry.get(&session).ok_or_else(no_session)?;
    let locked = cell.lock().ok_or_else(no_session)?;
    let connection = locked.session.connection(&connection).ok_or_else(not_found)?;
    Ok(shown.answer(shapes::tree(&shapes::Connection {
        session: &session,
        connection,
        peers: shown.peers(&locked),
    })))
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    Named(session): Named<String>,
    shown: Shown,
) -> Result<JsonText, Failure> {
    let cell = app.registry.get(&session).ok_or_else(not_found)?;
    copy::connections(&mut Copier::default(), &cell, shown, true).await.ok_or_else(not_found)
}

/// Removes a participant, or a connection whose token was not used.
pub(super) async fn disconnect(
    State(app): State<Arc<App>>,
    Named((session, connection)): Named<(String, String)>,
) -> Result<StatusCode, Failure> {
    let durable = app.evict(&session, &connection).map_err(no_part)?;
    until_settled(durable).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn unpublish(
    State(app): State<Arc<App>>,
    Named((session, stream)): Named<(String, String)>,
) -> Result<StatusCode, Failure> {
    let durable = app.end_stream(&session, &stream).map_err(no_part)?;
    until_settled(durable).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What is missing in a call about one connection or one stream.
fn no_part(refusal: Refusal) -> Failure {
    if refusal == Refusal::SessionNotFound { no_session() } else { not_found() }
}

/// A missing session in the calls about one connection or one stream.
fn no_session() -> Failure {
    Failure::bad("the session does not exist")
}

fn properties(body: &Body, limits: &Limits) -> Result<ConnectionProperties, Failure> {
    body.check(&CONNECTION_PROPERTIES)?;
    match body.text("type")? {
        None | Some("WEBRTC") => {}
        Some("IPCAM") => return Err(no_ip_cameras(body)),
        Some(_) => return Err(Failure::bad("type must be WEBRTC or IPCAM")),
    }
    let data = body.text("data")?.unwrap_or_default();
    let data_len_max = limits.data_len_bytes_max;
    if data.len() > data_len_max {
        return Err(Failure::bad(format!("data may have {data_len_max} bytes at most")));
    }
    let servers = body.value("customIceServers").map(ice_servers::parse).transpose().map_err(Failure::bad)?;
    Ok(ConnectionProperties {
        role: body.choice("role", Role::parse)?.unwrap_or_default(),
        data: data.to_owned(),
        record: body.bool("record")?.unwrap_or(true),
        bandwidth: body.value("kurentoOptions").map(kurento_options).transpose()?,
        custom_ice_servers: servers.unwrap_or_default(),
        by_secret: false,
    })
}

/// What is wrong with the description of a camera, or else that there are none.
fn no_ip_cameras(body: &Body) -> Failure {
    let check = || {
        let uri = body.text("rtspUri")?.unwrap_or_default();
        let scheme = uri.split_once("://").map(|(scheme, _)| scheme);
        if !scheme.is_some_and(|scheme| CAMERA_SCHEMES.contains(&scheme)) {
            return Err(Failure::bad(format!(
                "rtspUri must begin with one of {}",
                CAMERA_SCHEMES.join(", ")
            )));
        }
        body.bool("adaptativeBitrate")?;
        body.bool("onlyPlayWithSubscribers")?;
        body.u32("networkCache")?;
        Ok(())
    };
    let none = || Failure::new(StatusCode::NOT_IMPLEMENTED, "this server does not support IP cameras");
    check().map_or_else(|wrong| wrong, |()| none())
}

fn kurento_options(value: &Value) -> Result<BandwidthLimits, Failure> {
    let body = Body::from_value(value).ok_or_else(|| Failure::bad("kurentoOptions must be an object"))?;
    let filters = match body.value("allowedFilters") {
        None => Some(Vec::new()),
        Some(Value::Array(filters)) if filters.len() <= FILTERS_MAX => {
            filters.iter().map(|filter| filter.as_str().map(str::to_owned)).collect()
        }
        Some(_) => None,
    };
    Ok(BandwidthLimits {
        video_max_recv_bandwidth: body.u32("videoMaxRecvBandwidth")?,
        video_min_recv_bandwidth: body.u32("videoMinRecvBandwidth")?,
        video_max_send_bandwidth: body.u32("videoMaxSendBandwidth")?,
        video_min_send_bandwidth: body.u32("videoMinSendBandwidth")?,
        allowed_filters: filters.ok_or_else(|| Failure::bad("allowedFilters must be a list of texts"))?,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::config::Config;

    fn read(text: &str) -> Result<ConnectionProperties, Failure> {
        let limits = Config::try_parse_from(["x"]).unwrap().limits;
        properties(&Body::parse(text.as_bytes()).unwrap(), &limits)
    }

    #[test]
    fn the_nulls_of_the_node_client_are_defaults() {
        let nulls = r#"{"type":null,"data":null,"record":null,"role":null,"kurentoOptions":null,"rtspUri":null,
            "adaptativeBitrate":null,"onlyPlayWithSubscribers":null,"networkCache":null,"customIceServers":null}"#;
        let properties = read(nulls).unwrap();
        assert_eq!(properties, ConnectionProperties { record: true, ..ConnectionProperties::default() });
    }

    #[test]
    fn wrong_types_and_unknown_values_are_refused() {
        for bad in [
            r#"{"type":"SIP"}"#,
            r#"{"role":"moderator"}"#,
            r#"{"record":"yes"}"#,
            r#"{"data":{}}"#,
            r#"{"kurentoOptions":[]}"#,
            r#"{"kurentoOptions":{"videoMaxRecvBandwidth":-1}}"#,
            r#"{"kurentoOptions":{"allowedFilters":[1]}}"#,
            r#"{"customIceServers":[{"url":"turn:h"}]}"#,
        ] {
            assert_eq!(read(bad).unwrap_err().status, StatusCode::BAD_REQUEST, "{bad}");
        }
        let data = |len| read(&format!(r#"{{"data":"{}"}}"#, "x".repeat(len)));
        assert_eq!(data(10_000).unwrap().data.len(), 10_000);
        assert_eq!(data(10_001).unwrap_err().status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn a_camera_is_checked_before_it_is_refused() {
        let status = |text| read(text).unwrap_err().status;
        assert_eq!(status(r#"{"type":"IPCAM","rtspUri":"rtsp://192.0.2.1/a"}"#), StatusCode::NOT_IMPLEMENTED);
        for bad in [
            r#"{"type":"IPCAM"}"#,
            r#"{"type":"IPCAM","rtspUri":"ftp://h"}"#,
            r#"{"type":"IPCAM","rtspUri":7}"#,
            r#"{"type":"IPCAM","rtspUri":"rtsp://h","networkCache":"x"}"#,
        ] {
            assert_eq!(status(bad), StatusCode::BAD_REQUEST, "{bad}");
        }
    }
}
