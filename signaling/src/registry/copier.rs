//! Copying what may be long without stopping anybody.

use std::sync::Arc;

use super::{SessionCell, SessionState};
use crate::session::Connection;

/// Connections that are copied before other requests have a turn: some 0.1 ms of work.
const AT_ONCE: usize = 32;

/// Copies sessions for a list. A session with thousands of connections is copied part by part, and its lock is free in
/// between. So a list shows a large session as it was over some time, and not at one moment.
#[derive(Debug, Default)]
pub struct Copier {
    /// Copied in this turn.
    copied: usize,
}

impl Copier {
    /// Calls `copy` for every connection of a session, oldest first. Gives whether the session has not ended meanwhile.
    pub async fn each_connection(
        &mut self,
        cell: &Arc<SessionCell>,
        mut copy: impl FnMut(&SessionState, &Connection),
    ) -> bool {
        let mut next = Some(0);
        while let Some(from) = next {
            match self.part(cell, from, &mut copy) {
                Some(rest) => next = rest,
                None => return false,
            }
            if self.copied >= AT_ONCE {
                self.copied = 0;
                tokio::task::yield_now().await;
            }
        }
        // A session without connections takes time too.
        self.copied += 1;
        true
    }

    /// Copies connections from place `from` on. Gives the place of the next one, if there is one, and `None` when the session
    /// has ended.
    fn part(
        &mut self,
        cell: &Arc<SessionCell>,
        from: u64,
        mut copy: impl FnMut(&SessionState, &Connection),
    ) -> Option<Option<u64>> {
        let locked = cell.lock()?;
        let mut left = locked.session.roster().from(from);
        for connection in left.by_ref().take(AT_ONCE.saturating_sub(self.copied)) {
            copy(&locked, connection);
            self.copied += 1;
        }
        Some(left.next().map(|connection| connection.order))
    }
}
