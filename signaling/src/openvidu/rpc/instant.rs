//! Requests of participants that change nothing. They are answered at once.

use serde_json::{Value, json};

use super::super::errors::RpcError;
use super::Params;
use crate::app::Member;
use crate::sdp;
use crate::session::{Refusal, Session};

/// Answers one method, given the caller's session.
pub(super) type Answer = fn(&Session, &Params) -> Result<Value, RpcError>;

/// Answers, unless the caller was put out in the meantime.
pub(super) fn answer_at_once(who: &Member, answer: Answer, params: &Params) -> Result<Value, RpcError> {
    answer(&who.lock()?.session, params)
}

/// The client gives up without its echo after 3 s.
pub(super) fn echo(_session: &Session, _params: &Params) -> Result<Value, RpcError> {
    Ok(json!({}))
}

/// Video size statistics from the client. They are validated and not used.
pub(super) fn video_data(_session: &Session, params: &Params) -> Result<Value, RpcError> {
    for name in ["width", "height"] {
        if params.value(name).is_some_and(|value| !value.is_null() && !value.is_number()) {
            return Err(RpcError::param(name));
        }
    }
    for name in ["videoActive", "audioActive"] {
        params.optional_bool(name)?;
    }
    Ok(json!({}))
}

/// Nothing is done with a candidate: the relay is ICE-lite and learns paths from the checks it receives.
pub(super) fn on_ice_candidate(session: &Session, params: &Params) -> Result<Value, RpcError> {
    let endpoint = params.optional_text("endpointName")?;
    if endpoint.is_some_and(|endpoint| !session.knows(endpoint)) {
        return Err(Refusal::UserNotFound.into());
    }
    let candidate = params.optional_text("candidate")?.unwrap_or_default();
    sdp::add_candidate(candidate).map_err(|error| RpcError::new(error.code(), error.to_string()))?;
    Ok(json!({}))
}
