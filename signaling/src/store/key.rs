//! The name of a record.

use std::fmt;

/// The kind of a record. The number of a kind is part of the stored format: never give it to another kind.
///
/// Kinds below 128 belong to a session and go with it; the others outlive sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Namespace {
    /// The session itself: its settings, without what it consists of.
    Session = 1,
    /// A connection with its participant.
    Connection = 2,
    /// A stream that is published.
    Stream = 3,
    /// A subscription of one connection to the stream of another.
    Subscription = 4,
    /// The last notices to clients, for the node that takes the session over.
    Notice = 5,
    /// An endpoint: a transport and what goes over it.
    Endpoint = 6,
    /// A recording, finished or under way.
    Recording = 128,
    /// An account: a secret, a role, an invitation that is used up.
    Account = 129,
    /// An event that is not delivered to its webhook yet.
    Event = 130,
}

impl Namespace {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Session,
        Self::Connection,
        Self::Stream,
        Self::Subscription,
        Self::Notice,
        Self::Endpoint,
        Self::Recording,
        Self::Account,
        Self::Event,
    ];

    /// The number in the stored format.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The kind with this number, `None` when a later version made it.
    pub fn of(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Whether a record of this kind belongs to one session and is removed with it.
    pub const fn belongs_to_session(self) -> bool {
        self.code() < 128
    }
}

/// Longest id of a session or a record, in bytes.
pub const ID_LEN_MAX: usize = 1 << 10;

/// The name of a record: unique within its session, or within the store when its kind outlives sessions.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The kind.
    pub namespace: Namespace,
    /// The id within the kind, at most [`ID_LEN_MAX`] bytes. May be empty.
    pub id: Box<str>,
}

impl Name {
    /// The name of the record `id` of this kind.
    pub fn new(namespace: Namespace, id: impl Into<Box<str>>) -> Self {
        Self { namespace, id: id.into() }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}", self.namespace, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of earlier versions hold these numbers.
    #[test]
    fn the_numbers_of_the_kinds_do_not_change() {
        assert_eq!(Namespace::ALL.map(Namespace::code), [1, 2, 3, 4, 5, 6, 128, 129, 130]);
        for kind in Namespace::ALL {
            assert_eq!(Namespace::of(kind.code()), Some(kind));
        }
        assert_eq!(Namespace::of(77), None);
        assert!(Namespace::Notice.belongs_to_session() && !Namespace::Recording.belongs_to_session());
    }
}
