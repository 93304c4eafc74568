//! What is answered at once to somebody who has joined: nothing changes by it.

use serde_json::{Value, json};

use super::super::errors::RpcError;
use super::{Caller, Identity, Params};
use crate::sdp;
use crate::session::{Refusal, Session};

/// Answers one method, given the caller's session.
pub(super) type Answer = fn(&Session, &Params) -> Result<Value, RpcError>;

impl Caller {
    /// Answers, unless the caller was put out in the meantime.
    pub(super) fn answer_at_once(
        &self,
        caller: &Identity,
        answer: Answer,
        params: &Params,
    ) -> Result<Value, RpcError> {
        let state = self.app.shared.lock();
        let session = state.sessions.get(&caller.session);
        let session = session.filter(|_| state.clients.contains_key(&caller.rpc_session));
        answer(session.ok_or(Refusal::UserClosed)?, params)
    }
}

/// The client gives up without its echo after 3 s.
pub(super) fn echo(_session: &Session, _params: &Params) -> Result<Value, RpcError> {
    Ok(json!({}))
}

/// What the client's own picture measures: of use where something can be done about it, which is not here.
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
