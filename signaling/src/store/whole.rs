//! A whole session in one value, cut into records of the permitted length. Releases up to 0.1 stored sessions so.

use super::key::{Name, Namespace};
use super::operation::{Operation, Refusal, StoreError, StoredSession, VALUE_LEN_MAX, Value};
use super::{Outcome, Store};

/// Format of the pieces, in [`Namespace::Session`]: the session as JSON, cut.
pub const FORMAT: u8 = 1;

/// Sets sessions aside whose value does not read.
///
/// # Errors
/// When the store cannot be written.
pub fn set_aside(store: &mut dyn Store, sessions: &[String]) -> Result<(), StoreError> {
    if sessions.is_empty() {
        return Ok(());
    }
    let operation = |session: &String| Operation::SetSessionAside { session: session.clone() };
    let outcomes = store.commit(&sessions.iter().map(operation).collect::<Vec<_>>())?;
    let refused = outcomes.into_iter().filter_map(Outcome::err).any(|refusal| refusal != Refusal::Missing);
    debug_assert!(!refused, "only a missing session is refused");
    Ok(())
}

/// The value of a session that is stored whole, `None` when it is stored otherwise.
pub fn value(session: &StoredSession) -> Option<Vec<u8>> {
    let is_piece =
        |(name, value): &(Name, Value)| name.namespace == Namespace::Session && value.format == FORMAT;
    let pieces = session.records.iter().filter(|record| is_piece(record));
    let mut whole: Option<Vec<u8>> = None;
    for (_, piece) in pieces {
        whole.get_or_insert_default().extend_from_slice(&piece.bytes);
    }
    whole
}

/// The records that hold `value`.
pub(super) fn pieces(value: &[u8]) -> Vec<(Name, Value)> {
    let piece = |(number, piece): (usize, &[u8])| {
        // Of equal length, so that their order is that of the numbers.
        (Name::new(Namespace::Session, format!("{number:08}")), Value::new(FORMAT, piece))
    };
    value.chunks(VALUE_LEN_MAX).enumerate().map(piece).collect()
}

/// Every session that is stored as one value, with that value.
#[cfg(test)]
pub(super) fn load(store: &mut dyn Store) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let whole = |session: StoredSession| value(&session).map(|value| (session.id, value));
    Ok(store.load()?.into_iter().filter_map(whole).collect())
}

#[cfg(test)]
mod tests {
    use super::super::Memory;
    use super::super::operation::Ownership;
    use super::*;

    #[test]
    fn a_value_of_any_length_comes_back() {
        for len in [1, VALUE_LEN_MAX, VALUE_LEN_MAX + 1, 25 * VALUE_LEN_MAX + 7] {
            let whole: Vec<u8> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let mut store = Memory::default();
            store.create("ses_1", &Ownership::single(), pieces(&whole)).unwrap().unwrap();
            assert_eq!(load(&mut store).unwrap(), [("ses_1".to_owned(), whole)]);
        }
    }

    #[test]
    fn a_session_that_does_not_read_is_kept_and_counted_and_not_loaded_again() {
        let mut store = Memory::default();
        store.create("ses_1", &Ownership::single(), pieces(b"from the future")).unwrap().unwrap();
        set_aside(&mut store, &["ses_1".to_owned()]).unwrap();
        assert_eq!(load(&mut store).unwrap(), []);
        assert_eq!(store.load_aside().unwrap()[0].value.bytes, b"from the future");
        assert_eq!(store.counters().records_set_aside(), 1);
    }
}
