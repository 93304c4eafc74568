//! What needs neither the model nor the relay, for somebody who has joined.

use serde_json::{Value, json};

use super::super::errors::RpcError;
use super::Params;
use crate::sdp;

/// Nothing is done with it but to answer: the client gives up without its echo after 3 s.
pub(super) fn acknowledge(_params: &Params) -> Result<Value, RpcError> {
    Ok(json!({}))
}

/// Nothing is done with a candidate: the relay is ICE-lite and learns paths from the checks it receives.
pub(super) fn on_ice_candidate(params: &Params) -> Result<Value, RpcError> {
    let candidate = params.optional_text("candidate")?.unwrap_or_default();
    sdp::add_candidate(candidate).map_err(|error| RpcError::new(error.code(), error.to_string()))?;
    Ok(json!({}))
}
