//! Why a use-case failed.

use crate::relay::LinkError;
use crate::sdp::SdpError;
use crate::session::Refusal;

/// Why a use-case failed. Adapters turn it into the codes of their protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The model refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The session description cannot be used.
    #[error(transparent)]
    Sdp(#[from] SdpError),
    /// There is no offer that this would answer.
    #[error("there is no offer that this would answer")]
    NoOffer,
    /// No relay or no shard can take it.
    #[error("no media node can take the session: {0}")]
    NoMediaNode(String),
    /// The relay did not take it.
    #[error("{0}")]
    MediaEndpoint(String),
}

impl CallError {
    /// No shard takes more.
    pub(super) fn no_shard() -> Self {
        Self::NoMediaNode("there is no shard that takes more".into())
    }

    /// The relay has not said what it must.
    pub(super) fn incomplete(what: &str) -> Self {
        Self::NoMediaNode(format!("the relay has not announced {what}"))
    }

    /// The link failed before anything was asked.
    pub(super) fn unreachable(error: &LinkError) -> Self {
        Self::NoMediaNode(error.to_string())
    }
}
