//! Restores the sessions of an earlier process.

use std::sync::Arc;

use tokio::time::Instant;

use super::records;
use crate::delivery::{Budget, Dialect, Outbox};
use crate::registry::{Client, Liveness, Place, Registry};
use crate::session::Session;
use crate::store::{Operation, Store, StoreError};

/// Restores every session in the store. A record that does not read is reported once and set aside for a person to
/// look at. Returns the sessions that an older release stored whole. The caller must store them again.
///
/// A participant whose dialect is not among `dialects` speaks the first of them.
pub(super) fn restore(
    store: &mut dyn Store,
    registry: &Registry,
    dialects: &[&'static Dialect],
) -> Result<Vec<Arc<str>>, StoreError> {
    let mut stale = Vec::new();
    for stored in store.load()? {
        let id = stored.id.clone();
        match records::restore(&stored) {
            Ok((session, unread)) => {
                for name in unread {
                    tracing::error!(session = id, record = ?name, "a stored record does not read; it is set aside");
                    let _ = store.commit(&[Operation::SetAside { session: Some(id.clone()), name }])?;
                }
                let is_whole = crate::store::whole::value(&stored).is_some();
                stale.extend(is_whole.then(|| Arc::from(id.as_str())));
                take_up(registry, session, dialects);
            }
            Err(error) => {
                tracing::error!(session = id, %error, "a stored session does not read; it is set aside");
                crate::store::whole::set_aside(store, &[id])?;
            }
        }
    }
    Ok(stale)
}

fn take_up(registry: &Registry, mut session: Session, dialects: &[&'static Dialect]) {
    let dialect_of = |name: &str| {
        let found = dialects.iter().find(|dialect| dialect.name == name);
        *found.unwrap_or(&dialects[0])
    };
    let participants: Vec<(String, Client)> = session
        .participants()
        .map(|(connection, participant)| {
            let client = Client {
                resume_key: participant.resume_key.clone(),
                dialect: dialect_of(&participant.dialect),
                outbox: Arc::new(Outbox::default()),
                negotiation: Arc::default(),
                budget: Budget::new(Instant::now()),
                liveness: Liveness::default(),
            };
            (connection.id.clone(), client)
        })
        .collect();
    session.begin_away();
    let Ok(cell) = registry.insert(session, usize::MAX) else { return };
    for (connection, client) in &participants {
        let place = Place { cell: Arc::clone(&cell), connection: connection.clone() };
        registry.add_place(client.resume_key.clone(), place);
    }
    cell.lock_any().clients.extend(participants);
}
