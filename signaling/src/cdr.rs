//! What is kept of what happened. For now that is the log.

use crate::session::Fact;

/// Notes what happened in `session`, which was made at `created_at_ms`. Called in the order of the changes, once they
/// are durable.
pub(crate) fn record(session: &str, created_at_ms: u64, facts: &[Fact]) {
    for fact in facts {
        // Names only: what people say to each other is not for the log.
        tracing::debug!(session, created_at_ms, fact = fact.name(), "happened");
    }
}
