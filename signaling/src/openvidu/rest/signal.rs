//! Signals from the application.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::Failure;
use super::body::{Body, not_found};
use super::fields::SIGNAL;
use super::request::Raw;
use crate::app::App;
use crate::openvidu::json;
use crate::openvidu::rpc::signal_of;
use crate::session::Refusal;

/// Sends a signal without a sender; its type reaches the clients exactly as given.
pub(super) async fn send(State(app): State<Arc<App>>, Raw(bytes): Raw) -> Result<StatusCode, Failure> {
    let body = Body::parse(&bytes)?;
    body.check(&SIGNAL)?;
    let id = body.text("session")?.ok_or_else(|| Failure::bad("session is missing"))?;
    let whole = json::parse(&bytes).unwrap_or_default();
    let signal = signal_of(&whole).ok_or_else(|| Failure::bad("to, type or data has the wrong type"))?;
    app.signal_as_application(id, signal).map_err(|refusal| match refusal {
        Refusal::SessionNotFound => not_found(),
        _ => Failure::empty(StatusCode::NOT_ACCEPTABLE),
    })?;
    Ok(StatusCode::OK)
}
