//! How a change takes effect.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::App;
use super::records::touched;
use crate::cdr::Moment;
use crate::clock;
use crate::delivery::{Dialect, Outbox, Text};
use crate::registry::{Client, LockedSession, SessionState};
use crate::session::{Audience, Changes, Fact, Notification, PlacedPeer};
use crate::store::Durability;

/// Assumed memory of what happens after a commit, without its messages, in bytes.
const AFTER_LEN: usize = 512;

/// Participants of a room for each millisecond that its notices gather: the writes of a room stay below 20 000 a second,
/// and in rooms of fewer than 20 nothing waits.
const RECEIVERS_PER_MS: u64 = 20;

/// Longest time that notices gather.
const GATHER_MAX: Duration = Duration::from_millis(100);

/// One answer that leaves with its change.
pub struct Answer {
    /// The outbox of the receiver.
    pub outbox: Arc<Outbox>,
    /// The text frame.
    pub text: Text,
}

impl App {
    /// Carries out the effects of a change of a session. The store comes first, then the notices and `answer`, in the
    /// order of the changes. The caller must have made the change under the same lock as this guard.
    pub fn carry_out(&self, locked: &mut LockedSession<'_>, changes: Changes, answer: Option<Answer>) {
        self.submit(locked, changes, answer, |_| ());
    }

    /// The same for an application that waits. The receiver gets the outcome when the change is durable, has failed,
    /// or has waited too long for the disk.
    pub fn carry_out_and_tell(
        &self,
        locked: &mut LockedSession<'_>,
        changes: Changes,
    ) -> oneshot::Receiver<Durability> {
        let (done, durable) = oneshot::channel();
        self.submit(locked, changes, None, |durability| {
            let _ = done.send(durability);
        });
        durable
    }

    fn submit(
        &self,
        locked: &mut LockedSession<'_>,
        changes: Changes,
        answer: Option<Answer>,
        done: impl FnOnce(Durability) + Send + 'static,
    ) {
        let notices = messages(locked, &changes.notifications);
        let gather = Duration::from_millis(locked.clients.len() as u64 / RECEIVERS_PER_MS);
        let departed: Vec<Client> =
            changes.departed.iter().filter_map(|connection| locked.clients.remove(connection)).collect();
        for client in &departed {
            self.registry.remove_place(&client.resume_key);
        }
        self.forget_media(locked, &changes.removed_peers);
        self.adapt_caps(locked);
        self.note_attendance(locked);
        let facts: Vec<Fact> = changes.facts.into_iter().filter(|fact| !fact.is_hidden()).collect();
        let moment = Moment {
            session: locked.session.id.clone(),
            created_at_ms: locked.session.created_at_ms,
            now_ms: clock::now_ms(),
        };
        let journal = Arc::clone(&self.journal);
        let touched = touched(locked, &facts, changes.closed);
        let answer_len = answer.as_ref().map_or(0, |answer| answer.text.len());
        let after_bytes = AFTER_LEN + answer_len + notices.iter().map(|(_, text)| text.len()).sum::<usize>();
        self.writer.submit(touched, after_bytes, move |durability| {
            journal.record(&moment, &facts);
            for (outbox, text) in notices {
                outbox.push_notice(text, gather.min(GATHER_MAX));
            }
            if let Some(Answer { outbox, text }) = answer {
                outbox.push(text);
            }
            for client in departed {
                client.outbox.finish();
            }
            done(durability);
        });
        if changes.closed {
            // This comes after the submission, so that a new session of the same id submits its changes later.
            locked.is_over = true;
            self.registry.remove(&locked.session.id);
            tracing::info!(session = locked.session.id, "session is over");
        }
    }

    /// Makes the relay forget peers of a session.
    fn forget_media(&self, locked: &mut LockedSession<'_>, peers: &[PlacedPeer]) {
        for removed in peers {
            locked.peers.forget(removed.peer);
        }
        let Some(home) = locked.session.shard() else { return };
        let mut by_shard: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for removed in peers {
            by_shard.entry(removed.shard.unwrap_or(home)).or_default().push(removed.peer);
        }
        for (shard, peers) in by_shard {
            self.link.forget(shard, peers);
        }
    }
}

/// Pairs the encoded notices with the outboxes of their receivers. A notice is encoded once for each dialect.
fn messages(state: &SessionState, notifications: &[Notification]) -> Vec<(Arc<Outbox>, Text)> {
    let mut messages = Vec::new();
    for Notification { to, notice } in notifications {
        let mut texts: Vec<(&Dialect, Option<Text>)> = Vec::new();
        let mut send = |client: &Client| {
            let known = texts.iter().position(|(dialect, _)| *dialect == client.dialect);
            let at = known.unwrap_or_else(|| {
                texts.push((client.dialect, (client.dialect.encode)(notice)));
                texts.len() - 1
            });
            messages.extend(texts[at].1.clone().map(|text| (Arc::clone(&client.outbox), text)));
        };
        match to {
            Audience::Everybody => state.clients.values().for_each(send),
            Audience::Others(but) => {
                state
                    .clients
                    .iter()
                    .filter(|(connection, _)| *connection != but)
                    .for_each(|(_, it)| send(it));
            }
            Audience::Only(connections) => {
                connections.iter().filter_map(|connection| state.clients.get(connection)).for_each(send);
            }
        }
    }
    messages
}
