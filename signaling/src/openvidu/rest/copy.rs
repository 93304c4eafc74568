//! Session objects as text, copied part by part.

use std::sync::Arc;

use serde_json::json;

use super::super::shapes;
use super::request::Shown;
use crate::http::long_list::{JsonText, LongList};
use crate::registry::{Copier, SessionCell};

/// The session object. `None` when the session has ended.
pub(super) async fn session(copier: &mut Copier, cell: &Arc<SessionCell>, shown: Shown) -> Option<JsonText> {
    let head = {
        let locked = cell.lock()?;
        shapes::tree(&shapes::SessionHead(&locked.session))
    };
    let connections = connections(copier, cell, shown, false).await?;
    Some(connections.inside(&head, "connections"))
}

/// The connections of a session as a list with its length. `pending` says whether pending ones are in it by default.
/// `None` when the session has ended.
pub(super) async fn connections(
    copier: &mut Copier,
    cell: &Arc<SessionCell>,
    shown: Shown,
    pending: bool,
) -> Option<JsonText> {
    let pending = shown.pending(pending);
    let mut list = LongList::default();
    let is_there = copier
        .each_connection(cell, |state, connection| {
            if connection.is_hidden() || connection.participant.is_none() && !pending {
                return;
            }
            let peers = shown.peers(state);
            let shape = shapes::Connection { session: &state.session.id, connection, peers };
            if shown.shows_all() {
                list.push(&shape);
            } else {
                list.push(&shown.visible(shapes::tree(&shape)));
            }
        })
        .await;
    let head = json!({"numberOfElements": list.len()});
    is_there.then(|| list.inside(&head, "content"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;
    use crate::session::Role;
    use crate::session::testing::{empty, invite, join, publish};

    #[tokio::test]
    async fn the_text_is_that_of_the_session_object() {
        let mut room = empty();
        join(&mut room, "con_A", Role::Publisher);
        let _ = publish(&mut room, "con_A", 1).unwrap();
        invite(&mut room, "con_B", Role::Subscriber);
        let tree = shapes::tree(&shapes::Session { session: &room, pending: false, peers: None });
        let registry = Registry::new(|session| panic!("{session} is broken"));
        let (id, shown) = (room.id.clone(), Shown::everything());
        registry.insert(room, usize::MAX).unwrap();
        let cell = registry.get(&id).unwrap();
        let text = session(&mut Copier::default(), &cell, shown).await.unwrap();
        assert_eq!(text.as_str(), tree.to_string());
        let hidden = session(&mut Copier::default(), &cell, Shown::default()).await.unwrap();
        assert_eq!(hidden.as_str(), Shown::default().visible(tree).to_string());
        let pending = connections(&mut Copier::default(), &cell, shown, true).await.unwrap();
        assert!(pending.as_str().starts_with("{\"numberOfElements\":2,"), "{}", pending.as_str());
    }
}
