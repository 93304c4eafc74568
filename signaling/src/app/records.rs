//! Sessions as records of the store, and back.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::registry::{Registry, SessionState};
use crate::session::{Fact, Part, Session, StoredEndpoint, StoredSession};
use crate::store::{self, Name, Namespace, Ownership, Present, Selection, Source, Touched, Value};

/// Version of the encoding of every record of a session: JSON of the model's types.
pub(super) const FORMAT: u8 = 2;

/// Between the two connections in the name of a subscription. Neither contains it.
const BETWEEN: char = '/';

/// Gives the writer the present values of records.
pub(super) struct Records(pub(super) Arc<Registry>);

impl Source for Records {
    fn session(&self, session: &str, selection: Selection<'_>) -> Option<Present> {
        let cell = self.0.get(session)?;
        let locked = cell.lock()?;
        let records = match selection {
            Selection::All => values(&locked.session, locked.session.parts().into_iter()),
            Selection::Named(names) => values(&locked.session, names.iter().filter_map(part_of)),
        };
        Some(Present { ownership: Ownership::single(), records })
    }

    fn free(&self, _name: &Name) -> Option<Value> {
        None
    }

    fn sessions(&self) -> Vec<Arc<str>> {
        self.0.all().into_iter().map(|cell| Arc::clone(cell.id())).collect()
    }

    fn free_names(&self) -> Vec<Name> {
        Vec::new()
    }
}

/// The records that a change of a session has touched.
pub(super) fn touched(state: &mut SessionState, facts: &[Fact], closed: bool) -> Touched {
    let parts = state.session.take_touched();
    let id = state.session.id.as_str();
    if closed {
        Touched::ended(id, Ownership::single().fence)
    } else if facts.contains(&Fact::Opened) {
        Touched::created(id)
    } else if parts.is_empty() {
        Touched::none()
    } else {
        Touched::records(id, parts.iter().map(name_of))
    }
}

/// The session that stored records describe. Records that do not read are named.
pub(super) fn restore(stored: &store::StoredSession) -> Result<(Session, Vec<Name>), serde_json::Error> {
    if let Some(value) = store::whole::value(stored) {
        return Ok((Session::restore_whole(&value)?, Vec::new()));
    }
    let mut unread = Vec::new();
    let head = stored.records.iter().find(|(name, _)| name.namespace == Namespace::Session);
    let (_, head) = head.ok_or_else(|| missing("the record of the session itself"))?;
    let mut session = Session::restore(read::<StoredSession>(head)?);
    // A record comes after the records that it names.
    for namespace in [Namespace::Connection, Namespace::Endpoint, Namespace::Stream, Namespace::Subscription]
    {
        for (name, value) in stored.records.iter().filter(|(name, _)| name.namespace == namespace) {
            if restore_part(&mut session, name, value).is_err() {
                unread.push(name.clone());
            }
        }
    }
    Ok((session, unread))
}

/// Restores one record. Media without its participant is refused: no client could ever end it.
fn restore_part(session: &mut Session, name: &Name, value: &Value) -> Result<(), serde_json::Error> {
    let joined = |session: &Session, owner: &str| {
        session.participant(owner).map(drop).map_err(|_| missing("the participant of this media"))
    };
    match part_of(name) {
        Some(Part::Connection(_)) => session.restore_connection(read(value)?),
        Some(Part::Endpoint(_)) => {
            let stored: StoredEndpoint = read(value)?;
            joined(session, &stored.owner)?;
            session.restore_endpoint(stored);
        }
        Some(Part::Stream(owner)) => {
            joined(session, &owner)?;
            session.restore_stream(&owner, read(value)?);
        }
        Some(Part::Subscription(viewer, _)) => {
            joined(session, &viewer)?;
            session.restore_subscription(&viewer, read(value)?);
        }
        Some(Part::Session) => {}
        None => return Err(missing("a part of that name")),
    }
    Ok(())
}

fn read<T: DeserializeOwned>(value: &Value) -> Result<T, serde_json::Error> {
    if value.format != FORMAT {
        return Err(missing("an encoding that this release knows"));
    }
    serde_json::from_slice(&value.bytes)
}

fn missing(what: &str) -> serde_json::Error {
    serde::de::Error::custom(format!("there is not {what}"))
}

fn values(session: &Session, parts: impl Iterator<Item = Part>) -> Vec<(Name, Value)> {
    let value = |part: Part| Some((name_of(&part), Value::new(FORMAT, session.stored(&part)?)));
    parts.filter_map(value).collect()
}

fn name_of(part: &Part) -> Name {
    match part {
        Part::Session => Name::new(Namespace::Session, ""),
        Part::Connection(id) => Name::new(Namespace::Connection, id.as_str()),
        Part::Stream(owner) => Name::new(Namespace::Stream, owner.as_str()),
        Part::Subscription(viewer, publisher) => {
            Name::new(Namespace::Subscription, format!("{viewer}{BETWEEN}{publisher}"))
        }
        Part::Endpoint(id) => Name::new(Namespace::Endpoint, id.to_string()),
    }
}

fn part_of(name: &Name) -> Option<Part> {
    match name.namespace {
        Namespace::Session => Some(Part::Session),
        Namespace::Connection => Some(Part::Connection(name.id.to_string())),
        Namespace::Stream => Some(Part::Stream(name.id.to_string())),
        Namespace::Subscription => {
            let (viewer, publisher) = name.id.split_once(BETWEEN)?;
            Some(Part::Subscription(viewer.to_owned(), publisher.to_owned()))
        }
        Namespace::Endpoint => Some(Part::Endpoint(name.id.parse().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_one_name_and_a_name_one_part() {
        for part in [
            Part::Session,
            Part::Connection("con_A".into()),
            Part::Stream("con_A".into()),
            Part::Subscription("con_A".into(), "con_B".into()),
            Part::Endpoint(u64::MAX),
        ] {
            assert_eq!(part_of(&name_of(&part)), Some(part));
        }
        assert_eq!(part_of(&Name::new(Namespace::Endpoint, "x")), None);
    }
}
