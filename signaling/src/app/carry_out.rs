//! How a change takes effect.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::App;
use crate::cdr::Moment;
use crate::clock;
use crate::delivery::{Dialect, Outbox, Text};
use crate::session::{Changes, Fact, Notification, PlacedPeer};
use crate::state::{Client, State};
use crate::store::{Durability, Ownership, Touched};

/// Memory of an `after` beside its messages, in bytes.
const AFTER_LEN: usize = 512;

/// One answer that leaves once its change is durable.
pub struct Answer {
    /// Where to.
    pub outbox: Arc<Outbox>,
    /// The text frame.
    pub text: Text,
}

impl App {
    /// Carries out what follows from a change of `session`: the store first, then notifications and `answer`, in the
    /// order of the changes. The guard proves that the change itself was made under the same lock.
    pub fn carry_out(&self, state: &mut State, session: &str, changes: Changes, answer: Option<Answer>) {
        self.submit(state, session, changes, answer, true, |_| ());
    }

    /// The same for changes that are not stored, signals for example.
    pub fn deliver(&self, state: &mut State, session: &str, changes: Changes, answer: Option<Answer>) {
        self.submit(state, session, changes, answer, false, |_| ());
    }

    /// The same for REST, which waits until the store has been tried, and learns whether it is durable.
    pub fn carry_out_and_tell(
        &self,
        state: &mut State,
        session: &str,
        changes: Changes,
    ) -> oneshot::Receiver<Durability> {
        let (done, durable) = oneshot::channel();
        self.submit(state, session, changes, None, true, |durability| {
            let _ = done.send(durability);
        });
        durable
    }

    fn submit(
        &self,
        state: &mut State,
        session: &str,
        changes: Changes,
        answer: Option<Answer>,
        stored: bool,
        done: impl FnOnce(Durability) + Send + 'static,
    ) {
        let mut messages = messages(state, &changes.notifications);
        messages.extend(answer.map(|answer| (answer.outbox, answer.text)));
        let departed: Vec<Client> =
            changes.departed.iter().filter_map(|rpc_session| state.clients.remove(rpc_session)).collect();
        self.forget_media(state, session, &changes.removed_peers);
        self.adapt_caps(state, session, &changes);
        let facts: Vec<Fact> = changes.facts.into_iter().filter(|fact| !fact.is_hidden()).collect();
        let moment = Moment {
            session: session.to_owned(),
            created_at_ms: state.sessions.get(session).map_or(0, |session| session.created_at_ms),
            now_ms: clock::now_ms(),
        };
        let journal = Arc::clone(&self.journal);
        if changes.closed {
            state.sessions.remove(session);
            tracing::info!(session, "session is over");
        }
        let touched = match (stored, state.sessions.contains_key(session)) {
            (false, _) => Touched::none(),
            (true, true) => Touched::whole(session),
            (true, false) => Touched::ended(session, Ownership::single().fence),
        };
        let bytes = AFTER_LEN + messages.iter().map(|(_, text)| text.len()).sum::<usize>();
        self.writer.submit(touched, bytes, move |durability| {
            journal.record(&moment, &facts);
            for (outbox, text) in messages {
                outbox.push(text);
            }
            for client in departed {
                client.outbox.finish();
            }
            done(durability);
        });
    }

    /// Makes the relay forget peers of a session.
    pub fn forget_media(&self, state: &mut State, session: &str, peers: &[PlacedPeer]) {
        for removed in peers {
            state.peers.forget(removed.peer);
        }
        let Some(home) = state.sessions.get(session).and_then(|session| session.shard) else { return };
        let mut by_shard: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for removed in peers {
            by_shard.entry(removed.shard.unwrap_or(home)).or_default().push(removed.peer);
        }
        for (shard, peers) in by_shard {
            self.link.forget(shard, peers);
        }
    }
}

/// Which texts go to which outboxes. A notice is encoded once for each dialect, however many clients are sent it.
fn messages(state: &State, notifications: &[Notification]) -> Vec<(Arc<Outbox>, Text)> {
    let mut messages = Vec::new();
    for Notification { to, notice } in notifications {
        let mut texts: Vec<(&Dialect, Option<Text>)> = Vec::new();
        for client in to.iter().filter_map(|to| state.clients.get(to)) {
            let known = texts.iter().position(|(dialect, _)| *dialect == client.dialect);
            let at = known.unwrap_or_else(|| {
                texts.push((client.dialect, (client.dialect.encode)(notice)));
                texts.len() - 1
            });
            messages.extend(texts[at].1.clone().map(|text| (Arc::clone(&client.outbox), text)));
        }
    }
    messages
}
