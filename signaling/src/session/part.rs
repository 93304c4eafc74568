//! The parts that a session is stored in.

/// One part of a session, which the store keeps as a record of its own, so that a change costs what has changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The session without its connections.
    Session,
    /// A connection and its participant, without what that publishes and watches.
    Connection(String),
    /// What a connection publishes.
    Stream(String),
    /// What the first connection watches of the second.
    Subscription(String, String),
    /// An endpoint, by its id.
    Endpoint(u64),
}
