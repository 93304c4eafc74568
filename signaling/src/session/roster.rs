//! The connections of a session, in the order in which they were made, found by id, token or stream.

use std::collections::{BTreeMap, HashMap};

use super::{Connection, Memo, Participant, Stream};

/// All connections of a session.
///
/// The indexes hash with random keys. A stranger therefore cannot make look-ups slow. The time of a look-up does not
/// show how much of a token was right.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    /// Boxed: a node of the map has places for eleven, and most rooms are small.
    by_age: BTreeMap<u64, Box<Connection>>,
    by_id: HashMap<String, u64>,
    by_token: HashMap<String, u64>,
    by_stream: HashMap<String, u64>,
    participants: usize,
    next: u64,
}

impl Roster {
    /// Adds a connection behind all others. An older one of the same id is replaced.
    pub fn push(&mut self, mut connection: Connection) {
        connection.order = self.next;
        self.put_back(connection);
    }

    /// Adds a connection in the place that it had.
    pub fn put_back(&mut self, connection: Connection) {
        self.remove(&connection.id);
        let age = connection.order;
        self.next = self.next.max(age + 1);
        self.by_id.insert(connection.id.clone(), age);
        self.by_token.insert(connection.token.clone(), age);
        if let Some(participant) = &connection.participant {
            self.participants += 1;
            if let Some(stream) = &participant.stream {
                self.by_stream.insert(stream.id.clone(), age);
            }
        }
        self.by_age.insert(age, Box::new(Connection { memo: Memo::default(), ..connection }));
    }

    /// Removes a connection.
    pub fn remove(&mut self, id: &str) -> Option<Connection> {
        let gone = self.by_age.remove(&self.by_id.remove(id)?)?;
        self.by_token.remove(&gone.token);
        if let Some(participant) = &gone.participant {
            self.participants -= 1;
            if let Some(stream) = &participant.stream {
                self.by_stream.remove(&stream.id);
            }
        }
        Some(*gone)
    }

    /// The connection of that id.
    pub fn get(&self, id: &str) -> Option<&Connection> {
        self.by_age.get(self.by_id.get(id)?).map(Box::as_ref)
    }

    /// The connection that a token stands for.
    pub fn of_token(&self, token: &str) -> Option<&Connection> {
        self.by_age.get(self.by_token.get(token)?).map(Box::as_ref)
    }

    /// The connection that publishes a stream.
    pub fn of_stream(&self, stream: &str) -> Option<&Connection> {
        self.by_age.get(self.by_stream.get(stream)?).map(Box::as_ref)
    }

    /// The participant of that connection, to be changed in all but its stream.
    pub fn participant_mut(&mut self, id: &str) -> Option<&mut Participant> {
        changing(&mut self.by_age, *self.by_id.get(id)?)?.participant.as_mut()
    }

    /// A pending connection becomes a participant. Gives the connection, unless there is none or it is in use.
    pub fn activate(&mut self, id: &str, participant: Participant) -> Option<&Connection> {
        let connection = changing(&mut self.by_age, *self.by_id.get(id)?)?;
        if connection.participant.is_some() {
            return None;
        }
        connection.participant = Some(participant);
        self.participants += 1;
        Some(connection)
    }

    /// Puts a stream in the place of what a participant publishes. Gives what it published before.
    pub fn set_stream(&mut self, id: &str, stream: Option<Stream>) -> Option<Stream> {
        let age = *self.by_id.get(id)?;
        let participant = changing(&mut self.by_age, age)?.participant.as_mut()?;
        if let Some(stream) = &stream {
            self.by_stream.insert(stream.id.clone(), age);
        }
        let is_same = |old: &Stream| stream.as_ref().is_some_and(|new| new.id == old.id);
        if let Some(old) = participant.stream.as_ref().filter(|old| !is_same(old)) {
            self.by_stream.remove(&old.id);
        }
        std::mem::replace(&mut participant.stream, stream)
    }

    /// Every connection, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.by_age.values().map(Box::as_ref)
    }

    /// The connections from place `order` on, oldest first.
    pub fn from(&self, order: u64) -> impl Iterator<Item = &Connection> {
        self.by_age.range(order..).map(|(_, connection)| connection.as_ref())
    }

    /// How many connections there are, pending ones included.
    pub fn len(&self) -> usize {
        self.by_age.len()
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    /// How many of them are in use.
    pub const fn participants(&self) -> usize {
        self.participants
    }
}

/// A connection that is about to change.
fn changing(by_age: &mut BTreeMap<u64, Box<Connection>>, age: u64) -> Option<&mut Connection> {
    let connection = by_age.get_mut(&age)?;
    connection.memo = Memo::default();
    Some(connection)
}

impl FromIterator<Connection> for Roster {
    fn from_iter<I: IntoIterator<Item = Connection>>(connections: I) -> Self {
        let mut roster = Self::default();
        connections.into_iter().for_each(|connection| roster.push(connection));
        roster
    }
}

#[cfg(test)]
mod tests {
    use super::super::Role;
    use super::super::testing::{empty, invite, join, stream};

    #[test]
    fn indexes_follow_what_comes_and_goes() {
        let mut session = empty();
        for id in ["con_A", "con_B", "con_C"] {
            invite(&mut session, id, Role::Publisher);
        }
        join(&mut session, "con_D", Role::Publisher);
        let mut roster = session.roster().clone();
        assert_eq!((roster.len(), roster.participants()), (4, 1));
        assert_eq!(roster.of_token("tok_con_B").unwrap().id, "con_B");
        let published = stream("con_D", 1);
        assert!(roster.set_stream("con_D", Some(published.clone())).is_none());
        assert!(roster.set_stream("con_A", Some(published.clone())).is_none(), "it is no participant");
        assert_eq!(roster.of_stream(&published.id).unwrap().id, "con_D");
        assert!(roster.set_stream("con_D", Some(published.clone())).is_some());
        assert!(roster.of_stream(&published.id).is_some(), "the same stream again");
        assert!(roster.remove("con_B").is_some() && roster.remove("con_B").is_none());
        assert!(roster.of_token("tok_con_B").is_none());
        assert_eq!(roster.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["con_A", "con_C", "con_D"]);
        let again = roster.remove("con_C").unwrap();
        let first = roster.remove("con_A").unwrap();
        roster.put_back(again);
        roster.put_back(first);
        assert_eq!(roster.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["con_A", "con_C", "con_D"]);
        roster.remove("con_D");
        assert!(roster.of_stream(&published.id).is_none());
        assert_eq!((roster.len(), roster.participants()), (2, 0));
    }
}
