//! Why the model refuses a request.

/// A request the model refuses. It changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No participant of the session has that connection id.
    #[error("no participant with that connection id is in the session")]
    UserNotFound,
    /// The caller has left or was evicted.
    #[error("the participant is no longer in the session")]
    UserClosed,
    /// This socket has already joined.
    #[error("this connection has already joined a session")]
    ExistingUser,
    /// The stream, or the caller's own one, does not exist.
    #[error("no such stream is being published")]
    NotStreaming,
    /// A connection publishes one stream at most.
    #[error("this connection already publishes a stream")]
    AlreadyPublishing,
    /// No such session.
    #[error("the session does not exist")]
    SessionNotFound,
    /// The token is unknown or used, or the role does not allow it.
    #[error("unauthorized: {0}")]
    Unauthorized(&'static str),
    /// A receiver of the signal is not in the session. The signal was sent to no one.
    #[error("a receiver of the signal is not in the session")]
    SignalTo,
    /// The viewer has not agreed to a format that the stream is sent in, or watches its publisher already.
    #[error(
        "the viewer cannot be pointed at this stream: it watches its publisher already, or has no format of it"
    )]
    Incompatible,
    /// There is a session of that id already.
    #[error("there is a session of that id already")]
    SessionExists,
    /// A list of the model is full.
    #[error("the server has reached its limit of {0}")]
    Limit(&'static str),
}
