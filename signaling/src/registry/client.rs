//! A participant's client: how it is reached.

use std::sync::Arc;

use crate::delivery::{Budget, Dialect, Outbox};

/// Lets one socket of a participant negotiate at a time. Two at once would move the same tracks back and forth.
pub type NegotiationLock = tokio::sync::Mutex<()>;

/// How a participant is reached. It outlives the participant's socket.
#[derive(Clone)]
pub struct Client {
    /// Private key by which it takes up its place again.
    pub resume_key: String,
    /// What its client reads.
    pub dialect: &'static Dialect,
    /// What it is to be sent.
    pub outbox: Arc<Outbox>,
    /// Held while it negotiates.
    pub negotiation: Arc<NegotiationLock>,
    /// Its budget of bytes that go to other participants.
    pub budget: Budget,
    /// How it shows that it is still there.
    pub liveness: Liveness,
}

/// How a client shows that it is still there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Liveness {
    /// By its socket: the adapter notices when it falls silent.
    #[default]
    Socket,
    /// By its media alone. The client is gone when the relay has closed all its peers.
    Media,
}
