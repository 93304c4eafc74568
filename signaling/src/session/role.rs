//! What a participant may do.

use serde::{Deserialize, Serialize};

/// Role of a connection, decided when its token is made and never by the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Role {
    /// Subscribes and sends signals.
    Subscriber,
    /// Also publishes.
    #[default]
    Publisher,
    /// Also ends other people's streams and connections.
    Moderator,
}

impl Role {
    /// The name the protocol uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subscriber => "SUBSCRIBER",
            Self::Publisher => "PUBLISHER",
            Self::Moderator => "MODERATOR",
        }
    }

    /// The role of that name, exactly as written in the protocol.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Subscriber, Self::Publisher, Self::Moderator].into_iter().find(|role| role.as_str() == name)
    }

    /// Whether this role may publish a stream.
    pub const fn publishes(self) -> bool {
        matches!(self, Self::Publisher | Self::Moderator)
    }

    /// Whether this role may end other people's streams and connections.
    pub const fn moderates(self) -> bool {
        matches!(self, Self::Moderator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back_and_nothing_else_is_a_role() {
        for role in [Role::Subscriber, Role::Publisher, Role::Moderator] {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse("moderator"), None);
        assert_eq!(Role::parse(""), None);
    }

    #[test]
    fn each_role_may_do_what_the_one_below_may() {
        assert!(!Role::Subscriber.publishes() && !Role::Subscriber.moderates());
        assert!(Role::Publisher.publishes() && !Role::Publisher.moderates());
        assert!(Role::Moderator.publishes() && Role::Moderator.moderates());
    }
}
