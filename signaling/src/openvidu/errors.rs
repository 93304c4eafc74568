//! Error codes of the RPC, as clients know them.

use serde_json::{Value, json};

use crate::app::CallError;
use crate::session::Refusal;

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcError {
    /// `error.code`.
    pub code: i32,
    /// `error.message`.
    pub message: String,
}

/// The text is not JSON.
pub const PARSE: i32 = -32_700;
/// The JSON is not a request.
pub const REQUEST: i32 = -32_600;
/// There is no such method.
pub const METHOD: i32 = -32_601;
/// The parameters are not those of the method.
pub const PARAMS: i32 = -32_602;
/// More requests, or more wrong secrets, than the operator allows: the range is the server's own (JSON-RPC 2.0 §5.1).
pub const TOO_OFTEN: i32 = -32_000;
/// Anything without a code of its own.
pub const GENERIC: i32 = 999;
/// This server does not have the service. Clients show the message; that of 401 they replace with one of their own about
/// missing permissions.
pub const NOT_ENABLED: i32 = 996;
/// Only another edition has this.
pub const EDITION: i32 = 997;
/// A method was called before joinRoom.
pub const NOT_JOINED: i32 = 803;
/// No such session.
pub const SESSION: i32 = 202;
/// There is a session of that id already.
pub const SESSION_EXISTS: i32 = 203;
/// The SDP cannot be used.
pub const SDP: i32 = 302;
/// The relay did not take it.
pub const MEDIA_ENDPOINT: i32 = 303;
/// Bad or used token, or role too low.
pub const UNAUTHORIZED: i32 = 401;
/// joinRoom without a session.
pub const SESSION_ID: i32 = 403;
/// joinRoom without a token.
pub const TOKEN: i32 = 404;
/// The metadata is no text or too long.
pub const METADATA: i32 = 500;
/// The signal is malformed.
pub const SIGNAL_FORMAT: i32 = 600;
/// No media node can take the session.
pub const MEDIA_NODE: i32 = 900;
/// A lost session cannot be taken up again.
pub const RECONNECTION: i32 = 40_007;

impl RpcError {
    /// An error of that code.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A parameter is missing or of the wrong type.
    pub fn param(name: &str) -> Self {
        Self::new(PARAMS, format!("parameter '{name}' is missing or of the wrong type"))
    }

    /// The answer to request `id`.
    pub fn answer(&self, id: &Value) -> String {
        json!({"id": id, "error": {"code": self.code, "message": self.message}, "jsonrpc": "2.0"}).to_string()
    }
}

impl From<Refusal> for RpcError {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::UserNotFound => 102,
            Refusal::UserClosed => 103,
            Refusal::ExistingUser => 104,
            Refusal::NotStreaming => 105,
            Refusal::AlreadyPublishing => 106,
            Refusal::SessionNotFound => SESSION,
            Refusal::Limit(_) => 204,
            Refusal::SessionExists => SESSION_EXISTS,
            Refusal::Incompatible => MEDIA_ENDPOINT,
            Refusal::Unauthorized(_) => UNAUTHORIZED,
            Refusal::SignalTo => 601,
        };
        Self::new(code, refusal.to_string())
    }
}

impl From<CallError> for RpcError {
    fn from(error: CallError) -> Self {
        let message = error.to_string();
        match error {
            CallError::Refused(refusal) => refusal.into(),
            CallError::Sdp(error) => Self::new(error.code(), message),
            CallError::NoOffer => Self::new(SDP, message),
            CallError::NoMediaNode(_) => Self::new(MEDIA_NODE, message),
            CallError::MediaEndpoint(_) => Self::new(MEDIA_ENDPOINT, message),
        }
    }
}
