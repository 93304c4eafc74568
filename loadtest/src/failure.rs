//! Why a simulated peer could not do its work, in words an operator can act on.

/// One reason, with the layer that gave it.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line asks for something impossible.
    #[error("option: {0}")]
    Usage(String),
    /// The REST API refused or could not be reached.
    #[error("REST {request}: {why}")]
    Rest {
        /// Method and path.
        request: String,
        /// Status and body, or the transport's error.
        why: String,
    },
    /// A WebSocket RPC failed.
    #[error("RPC {method}: {why}")]
    Rpc {
        /// The method called.
        method: String,
        /// The server's error object, or what went wrong on the way.
        why: String,
    },
    /// The SDP answer cannot be used.
    #[error("SDP answer: {0}")]
    Sdp(String),
    /// No candidate pair came up, or consent was lost.
    #[error("ICE: {0}")]
    Ice(String),
    /// The DTLS handshake failed.
    #[error("DTLS: {0}")]
    Dtls(String),
    /// The keys of the handshake were not usable.
    #[error("SRTP: {0}")]
    Srtp(String),
    /// A TURN server refused something or did not answer.
    #[error("TURN: {0}")]
    Turn(String),
    /// Something that should have happened did not happen in time.
    #[error("{0}")]
    Late(String),
    /// A socket call failed.
    #[error("socket: {0}")]
    Io(#[from] std::io::Error),
}

impl Failure {
    pub(crate) fn rest(request: &str, why: impl ToString) -> Self {
        Self::Rest { request: request.to_owned(), why: why.to_string() }
    }

    pub(crate) fn rpc(method: &str, why: impl ToString) -> Self {
        Self::Rpc { method: method.to_owned(), why: why.to_string() }
    }
}
